"""Which actions count: exactly those of the clip, seen without cheating."""

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning, targets
from rpt_jax.types import StreamSpec

B, T, C, V, A = 2, 4, 3, 5, 2
RNG = np.random.default_rng(0)


def _batch(action, lengths, garbage=None):
  size = T + C - 1
  there = np.arange(size)[None] < np.asarray(lengths)[:, None]
  if garbage is not None:
    action = action.copy()
    action[~there] = garbage
  return {
    'inputs': {},
    'targets': {'action': action},
    'valid': there[:, :T],
    'target_valid': there,
  }


def _loss(predicted, batch, visibility='causal'):
  output = {'reads': {'action': predicted}}
  target = CHOICE if predicted is LOGITS else VALUE
  apply = fakes.Apply(
    lambda *_: output, (), visibility, (target,), C, linear.Settings()
  )
  return behaviour_cloning.loss(apply, batch, None)


CHOICE = StreamSpec('action', 'discrete', vocab=V)
VALUE = StreamSpec('action', 'continuous', dim=A)


DISCRETE = RNG.integers(0, V, (B, T + C - 1, 1)).astype(np.int32)
CONTINUOUS = RNG.normal(size=(B, T + C - 1, A)).astype(np.float32)
LOGITS = jnp.asarray(RNG.normal(size=(B, T, C, 1, V)), jnp.float32)
VALUES = jnp.asarray(RNG.normal(size=(B, T, C, A)), jnp.float32)


@pytest.mark.parametrize('visibility', ['causal', 'bidirectional'])
@pytest.mark.parametrize('discrete', [True, False])
def test_loss_equals_the_reference(discrete, visibility):
  lengths = [T + C - 1, T]
  losses = []
  for b in range(B):
    for t in range(T) if visibility == 'causal' else [T - 1]:
      for c in range(C):
        if t + c >= lengths[b]:
          continue
        if discrete:
          x = np.asarray(LOGITS[b, t, c, 0], np.float64)
          losses.append(np.log(np.exp(x).sum()) - x[DISCRETE[b, t + c, 0]])
        else:
          error = np.asarray(VALUES[b, t, c]) - CONTINUOUS[b, t + c]
          losses.append((error**2).mean())
  predicted = LOGITS if discrete else VALUES
  action, garbage = (DISCRETE, 10**6) if discrete else (CONTINUOUS, np.nan)
  loss, metrics = _loss(predicted, _batch(action, lengths), visibility)
  np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
  ((_, count),) = metrics.values()
  assert count == len(losses)
  dirty, _ = _loss(predicted, _batch(action, lengths, garbage), visibility)
  np.testing.assert_array_equal(dirty, loss)


def test_octos_mask_counts():
  """T=10 steps, windows of W=2, chunks of H=4: Octo keeps 76 targets, as its
  index is off by two; 71 lie in the clip, 64 before its last step (#140)."""
  steps, window, chunk = 10, 2, 4
  for actions, expected in ((steps, 71), (steps - 1, 64)):
    total = 0
    for t in range(steps):
      for w in range(window):
        now = t - (window - 1) + w  # Left padding repeats the first step.
        total += sum(now + h < actions for h in range(chunk))
    assert total == expected
  # Ours: padded steps are no steps, so one window over the clip has
  # 10 + 9 + 8 + 7 targets, however far the array runs past its end.
  there = np.arange(16)[None] < steps
  batch = {'valid': there[:, :12], 'target_valid': there}
  _, valid = targets.ahead(np.zeros((1, 16)), batch, 0, chunk)
  assert valid.sum() == 10 + 9 + 8 + 7
  _, valid = targets.ahead(np.zeros((1, 16)), batch, 1, chunk)
  assert valid.sum() == 9 + 8 + 7 + 6


def test_heads_and_actions():
  for action, size in ((CHOICE, V), (VALUE, A)):
    (head,) = behaviour_cloning.heads(linear.Settings(), C, (), action)
    assert (head.name, head.steps, head.numbers) == ('action', C, C * size)


