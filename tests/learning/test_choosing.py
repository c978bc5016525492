"""What a grid says: the best steps and rate, over domains and pipelines."""

from rpt_jax import results
from rpt_jax.learning import choosing
from rpt_jax.results import Tune


def grid(method, scores):
  """Rows of {(steps, rate, env): score}."""
  return [
    results.row(
      Tune.STAGE, Tune.SCORE, score,
      run='next', method=method, demos=4, env=env, steps=steps, rate=rate,
    )
    for (steps, rate, env), score in scores.items()
  ]  # fmt: skip


def test_the_best_is_that_of_the_mean_over_domains(capsys):
  rows = grid(
    'probe',
    {
      (100, 1e-3, 'a'): 1.0, (100, 1e-3, 'b'): 0.0,
      (400, 1e-3, 'a'): 0.6, (400, 1e-3, 'b'): 0.6,
      (400, 1e-2, 'a'): 0.9, (400, 1e-2, 'b'): 0.1,
    },
  )  # fmt: skip
  rows += grid('scratch', {(100, 1e-2, 'a'): 0.3, (400, 1e-3, 'a'): 0.2})
  rows.append(results.row(Tune.STAGE, 'seconds', 9.0))  # What is no score.
  chosen = {
    (row['name'], row['tags']['method']): row['value']
    for row in choosing.rows(rows)
  }
  assert chosen == {
    (Tune.STEPS, 'probe'): 400,
    (Tune.RATE, 'probe'): 1e-3,
    (Tune.STEPS, 'scratch'): 100,
    (Tune.RATE, 'scratch'): 1e-2,
  }
  assert 'next probe 4: 400 steps at 0.001, 0.600' in capsys.readouterr().out


def test_controls_are_chosen_for_apart():
  rows = grid('scratch', {(100, 1e-2, 'a'): 0.3})
  seeing = [r | {'tags': r['tags'] | {'eyes': 'state'}} for r in rows]
  chosen = choosing.rows(rows + seeing)
  assert [row['tags'].get('eyes') for row in chosen] == [None] * 2 + [
    'state'
  ] * 2
