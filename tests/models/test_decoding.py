"""Tokens drawn with what was read kept: the numbers of the whole model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import decoding, sequence
from rpt_jax.models.heads import HeadSpec, linear
from rpt_jax.models.trunks import transformer
from rpt_jax.types import TEXT, UNIT, StreamSpec

VOCAB, PROMPT, COUNT = 11, 3, 5
STREAMS = (
  StreamSpec(TEXT, 'prefix', vocab=7, levels=4),
  StreamSpec(UNIT, 'discrete', vocab=VOCAB),
)


def model(streams=STREAMS, **how):
  timed = tuple(s for s in streams if s.timed)
  trunk = transformer.Settings(2, 2, qk_norm=True)
  heads = tuple(HeadSpec(s, linear.Settings()) for s in timed)
  how = {'width': 16, 'context': PROMPT + COUNT - 1} | how
  return sequence.SequenceModel(streams, heads, trunk, **how)


def test_what_is_drawn_follows_the_whole_model():
  """Each token is the likeliest, as noise this cold changes none; the second
  sentence is shorter: what is absent is not seen."""
  own = model()
  params = sequence.init(own, jax.random.key(0))
  # Untrained logits are nearly alike, and told apart by nothing.
  params['head_unit']['project']['kernel'] *= 30.0
  text_BL = jnp.array([[1, 2, 3, 4], [5, 6, -1, -1]])
  token_BT1 = jnp.arange(2 * PROMPT).reshape(2, PROMPT, 1)
  inputs = {TEXT: text_BL, UNIT: token_BT1}
  drawn = decoding.jitted(
    own, params, {}, inputs, COUNT, jax.random.key(1), 1e-4
  )
  apply = sequence.bind(own, params)
  for i in range(COUNT):
    valid_BT = jnp.ones(token_BT1.shape[:2], bool)
    read = apply({TEXT: text_BL, UNIT: token_BT1}, valid_BT)['reads'][UNIT]
    logits_BV = apply.head(UNIT).logits(read)[:, -1, 0, 0]
    np.testing.assert_array_equal(drawn[:, i], logits_BV.argmax(-1))
    new = drawn[:, i, None, None]
    token_BT1 = jnp.concatenate([token_BT1, new], axis=1)
  assert len(np.unique(drawn)) > 2


def test_draws_are_as_likely_as_the_model_says():
  own = model()
  params = sequence.init(own, jax.random.key(0))
  params['head_unit']['project']['kernel'] *= 5.0
  inputs = {
    TEXT: jnp.tile(jnp.array([[1, 2, -1, -1]]), (4000, 1)),
    UNIT: jnp.zeros((4000, PROMPT, 1), jnp.int32),
  }
  drawn = decoding.jitted(own, params, {}, inputs, 1, jax.random.key(1))
  one = {name: x[:1] for name, x in inputs.items()}
  apply = sequence.bind(own, params)
  read = apply(one, jnp.ones((1, PROMPT), bool))['reads'][UNIT]
  likely_V = jax.nn.softmax(apply.head(UNIT).logits(read)[0, -1, 0, 0])
  share_V = np.bincount(np.ravel(drawn), minlength=VOCAB) / 4000
  assert np.abs(share_V - likely_V).max() < 0.03


@pytest.mark.parametrize(
  'how, words',
  [
    ({'visibility': 'bidirectional'}, 'causal'),
    ({'streams': (StreamSpec('latent', 'continuous', dim=3),)}, 'discrete'),
    ({'context': PROMPT}, 'context'),
  ],
)
def test_what_cannot_be_drawn_is_told(how, words):
  own = model(**how)
  name = own.streams[-1].name
  inputs = {TEXT: jnp.zeros((1, 4), int), name: jnp.zeros((1, PROMPT, 1), int)}
  params = sequence.init(own, jax.random.key(0))
  with pytest.raises(ValueError, match=words):
    decoding.sample(
      sequence.bind(own, params), inputs, COUNT, jax.random.key(0)
    )
