"""A sentence before the steps: who sees it, and what it leaves as it was."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import sequence, visibility
from rpt_jax.models.heads import HeadSpec, cosine, linear
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.models.trunks import transformer
from rpt_jax.types import StreamSpec

B, T, D, L, V = 2, 4, 3, 5, 11
TEXT = StreamSpec('text', 'prefix', vocab=V, levels=L)
STEPS = (
  StreamSpec('latent/a', 'continuous', dim=D),
  StreamSpec('unit', 'discrete', vocab=7, levels=2),
)
HEADS = (
  HeadSpec(StreamSpec('next', 'continuous', dim=4), linear.Settings(), 2),
  HeadSpec(STEPS[1], cosine.Settings(), reads=('unit',)),
)
VALID = np.ones((B, T), bool)
WORDS = np.array([[3, 0, 9, -1, -1], [1, 2, 2, 4, 8]])


def _model(rule='causal', streams=(TEXT, *STEPS)):
  trunk = transformer.Settings(2, 2, 2.0)
  model = SequenceModel(streams, HEADS, trunk, 16, T, rule)
  return model, _params(model.clone(visibility='causal'))


@functools.cache
def _params(model):
  return sequence.init(model, jax.random.key(0))


def _inputs():
  keys = jax.random.split(jax.random.key(1))
  return {
    'latent/a': jax.random.normal(keys[0], (B, T, D)),
    'unit': jax.random.randint(keys[1], (B, T, 2), 0, 7),
    'text': jnp.array(WORDS),
  }


def _assert_equal(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_parameters_of_a_prefix_leave_the_others_as_they_are():
  params, plain = _model()[1], _model(streams=STEPS)[1]
  stem = params['stem_text']
  _assert_equal({k: x for k, x in params.items() if k != 'stem_text'}, plain)
  shapes = jax.tree.map(jnp.shape, stem)
  assert shapes == {'embed': {'embedding': (V, 16)}, 'position': (L, 16)}


def test_only_what_has_a_time_is_read():
  model, params = _model()
  output = jax.jit(sequence.bind(model, params))(_inputs(), VALID)
  assert output['tokens'].shape == (B, T, 2, 16)
  assert output['features'].shape == (B, T, 16)
  assert [x.shape for x in output['layers']] == [(B, T, 16)] * 3
  assert output['reads']['unit'].shape == (B, T, 16)
  # Where the prefix stands among the streams is nothing to M.
  other, _ = _model(streams=(STEPS[0], TEXT, STEPS[1]))
  again = jax.jit(sequence.bind(other, params))(_inputs(), VALID)
  _assert_equal(output, again)


def _trunk(model, params, inputs):
  """All tokens as the trunk leaves them: [B, N, D]."""
  _, state = model.apply(
    {'params': params},
    inputs,
    valid_BT=VALID,
    capture_intermediates=lambda module, _: isinstance(
      module, transformer.Trunk
    ),
  )
  (output,) = state['intermediates']['trunk']['__call__']
  return output[0]


@pytest.mark.parametrize('rule', visibility.RULES)
def test_who_sees_whom_by_gradient(rule):
  model, params = _model(rule)
  inputs = _inputs()

  def tokens(position_LD, time_TD, latent_BTD):
    stem = params['stem_text'] | {'position': position_LD}
    trunk = params['trunk'] | {'time': {'embedding': time_TD}}
    moved = params | {'stem_text': stem, 'trunk': trunk}
    return _trunk(model, moved, inputs | {'latent/a': latent_BTD})[0].sum(-1)

  by_word, by_time, by_step = jax.jit(jax.jacobian(tokens, (0, 1, 2)))(
    params['stem_text']['position'],
    params['trunk']['time']['embedding'],
    inputs['latent/a'],
  )
  assert by_time[L:].any() and not by_time[:L].any()  # A word has no time.
  by_word = np.abs(by_word).max(-1) > 0  # [token, word]
  there_L = WORDS[0] >= 0
  assert by_word[L:, there_L].all()  # Every step sees every word.
  assert not by_word[:, ~there_L].any()  # Nobody an absent one.
  assert by_word[:L][np.ix_(there_L, there_L)].all()
  by_step = np.abs(by_step[:, 0]).max(-1) > 0  # [token, step]
  assert not by_step[:L].any()  # No word sees a step,
  # so that it does not carry the future to the past either.
  if rule in visibility.CAUSAL:
    step_N = np.repeat(np.arange(T), (len(by_step) - L) // T)
    assert not by_step[L:][np.arange(T)[None] > step_N[:, None]].any()


@pytest.mark.parametrize('rule', ['causal', 'bidirectional'])
def test_what_stands_in_place_of_an_absent_word_changes_nothing(rule):
  model, params = _model(rule)

  def loss(params, words):
    inputs = _inputs() | {'text': words}
    output = sequence.bind(model, params)(inputs, VALID)
    return output['features'].sum(), output

  run = jax.jit(jax.value_and_grad(loss, has_aux=True))
  output = run(params, jnp.array(WORDS))
  for absent in ((-7, -2), (-2, -7), (-(2**31), -V)):
    words = WORDS.copy()
    words[0, 3:] = absent
    _assert_equal(output, run(params, jnp.array(words)))
  changed = run(params, jnp.array(WORDS[:, [1, 0, 2, 3, 4]]))
  assert np.abs(output[0][1]['features'] - changed[0][1]['features']).max() > 0


def test_no_words_at_all_is_a_model_without_them():
  model, params = _model()
  plain, _ = _model(streams=STEPS)
  inputs = _inputs()
  silent = inputs | {'text': jnp.full((B, L), -1)}
  found = jax.jit(sequence.bind(model, params))(silent, VALID)
  expected = jax.jit(sequence.bind(plain, params))(inputs, VALID)
  close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-2)  # noqa: E731
  jax.tree.map(close, found, expected)  # bf16.


def test_bad_prefixes_are_named():
  model, params = _model()
  inputs = _inputs()
  with pytest.raises(ValueError, match=r"no stream \['text'\]"):
    sequence.bind(model, params)(
      {k: x for k, x in inputs.items() if k != 'text'}, VALID
    )
  for wrong in (np.zeros((B, L + 1), int), np.zeros((B, T, L), int)):
    with pytest.raises(ValueError, match=r"'text'.*expected \[batch, 5\]"):
      sequence.bind(model, params)(inputs | {'text': wrong}, VALID)
  lost = model.clone(heads=(dataclasses.replace(HEADS[0], reads=('text',)),))
  with pytest.raises(ValueError, match=r"reads \['text'\], but the streams"):
    sequence.init(lost, jax.random.key(0))


@pytest.mark.parametrize('rule', visibility.RULES)
def test_the_mask_of_a_prefix(rule):
  rng = np.random.default_rng(0)
  valid_BT = rng.random((B, T)) < 0.7
  present_BTM = rng.random((B, T, 2)) < 0.7
  real_BL = WORDS >= 0
  real_BTM = present_BTM & valid_BT[..., None]
  mask = np.asarray(visibility.place(rule, real_BTM, real_BL).mask())
  assert mask.shape == (B, 1, L + 2 * T, L + 2 * T)
  plain = visibility.place(rule, real_BTM).mask()
  np.testing.assert_array_equal(mask[:, :, L:, L:], plain)
  assert not mask[:, :, :L, L:].any()
  there = np.broadcast_to(real_BL[:, None, None], (B, 1, 2 * T, L))
  np.testing.assert_array_equal(mask[:, :, L:, :L], there)
  itself = np.eye(L, dtype=bool)
  there = real_BL[:, None] | itself[None]
  np.testing.assert_array_equal(mask[:, 0, :L, :L], there)


def test_a_model_is_drawn_with_its_prefix():
  lines = sequence.describe(_model('causal')[0]).splitlines()
  assert lines[0] == (
    'causal: a token sees its own step and all before (5 of text + 4 steps '
    'x 2 streams = 13 tokens)'
  )
  assert lines[1:6] == [
    '    text[0] ###......',
    '    text[1] ###......',
    '    text[2] ###......',
    'latent/a[0] #####....',
    '    unit[0] #####....',
  ]
  assert len(lines) == 1 + 3 + 6
