"""Forward generation: predict the next units, and latents, k steps ahead.

The trunk is causal. At every step t, one head names the units at t + 1 .. t + k
(cross-entropy) and one gives the latents there (squared error in the
standardised space the caller works in).
"""

import dataclasses

import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models import heads as heads_lib
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, Batch, StreamSpec

VISIBILITY = 'causal'


@dataclasses.dataclass(frozen=True)
class Settings:
  """How far ahead, and what counts."""

  horizon: int = keys.key(4, 'steps ahead', low=1, high=10_000)
  latent_weight: float = keys.key(
    1.0,
    "of latents, where 'latent' is a target beside 'unit'",
    low=0,
    high=1000,
  )


def reach(settings: Settings) -> int:
  """Steps of targets beyond the window."""
  return settings.horizon


def heads(
  settings: Settings,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """Units, and latents where 'latent' is among the targets."""
  del streams
  k = settings.horizon
  targets_lib.check(targets, ('unit', 'latent'), 'next_units')
  unit = targets_lib.spec(targets, 'unit', 'next_units')
  latents = [stream for stream in targets if stream.name == 'latent']
  return tuple(HeadSpec(s, heads_lib.usual(s), k) for s in (unit, *latents))


def loss(apply, batch: Batch, key: Array, settings: Settings, teacher=None):
  """Cross-entropy of future units + weighted squared error of latents.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM, present_BTM) -> output`.
    batch: 'targets' 'unit' [B, S, L] (negative: absent) and, if predicted,
      'latent' [B, S, D]; S >= T, see `objectives/targets.py`.

  Returns:
    (loss, metrics as (sum, count)); the `copy_` ones belong to predicting
    that nothing changes, those that end in a number to so many steps ahead.
  """
  del teacher
  steps, present_BTM = settings.horizon, batch.get('present')
  reads = apply(batch['inputs'], batch['valid'], None, present_BTM)['reads']
  units = _units(apply.head('unit'), reads['unit'], batch, steps, key)
  nats = targets_lib.mean(units['nats'], units['valid'])
  metrics = {
    'loss_bits': (nats / jnp.log(2.0), jnp.ones(())),
    'accuracy': targets_lib.pair(units['right'], units['valid']),
    'copy_accuracy': targets_lib.pair(units['same'], units['valid']),
  }
  for measure, each in (('accuracy', 'right'), ('copy_accuracy', 'same')):
    metrics |= targets_lib.by_step(measure, units[each], units['valid'])
  if 'latent' not in reads:
    return nats, metrics
  latents = _latents(apply.head('latent'), reads['latent'], batch, steps, key)
  error = targets_lib.mean(latents['error'], latents['valid'])
  metrics['latent_error'] = targets_lib.pair(latents['error'], latents['valid'])
  metrics['copy_latent_error'] = targets_lib.pair(
    latents['copy'], latents['valid']
  )
  return nats + settings.latent_weight * error, metrics


def _units(head, read_BTD, batch, steps, key):
  """Per target [B, T, K]: nats, share of levels right, same as now."""
  unit_BSL = batch['targets']['unit']
  unit_BTKL, valid_BTK = targets_lib.ahead(unit_BSL, batch, 1, steps)
  valid_BTK &= (unit_BTKL >= 0).all(-1)
  nats_BTK, measures = head.loss(read_BTD, unit_BTKL, valid_BTK, key)
  now_BTL = unit_BSL[:, : read_BTD.shape[1]]
  return {
    'nats': nats_BTK,
    'right': measures['accuracy'],
    'same': (now_BTL[:, :, None] == unit_BTKL).mean(-1),
    'valid': valid_BTK,
  }


def _latents(head, read_BTD, batch, steps, key):
  """Mean squared error over D per target [B, T, K], and of copying."""
  latent_BSD = batch['targets']['latent']
  latent_BTKD, valid_BTK = targets_lib.ahead(latent_BSD, batch, 1, steps)
  error_BTK, _ = head.loss(read_BTD, latent_BTKD, valid_BTK, key)
  now_BTD = latent_BSD[:, : read_BTD.shape[1]]
  copy = now_BTD[:, :, None] - latent_BTKD
  copy = jnp.where(valid_BTK[..., None], copy, 0.0)
  return {'error': error_BTK, 'copy': (copy**2).mean(-1), 'valid': valid_BTK}
