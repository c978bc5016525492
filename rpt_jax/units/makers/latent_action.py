"""Latent actions: what happened between two frames, clustered.

An inverse model squeezes two successive latents into a narrow code, from which,
and from the first of them, a forward model gives the second: what the first
says already need not be in the code (LAPO, Schmidt and Jiang 2023, arXiv
2312.10812). LAPO quantises codes as they are learnt. Here they are bounded, and
noise is added in training, so that different changes are pushed apart and equal
ones together; afterwards they are clustered by the k-means of all recipes.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rpt_jax import settings as keys
from rpt_jax.episodes import stack
from rpt_jax.types import Array, PyTree
from rpt_jax.units import makers, transforms

NEEDS = (makers.LATENT,)
_SCALE = ('standardise',)  # What is done to latents here, of `transforms`.
_AT_ONCE = 50  # Steps whose pairs are read at once.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of both models, and their training."""

  code_width: int = keys.key(
    4, 'numbers of a code: the bottleneck', low=1, high=65_536
  )
  hidden_width: int = keys.key(
    128, 'numbers of hidden layers', low=1, high=65_536
  )
  noise: float = keys.key(
    0.2,
    'deviation of what is added to codes, from -1 to 1, in training',
    low=0,
    high=10,
  )
  steps: int = keys.key(1000, 'updates', low=1, high=1_000_000_000)
  batch_size: int = keys.key(128, 'pairs', low=1, high=1_000_000)
  learning_rate: float = keys.key(3e-3, 'of Adam, going to 0', above=0, high=1)


def sizes(settings: Settings, shared) -> tuple[int, int]:
  """(vocabulary, 1)."""
  del settings
  return shared.num_clusters, 1


def lookahead(settings: Settings) -> float:
  """One frame: the unit of t is what happens from t to t + 1."""
  del settings
  return 1


def fit(settings: Settings, clips, key, shared, mesh):
  """{'scale', 'models', 'codebook'}, dictionaries all of them.

  Raises ValueError where no clip has two frames.
  """
  first_M = np.flatnonzero(followed(clips))
  if not len(first_M):
    raise ValueError(
      f'latent_action: found {len(clips.lengths)} clips of a frame at most, '
      'expected some of two or more: it learns from what follows what'
    )
  scale = transforms.fit(_SCALE, lambda: transforms.slabs(clips))
  x_ND = scaled(scale, clips)
  init_key, train_key, cluster_key = jax.random.split(key, 3)
  params = init(settings, x_ND.shape[1], init_key)
  params = train(settings, params, x_ND, first_M, train_key)
  code_MD = _codes(params, x_ND, first_M, first_M + 1)
  codebook = makers.cluster(code_MD, shared, cluster_key, mesh)
  return {'scale': scale, 'models': params, 'codebook': codebook}


def apply(settings: Settings, fitted, clips, key, mesh) -> makers.Units:
  """Units [N, 1] and codes; -1 and zeros at the last step of every clip."""
  del settings
  followed_N = followed(clips)
  row_N = np.arange(len(followed_N))
  x_ND = scaled(fitted['scale'], clips)
  code_ND = _codes(fitted['models'], x_ND, row_N, row_N + followed_N)
  return makers.of_codes(fitted['codebook'], code_ND, followed_N, key, mesh)


def scaled(scale: PyTree, clips) -> Array:
  """Latents [N, D] on their scale, put there when they are read."""

  def on_scale(x):
    flat = x.reshape(-1, x.shape[-1])
    clip_N = np.zeros(len(flat), int)
    return transforms.apply(_SCALE, scale, flat, clip_N).reshape(x.shape)

  return stack.mapped(clips.arrays[makers.LATENT], on_scale)


def _codes(params, x_ND, now_M, next_M):
  """Codes [M, C] of pairs of rows, some of them in memory at a time."""
  parts = [
    np.asarray(codes(params, x_ND[now], x_ND[after]))
    for now, after in zip(
      stack.blocks(now_M), stack.blocks(next_M), strict=True
    )
  ]
  return np.concatenate(parts)


