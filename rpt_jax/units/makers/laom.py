"""Latent actions as LAOM learns them, and its ablations down to LAPO.

As `latent_action`, an inverse model gives a code of two latents and a forward
model the next latent of the first and the code. LAOM (Nikulin et al. 2025,
arXiv 2502.00379) lets the inverse model look a random number of steps ahead,
does not quantise, takes wide codes, and has a linear map of codes give the
actions of a few labelled clips. Here the image model is frozen: latents are
what is predicted, and frames are not augmented. Afterwards codes are clustered.

Of the published ablation: `levels=4, horizon=1` is LAPO with FSQ (Mentzer et
al. 2023, arXiv 2309.15505), `levels=0, horizon=1` LAPO without, `horizon=10`
multi-step, `code_width` the width, `labelled` the supervision. Not action-free
where `labelled` is not 0, and then of that many clips of `pretrain` alone.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rpt_jax import settings as keys
from rpt_jax.episodes import stack
from rpt_jax.units import labelled, makers, transforms
from rpt_jax.units.makers import latent_action

NEEDS = (makers.LATENT, 'action')
_SCALE = ('standardise',)
_AT_ONCE = 50  # Steps whose latents are read at once.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of the models, and their training."""

  code_width: int = keys.key(
    128, 'numbers of a code; published: 8192', low=1, high=65_536
  )
  hidden_width: int = keys.key(
    128, 'numbers of hidden layers; published: 1024', low=1, high=65_536
  )
  levels: int = keys.key(
    0, 'values of each number of a code; 0: continuous', low=0, high=256
  )
  horizon: int = keys.key(
    10, 'steps ahead that the inverse model sees, at most', low=1, high=1000
  )
  labelled: int = keys.key(
    0, 'clips whose actions are read, evenly spread', low=0, high=1_000_000
  )
  weight: float = keys.key(
    0.001, 'of the loss of their actions', low=0, high=1000
  )
  steps: int = keys.key(
    300, 'updates; published: 97 000', low=1, high=1_000_000_000
  )
  batch_size: int = keys.key(
    128, 'pairs; published: 512', low=1, high=1_000_000
  )
  labelled_batch: int = keys.key(
    32, 'more, with an action; published: 128', low=1, high=1_000_000
  )
  learning_rate: float = keys.key(1e-3, 'of Adam, going to 0', above=0, high=1)

  def check(self, where: str) -> None:
    """Raises ValueError for a single level, which says nothing."""
    if self.levels == 1:
      keys.refuse(f'{where}.levels', 1, '0, or 2 and more')


def sizes(settings: Settings, shared) -> tuple[int, int]:
  """(vocabulary, 1)."""
  del settings
  return shared.num_clusters, 1


def lookahead(settings: Settings) -> float:
  """One frame: a unit is of what happens from t to t + 1."""
  del settings
  return 1


def fit(settings: Settings, clips, key, shared, mesh):
  """{'scale', 'models', 'codebook'}, dictionaries all of them.

  Raises ValueError where no clip has two frames, and for fewer clips than are
  to be labelled.
  """
  first_M = np.flatnonzero(latent_action.followed(clips))
  if not len(first_M):
    raise ValueError(
      f'laom: found {len(clips.lengths)} clips of a frame at most, expected '
      'some of two or more: it learns from what follows what'
    )
  scale = transforms.fit(_SCALE, lambda: transforms.slabs(clips))
  x_ND = latent_action.scaled(scale, clips)
  row_L, action_LA = _labels(settings, clips, first_M)
  init_key, train_key, cluster_key = jax.random.split(key, 3)
  params = init(settings, x_ND.shape[1], action_LA.shape[1], init_key)
  data = x_ND, first_M, clips.offsets[1:][clips.clip_N]
  params = train(settings, params, data, (row_L, action_LA), train_key)
  code_MC = _codes(settings, params, x_ND, first_M, first_M + 1)
  codebook = makers.cluster(code_MC, shared, cluster_key, mesh)
  return {'scale': scale, 'models': params, 'codebook': codebook}


def apply(settings: Settings, fitted, clips, key, mesh) -> makers.Units:
  """Units [N, 1] and codes; -1 and zeros at the last step of every clip."""
  followed_N = latent_action.followed(clips)
  row_N = np.arange(len(followed_N))
  x_ND = latent_action.scaled(fitted['scale'], clips)
  code_NC = _codes(settings, fitted['models'], x_ND, row_N, row_N + followed_N)
  return makers.of_codes(fitted['codebook'], code_NC, followed_N, key, mesh)


def _labels(settings, clips, first_M):
  """(rows [L], standardised actions [L, A]); nothing is read without labels."""
  if not settings.labelled:
    return first_M[:1], np.zeros((1, 1))
  row_L, _ = labelled.rows(clips, settings.labelled, 1)
  action_LA = labelled.actions(clips, row_L)
  mean_A, deviation_A = labelled.moments(action_LA)
  return row_L, (action_LA - mean_A) / deviation_A


