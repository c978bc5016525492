"""HuBERT: hide spans of steps, name the units of what is hidden.

L = alpha * CE(masked steps) + (1 - alpha) * CE(unmasked steps), each a sum
over its steps divided by their number, codebooks summed (arXiv 2106.07447;
fairseq `hubert_criterion.py`, `compute_mask_indices`).
"""

import jax
import jax.numpy as jnp

from rpt_jax.models.streams import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, StreamSpec

VISIBILITY = 'bidirectional'


def heads(
  config: dict,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One cosine head over the units of all codebooks."""
  del config, streams
  unit = targets_lib.spec(targets, 'unit', 'masked_units')
  return (HeadSpec('unit', 'cosine', vocab=unit.vocab, levels=unit.levels),)


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


def loss(apply, batch: dict, key: Array, config: dict):
  """HuBERT's loss on `batch['targets']['unit']` [B, T, L]; negative: absent.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM) -> model output`.
    config: 'mask_probability', 'span' (steps), 'alpha'.

  Returns:
    (nats, metrics as (sum, count)).
  """
  valid_BT = batch['valid']
  mask_BT = span_mask(key, valid_BT, config['mask_probability'], config['span'])
  output = apply(batch['inputs'], valid_BT, mask_BT[..., None])
  logits_BTLV = output['heads']['unit'][:, :, 0]
  unit_BTL = batch['targets']['unit'][:, : valid_BT.shape[1]]
  nats_BT = targets_lib.cross_entropy(logits_BTLV, unit_BTL).sum(-1)
  right_BT = (logits_BTLV.argmax(-1) == unit_BTL).mean(-1)
  known_BT = valid_BT & (unit_BTL >= 0).all(-1)
  masked_BT, seen_BT = known_BT & mask_BT, known_BT & ~mask_BT
  alpha = config['alpha']
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