# What RPT does: the action is a stream, its last token asks for the next ones.
STREAMS = (
  StreamSpec('latent/corner2', 'continuous', dim=6),
  StreamSpec('proprio', 'continuous', dim=3),
  StreamSpec('action', 'continuous', dim=A),
)


def _sensorimotor(visibility):
  """(model, its parameters, a batch whose second clip begins late)."""
  heads = behaviour_cloning.heads(linear.Settings(), C, STREAMS, VALUE)
  model = sequence.SequenceModel(
    STREAMS, heads, transformer.Settings(1, 2), 16, T, visibility
  )
  rng = np.random.default_rng(1)
  size = T + C - 1
  actions = rng.normal(size=(B, size, A)).astype(np.float32)
  inputs = {
    s.name: rng.normal(size=(B, T, s.dim)).astype(np.float32) for s in STREAMS
  }
  inputs['action'] = actions[:, :T]
  there = np.arange(size)[None] >= np.array([0, 2])[:, None]
  return (
    model,
    sequence.init(model, jax.random.key(0)),
    {
      'inputs': inputs,
      'targets': {'action': actions},
      'valid': there[:, :T],
      'target_valid': there,
    },
  )


@pytest.mark.parametrize('visibility', ['bidirectional', 'interleaved'])
def test_no_prediction_sees_the_action_it_is_to_give(visibility):
  model, params, batch = _sensorimotor(visibility)
  apply = sequence.bind(model, params)
  hide = behaviour_cloning.hidden(batch['valid'], STREAMS)

  def chunk(action_BTA):
    output = apply(
      batch['inputs'] | {'action': action_BTA}, batch['valid'], hide
    )
    return (apply.head('action')(output['reads']['action']) ** 2)[:, -1].sum()

  grad_BTA = np.asarray(jax.grad(chunk)(jnp.asarray(batch['inputs']['action'])))
  np.testing.assert_array_equal(grad_BTA[:, -1], 0)
  assert (np.abs(grad_BTA[:, -2]) > 0).all()
  np.testing.assert_array_equal(grad_BTA[1, :2], 0)  # Before the clip.


def test_what_is_hidden_is_the_last_action_wherever_it_stands():
  valid_BT = np.ones((B, T), bool)
  camera, proprio, action = STREAMS
  assert behaviour_cloning.hidden(valid_BT, (camera, proprio)) is None
  goal = StreamSpec('goal', 'prefix', vocab=V)  # It has no place in M.
  for streams, size in ((STREAMS, 3), ((goal, action, proprio), 2)):
    hide = np.asarray(behaviour_cloning.hidden(valid_BT, streams))
    assert hide.shape == (B, T, size) and hide.sum() == B
    place = [s for s in streams if s != goal].index(action)
    assert hide[:, -1, place].all()


@pytest.mark.parametrize('visibility', ['bidirectional', 'causal'])
def test_where_actions_are_seen_only_the_last_step_teaches(visibility):
  _, _, batch = _sensorimotor(visibility)
  masks = []

  def call(inputs, valid_BT, corrupt_BTM, present_BTM):
    del inputs, valid_BT
    masks.append(corrupt_BTM)
    assert present_BTM is batch['present']  # Nobody else says what is absent.
    return {'reads': {'action': VALUES}}

  batch['present'] = np.ones((B, T, len(STREAMS)), bool)
  apply = fakes.Apply(call, STREAMS, visibility, steps=C)
  loss, metrics = behaviour_cloning.loss(apply, batch, None)
  future_BCA = batch['targets']['action'][:, T - 1 :]
  expected = ((np.asarray(VALUES)[:, -1] - future_BCA) ** 2).mean()
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  assert metrics['absolute_error'][1] == B * C
  want = behaviour_cloning.hidden(batch['valid'], STREAMS)
  np.testing.assert_array_equal(masks[0], want)


def test_the_head_reads_the_action_token_where_there_is_one():
  for streams, reads in ((STREAMS, ('action',)), (STREAMS[:2], ()), ((), ())):
    (head,) = behaviour_cloning.heads(linear.Settings(), C, streams, VALUE)
    assert head.reads == reads
