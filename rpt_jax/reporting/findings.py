"""Headline sentences written from the rows, also where nothing was found.

On acting only intervals decide: an effect is there when its 95 % interval
leaves zero out, whichever way it points. A finding is (verdict, sentence), the
verdict one of `words.VERDICTS`.
"""

from collections import Counter

from rpt_jax.reporting import choices, learned, tidy, words
from rpt_jax.reporting.plots import METHODS, env_label
from rpt_jax.reporting.words import Finding


def main_run(rows: list[tidy.Row]) -> str | None:
  """The pretraining run with the most scores (the first one of several)."""
  runs = Counter(
    row['tags'].get('run')
    for row in tidy.select(rows, 'score')
    if row['tags'].get('method') != 'scratch'
  )
  runs.pop(None, None)
  runs.pop('none', None)
  return max(runs, key=runs.get) if runs else None


def write(
  rows: list[tidy.Row],
  run: str | None,
  base_recipe: str | None,
  runs: dict[str, dict] | None = None,
) -> list[Finding]:
  """All findings the rows allow, in the order a reader asks for them."""
  rest, played = words.split(rows)
  found = []
  for scored, say in ((played, words.SUCCESS), (rest, words.NORMALISED)):
    differences = [
      row
      for row in tidy.select(scored, 'paired_difference', run=run)
      if row['tags']['env'] not in words.GROUPS
    ]
    for method in ('finetune', 'probe'):
      found += few_demonstrations(differences, method, say)
    found += aggregate(scored, run, say)
  found += probe_or_all(played, run)
  found += choices.findings(played)
  found += learned.findings(rest, run)
  found += levers(rows, base_recipe)
  for scored in (played, rest):
    found += best_variant(scored)
  found += alpha(rest, runs or {})
  found += probes(rows)
  found += costs(rows)
  return found


def few_demonstrations(
  differences, method: str, say=words.NORMALISED
) -> list[Finding]:
  """On how many environments pretraining helps, at each number of demos."""
  rows = tidy.select(differences, method=method)
  if not rows:
    return []
  parts, few = [], None
  for demos in sorted(tidy.unique(rows, 'demos')):
    cells = tidy.select(rows, demos=demos)
    sides = Counter(tidy.side(row) for row in cells)
    few = few or (demos, cells, sides)
    if demos != few[0]:
      worse = f', below on {sides[-1]}' if sides[-1] else ''
      parts.append(f'with {demos} on {sides[1]}{worse}')
  demos, cells, sides = few
  above = [env_label(row['tags']['env']) for row in cells if tidy.side(row) > 0]
  half = 2 * sides[1] >= len(cells)
  verdict = 'yes' if half and not sides[-1] else 'mixed'
  if not sides[1]:
    verdict = 'no-effect'
  names = f' ({", ".join(above)})' if above else ''
  below = [env_label(row['tags']['env']) for row in cells if tidy.side(row) < 0]
  worse = f'; it lies below zero on {", ".join(below)}' if below else ''
  later = f' More demonstrations: {"; ".join(parts)}.' if parts else ''
  return [
    Finding(
      verdict,
      f'With {tidy.demonstrations(demos)}, {_method(method)} of the '
      'pretrained trunk beats training from scratch (paired 95 % interval '
      f'above zero) on {sides[1]} of {len(cells)} {say.env}s{names}{worse}.'
      f'{later}',
    )
  ]


def aggregate(rows, run, say=words.NORMALISED) -> list[Finding]:
  """Environments taken together, at the fewest demonstrations."""
  found = []
  every = tidy.select(rows, 'paired_difference', run=run, env=words.GROUPS)
  demos = min(tidy.unique(every, 'demos'), default=None)
  at_fewest = tidy.select(every, demos=demos)
  order = ('finetune', 'probe')
  for row in sorted(at_fewest, key=lambda row: _place(row, order)):
    method, env = row['tags']['method'], row['tags']['env']
    tags = {'env': env, 'demos': demos}
    own = tidy.latest(rows, 'score', method=method, run=run, **tags)
    scratch = tidy.latest(rows, 'score', method='scratch', **tags)
    scores = ''
    if own and scratch:
      scores = (
        f' {say.scores} {tidy.with_interval(own)} against '
        f'{tidy.with_interval(scratch)} from scratch;'
      )
    verdict = {1: 'yes', 0: 'mixed', -1: 'no-effect'}[tidy.side(row)]
    found.append(
      Finding(
        verdict,
        f'{words.OVER[env]} with {tidy.demonstrations(demos)}, '
        f'{_method(method)}{scores} the paired difference is '
        f'{tidy.with_interval(row, sign=True)}'
        f'{"" if tidy.side(row) else ", which does not tell them apart"}.',
      )
    )
  return found


