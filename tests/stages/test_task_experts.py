"""Settings of Meta-World that cannot be, and which episodes are kept."""

import ml_collections
import numpy as np
import pytest

from configs import rpt
from rpt_jax.stages import control, experts
from rpt_jax.types import Episode


def config(**changes):
  c = rpt.get_config('quicktest')
  for name, value in changes.items():
    section, _, field = name.partition('__')
    c[section][field] = value
  return ml_collections.FrozenConfigDict(c.to_dict())


@pytest.mark.parametrize(
  'changes, words',
  [
    ({'metaworld__tasks': ('drawer-opne-v3',)}, ['tasks', 'drawer-open-v3']),
    ({'metaworld__unseen': ('coffee-button-v3',)}, ['tasks', 'once']),
    ({'metaworld__cameras': ()}, ['cameras', 'gripperPOV']),
    ({'metaworld__horizon': 0}, ['horizon', 'at least 1']),
  ],
)
def test_what_cannot_be_simulated_is_refused(changes, words):
  with pytest.raises(ValueError, match='config.metaworld') as error:
    experts.check(config(**changes))
  assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
  'said', ['execute:0', 'execute:5', 'execute:x', 'ensemble:', 'both:1', '']
)
def test_an_execution_that_means_nothing_is_refused(said):
  with pytest.raises(ValueError, match='config.evaluate.execution'):
    control.check(config(evaluate__execution=said))


def test_runs_that_are_compared_must_be_trained():
  pairs = ml_collections.ConfigDict({'a over b': ('rpt', 'nope')})
  with pytest.raises(ValueError, match='a over b.*nope.*next'):
    control.check(config(evaluate__comparisons=pairs))


def clumsy(task, settings, seeds, behaviour, workers, label):
  """An expert that fails with every third seed."""
  del task, settings, workers, label
  for seed in seeds:
    steps = np.zeros(2, np.float32)
    fails = behaviour.failure or seed % 3 == 0
    yield Episode({}, *[steps] * 6), {'success': int(not fails), 'seed': seed}


def test_successes_are_kept_until_there_are_enough(monkeypatch):
  monkeypatch.setattr(experts.simulators, 'record', clumsy)
  kept, tried = experts._kept(config(metaworld__demos=7), 'any', 'demos')
  seeds = [about['seed'] for _, about in kept]
  first = experts.first_seed(config(), 2)
  tries = range(first, first + tried)
  assert seeds == [seed for seed in tries if seed % 3]
  assert len(seeds) == 7


def test_failures_are_kept_where_they_are_asked_for(monkeypatch):
  monkeypatch.setattr(experts.simulators, 'record', clumsy)
  kept, tried = experts._kept(config(), 'any', 'failures')
  assert len(kept) == tried == config().metaworld.failures
  assert not any(about['success'] for _, about in kept)


def test_too_few_successes_say_so(monkeypatch):
  def failing(*arguments):
    for episode, about in clumsy(*arguments):
      yield episode, about | {'success': 0}

  monkeypatch.setattr(experts.simulators, 'record', failing)
  with pytest.raises(ValueError, match='demos: 0 episodes of 6 .* wanted 2'):
    experts._kept(config(), 'any', 'demos')


def test_no_two_parts_share_a_seed():
  firsts = [
    experts.first_seed(config(), part) for part in range(experts.EVALUATION + 1)
  ]
  assert np.diff(firsts).min() >= experts.SEEDS
