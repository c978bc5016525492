"""Composes the report: content in, one self-contained HTML file out."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rpt_jax import files, results
from rpt_jax.reporting import (
  acting,
  choices,
  controls,
  costs,
  deploying,
  explorer,
  findings,
  foretelling,
  frames,
  guiding,
  html,
  imagined,
  learned,
  measures,
  monitors,
  simulator,
  values,
  verdicts,
  words,
  worth,
)

MAX_BYTES = 15_000_000


@dataclasses.dataclass(frozen=True)
class Content:
  """What a report shows. Every part is optional; missing parts are left out.

  rows: tidy results of all stages (`rpt_jax.results`), which make the tables,
    the plots and the headline sentences.
  losses: run -> its log, dicts with 'step' and names of `results.Pretrain`;
    a run is named 'see', or 'pretrain/<run>'.
  runs: pretraining run -> {'label', 'recipe', 'objective', 'alpha'}, each
    optional; two runs of a recipe with different 'alpha' make the alpha curve.
  main_run: the pretraining run of the curves; the one with most scores if None.
  main_recipe: the recipe whose units have a gallery on paper.
  base_recipe: the recipe others are compared with; the first one if None.
  measures: of scores, by the tag of rows that have them.
  unseen: domains that no pretraining has seen.
  config, versions: nested dicts of plain values, shown folded.
  command: what makes the page again.
  imagined: pictures of goals, as the stage imagine writes them.
  notes: paragraphs of plain text, shown below the headline.
  """

  title: str = 'Action-free pre-training for acting'
  subtitle: str = ''
  rows: Sequence[results.Row] = ()
  losses: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
  runs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  main_run: str | None = None
  measures: Mapping[str, results.Measure] = dataclasses.field(
    default_factory=dict
  )
  unseen: Sequence[str] = ()
  base_recipe: str | None = None
  explored: explorer.Explorer | None = None
  main_recipe: str | None = None
  datasets: Sequence[frames.Timeline] = ()
  futures: Sequence[frames.Timeline] = ()
  samples: frames.Samples | None = None
  rollouts: Sequence[frames.Rollout] = ()
  imagined: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  config: dict[str, Any] = dataclasses.field(default_factory=dict)
  versions: dict[str, Any] = dataclasses.field(default_factory=dict)
  command: str = ''
  notes: Sequence[str] = ()


def write(path: str | os.PathLike, content: Content) -> int:
  """Writes the page atomically and returns its size in bytes.

  Equal content gives equal bytes. Raises ValueError for malformed rows or
  frames, and for a page over `MAX_BYTES` (show fewer or smaller pictures).
  """
  data = compose(content).encode()
  if len(data) > MAX_BYTES:
    raise ValueError(
      f'report: found {len(data)} bytes, expected at most {MAX_BYTES}: give '
      'fewer rollouts or domains'
    )
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.writing(path) as partial:
    partial.write_bytes(data)
  return len(data)


def findings_of(content: Content) -> list[words.Finding]:
  """The headline sentences of the page."""
  rows, (run, base) = list(content.rows), _main(content)
  return findings.write(rows, run, base, content.runs, content.measures)


def _main(content):
  """The pretraining run of the curves, the recipe others are compared with."""
  rows = list(content.rows)
  run = content.main_run or findings.main_run(rows)
  recipes = results.unique(rows, 'recipe')
  return run, content.base_recipe or (recipes[0] if recipes else None)


def compose(content: Content) -> str:
  """The page as text."""
  rows = results.check(list(content.rows))
  run, base = _main(content)
  conclusions = findings_of(content)
  rest, acted = words.split(rows)
  doc = html.Document()
  notes = [html.paragraph(note) for note in content.notes]
  doc.section('findings', 'Findings', [acting.headline(conclusions), *notes])
  _acting(doc, content, rest, acted, run)
  doc.section(
    'imagined',
    'Imagined goals',
    imagined.section(doc, rows, content.imagined),
  )
  _units(doc, content, rows, base)
  doc.section(
    'choices',
    'Which choice made it so',
    [
      *(
        part
        for name, scored in acted.items()
        for part in choices.comparisons(doc, scored, content.measures[name])
      ),
      *acting.variants(doc, rest, acted, content.runs, content.measures),
      *(
        foretelling.section(doc, scored, content.measures[name])
        for name, scored in acted.items()
      ),
    ],
  )
  doc.section(
    'learned',
    'What pretraining learned',
    learned.section(doc, rest, run),
  )
  doc.section(
    'warnings', 'What warned of failures', monitors.section(doc, rest)
  )
  worth_more = [*guiding.section(doc, rows), *values.section(doc, rest)]
  doc.section('values', 'What actions are worth', worth_more)
  doc.section(
    'deployed', 'What being deployed taught', deploying.section(doc, rest)
  )
  _pictures(doc, content, rest, run)
  doc.section('training', 'Training', [measures.training(doc, content.losses)])
  doc.section('cost', 'Cost', [costs.costs(doc, rows)])
  doc.section('again', 'Making it again', _again(content))
  return doc.render(content.title, content.subtitle, _footer(rows))


def _acting(doc, content, rest, acted, run):
  """A section for every measure of scores, and what experts showed."""
  for name, scored in acted.items():
    say = content.measures[name]
    doc.section(
      name,
      say.title,
      [
        *simulator.success(doc, scored, run, content.unseen),
        *acting.demo_curves(doc, scored, run, say),
        acting.paired_differences(doc, scored, run, say),
        worth.section(doc, scored, run, say),
        controls.section(doc, scored, say),
        acting.tuned(doc, scored, say),
      ],
    )
  doc.section(
    'shown',
    'What there was to learn from',
    [frames.datasets(doc, content.datasets), simulator.shown(rest)],
  )


def _units(doc, content, rows, base):
  doc.section(
    'units',
    'What the units say',
    [verdicts.lines(doc, rows, base), *measures.unit_quality(doc, rows, base)],
  )
  doc.section(
    'explorer',
    'Units in time',
    explorer.section(
      doc,
      content.explored,
      content.main_recipe,
      {k: v.sentence for k, v in verdicts.of_recipes(rows).items()},
    ),
  )


def _pictures(doc, content, rest, run):
  doc.section(
    'futures',
    'What the model foresees',
    [frames.futures(doc, content.futures)],
  )
  doc.section(
    'probes', 'What the features know', measures.probes(doc, rest, run)
  )
  doc.section(
    'samples', 'The image model', [frames.samples(doc, content.samples)]
  )
  doc.section('rollouts', 'Rollouts', frames.rollouts(doc, content.rollouts))


def _again(content: Content) -> list[str]:
  parts = []
  if content.command:
    parts.append(html.pre(content.command))
  if content.config:
    parts.append(html.details('Configuration', html.pre(_tree(content.config))))
  if content.versions:
    parts.append(html.details('Versions', html.pre(_tree(content.versions))))
  return parts


def _footer(rows) -> str:
  count = f' from {len(rows)} rows of results.jsonl' if rows else ''
  return f'Made by rpt_jax{count}. This page needs no other file.'


def _tree(value: dict, indent: int = 0) -> str:
  """A nested dict as indented lines."""
  lines = []
  for key, item in value.items():
    if isinstance(item, dict) and item:
      lines.append(f'{"  " * indent}{key}:')
      lines.append(_tree(item, indent + 1))
    else:
      lines.append(f'{"  " * indent}{key}: {item}')
  return '\n'.join(lines)
