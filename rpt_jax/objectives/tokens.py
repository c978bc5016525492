"""Predicting tokens of streams: errors, and weights of streams.

A token is the value of one stream at one step. Continuous ones count by the
squared error of their standardised dimensions, discrete ones by cross-entropy
over log(vocab), so that a model that knows nothing has an error near 1 in any
stream, and streams weigh the same.
"""

import jax.numpy as jnp

from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, Batch, StreamSpec


def check_targets(
  streams: tuple[StreamSpec, ...], targets: tuple[StreamSpec, ...], name: str
) -> None:
  """Raise ValueError unless what is predicted is what is read."""
  read, predicted = (
    [s.name for s in specs if s.timed] for specs in (streams, targets)
  )
  if read != predicted:
    raise ValueError(
      f'{name}: found targets {predicted}, expected the streams it reads, '
      f'{read}; leave targets empty'
    )


def inputs(batch: Batch, streams: tuple[StreamSpec, ...]) -> tuple[dict, Array]:
  """(stream -> [B, T, ...] in the order of M, bool [B, T, M] what is there).

  Args:
    batch: 'inputs', stream -> [B, T, dim] floats, standardised, or integers
      [B, T, levels]; 'valid' [B, T]; optional 'present' [B, T, M]. What is
      padded or absent may hold anything.
    streams: those of the model, in the order of M; a prefix has no place
      among them, and is no target.

  Raises:
    ValueError: a stream has no input, or `present` another number of streams.
  """
  valid_BT = batch['valid']
  names = [s.name for s in streams if s.timed]
  missing = [name for name in names if name not in batch['inputs']]
  if missing:
    raise ValueError(
      f'inputs: no stream {missing}, found {sorted(batch["inputs"])}; give '
      'every stream of the model'
    )
  shape = (*valid_BT.shape, len(names))
  present_BTM = batch.get('present')
  if present_BTM is None:
    present_BTM = jnp.ones(shape, bool)
  if present_BTM.shape != shape:
    raise ValueError(
      f'present: found shape {present_BTM.shape}, expected {shape} (batch, '
      f'steps, streams {names})'
    )
  chosen = {name: batch['inputs'][name] for name in names}
  return chosen, present_BTM & valid_BT[..., None]


def metrics(
  head, read_BTD: Array, x: Array, seen_BT: Array, target_BT: Array, rules, key
) -> dict[str, tuple[Array, Array]]:
  """'error/<name>' and '<rule>/<name>', (sum, count) over the targets.

  A rule of `guesses` gives what is said from the steps `seen_BT` without
  learning. Of a discrete stream, whose errors are no squares, 'wrong/<name>'
  is the share of units named wrongly, and 'copy_last/<name>' that of copying.

  Args:
    head: the `Reader` of a stream, of one step; it reads `read_BTD`.
    x: [B, T, dim] floats or [B, T, levels] integers; where `target_BT` is
      False it may hold anything.
  """
  spec = head.spec.target
  each_BT1, measures = head.loss(
    read_BTD, x[:, :, None], target_BT[..., None], key
  )
  errors = {'error': each_BT1[..., 0]}
  if spec.kind == 'discrete':
    errors['error'] /= spec.levels * jnp.log(spec.vocab)
    errors['wrong'] = 1.0 - measures['accuracy'][..., 0]
    copied = rules['copy_last'](x + 1, seen_BT) - 1
    # Plus one, minus one: -1, no unit, where there is nothing to copy.
    errors['copy_last'] = (copied != x).mean(-1, dtype=jnp.float32)
  else:
    for rule, guess in rules.items():
      difference = guess(x, seen_BT) - x
      errors[rule] = jnp.square(
        jnp.where(target_BT[..., None], difference, 0.0)
      ).mean(-1)
  return {
    f'{measure}/{spec.name}': targets_lib.pair(error_BT, target_BT)
    for measure, error_BT in errors.items()
  }


def total(metrics: dict[str, tuple[Array, Array]]) -> Array:
  """The loss: over the streams that have targets, the mean of mean errors."""
  pairs = [pair for name, pair in metrics.items() if name.startswith('error/')]
  means = [each / jnp.maximum(count, 1.0) for each, count in pairs]
  have = [(count > 0).astype(jnp.float32) for _, count in pairs]
  return sum(means) / jnp.maximum(sum(have), 1.0)