def followed(clips) -> np.ndarray:
  """bool [N]: whether the next row is of the same clip."""
  clip_N = clips.clip_N
  return np.append(clip_N[1:] == clip_N[:-1], False)


def init(settings: Settings, width: int, key: Array) -> PyTree:
  """Parameters 'inverse' and 'forward' for latents of a width."""
  code, hidden = settings.code_width, settings.hidden_width
  shapes = {
    'inverse': {'hidden': (2 * width, hidden), 'out': (hidden, code)},
    'forward': {'hidden': (width + code, hidden), 'out': (hidden, width)},
  }
  keys_4 = iter(jax.random.split(key, 4))

  def layer(shape):
    kernel = jax.random.normal(next(keys_4), shape) / shape[0] ** 0.5
    return {'kernel': kernel, 'bias': jnp.zeros(shape[1])}

  return jax.tree.map(layer, shapes, is_leaf=lambda x: isinstance(x, tuple))


@jax.jit
def codes(params: PyTree, now_ND: Array, next_ND: Array) -> Array:
  """The inverse model: pairs of standardised latents -> codes in (-1, 1)."""
  # The change rather than the second: it is small beside the latents.
  pair_NE = jnp.concatenate([now_ND, next_ND - now_ND], axis=1)
  return jnp.tanh(perceptron(params['inverse'], pair_NE))


def predict(params: PyTree, now_ND: Array, code_NC: Array) -> Array:
  """The forward model: what the second latents are taken to be."""
  seen_NE = jnp.concatenate([now_ND, code_NC], axis=1)
  return now_ND + perceptron(params['forward'], seen_NE)


def train(
  settings: Settings, params: PyTree, x_ND: Array, first_M: Array, key: Array
) -> PyTree:
  """Parameters after all steps on pairs of rows `first_M` and those after them.

  The loss is the squared error of the second latents, which are standardised.
  Pairs of some steps are read at once, wherever the rows lie.
  """
  state = params, _optimizer(settings).init(params)
  keys_S = jax.random.split(key, settings.steps)
  for start in range(0, settings.steps, _AT_ONCE):
    own_S = keys_S[start : start + _AT_ONCE]
    pick_SB = _picks(own_S, settings.batch_size, len(first_M))
    row_SB2 = first_M[np.asarray(pick_SB)][..., None] + np.arange(2)
    state = _learn(settings, state, x_ND[row_SB2], own_S)
  return state[0]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _picks(keys_S, size, count):
  """Which pairs each step learns from: [S, B]."""

  def one(key):
    pick, _ = jax.random.split(key)
    return jax.random.choice(pick, count, (size,))

  return jax.vmap(one)(keys_S)


def _optimizer(settings):
  rate = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
  return optax.adam(rate)


@functools.partial(jax.jit, static_argnames='settings')
def _learn(settings, state, pair_SB2D, keys_S):
  """(parameters, state of Adam) after some steps."""
  tx = _optimizer(settings)

  def loss(params, now_BD, next_BD, key):
    code_BC = codes(params, now_BD, next_BD)
    noise_BC = settings.noise * jax.random.normal(key, code_BC.shape)
    guess_BD = predict(params, now_BD, code_BC + noise_BC)
    return jnp.square(guess_BD - next_BD).mean()

  def step(state, drawn):
    (params, moments), (pair_B2D, key) = state, drawn
    _, draw = jax.random.split(key)
    slope = jax.grad(loss)(params, pair_B2D[:, 0], pair_B2D[:, 1], draw)
    updates, moments = tx.update(slope, moments)
    return (optax.apply_updates(params, updates), moments), None

  return jax.lax.scan(step, state, (pair_SB2D, keys_S))[0]


def perceptron(params: PyTree, x_NE: Array) -> Array:
  """Two layers, 'hidden' and 'out', of one model: [N, E] -> [N, ...]."""
  hidden, out = params['hidden'], params['out']
  h_NH = jax.nn.gelu(x_NE @ hidden['kernel'] + hidden['bias'][None])
  return h_NH @ out['kernel'] + out['bias'][None]
