"""One token after the other: what a causal transformer says next, drawn.

Keys and values of what has been read are kept, so that a token costs what one
token costs, and not the whole window. For models of one discrete stream with a
time, a token a step, after any streams without one; the numbers are those of
`SequenceModel` (`tests/models/test_decoding.py`).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from rpt_jax.models import transformer, visibility
from rpt_jax.models.sequence import Bound
from rpt_jax.models.stems import Stem, is_token, parameter
from rpt_jax.types import Array


def sample(
  apply: Bound,
  inputs: dict[str, Array],
  count: int,
  key: Array,
  temperature: float = 1.0,
) -> Array:
  """`count` tokens [B, count] that follow the prompt [B, T, 1] in `inputs`.

  Args:
    inputs: the prompt, and all streams without a time.
    temperature: logits are divided by it.

  Raises:
    ValueError: a model of other streams or another trunk, or more tokens than
      its context has room for.
  """
  prompt_BT1 = inputs[_stream(apply).name]
  steps = prompt_BT1.shape[1]
  if steps + count > apply.model.context + 1:
    raise ValueError(
      f'count: found {steps} + {count} tokens, but the context of the model is '
      f'{apply.model.context}, expected at most one more'
    )
  logits_BV, state = _begin(apply, inputs)

  def step(carry, at):
    logits_BV, pasts = carry
    place, key = at
    token_B = jax.random.categorical(key, logits_BV / temperature)
    new = _next(apply, state, pasts, token_B[:, None, None], place)
    return new, token_B

  places = steps + jnp.arange(count)
  keys = jax.random.split(key, count)
  start = logits_BV, state['pasts']
  _, token_CB = jax.lax.scan(step, start, (places, keys))
  return token_CB.T.astype(jnp.int32)


def _stream(apply):
  """The one stream that is drawn."""
  timed = [s for s in apply.streams if s.timed]
  kind = getattr(apply.model.trunk, 'num_heads', None)
  if (
    len(timed) != 1
    or timed[0].kind != 'discrete'
    or timed[0].levels != 1
    or kind is None
    or apply.visibility not in visibility.CAUSAL
  ):
    raise ValueError(
      f'model: found streams {[s.name for s in timed]} with a time and '
      f'visibility {apply.visibility!r}, expected one discrete stream of one '
      'level in a causal transformer'
    )
  return timed[0]


def _begin(apply, inputs):
  """Logits [B, V] after the prompt, and what later tokens need."""
  stream = _stream(apply)
  prompt_BT1 = inputs[stream.name]
  batch, steps = prompt_BT1.shape[:2]
  context = apply.model.context
  real_BL, parts = None, []
  for spec in (s for s in apply.streams if not s.timed):
    parts.append(_embedded(apply, spec, inputs[spec.name]))
    real = is_token(spec, inputs[spec.name])
    real_BL = real if real_BL is None else jnp.concatenate([real_BL, real], 1)
  timed_BTM = jnp.ones((batch, context, 1), bool)
  place = visibility.place(apply.visibility, timed_BTM, real_BL)
  mask = place.mask()
  prefix = mask.shape[-1] - context
  x_BTD = _timed(apply, prompt_BT1, jnp.arange(steps))
  x_BND = jnp.concatenate([*parts, x_BTD], axis=1)
  settings, width = apply.model.trunk, apply.model.width
  heads = settings.num_heads
  empty = jnp.zeros((batch, prefix + context, heads, width // heads))
  past = transformer.Past(empty, empty, jnp.int32(0))
  state = {'mask': mask, 'pasts': (past,) * settings.depth, 'prefix': prefix}
  rows = mask[:, :, : prefix + steps]
  logits_BV, pasts = _read(apply, state['pasts'], x_BND, rows)
  return logits_BV, state | {'pasts': pasts}


def _next(apply, state, pasts, token_B11, place):
  """(logits [B, V] after a token at a step `place`, the pasts with it)."""
  # The last token that is drawn has no step of its own; nobody reads on.
  place = jnp.minimum(place, apply.model.context - 1)
  x_B1D = _timed(apply, token_B11, place[None])
  row = jax.lax.dynamic_slice_in_dim(
    state['mask'], state['prefix'] + place, 1, axis=2
  )
  return _read(apply, pasts, x_B1D, row)


def _read(apply, pasts, x_BND, rows):
  """(logits [B, V] of the last of some tokens, the pasts with them)."""
  batch, length, width = x_BND.shape
  settings = apply.model.trunk
  block = transformer.Block(
    settings.num_heads, settings.mlp_ratio, qk_norm=settings.qk_norm
  )
  blocks = transformer.unstack(apply.params['trunk']['blocks'], settings.depth)
  x_ND, kept = x_BND.reshape(-1, width), []
  for params, past in zip(blocks, pasts, strict=True):
    x_ND, past = block.apply({'params': params}, x_ND, length, rows, None, past)
    kept.append(past)
  last_B1D = x_ND.reshape(batch, length, width)[:, -1:]
  norm = {'params': apply.params['norm']}
  read_B1D = nn.LayerNorm().apply(norm, last_B1D)
  head = apply.head(_stream(apply).name)
  return head.logits(read_B1D)[:, 0, 0, 0], tuple(kept)


def _timed(apply, token_BT1, step_T):
  """Tokens and where they stand [B, T, D]."""
  table = apply.params['trunk']['time']['embedding']
  return _embedded(apply, _stream(apply), token_BT1) + table[step_T][None]


def _embedded(apply, spec, x):
  stem = Stem(spec, apply.model.width)
  return stem.apply({'params': apply.params[parameter('stem', spec.name)]}, x)


@functools.partial(jax.jit, static_argnames=('model', 'count'))
def jitted(model, params, constants, inputs, count, key, temperature=1.0):
  """`sample`, compiled once for a model and shapes."""
  apply = Bound(model, params, constants)
  return sample(apply, inputs, count, key, temperature)