def probe_or_all(rows, run) -> list[Finding]:
  """A frozen trunk against fine-tuning all of it, at the fewest demos."""
  demos = min(tidy.unique(tidy.select(rows, 'score'), 'demos'), default=None)
  found = []
  for env in words.GROUPS:
    tags = {'env': env, 'demos': demos, 'run': run}
    probe = tidy.latest(rows, 'score', method='probe', **tags)
    tuned = tidy.latest(rows, 'score', method='finetune', **tags)
    if not probe or not tuned or not probe['interval'] or not tuned['interval']:
      continue
    (low, high), (least, most) = probe['interval'], tuned['interval']
    overlap = 'overlap' if low <= most and least <= high else 'do not overlap'
    found.append(
      Finding(
        'fact',
        f'{words.OVER[env]} with {tidy.demonstrations(demos)}, a linear probe '
        f'of the frozen trunk succeeds at a rate of '
        f'{tidy.with_interval(probe)}, fine-tuning all of it at '
        f'{tidy.with_interval(tuned)}; the intervals {overlap}.',
      )
    )
  return found


def levers(rows, base: str | None) -> list[Finding]:
  """Whether a lever lowers clip leakage and raises what units say of motion."""
  quality = tidy.select(rows, env='mean')
  clip = {r['tags']['recipe']: r['value'] for r in _named(quality, 'nmi_clip')}
  found = []
  for target in ('action', 'velocity'):
    said = {
      r['tags']['recipe']: r['value'] for r in _named(quality, f'pnmi_{target}')
    }
    if base not in clip or base not in said or len(said) < 2:
      continue
    both = [
      recipe
      for recipe in said
      if clip.get(recipe, 2.0) < clip[base] and said[recipe] > said[base]
    ]
    best = max(said, key=said.get)
    change = (
      f'PNMI(unit; {target}) is highest for “{best}”: '
      f'{tidy.number(said[best])} against {tidy.number(said[base])} for '
      f'“{base}”, with NMI(unit; clip) {tidy.number(clip.get(best))} against '
      f'{tidy.number(clip[base])}.'
    )
    count = (
      f'Other recipes that say less of the clip and more of the {target} than '
      f'“{base}”: {len(both)} of {len(said) - 1}.'
    )
    verdict = 'yes' if both else 'no-effect'
    found.append(Finding(verdict, f'{change} {count}'))
  return found


def comparable_envs(rows) -> list[str]:
  """Environments on which all pretraining runs have scores, to compare them.

  ['all'] (of tasks: ['seen']) where every run was scored on the same; else
  their aggregates mean different things, and it is the environments they share.
  """
  scores = tidy.select(rows, 'score', method=('finetune', 'probe'))
  sets = [
    tidy.unique(tidy.select(scores, run=run), 'env')
    for run in tidy.unique(scores, 'run')
    if run != 'none'
  ]
  if len(sets) < 2:
    return []
  if all(set(envs) == set(sets[0]) for envs in sets):
    for group in ('all', 'seen'):
      if group in sets[0]:
        return [group]
  shared = set.intersection(*map(set, sets)) - set(words.GROUPS)
  return [env for env in sets[0] if env in shared]


def fewest_demonstrations(rows) -> tuple[int, list[str], dict]:
  """Means over comparable environments: demos, envs, {(run, method): row}.

  A mean over several environments has no interval, an aggregate keeps its own.
  """
  envs = comparable_envs(rows)
  scores = tidy.select(rows, 'score', env=tuple(envs))
  scores = [row for row in scores if row['tags'].get('run') != 'none']
  demos = min(tidy.unique(scores, 'demos'), default=0)
  means = {}
  for method in ('finetune', 'probe'):
    for run in tidy.unique(scores, 'run'):
      cells = tidy.select(scores, run=run, method=method, demos=demos)
      if len(cells) == len(envs):
        mean = sum(row['value'] for row in cells) / len(cells)
        means[run, method] = cells[0] if len(cells) == 1 else {'value': mean}
  return demos, envs, means


