"""Headlines say what the rows say, also when that is bad news."""

import pytest

from rpt_jax import results
from rpt_jax.domains.measures import RETURN
from rpt_jax.reporting import findings, tidy, variants
from rpt_jax.results import row


def difference(env, interval, demos=1, p=0.01, pipelines=5):
  """A difference between pipelines, and its p."""
  tags = {'env': env, 'demos': demos, 'method': 'finetune', 'run': 'r'}
  tags |= {'measure': RETURN.name, 'sample': 'pipelines'}
  value, count = sum(interval) / 2, pipelines
  return [
    row('evaluate', 'paired_difference', value, interval, count, **tags),
    row('evaluate', 'paired_difference_p', p, None, count, **tags),
  ]


def score(env, value, run, demos=1, method='finetune'):
  return row('evaluate', 'score', value, [value - 0.1, value + 0.1], 5,
             env=env, demos=demos, method=method, run=run,
             measure=RETURN.name)  # fmt: skip


def written(rows):
  """Findings on the run 'r'."""
  measures = {RETURN.name: RETURN}
  return findings.write(rows, 'r', None, measures=measures)


@pytest.mark.parametrize(
  'intervals, verdict, words',
  [
    ([(0.1, 0.2), (0.1, 0.2), (-0.1, 0.2)], 'yes', 'on 2 of 3 environments'),
    ([(0.1, 0.2), (-0.1, 0.2), (-0.1, 0.2)], 'mixed', 'on 1 of 3'),
    ([(0.1, 0.2), (0.1, 0.2), (-0.2, -0.1)], 'mixed', 'below zero on e2'),
    ([(-0.1, 0.2)] * 3, 'no-effect', 'on 0 of 3 environments.'),
    ([(0.0, 0.2)] * 3, 'no-effect', 'on 0 of 3 environments.'),
  ],
)
def test_few_demonstrations(intervals, verdict, words):
  pairs = [difference(f'e{i}', list(x)) for i, x in enumerate(intervals)]
  (found,) = written([row for pair in pairs for row in pair])
  assert found.verdict == verdict
  assert words in found.sentence


def test_what_decides_nothing_is_said_with_the_reason():
  rows = [
    *difference('a', [0.1, 0.2], p=0.05),
    *difference('b', [0.1, 0.2], p=0.049),
    *difference('c', [0.1, 0.2], p=0.2),
    *difference('d', [-0.1, 0.2]),
  ]
  (found,) = written(rows)
  assert 'on 1 of 4 environments (b); it lies above zero on a, c' in found[1]
  assert 'but p is not below 0.05' in found[1]
  assert found.verdict == 'mixed'
  (found,) = written(difference('a', [0.1, 0.2], pipelines=4))
  assert 'on 0 of 1 environments; it lies above zero on a' in found[1]
  assert '4 pipelines are too few to decide' in found[1]
  assert found.verdict == 'mixed'


def test_more_demonstrations_are_not_hidden():
  rows = [*difference('e', [0.1, 0.2], 1), *difference('e', [-0.2, -0.1], 16)]
  (found,) = written(rows)
  assert 'with 16 on 0, below on 1' in found.sentence


@pytest.mark.parametrize(
  'interval, verdict, words',
  [
    ([0.05, 0.15], 'yes', '+0.10 [+0.05, +0.15]'),
    ([-0.05, 0.15], 'mixed', 'does not tell them apart'),
    ([-0.15, -0.05], 'no-effect', '−0.10 [−0.15, −0.05].'),
  ],
)
def test_aggregate(interval, verdict, words):
  rows = [*difference('all', interval), score('all', 0.5, 'r'),
          score('all', 0.4, 'none', method='scratch')]  # fmt: skip
  (found,) = written(rows)
  assert found.verdict == verdict
  assert words in found.sentence
  assert '0.50 [0.40, 0.60] against 0.40 [0.30, 0.50]' in found.sentence


@pytest.mark.parametrize('interval', [[0.05, 0.15], [-0.15, -0.05]])
def test_few_pipelines_decide_nothing(interval):
  (found,) = written(difference('all', interval, pipelines=4))
  assert found.verdict == 'mixed'
  assert found.sentence.endswith('; but 4 pipelines are too few to decide.')


