"""HuBERT: hide spans of steps, name the units of what is hidden.

L = alpha * CE(masked steps) + (1 - alpha) * CE(unmasked steps), each a sum
over its steps divided by their number, codebooks summed (arXiv 2106.07447;
fairseq `hubert_criterion.py`, `compute_mask_indices`).
"""

import dataclasses

import jax
import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models import heads as heads_lib
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, Batch, StreamSpec

VISIBILITY = 'bidirectional'


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is hidden, and what counts."""

  mask_probability: float = keys.key(
    0.8, 'share of steps that spans are to hide', above=0, high=1
  )
  span: int = keys.key(3, 'steps hidden together', low=1, high=10_000)
  alpha: float = keys.key(
    1.0, 'weight of hidden steps; the others get 1 - alpha', low=0, high=1
  )


def heads(
  settings: Settings,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One head over the units of all codebooks."""
  del settings, streams
  targets_lib.check(targets, ('unit',), 'masked_units')
  unit = targets_lib.spec(targets, 'unit', 'masked_units')
  return (HeadSpec(unit, heads_lib.usual(unit)),)


def check_window(settings: Settings, context: int) -> None:
  """Raise ValueError where a span is longer than a window."""
  if settings.span > context:
    raise ValueError(
      f'span: found {settings.span}, expected 1 to {context} (the steps of a '
      'window)'
    )


def span_mask(
  key: Array, valid_BT: Array, probability: float, span: int
) -> Array:
  """Bool [B, T]: the union of spans of `span` steps inside each clip.

  A clip of n valid steps gets int(probability * n / span + U[0, 1)) spans, at
  least two (one where two do not fit), their starts drawn without
  replacement. Unlike fairseq, the last step can be hidden (n - span + 1
  starts, not n - span) and rows are not trimmed to the same count. A clip
  shorter than a span is hidden nowhere.
  """
  batch, steps = valid_BT.shape
  if not 1 <= span <= steps:
    raise ValueError(
      f'span: found {span}, expected 1 to {steps} (the steps of a window)'
    )
  count_key, start_key = jax.random.split(key)
  length_B = valid_BT.sum(1)
  extra_B = jax.random.uniform(count_key, (batch,))
  number_B = (probability * length_B / span + extra_B).astype(jnp.int32)
  number_B = jnp.maximum(number_B, jnp.clip(length_B // span, 1, 2))
  ahead = jnp.arange(steps - span + 1)[:, None] + jnp.arange(span)[None]
  fits_BS = valid_BT[:, ahead].all(-1)
  score_BS = jax.random.uniform(start_key, fits_BS.shape)
  score_BS = jnp.where(fits_BS, score_BS, 2.0)
  rank_BS = jnp.argsort(jnp.argsort(score_BS, axis=1), axis=1)
  start_BS = fits_BS & (rank_BS < number_B[:, None])
  padded = jnp.pad(start_BS, ((0, 0), (span - 1, span - 1)))
  return jnp.stack([padded[:, i : i + steps] for i in range(span)]).any(0)


def loss(apply, batch: Batch, key: Array, settings: Settings, teacher=None):
  """HuBERT's loss on `batch['targets']['unit']` [B, T, L]; negative: absent.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM, present_BTM) -> output`.

  Returns:
    (nats, metrics as (sum, count)).
  """
  del teacher
  valid_BT = batch['valid']
  mask_BT = span_mask(key, valid_BT, settings.mask_probability, settings.span)
  present_BTM = batch.get('present')
  output = apply(batch['inputs'], valid_BT, mask_BT[..., None], present_BTM)
  unit_BTL = batch['targets']['unit'][:, : valid_BT.shape[1]]
  named_BT = valid_BT & (unit_BTL >= 0).all(-1)
  nats_BT1, measures = apply.head('unit').loss(
    output['reads']['unit'],
    unit_BTL[:, :, None],
    named_BT[..., None],
    jax.random.fold_in(key, 1),
  )
  nats_BT, right_BT = nats_BT1[..., 0], measures['accuracy'][..., 0]
  masked_BT, seen_BT = named_BT & mask_BT, named_BT & ~mask_BT
  alpha = settings.alpha
  nats = alpha * targets_lib.mean(nats_BT, masked_BT)
  nats += (1 - alpha) * targets_lib.mean(nats_BT, seen_BT)
  ones = jnp.ones_like(nats_BT)
  metrics = {
    'loss_bits': (nats / jnp.log(2.0), jnp.ones(())),
    'masked_accuracy': targets_lib.pair(right_BT, masked_BT),
    'unmasked_accuracy': targets_lib.pair(right_BT, seen_BT),
    'masked_fraction': (
      targets_lib.pair(ones, mask_BT & valid_BT)[0],
      targets_lib.pair(ones, valid_BT)[1],
    ),
  }
  return nats, metrics