def init(settings: Settings, width: int, actions: int, key):
  """Parameters 'inverse', 'forward' and 'action' for latents of a width."""
  code, hidden = settings.code_width, settings.hidden_width
  pair_key, action_key = jax.random.split(key)
  models = latent_action.init(
    latent_action.Settings(code_width=code, hidden_width=hidden),
    width,
    pair_key,
  )
  kernel = jax.random.normal(action_key, (code, actions)) / code**0.5
  return models | {'action': {'kernel': kernel, 'bias': jnp.zeros(actions)}}


@functools.partial(jax.jit, static_argnums=0)
def codes(settings: Settings, params, now_ND, later_ND):
  """The inverse model: pairs of standardised latents -> codes [N, C]."""
  pair_NE = jnp.concatenate([now_ND, later_ND - now_ND], axis=1)
  code_NC = latent_action.perceptron(params['inverse'], pair_NE)
  if not settings.levels:
    return code_NC
  return quantised(code_NC, settings.levels)


def quantised(code_NC, levels: int):
  """Finite scalar quantisation: `levels` values from -1 to 1, straight through.

  Mentzer et al. 2023, section 3.1: bounded by tanh, rounded, and the gradient
  is that of what was bounded.
  """
  half = (levels - 1) / 2
  # Of an even number of values none is in the middle.
  offset = 0.0 if levels % 2 else 0.5
  bounded_NC = half * jnp.tanh(code_NC)
  rounded_NC = jnp.round(bounded_NC + offset) - offset
  rounded_NC = jnp.clip(rounded_NC, -half, half)
  straight_NC = bounded_NC + jax.lax.stop_gradient(rounded_NC - bounded_NC)
  return straight_NC / half


def train(settings: Settings, params, data, labels, key):
  """Parameters after all steps.

  Args:
    data: (latents x_ND, rows [M] with another after them, the row [N] at which
      the clip of each row ends).
    labels: (rows [L], actions [L, A]).
  """
  (x_ND, first_M, end_N), (row_L, action_LA) = data, labels
  state = params, _optimizer(settings).init(params)
  keys_S = jax.random.split(key, settings.steps)
  for start in range(0, settings.steps, _AT_ONCE):
    own_S = keys_S[start : start + _AT_ONCE]
    pick_SB, pick_SL, ahead_SB, ahead_SL = map(
      np.asarray, _draws(settings, own_S, len(first_M), len(row_L))
    )
    now_SB = first_M[pick_SB]
    labelled_SL = row_L[pick_SL]
    drawn = {
      'now': x_ND[now_SB],
      'next': x_ND[now_SB + 1],
      'later': x_ND[_later(now_SB, ahead_SB, end_N)],
      'action': np.float32(action_LA[pick_SL]),
      'labelled': x_ND[labelled_SL],
      'labelled_later': x_ND[_later(labelled_SL, ahead_SL, end_N)],
    }
    state = _learn(settings, state, drawn)
  return state[0]


def _later(now, ahead, end_N):
  """Rows `ahead` steps later, or the last one of their clip."""
  return now + np.minimum(ahead, end_N[now] - 1 - now)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _draws(settings, keys_S, count, labels):
  """Which pairs [S, B] and labelled ones [S, L], and how far each looks."""

  def one(key):
    a, b, c, d = jax.random.split(key, 4)
    size, few = (settings.batch_size,), (settings.labelled_batch,)
    return (
      jax.random.choice(a, count, size),
      jax.random.choice(b, labels, few),
      jax.random.randint(c, size, 1, settings.horizon + 1),
      jax.random.randint(d, few, 1, settings.horizon + 1),
    )

  return jax.vmap(one)(keys_S)


def _optimizer(settings):
  rate = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
  return optax.adam(rate)


@functools.partial(jax.jit, static_argnums=0)
def _learn(settings, state, drawn):
  """(parameters, state of Adam) after the steps that were drawn."""
  tx = _optimizer(settings)

  def loss(params, batch):
    code_BC = codes(settings, params, batch['now'], batch['later'])
    guess_BD = latent_action.predict(params, batch['now'], code_BC)
    error = jnp.square(guess_BD - batch['next']).mean()
    if not settings.labelled:
      return error
    code_LC = codes(
      settings, params, batch['labelled'], batch['labelled_later']
    )
    head = params['action']
    guess_LA = code_LC @ head['kernel'] + head['bias'][None]
    acting = jnp.square(guess_LA - batch['action']).mean()
    return error + settings.weight * acting

  def step(state, batch):
    params, moments = state
    slope = jax.grad(loss)(params, batch)
    updates, moments = tx.update(slope, moments)
    return (optax.apply_updates(params, updates), moments), None

  return jax.lax.scan(step, state, drawn)[0]


def _codes(settings, params, x_ND, now_M, next_M):
  """Codes [M, C] of pairs of rows, some of them in memory at a time."""
  parts = [
    np.asarray(codes(settings, params, x_ND[now], x_ND[after]))
    for now, after in zip(
      stack.blocks(now_M), stack.blocks(next_M), strict=True
    )
  ]
  return np.concatenate(parts)
