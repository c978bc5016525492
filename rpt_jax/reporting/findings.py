"""Headline sentences written from the rows, also where nothing was found.

Of acting a finding claims what a difference decides (`evidence`), whichever
way it points, and nothing else on the page is 'supported'. A finding is
(verdict, sentence), the verdict one of `words.VERDICTS`.
"""

from collections import Counter
from collections.abc import Mapping

from rpt_jax import results
from rpt_jax.reporting import (
  choices,
  controls,
  evidence,
  foretelling,
  imagined,
  learned,
  sight,
  tidy,
  variants,
  verdicts,
  words,
  worth,
)
from rpt_jax.reporting.plots import env_label
from rpt_jax.reporting.words import Finding
from rpt_jax.results import (
  COST,
  FINETUNE,
  HEAD_FIRST,
  PIPELINES,
  PROBE,
  SCRATCH,
  Acting,
  Costs,
  Measure,
  Probe,
  Quantize,
)

_METHODS = FINETUNE, HEAD_FIRST, PROBE


def main_run(rows: list[results.Row]) -> str | None:
  """The pretraining run with the most scores (the first one of several)."""
  runs = Counter(
    results.tag(row, 'run')
    for row in results.select(rows, Acting.SCORE)
    if results.tag(row, 'method') != SCRATCH
  )
  runs.pop(None, None)
  runs.pop(results.NO_RUN, None)
  return max(runs, key=runs.get) if runs else None


def write(
  rows: list[results.Row],
  run: str | None,
  base_recipe: str | None,
  runs: dict[str, dict] | None = None,
  measures: Mapping[str, Measure] = {},
) -> list[Finding]:
  """All findings the rows allow, in the order a reader asks for them."""
  rest, acting = words.split(rows)
  findings = sight.findings(rest) + imagined.findings(rest)
  for name, scored in acting.items():
    say = measures[name]
    differences = [
      row
      for row in results.select(scored, Acting.OVER_SCRATCH, run=run)
      if row['tags']['env'] not in words.GROUPS
    ]
    # Clear wins that ended early have no difference, and would not be counted.
    decided = results.select(scored, Acting.DECIDED)
    for method in () if decided else _METHODS:
      findings += few_demonstrations(differences, method, say)
    findings += aggregate(scored, run, say)
    findings += checked(scored, say)
    findings += probe_or_all(scored, run, say)
    findings += worth.findings(scored, run, say)
    findings += controls.findings(scored, say)
    findings += choices.findings(scored, say)
    findings += foretelling.findings(scored, say)
  findings += learned.findings(rest, run)
  findings += levers(rows, base_recipe)
  for name, scored in acting.items():
    findings += variants.best(scored, measures[name])
    findings += variants.alpha(scored, runs or {}, measures[name])
  findings += probes(rows)
  findings += costs(rows)
  return findings


def checked(rows, say: Measure) -> list[Finding]:
  """How often the hierarchical bootstrap says of a gain what its interval says.

  Of the gains of single domains, over whole pipelines.
  """
  gains = results.select(rows, Acting.OVER_SCRATCH, sample=PIPELINES)
  gains = [row for row in gains if row['tags']['env'] not in words.GROUPS]
  pairs = [
    (row, results.latest(rows, Acting.BOOTSTRAP, **row['tags']))
    for row in gains
  ]
  sides = [(tidy.side(a), tidy.side(b)) for a, b in pairs if b]
  if not sides:
    return []
  more = sum(a == 0 and b != 0 for a, b in sides)
  return [
    Finding(
      'fact',
      f'A check of intervals: of {len(sides)} gains over scratch the '
      'hierarchical bootstrap, which assumes no shape and is too narrow for '
      f'few pipelines, puts {sum(a == b for a, b in sides)} on the same side '
      f'of zero, or on none, as the t-interval does, and takes {more} for '
      'decided that it does not.',
    )
  ]