@pytest.mark.parametrize(
  'clip, action, verdict', [(0.2, 0.3, 'fact'), (0.7, 0.3, 'no-effect'),
                            (0.2, 0.05, 'no-effect')],
)  # fmt: skip
def test_a_lever_must_move_both(clip, action, verdict):
  rows = []
  for recipe, values in (('raw', (0.6, 0.1)), ('delta', (clip, action))):
    for name, value in zip(('nmi_clip', 'pnmi_action'), values, strict=True):
      rows.append(row('quantize', name, value, recipe=recipe, env='mean'))
  (found,) = findings.write(rows, None, 'raw')
  assert found.verdict == verdict


def test_runs_are_compared_on_shared_environments_only():
  """An aggregate over other environments is no rival."""
  rows = [score('all', 0.9, 'a'), score('x', 0.4, 'a'), score('y', 0.9, 'a'),
          score('all', 0.5, 'b'), score('x', 0.5, 'b')]  # fmt: skip
  assert variants.comparable_envs(rows) == ['x']
  (found,) = variants.best(rows, RETURN)
  assert (
    '“b” scores highest' in found.sentence and 'mean over x' in found.sentence
  )
  rows.append(score('y', 0.1, 'b'))
  assert variants.comparable_envs(rows) == ['all']
  (found,) = variants.best(rows, RETURN)
  assert '“a” scores highest' in found.sentence


def test_runs_are_compared_where_most_of_them_were_scored():
  """The main run alone has a curve down to one demonstration."""
  rows = [score('all', 0.1, 'a', 1), score('all', 0.4, 'a', 4),
          score('all', 0.3, 'b', 4), score('all', 0.9, 'b', 16),
          score('all', 0.5, 'a', 16),
          score('all', 0.6, 'a', 4, 'probe')]  # fmt: skip
  (found,) = variants.best(rows, RETURN)
  assert '“a” scores highest with 4 demonstrations' in found.sentence
  runs = {'a': {'alpha': 1.0}, 'b': {'alpha': 0.0}}
  (found,) = variants.alpha(rows, runs, RETURN)
  assert 'α = 1 scores 0.40' in found.sentence
  assert '4 demonstrations' in found.sentence


def test_alpha_compares_its_ends():
  rows = [score('all', v, r) for r, v in (('a1', 0.4), ('a5', 0.3),
                                          ('a0', 0.2))]  # fmt: skip
  runs = {'a1': {'recipe': 'raw', 'alpha': 1.0},
          'a5': {'recipe': 'raw', 'alpha': 0.5},
          'a0': {'recipe': 'raw', 'alpha': 0.0}}  # fmt: skip
  (found,) = variants.alpha(rows, runs, RETURN)
  assert 'α = 1 scores 0.40' in found.sentence
  assert 'α = 0 0.20' in found.sentence


def test_main_run_is_the_one_with_most_scores():
  rows = [score('x', 0.1, 'none', method='scratch')] * 9
  rows += [score('x', 0.1, 'a'), score('x', 0.1, 'b'), score('y', 0.1, 'b')]
  assert findings.main_run(rows) == 'b'
  assert findings.main_run([]) is None


def test_costs_are_no_results():
  rows = [row('see', 'seconds', 100, kind='cost'),
          row('see', 'peak_memory_gib', 1.25, kind='cost')]  # fmt: skip
  assert results.select(rows, 'seconds') == []
  (found,) = findings.write(rows, None, None)
  assert '1 min 40 s' in found.sentence and '1.2 GiB' in found.sentence


def test_numbers_as_printed():
  assert tidy.number(-0.25) == '−0.25'
  assert tidy.number(-0.001) == '0.00'
  assert tidy.number(0.1, sign=True) == '+0.10'
  assert tidy.number(None) == tidy.number(float('nan')) == '–'
  assert tidy.span([-1, 0.5], 1) == '[−1.0, 0.5]'
  assert [tidy.duration(s) for s in (0.21, 42, 59.7, 751, 3900)] == [
    '0.2 s', '42 s', '1 min 00 s', '12 min 31 s', '1 h 05 min',
  ]  # fmt: skip
