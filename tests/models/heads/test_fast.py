"""FAST: chunks to tokens and back, its loss, what is drawn, where it ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import fft

from rpt_jax.models import byte_pairs, heads
from rpt_jax.models.heads import fast
from rpt_jax.models.trunks import mingru
from rpt_jax.types import StreamSpec

C, A, D = 6, 2, 5
ACTION = StreamSpec('action', 'continuous', dim=A)
SPEC = heads.HeadSpec(ACTION, fast.Settings(vocab=64, width=8, depth=1), C)
# Smooth actions: of each a sine of its own.
TIME = np.arange(400)[:, None]
ROWS = np.sin(TIME * [0.11, 0.07] + [0.0, 1.0]).astype(np.float32) * [1.0, 30.0]
CONSTANTS = jax.device_get(fast.fit(ROWS.astype(np.float32), SPEC))
BASE = 2 * 25 + 1  # 10 sqrt(6) is 24.5.


def chunks(count=20):
  first = np.random.default_rng(0).integers(len(ROWS) - C, size=count)
  return np.float32(ROWS[first[:, None] + np.arange(C)])


def shaped():
  bounds = {k: CONSTANTS[k].reshape(1, 1, A) for k in ('low', 'high')}
  return CONSTANTS | bounds


def test_symbols_are_rounded_frequencies_low_ones_first():
  chunk_NCA = chunks()
  symbols_NL = np.asarray(fast.symbols_of(shaped(), chunk_NCA, SPEC))
  low_A, high_A = np.quantile(ROWS, (0.01, 0.99), axis=0)
  unit = (2 * (chunk_NCA - low_A) / (high_A - low_A) - 1).clip(-1, 1)
  frequency = 10 * fft.dct(unit, axis=1, norm='ortho')
  expected = frequency.reshape(len(chunk_NCA), -1)  # [frequency, dimension].
  assert np.abs(symbols_NL - 25 - expected).max() <= 0.501
  assert 0 <= symbols_NL.min() and symbols_NL.max() < BASE
  back = fast.chunks_of(shaped(), jnp.asarray(symbols_NL), SPEC)
  clipped = low_A + (unit + 1) / 2 * (high_A - low_A)
  # Each frequency is 0.05 away at most, and the transform is a rotation.
  error = (np.asarray(back) - clipped) / (high_A - low_A) * 2
  assert np.sqrt((error**2).sum(1)).max() <= 0.05 * np.sqrt(C) * 1.02


def test_smooth_chunks_are_few_tokens():
  symbols_NL = fast.symbols_of(shaped(), chunks(), SPEC)
  tokens = byte_pairs.encode(CONSTANTS['merges'], symbols_NL, BASE)
  assert (np.asarray(tokens) != byte_pairs.NONE).sum(-1).mean() < C * A / 1.5


@dataclasses.dataclass
class Scripted:
  """In place of a head: the same tokens, one after the other."""

  tokens: jax.Array
  spec = SPEC
  constants = jax.tree.map(jnp.asarray, CONSTANTS)

  def __call__(self, read_BTD, query):
    tokens_BT1, state = query
    at = jnp.maximum(state[:1, 0, :1], 0).astype(int)  # It begins below 0.
    one_1 = self.tokens[at][0]
    logits = jnp.where(jnp.arange(65)[None] == one_1[:, None], 50.0, -50.0)
    shape = *tokens_BT1.shape, 65
    return jnp.broadcast_to(logits[None, None], shape), jnp.maximum(
      state, 0
    ) + 1


DRAWN = jax.jit(
  lambda script, read, key: fast.drawn(Scripted(script), read, key, 3)
)


def _tokens(chunk_NCA):
  symbols_NL = fast.symbols_of(shaped(), chunk_NCA, SPEC)
  given = byte_pairs.encode(CONSTANTS['merges'], symbols_NL, BASE)[0]
  return symbols_NL, [int(t) for t in given if t != byte_pairs.NONE]


def test_tokens_spell_the_chunk_up_to_the_end_marker():
  symbols_NL, tokens = _tokens(chunks(1))
  whole = fast.chunks_of(shaped(), symbols_NL, SPEC)[0]
  read_BTD, key, end = jnp.zeros((2, 1, D)), jax.random.key(0), 64

  def drawn(*script):
    script = (*script, *[end] * (C * A + 1 - len(script)))
    draws, wrong = DRAWN(jnp.asarray(script), read_BTD, key)
    assert draws.shape == (3, 2, 1, C, A) and np.isfinite(draws).all()
    assert wrong.shape == (3, 2, 1) and wrong.all() == wrong.any()
    return np.asarray(draws[0, 0, 0]), bool(wrong[0, 0, 0])

  chunk, wrong = drawn(*tokens)
  np.testing.assert_allclose(chunk, whole, atol=1e-4)
  assert not wrong
  # Too few numbers: the frequencies that are missing are none.
  chunk, wrong = drawn(*tokens[:1])
  spelled = CONSTANTS['counts'][tokens[0]]
  short = jnp.where(jnp.arange(C * A) < spelled, symbols_NL, 25)
  np.testing.assert_allclose(
    chunk, fast.chunks_of(shaped(), short, SPEC)[0], atol=1e-4
  )
  assert wrong
  chunk, wrong = drawn()
  np.testing.assert_allclose(
    chunk,
    shaped()['low'][0].repeat(C, 0) / 2 + shaped()['high'][0].repeat(C, 0) / 2,
    atol=1e-4,
  )
  assert wrong
  # What comes after the end is not looked at; too much is left out.
  chunk, wrong = drawn(*tokens, end, 0, 1)
  assert not wrong
  longest = int(CONSTANTS['counts'].argmax())
  _, wrong = drawn(*[longest] * (C * A))
  assert wrong == bool(C * A % CONSTANTS['counts'][longest])


def _reader():
  params = jax.jit(heads.make(SPEC).init)(
    jax.random.key(1), jnp.zeros((1, 1, D))
  )['params']
  return heads.Reader(SPEC, params, CONSTANTS)


def test_the_loss_is_that_of_tokens_drawn_one_by_one():
  """In parallel, and as they are drawn: one token and a state at a time."""
  reader, chunk_1CA = _reader(), chunks(1)
  read_BTD = jax.random.normal(jax.random.key(2), (1, 1, D))
  valid_BTC = np.ones((1, 1, C), bool)
  each, measures = jax.jit(reader.loss)(
    read_BTD, chunk_1CA[None], valid_BTC, None
  )
  step = jax.jit(reader)
  _, tokens = _tokens(chunk_1CA)
  nats, right, before = 0.0, 0, 64
  state = mingru.start(mingru.Settings(1, 1.0), 8, 1)
  for token in (*tokens, 64):
    query = jnp.full((1, 1, 1), before), state
    logits, state = step(read_BTD, query)
    log_p = np.asarray(jax.nn.log_softmax(logits))[0, 0, 0]
    nats, right = nats - log_p[token], right + (log_p.argmax() == token)
    before = token
  np.testing.assert_allclose(each.sum(), nats, rtol=2e-2)
  expected = right / (len(tokens) + 1)
  np.testing.assert_allclose(measures['accuracy'][0, 0, 0], expected)


def test_faults():
  few = heads.HeadSpec(ACTION, fast.Settings(vocab=BASE - 1), C)
  with pytest.raises(ValueError, match=f'vocab: found 50, expected {BASE}'):
    heads.make(few)
  with pytest.raises(ValueError, match=r'head\.quantiles: found'):
    fast.Settings(quantiles=(0.9, 0.1)).check('head')
