"""A policy that carries a state, beside one long window from the start."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rpt_jax
from rpt_jax.models import sequence
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import mingru
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Policy
from rpt_jax.types import StreamSpec

L, V, P, A, B, C, CONTEXT, STEPS = 2, 11, 3, 2, 2, 2, 2, 5
STREAMS = (
  StreamSpec('text', 'prefix', vocab=V, levels=L),
  StreamSpec('proprio', 'continuous', dim=P),
  StreamSpec('action', 'continuous', dim=A),
)
SCALES = {
  'proprio': (np.full(P, 0.5), np.full(P, 2.0)),
  'action': (np.full(A, -0.5), np.full(A, 0.5)),
}
TEXT = np.array([[3, -1], [1, 8]])


@functools.cache
def policy(motion=False):
  heads = behaviour_cloning.heads(linear.Settings(), C, STREAMS, STREAMS[-1])
  trunk = mingru.Settings(2, 1.5, 2.0, 'float32')
  streams = tuple(
    dataclasses.replace(s, motion=motion and s.timed) for s in STREAMS
  )
  model = sequence.SequenceModel(
    streams, heads, trunk, 16, CONTEXT, visibility='interleaved'
  )
  return Policy(model, sequence.init(model, jax.random.key(0)), SCALES)


def seen(step):
  rng = np.random.default_rng(step)
  proprio = rng.normal(size=(B, P)).astype(np.float32)
  return {'text': TEXT.astype(np.int32), 'proprio': proprio}


def played(acting, executed=None, steps=STEPS):
  acting.reset(B)
  actions = []
  for t in range(steps):
    actions.append(acting.act(seen(t)))
    if executed is not None:
      acting.executed(executed[t])
  return np.stack(actions)


@pytest.mark.parametrize(
  'motion', [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_it_acts_as_one_window_from_the_start_says(motion):
  """Beyond `context` steps, and with actions that were not its own."""
  acting = policy(motion)
  done = np.random.default_rng(99).normal(size=(STEPS, B, A))
  actions_TBA = played(acting, done.astype(np.float32))
  apply = sequence.bind(acting.model.clone(context=STEPS), acting.params)

  def standardised(name, x_TBD):
    mean_D, std_D = SCALES[name]
    x_BTD = (np.swapaxes(x_TBD, 0, 1) - mean_D) / std_D
    return x_BTD.astype(np.float32)

  proprio = [seen(t)['proprio'] for t in range(STEPS)]
  windows = {
    'text': TEXT,
    'proprio': standardised('proprio', proprio),
    'action': standardised('action', done),
  }

  @jax.jit
  def at(t, windows):
    """The action at t of the window that ends there: no more is valid."""
    valid_BT = jnp.broadcast_to(jnp.arange(STEPS)[None] <= t, (B, STEPS))
    hide_TM = (jnp.arange(STEPS)[:, None] == t) & np.array([[False, True]])
    hide_BTM = jnp.broadcast_to(hide_TM[None], (B, STEPS, 2))
    read_BTD = apply(windows, valid_BT, hide_BTM)['reads']['action']
    return apply.head('action')(read_BTD)[:, t, 0]

  for t in range(STEPS):
    now = jax.tree.map(np.copy, windows)
    now['action'][:, t:] = np.nan  # Not done yet, and not looked at.
    mean_A, std_A = SCALES['action']
    expected = at(t, now) * std_A[None] + mean_A[None]
    np.testing.assert_allclose(actions_TBA[t], expected, atol=2e-3)


def test_the_start_of_an_episode_is_never_forgotten():
  """Sentence, first observation, first action: each moves the last action."""
  acting = policy()
  done = np.zeros((STEPS, B, A), np.float32)
  before = played(acting, done)
  done[0] += 5.0
  after = played(acting, done)
  np.testing.assert_array_equal(before[0], after[0])
  assert (before[1:] != after[1:]).any(-1).all()
  np.testing.assert_array_equal(before, played(acting, done * 0))


@pytest.mark.parametrize('motion', [False, True])
def test_it_is_saved_and_loaded(motion, tmp_path):
  acting = policy(motion)
  acting.save(tmp_path / 'policy')
  loaded = rpt_jax.from_pretrained(tmp_path / 'policy').policy()
  assert loaded.model == acting.model
  np.testing.assert_array_equal(played(loaded), played(acting))
