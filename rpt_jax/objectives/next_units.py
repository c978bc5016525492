"""Forward generation: predict the next units, and latents, k steps ahead.

The trunk is causal. At every step t, one cosine head names the units at
t + 1 .. t + k (cross-entropy) and one linear head gives the latents there
(squared error in the standardised space the caller works in).
"""

import jax
import jax.numpy as jnp

from rpt_jax.models.streams import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, StreamSpec

VISIBILITY = 'causal'


def heads(
  config: dict,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """Units, and latents where a target stream 'latent' has any weight."""
  del streams
  k = config['steps']
  unit = targets_lib.spec(targets, 'unit', 'next_units')
  specs = (HeadSpec('unit', 'cosine', 0, unit.vocab, unit.levels, k),)
  for stream in targets:
    if stream.name == 'latent' and config['latent_weight']:
      specs += (HeadSpec('latent', 'linear', dim=stream.dim, steps=k),)
  return specs


def loss(apply, batch: dict, key: Array, config: dict):
  """Cross-entropy of future units + weighted squared error of latents.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM) -> model output`.
    batch: 'targets' 'unit' [B, S, L] (negative: absent) and, if predicted,
      'latent' [B, S, D]; S >= T, see `objectives/targets.py`.
    config: 'steps' (k), 'latent_weight'.

  Returns:
    (loss, metrics as (sum, count)); the `copy_` ones belong to predicting
    that nothing changes.
  """
  del key
  steps = config['steps']
  output = apply(batch['inputs'], batch['valid'], None)['heads']
  units = _units(output['unit'], batch, steps)
  nats = targets_lib.mean(units['nats'], units['valid'])
  metrics = {
    'loss_bits': (nats / jnp.log(2.0), jnp.ones(())),
    'accuracy': targets_lib.pair(units['right'], units['valid']),
    'accuracy_1': targets_lib.pair(
      units['right'][:, :, 0], units['valid'][:, :, 0]
    ),
    'copy_accuracy': targets_lib.pair(units['same'], units['valid']),
  }
  if 'latent' not in output:
    return nats, metrics
  latents = _latents(output['latent'], batch, steps)
  error = targets_lib.mean(latents['error'], latents['valid'])
  metrics['latent_error'] = targets_lib.pair(latents['error'], latents['valid'])
  metrics['copy_latent_error'] = targets_lib.pair(
    latents['copy'], latents['valid']
  )
  return nats + config['latent_weight'] * error, metrics


def _units(logits_BTKLV, batch, steps):
  """Per target [B, T, K]: nats, share of levels right, same as now."""
  unit_BSL = batch['targets']['unit']
  unit_BTKL, valid_BTK = targets_lib.ahead(unit_BSL, batch, 1, steps)
  now_BTL = unit_BSL[:, : logits_BTKLV.shape[1]]
  return {
    'nats': targets_lib.cross_entropy(logits_BTKLV, unit_BTKL).sum(-1),
    'right': (logits_BTKLV.argmax(-1) == unit_BTKL).mean(-1),
    'same': (now_BTL[:, :, None] == unit_BTKL).mean(-1),
    'valid': valid_BTK & (unit_BTKL >= 0).all(-1),
  }


def _latents(predicted_BTKD, batch, steps):
  """Mean squared error over D per target [B, T, K], and of copying."""
  latent_BSD = batch['targets']['latent']
  latent_BTKD, valid_BTK = targets_lib.ahead(latent_BSD, batch, 1, steps)
  now_BTD = latent_BSD[:, : predicted_BTKD.shape[1]]
  there = valid_BTK[..., None]
  error = jnp.where(there, predicted_BTKD - latent_BTKD, 0.0)
  copy = jnp.where(there, now_BTD[:, :, None] - latent_BTKD, 0.0)
  return {
    'error': (error**2).mean(-1),
    'copy': (copy**2).mean(-1),
    'valid': valid_BTK,
  }


def sample_futures(
  apply,
  inputs: dict[str, Array],
  valid_BT: Array,
  key: Array,
  steps: int,
  temperature: float = 1.0,
) -> dict[str, Array]:
  """Rolls the model forward on its own predictions.

  The window slides: each step samples units (argmax at temperature 0), takes
  the predicted latent, and feeds back what the inputs need of them.

  Args:
    inputs: stream name -> [B, T, ...]; the last step must be valid.
    steps: how many steps to generate.

  Returns:
    'unit' [B, steps, L] int32 and, if predicted, 'latent' [B, steps, D].

  Raises:
    ValueError: an input stream is neither of the two.
  """

  def step(carry, key):
    inputs, valid_BT = carry
    predicted = apply(inputs, valid_BT, None)['heads']
    now = _sample(predicted, key, temperature)
    missing = sorted(set(inputs) - set(now))
    if missing:
      raise ValueError(
        f'inputs: the model does not predict {missing}, so it cannot go on '
        'from its own predictions'
      )
    inputs = {
      name: jnp.concatenate([x[:, 1:], now[name][:, None]], axis=1)
      for name, x in inputs.items()
    }
    valid_BT = jnp.pad(valid_BT[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    return (inputs, valid_BT), now

  keys = jax.random.split(key, steps)
  _, futures = jax.lax.scan(step, (inputs, valid_BT), keys)
  return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), futures)


def _sample(predicted, key, temperature):
  """The next step of every predicted stream, from the window's last step."""
  logits_BLV = predicted['unit'][:, -1, 0]
  if temperature:
    unit_BL = jax.random.categorical(key, logits_BLV / temperature)
  else:
    unit_BL = logits_BLV.argmax(-1)
  now = {'unit': unit_BL.astype(jnp.int32)}
  if 'latent' in predicted:
    now['latent'] = predicted['latent'][:, -1, 0]
  return now