def few_demonstrations(differences, method: str, say: Measure) -> list[Finding]:
  """On how many environments pretraining helps, at each number of demos."""
  rows = results.select(differences, method=method)
  if not rows:
    return []
  parts, few = [], None
  for demos in sorted(results.unique(rows, 'demos')):
    cells = results.select(rows, demos=demos)
    sides = Counter(evidence.decided(row) for row in cells)
    few = few or (demos, cells, sides)
    if demos != few[0]:
      worse = f', below on {sides[-1]}' if sides[-1] else ''
      parts.append(f'with {demos} on {sides[1]}{worse}')
  demos, cells, sides = few
  above = [row for row in cells if tidy.side(row) > 0]
  below = [row for row in cells if tidy.side(row) < 0]
  half = 2 * sides[1] >= len(cells)
  verdict = 'yes' if half and not below else 'mixed'
  if not above:
    verdict = 'no-effect'
  sure = [row for row in above if evidence.decided(row)]
  names = f' ({_places(sure)})' if sure else ''
  worse = f'; it lies below zero on {_places(below)}' if below else ''
  later = f' More demonstrations: {"; ".join(parts)}.' if parts else ''
  return [
    Finding(
      verdict,
      f'With {tidy.demonstrations(demos)}, {words.METHODS[method]} of the '
      'pretrained trunk beats training from scratch (paired 95 % interval '
      f'above zero) on {sides[1]} of {len(cells)} {say.env}s{names}'
      f'{_undecided(above)}{worse}.{later}',
    )
  ]


def _undecided(above) -> str:
  """Where an interval lies above zero and decides nothing all the same."""
  by_reason = {}
  for row in above:
    by_reason.setdefault(evidence.doubt(row), []).append(row)
  by_reason.pop('', None)
  return ''.join(
    f'; it lies above zero on {_places(places)}, but {reason}'
    for reason, places in by_reason.items()
  )


def aggregate(rows, run, say: Measure) -> list[Finding]:
  """Domains taken together, at the fewest demonstrations."""
  findings = []
  order = _METHODS
  tags = {'run': run, 'method': order, 'env': words.GROUPS}
  every = results.select(rows, Acting.OVER_SCRATCH, **tags)
  demos = min(results.unique(every, 'demos'), default=None)
  at_fewest = results.select(every, demos=demos)
  for row in sorted(at_fewest, key=lambda row: _place(row, order)):
    method, env = row['tags']['method'], row['tags']['env']
    tags = {'env': env, 'demos': demos}
    own = results.latest(rows, Acting.SCORE, method=method, run=run, **tags)
    scratch = results.latest(rows, Acting.SCORE, method=SCRATCH, **tags)
    scores = ''
    if own and scratch:
      scores = (
        f' {say.scores} {tidy.with_interval(own)} against '
        f'{tidy.with_interval(scratch)} from scratch;'
      )
    side, why = evidence.decided(row), ', which does not tell them apart'
    if tidy.side(row):
      why = f'; but {evidence.doubt(row)}' if evidence.doubt(row) else ''
    verdict = {1: 'yes', 0: 'mixed', -1: 'no-effect'}[side]
    findings.append(
      Finding(
        verdict,
        f'{words.over(env, say)} with {tidy.demonstrations(demos)}, '
        f'{words.METHODS[method]}{scores} the paired difference is '
        f'{tidy.with_interval(row, sign=True)}{why}.',
      )
    )
  return findings


def probe_or_all(rows, run, say: Measure) -> list[Finding]:
  """A frozen trunk against fine-tuning all of it, at the fewest demos."""
  scores = results.select(rows, Acting.SCORE)
  demos = min(results.unique(scores, 'demos'), default=None)
  findings = []
  for env in words.GROUPS:
    tags = {'env': env, 'demos': demos, 'run': run}
    probe = results.latest(rows, Acting.SCORE, method=PROBE, **tags)
    tuned = results.latest(rows, Acting.SCORE, method=FINETUNE, **tags)
    if not probe or not tuned or not probe['interval'] or not tuned['interval']:
      continue
    (low, high), (least, most) = probe['interval'], tuned['interval']
    overlap = 'overlap' if low <= most and least <= high else 'do not overlap'
    findings.append(
      Finding(
        'fact',
        f'{words.over(env, say)} with {tidy.demonstrations(demos)}, a linear '
        f'probe of the frozen trunk {say.scores} '
        f'{tidy.with_interval(probe)}, fine-tuning all of it '
        f'{tidy.with_interval(tuned)}; the intervals {overlap}.',
      )
    )
  return findings


