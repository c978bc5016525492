"""What the units of each recipe name, in words, by thresholds from shuffles."""

from typing import NamedTuple

from rpt_jax import results
from rpt_jax.reporting import html, tidy
from rpt_jax.results import Quantize

_LEAST = 0.02  # Of a label, beyond its threshold: less is not worth a word.
_COLLAPSED = 2.0  # Units a clip at most.
_MOSTLY = 0.5  # Share of a unit's frames in one clip, so that it names that.
# What is named -> labels that say so. Of `clip` it is the clip or the scene.
_NAMED = {
  Quantize.CLIP: (Quantize.CLIP,),
  'the motion': (Quantize.VELOCITY, Quantize.ACTION),
  'the pose': (Quantize.STATE,),
  'how far the clip has gone': (Quantize.PHASE,),
  'the instruction': (Quantize.INSTRUCTION,),
}
_NOTE = (
  'A label is named where PNMI, the share of it that is known once the unit '
  'is, lies 0.02 or more above the highest of 19 shuffles: of the clip over '
  'all frames; of motion and pose within each clip, so that units which name '
  'the clip gain nothing by what differs between clips. “The clip” is said '
  'where most frames of a unit lie in one clip, “the scene” where what stays '
  'the same in a clip is shared by several.'
)


class Verdict(NamedTuple):
  """What is said of a recipe."""

  named: tuple[str, ...]  # Most first; none: its units name nothing.
  collapsed: bool  # About one unit a clip.
  sentence: str


def of_recipes(rows) -> dict[str, Verdict]:
  """Of every recipe whose quality was measured, over all domains."""
  by_recipe: dict[str, dict[str, float]] = {}
  for row in results.select(rows, env=results.MEAN):
    if row['stage'] == Quantize.STAGE and row['value'] is not None:
      own = by_recipe.setdefault(row['tags']['recipe'], {})
      own[row['name']] = row['value']
  return {recipe: _verdict(values) for recipe, values in by_recipe.items()}


def collapsed(rows) -> set[str]:
  """Recipes that have about one unit a clip."""
  return {k for k, verdict in of_recipes(rows).items() if verdict.collapsed}


def lines(doc: html.Document, rows, base: str | None) -> str:
  """A line a recipe, `base` first."""
  verdicts = of_recipes(rows)
  verdicts = dict(sorted(verdicts.items(), key=lambda item: item[0] != base))
  body = [
    f'<td>{html.escape(recipe)}</td>'
    f'<td class="said">{html.escape(verdict.sentence)}</td>'
    for recipe, verdict in verdicts.items()
    if verdict.sentence
  ]
  if not body:
    return ''
  table = html.table(['Recipe', 'Verdict'], body, text=('Verdict',))
  return doc.table(table, f'What the units name. {_NOTE}')


def _verdict(values):
  labels_of = _labels_of(values)
  few = values.get(Quantize.DISTINCT)
  has_collapsed = few is not None and few <= _COLLAPSED
  named = {k: v for k, v in labels_of.items() if max(map(_excess, v)) >= _LEAST}
  order = sorted(named, key=lambda k: -max(map(_excess, named[k])))
  parts = []
  if has_collapsed:
    parts.append(
      'These units have collapsed: a clip keeps about one '
      f'({tidy.number(few, 1)} in the mean).'
    )
  if named:
    each = _and([f'{k} ({_numbers(named[k])})' for k in order])
    parts.append(f'These units name {each}.')
  elif labels_of:
    parts.append('These units name nothing that was asked for.')
  rest = [
    f'{k} ({_numbers(v)})' for k, v in labels_of.items() if k not in named
  ]
  if rest:
    parts.append(f'Of {_and(rest)} they tell no more than shuffled units do.')
  return Verdict(tuple(order), has_collapsed, ' '.join(parts))


def _labels_of(values):
  """{what: [(label, PNMI, threshold)]}, of what was measured."""
  labels_of = {}
  for name, labels in _NAMED.items():
    each = [
      (label, values[Quantize.pnmi(label)], values[Quantize.threshold(label)])
      for label in labels
      if {Quantize.pnmi(label), Quantize.threshold(label)} <= {*values}
    ]
    if name == Quantize.CLIP:
      purity = values.get(Quantize.purity(Quantize.CLIP), 1.0)
      name = 'the clip' if purity > _MOSTLY else 'the scene'
    if each:
      labels_of[name] = each
  return labels_of


def _excess(measured):
  _, value, threshold = measured
  return value - threshold


def _numbers(measured):
  """'velocity 0.27, shuffled 0.05; action 0.21, shuffled 0.04'."""
  return '; '.join(
    f'{label} {tidy.number(value)}, shuffled {tidy.number(threshold)}'
    for label, value, threshold in measured
  )


def _and(parts) -> str:
  return ', '.join(parts[:-1]) + ' and ' * (len(parts) > 1) + parts[-1]
