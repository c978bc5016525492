"""Regression of what follows: at every step the next k latents.

Plain, the targets are the standardised latents. With a teacher, a running mean
of the weights, they are what it makes of the steps to come: its tokens of the
stream, normed over their numbers without a scale, as in data2vec (arXiv
2202.03555, 3.3); the head is the predictor that keeps the two networks apart
(BYOL, arXiv 2006.07733). Nothing but that keeps the tokens from all becoming
alike: the error of copying, beside which the page sets the model's, then falls
to nothing.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models import heads as heads_lib
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.objectives import tokens
from rpt_jax.types import CAMERA, LATENT, Array, Batch, StreamSpec

VISIBILITY = 'causal'


@dataclasses.dataclass(frozen=True)
class Settings:
  """How far ahead, and whose targets."""

  horizon: int = keys.key(4, 'steps ahead', low=1, high=10_000)
  teacher: float = keys.key(
    0.0,
    'decay of the weights whose features are predicted; 0: latents are',
    low=0,
    high=0.99999,
  )


def reach(settings: Settings) -> int:
  """Steps of targets beyond the window; a teacher reads what the model does."""
  return 0 if settings.teacher else settings.horizon


def teacher(settings: Settings) -> float:
  """Decay of the teacher; 0: there is none."""
  return settings.teacher


def check_window(settings: Settings, context: int) -> None:
  """ValueError where a teacher sees no step that far ahead."""
  if settings.teacher and settings.horizon >= context:
    raise ValueError(
      f'horizon: found {settings.horizon}, expected less than the {context} '
      'steps of a window, which are all that the teacher sees'
    )


def heads(
  settings: Settings,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One head for each latent among the targets, as wide as what it predicts.

  Raises ValueError for another target, for none, and, with a teacher, for one
  that the model does not read.
  """
  names = [s.name for s in targets]
  latents = [s for s in targets if (s.name + '/').startswith(CAMERA)]
  if not latents or len(latents) < len(targets):
    raise ValueError(
      f'latent_regression: found targets {names}, expected {LATENT!r} or '
      f"'{CAMERA}<camera>' alone"
    )
  unread = sorted({*names} - {s.name for s in streams})
  if settings.teacher:
    if unread:
      raise ValueError(
        f'latent_regression: found targets {unread} that are not read, '
        'expected streams of the model, of which a teacher has tokens'
      )
    latents = [dataclasses.replace(s, dim=0) for s in latents]
  k = settings.horizon
  return tuple(HeadSpec(s, heads_lib.usual(s), k) for s in latents)


def loss(apply, batch: Batch, key: Array, settings: Settings, teacher=None):
  """Squared error of what is to come: the mean over streams of each's mean.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM, present_BTM) -> output`.
    batch: as `tokens.inputs` takes it; without a teacher 'targets' [B, S, D],
      S >= T, see `objectives/targets.py`.
    teacher: like `apply`; gets no gradient.

  Returns:
    (loss, metrics as (sum, count)): for every stream 'error/<stream>' and, on
    the same targets, 'copy_last/<stream>', that of nothing changing.
  """
  _, real_BTM = tokens.inputs(batch, apply.streams)
  windows = batch['inputs'], batch['valid'], None, real_BTM
  reads = apply(*windows)['reads']
  order = [s.name for s in apply.streams if s.timed]
  taught = {}
  if teacher is not None:
    tokens_BTMD = _normed(jax.lax.stop_gradient(teacher(*windows)['tokens']))
    taught = {s: tokens_BTMD[:, :, m] for m, s in enumerate(order)}
    batch = {'valid': batch['valid'], 'targets': taught}
  metrics = {}
  for m, name in enumerate(reads):
    x_BSD = batch['targets'][name]
    real_BT = batch['valid']
    if name in order:
      real_BT = real_BTM[..., order.index(name)]
    own_key = jax.random.fold_in(key, m)
    metrics |= _errors(
      apply.head(name), reads[name], x_BSD, real_BT, batch, own_key
    )
  return tokens.total(metrics), metrics


def _errors(head, read_BTD, x_BSD, real_BT, batch, key):
  """{metric: (sum, count)} of the steps after each that has the stream."""
  name, steps = head.spec.name, head.spec.steps
  x_BTKD, valid_BTK = targets_lib.ahead(x_BSD, batch, 1, steps)
  # Whether a stream is there is not said of steps beyond the window; what a
  # clip lacks it lacks throughout.
  beyond = x_BSD.shape[1] - real_BT.shape[1]
  real_BS = jnp.pad(real_BT, ((0, 0), (0, beyond)), constant_values=True)
  real_BTK, _ = targets_lib.ahead(real_BS, batch, 1, steps)
  valid_BTK &= real_BTK & real_BT[..., None]
  error_BTK, _ = head.loss(read_BTD, x_BTKD, valid_BTK, key)
  change_BTKD = x_BSD[:, : real_BT.shape[1], None] - x_BTKD
  copied_BTK = jnp.square(
    jnp.where(valid_BTK[..., None], change_BTKD, 0.0)
  ).mean(-1)
  return {
    f'error/{name}': targets_lib.pair(error_BTK, valid_BTK),
    f'copy_last/{name}': targets_lib.pair(copied_BTK, valid_BTK),
  }


def _normed(x):
  """Mean 0, variance 1 over the numbers of each token."""
  x = x - x.mean(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)