def levers(rows, base: str | None) -> list[Finding]:
  """Whether a lever lowers clip leakage and raises what units say of motion."""
  clip = _by_recipe(rows, Quantize.nmi(Quantize.CLIP))
  collapsed = verdicts.collapsed(rows)
  findings = []
  for target in (Quantize.ACTION, Quantize.VELOCITY):
    said = _by_recipe(rows, Quantize.pnmi(target))
    said = {k: x for k, x in said.items() if k not in collapsed - {base}}
    if base not in clip or base not in said or len(said) < 2:
      continue
    both = [
      recipe
      for recipe in said
      if clip.get(recipe, 2.0) < clip[base] and said[recipe] > said[base]
    ]
    best = max(said, key=lambda k: (k not in collapsed, said[k]))
    of = ' of those not collapsed' if collapsed else ''
    change = (
      f'PNMI(unit; {target}) is highest{of} for “{best}”: '
      f'{tidy.number(said[best])}, with NMI(unit; clip) '
      f'{tidy.number(clip.get(best))}'
    )
    if best != base:
      change += (
        f'; “{base}” has {tidy.number(said[base])} and '
        f'{tidy.number(clip[base])}'
      )
    count = (
      f'Other recipes that say less of the clip and more of the {target} than '
      f'“{base}”: {len(both)} of {len(said) - 1}.'
    )
    verdict = 'fact' if both else 'no-effect'
    findings.append(Finding(verdict, f'{change}. {count}'))
  return findings


def probes(rows) -> list[Finding]:
  """What a linear layer reads of the state from frozen features."""
  means = mean_r2(rows)
  means.pop(sight.CEILING, None)
  if len(means) < 2:
    return []
  ordered = sorted(means, key=means.get, reverse=True)[:4]
  controls = (results.LATENT, results.RANDOM)
  shown = ordered + [name for name in controls if name in means]
  text = ', '.join(
    f'{tidy.number(means[name])} from “{name}”' for name in dict.fromkeys(shown)
  )
  return [
    Finding(
      'fact',
      f'Linear regression of the physical state on held-out clips reaches a '
      f'mean R² of {text}.',
    )
  ]


def mean_r2(rows) -> dict[str, float]:
  """R^2 of the state per kind of features, the mean over domains."""
  means = {}
  by_domain = results.select(rows, Probe.STATE_R2)
  for features in results.unique(by_domain, 'features'):
    of_features = results.select(by_domain, features=features)
    values = [row['value'] for row in of_features if row['value'] is not None]
    if values:
      means[features] = sum(values) / len(values)
  return means


def costs(rows) -> list[Finding]:
  """How long the run took and how much memory it held."""
  seconds = results.select(rows, Costs.SECONDS, kind=COST)
  memory = results.select(rows, Costs.MEMORY, kind=COST)
  if not seconds:
    return []
  total = tidy.duration(sum(row['value'] for row in seconds))
  peak = max((row['value'] for row in memory), default=None)
  held = f' and {tidy.number(peak, 1)} GiB at most' if peak else ''
  return [Finding('fact', f'All stages together took {total}{held}.')]


def _by_recipe(rows, name):
  """What a measure of units comes to, over all domains."""
  rows = results.select(rows, name, env=results.MEAN)
  return {row['tags']['recipe']: row['value'] for row in rows}


def _place(row, methods):
  """Seen before unseen, and methods in their order."""
  tags = row['tags']
  method = tags['method']
  rank = methods.index(method) if method in methods else len(methods)
  return words.GROUPS.index(tags['env']), rank, method


def _places(rows) -> str:
  return ', '.join(env_label(row['tags']['env']) for row in rows)
