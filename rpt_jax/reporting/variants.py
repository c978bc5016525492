"""Pretraining runs beside each other: which scores highest, and by what alpha.

Takes rows of one measure, as `words.split` gives them.
"""

from collections import Counter

from rpt_jax import results
from rpt_jax.reporting import tidy, words
from rpt_jax.reporting.plots import env_label
from rpt_jax.reporting.words import Finding
from rpt_jax.results import FINETUNE, ORACLE, PROBE, Acting, Measure


def comparable_envs(rows) -> list[str]:
  """Environments on which all pretraining runs have scores, to compare them.

  [ALL] (of tasks: [SEEN]) where every run was scored on the same; else
  their aggregates mean different things, and it is the environments they share.
  """
  scores = results.select(rows, Acting.SCORE, method=(FINETUNE, PROBE))
  sets = [
    results.unique(results.select(scores, run=run), 'env')
    for run in results.unique(scores, 'run')
    if run != results.NO_RUN
  ]
  if len(sets) < 2:
    return []
  if all(set(envs) == set(sets[0]) for envs in sets):
    for group in (results.ALL, words.SEEN):
      if group in sets[0]:
        return [group]
  shared = set.intersection(*map(set, sets)) - set(words.GROUPS)
  return [env for env in sets[0] if env in shared]


def fewest_demonstrations(rows) -> tuple[int, list[str], dict]:
  """Means over comparable environments: demos, envs, {(run, method): row}.

  The fewest demonstrations are of those that most runs have learnt from, as
  all but the main run may have been scored on some counts alone. A mean over
  several environments has no interval, an aggregate keeps its own.
  """
  envs = comparable_envs(rows)
  scores = results.select(rows, Acting.SCORE, env=tuple(envs))
  scores = [r for r in scores if results.tag(r, 'run') != results.NO_RUN]
  runs_of = {
    demos: len(results.unique(results.select(scores, demos=demos), 'run'))
    for demos in sorted(results.unique(scores, 'demos'))
  }
  demos = max(runs_of, key=runs_of.get, default=0)  # The first of equal ones.
  means = {}
  for method in (FINETUNE, PROBE):
    for run in results.unique(scores, 'run'):
      cells = results.select(scores, run=run, method=method, demos=demos)
      if len(cells) == len(envs):
        mean = sum(row['value'] for row in cells) / len(cells)
        means[run, method] = cells[0] if len(cells) == 1 else {'value': mean}
  return demos, envs, means


def best(rows, say: Measure) -> list[Finding]:
  """Which run scores highest by the method most learnt with; not the oracle."""
  demos, envs, means = fewest_demonstrations(rows)
  means = {key: mean for key, mean in means.items() if key[0] != ORACLE}
  runs_of = Counter(method for _, method in means)
  most = max(runs_of.values(), default=0)
  if most < 2:
    return []
  rivals = [key for key in means if runs_of[key[1]] == most]
  best = max(rivals, key=lambda key: means[key]['value'])
  rest = [key for key in rivals if key[1] == best[1] and key != best]
  second = max(rest, key=lambda key: means[key]['value'])
  return [
    Finding(
      'fact',
      f'Of {len(rest) + 1} pretraining runs, “{best[0]}” scores highest with '
      f'{tidy.demonstrations(demos)} ({words.METHODS[best[1]]}'
      f'{_mean_over(envs, say)}): '
      f'{tidy.with_interval(means[best])}; next is “{second[0]}” with '
      f'{tidy.with_interval(means[second])}.',
    )
  ]


def alpha(rows, runs: dict[str, dict], say: Measure) -> list[Finding]:
  """Loss on masked steps against loss on more, for each recipe that has both.

  `runs` describes the runs; of several, the ends of alpha are compared.
  """
  demos, envs, means = fewest_demonstrations(rows)
  by_recipe: dict[str, list[str]] = {}
  for run, described in runs.items():
    if described.get('alpha') is not None and (run, FINETUNE) in means:
      by_recipe.setdefault(str(described.get('recipe')), []).append(run)
  findings = []
  for recipe, names in by_recipe.items():
    names = sorted(names, key=lambda run: runs[run]['alpha'])
    low, high = names[0], names[-1]
    if runs[low]['alpha'] < runs[high]['alpha']:
      findings.append(
        Finding(
          'fact',
          f'With “{recipe}” units, α = {runs[high]["alpha"]:g} {say.scores} '
          f'{tidy.with_interval(means[high, FINETUNE])} and '
          f'α = {runs[low]["alpha"]:g} '
          f'{tidy.with_interval(means[low, FINETUNE])} (fine-tuning, '
          f'{tidy.demonstrations(demos)}{_mean_over(envs, say)}).',
        )
      )
  return findings


def _mean_over(envs, say) -> str:
  if envs == [results.ALL]:
    return ''
  if envs == [words.SEEN]:
    return f', mean over the {say.env}s seen in pretraining'
  return f', mean over {", ".join(env_label(env) for env in envs)}'
