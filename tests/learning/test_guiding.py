"""What a critic that guides learns from: decisions of recorded episodes."""

import types

import numpy as np

from rpt_jax.learning import guiding
from rpt_jax.policy import Execution
from rpt_jax.types import StreamSpec

STREAMS = tuple(
  StreamSpec(name, 'continuous', dim=3) for name in ('latent', 'action')
)
POLICY = types.SimpleNamespace(
  model=types.SimpleNamespace(streams=STREAMS),
  execution=Execution(execute=2),
  action_limit=(-2.0, 2.0),
  action_dim=1,
)


def steps(length, rewarded, total=6):
  """One episode of that many steps, which ends or is cut off."""
  t = np.arange(total)
  return {
    'state': t[None, :, None] * np.ones(2),
    'action': t[None, :, None] / 5.0,
    'reward': ((t == length - 1) & rewarded).astype(np.float32)[None],
    'valid': (t < length)[None],
    'terminated': ((t == length - 1) & rewarded)[None],
  }


def test_a_decision_is_the_actions_that_are_played_of_a_chunk():
  made = guiding.decided(POLICY, steps(4, rewarded=True), 0.5)
  np.testing.assert_array_equal(made['state'][:, 0], [0, 1, 2, 3])
  np.testing.assert_allclose(
    made['action'], [[0, 0.1], [0.1, 0.2], [0.2, 0.3], [0.3, 0.4]], atol=1e-6
  )
  np.testing.assert_allclose(made['return'], [0.125, 0.25, 0.5, 1])
  np.testing.assert_array_equal(made['state'][:, 2], 0)  # As rollouts pad it.


def test_what_is_cut_off_is_no_end_and_what_follows_it_is_no_decision():
  made = guiding.decided(POLICY, steps(4, rewarded=False), 0.5)
  np.testing.assert_array_equal(made['state'][:, 0], [0, 1])
  assert not made['return'].any()