def best_variant(rows) -> list[Finding]:
  """Which pretraining run acts best at the fewest demonstrations."""
  demos, envs, means = fewest_demonstrations(rows)
  best = max(means, key=lambda key: means[key]['value'], default=None)
  rest = [key for key in means if key[1] == best[1] and key != best]
  if not rest:
    return []
  second = max(rest, key=lambda key: means[key]['value'])
  return [
    Finding(
      'fact',
      f'Of {len(rest) + 1} pretraining runs, “{best[0]}” acts best with '
      f'{tidy.demonstrations(demos)} ({_method(best[1])}{_mean_over(envs)}): '
      f'{tidy.with_interval(means[best])}; next is “{second[0]}” with '
      f'{tidy.with_interval(means[second])}.',
    )
  ]


def alpha(rows, runs: dict[str, dict]) -> list[Finding]:
  """Loss on masked steps against loss on more, for each recipe that has both.

  `runs` describes the runs; of several, the ends of alpha are compared.
  """
  demos, envs, means = fewest_demonstrations(rows)
  by_recipe: dict[str, list[str]] = {}
  for run, described in runs.items():
    if described.get('alpha') is not None and (run, 'finetune') in means:
      by_recipe.setdefault(str(described.get('recipe')), []).append(run)
  found = []
  for recipe, names in by_recipe.items():
    names = sorted(names, key=lambda run: runs[run]['alpha'])
    low, high = names[0], names[-1]
    if runs[low]['alpha'] < runs[high]['alpha']:
      found.append(
        Finding(
          'fact',
          f'With “{recipe}” units, α = {runs[high]["alpha"]:g} scores '
          f'{tidy.with_interval(means[high, "finetune"])} and '
          f'α = {runs[low]["alpha"]:g} '
          f'{tidy.with_interval(means[low, "finetune"])} (fine-tuning, '
          f'{tidy.demonstrations(demos)}{_mean_over(envs)}).',
        )
      )
  return found


def probes(rows) -> list[Finding]:
  """What a linear layer reads of the state from frozen features."""
  means = mean_r2(rows)
  if len(means) < 2:
    return []
  ordered = sorted(means, key=means.get, reverse=True)[:4]
  shown = ordered + [c for c in ('latent', 'random_trunk') if c in means]
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
  """Mean R^2 per kind of features, over environments where not given."""
  means = {}
  found = tidy.select(rows, 'state_r2')
  for features in tidy.unique(found, 'features'):
    of_it = tidy.select(found, features=features)
    given = tidy.select(of_it, env=('all', 'mean')) or of_it
    means[features] = sum(row['value'] for row in given) / len(given)
  return means


def costs(rows) -> list[Finding]:
  """How long the run took and how much memory it held."""
  seconds = tidy.select(rows, 'seconds', kind='cost')
  memory = tidy.select(rows, 'peak_memory_gib', kind='cost')
  if not seconds:
    return []
  total = tidy.duration(sum(row['value'] for row in seconds))
  peak = max((row['value'] for row in memory), default=None)
  held = f' and {tidy.number(peak, 1)} GiB at most' if peak else ''
  return [Finding('fact', f'All stages together took {total}{held}.')]


def _named(rows, name):
  return [r for r in rows if r['name'] == name and r['tags'].get('recipe')]


def _place(row, methods):
  """Seen before unseen, and methods in their order."""
  tags = row['tags']
  method = tags['method']
  rank = methods.index(method) if method in methods else len(methods)
  return words.GROUPS.index(tags['env']), rank, method


def _mean_over(envs) -> str:
  if envs == ['all']:
    return ''
  if envs == ['seen']:
    return ', mean over the tasks seen in pretraining'
  return f', mean over {", ".join(env_label(env) for env in envs)}'


def _method(method: str) -> str:
  return {'probe': 'a linear probe', 'finetune': 'fine-tuning'}.get(
    method, METHODS[method].label
  )
