"""A sentence before the steps: a policy is told it, and acts by it."""

import jax
import numpy as np
import pytest

import rpt_jax
from rpt_jax.models import sequence
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Policy
from rpt_jax.types import StreamSpec

L, V, P, A, B = 5, 11, 3, 2, 2
TEXT = StreamSpec('text', 'prefix', vocab=V, levels=L)
PROPRIO = StreamSpec('proprio', 'continuous', dim=P)
ACTION = StreamSpec('action', 'continuous', dim=A)
SCALES = {
  'proprio': (np.zeros(P), np.ones(P)),
  'action': (np.zeros(A), np.ones(A)),
}


def policy(visibility='interleaved'):
  streams = (TEXT, PROPRIO, ACTION)
  heads = behaviour_cloning.heads(linear.Settings(), 3, streams, ACTION)
  model = sequence.SequenceModel(
    streams, heads, transformer.Settings(1, 2), 16, 4, visibility=visibility
  )
  return Policy(model, sequence.init(model, jax.random.key(0)), SCALES)


def seen(step, text):
  rng = np.random.default_rng(step)
  proprio = rng.normal(size=(B, P)).astype(np.float32)
  return {'text': np.asarray(text, np.int32), 'proprio': proprio}


def played(acting, text, steps=6):
  acting.reset(B)
  return np.stack([acting.act(seen(t, text)) for t in range(steps)])


def test_another_sentence_is_another_action():
  acting = policy()
  text = np.arange(B * L).reshape(B, L) % V
  other = text.copy()
  other[1, 0] += 1
  before, after = played(acting, text), played(acting, other)
  np.testing.assert_array_equal(before[:, 0], after[:, 0])
  assert (before[:, 1] != after[:, 1]).all()


def test_what_is_no_token_tells_nothing():
  acting = policy()
  text = np.full((B, L), -1)
  np.testing.assert_array_equal(
    played(acting, text), played(acting, text - np.arange(L))
  )


def test_it_acts_as_the_model_does_in_training():
  acting = policy('causal')
  text = np.arange(B * L).reshape(B, L) % V
  context = acting.model.context
  actions_TBA = played(acting, text, steps=context)
  proprio = [seen(t, text)['proprio'] for t in range(context)]
  for t in range(context):  # Windows end at t; what was before is not there.
    valid_BT = np.arange(context)[None] >= context - 1 - t
    valid_BT = np.broadcast_to(valid_BT, (B, context))
    before = [np.full((B, P), np.nan)] * (context - 1 - t)
    done = [*actions_TBA[:t], np.zeros((B, A))]
    undone = [np.zeros((B, A))] * (context - 1 - t)
    windows = {
      'text': text,
      'proprio': np.stack([*before, *proprio[: t + 1]], 1).astype(np.float32),
      'action': np.stack([*undone, *done], 1).astype(np.float32),
    }
    apply = sequence.bind(acting.model, acting.params)
    hide_BTM = behaviour_cloning.hidden(valid_BT, apply.streams)
    output = apply(windows, valid_BT, hide_BTM)
    read_BTD = output['reads']['action']
    expected = apply.head('action')(read_BTD)[:, -1, 0]
    np.testing.assert_allclose(actions_TBA[t], expected, atol=1e-5)


def test_words_beyond_the_vocabulary_are_refused():
  acting = policy()
  acting.reset(B)
  with pytest.raises(ValueError, match="'text': found int32 up to 11"):
    acting.act(seen(0, np.full((B, L), V)))
  with pytest.raises(ValueError, match="'text'"):
    acting.act(seen(0, np.zeros((B, L + 1))))


def test_it_is_saved_and_loaded(tmp_path):
  acting = policy()
  acting.save(tmp_path / 'policy')
  text = np.arange(B * L).reshape(B, L) % V
  loaded = rpt_jax.from_pretrained(tmp_path / 'policy').policy()
  np.testing.assert_array_equal(played(loaded, text), played(acting, text))
