"""Predicting tokens of streams: heads, errors, and weights of streams.

A token is the value of one stream at one step. Continuous ones count by the
squared error of their standardised dimensions, discrete ones by cross-entropy
over log(vocab), so that a model that knows nothing has an error near 1 in any
stream, and streams weigh the same.
"""

from collections.abc import Callable

import jax.numpy as jnp

from rpt_jax.models.streams import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, StreamSpec


def head(stream: StreamSpec, reads: tuple[str, ...]) -> HeadSpec:
  """The head that gives a stream from the tokens of the streams `reads`."""
  if stream.kind == 'continuous':
    return HeadSpec(stream.name, 'linear', dim=stream.dim, reads=reads)
  return HeadSpec(
    stream.name,
    'cosine',
    vocab=stream.vocab,
    levels=stream.levels,
    reads=reads,
  )


def inputs(batch: dict, config: dict) -> tuple[dict, Array]:
  """(stream -> [B, T, ...] in the order of M, bool [B, T, M] what is there).

  Args:
    batch: 'inputs', stream -> [B, T, dim] floats, standardised, or integers
      [B, T, levels]; 'valid' [B, T]; optional 'present' [B, T, M]. What is
      padded or absent may hold anything.
    config: 'streams', their names in the order of M.

  Raises:
    ValueError: a stream has no input, or `present` another number of streams.
  """
  streams, valid_BT = tuple(config['streams']), batch['valid']
  missing = [name for name in streams if name not in batch['inputs']]
  if missing:
    raise ValueError(
      f'inputs: no stream {missing}, found {sorted(batch["inputs"])}; give '
      'every stream of config streams'
    )
  shape = (*valid_BT.shape, len(streams))
  present_BTM = batch.get('present')
  if present_BTM is None:
    present_BTM = jnp.ones(shape, bool)
  if present_BTM.shape != shape:
    raise ValueError(
      f'present: found shape {present_BTM.shape}, expected {shape} (batch, '
      f'steps, streams {streams})'
    )
  found = {name: batch['inputs'][name] for name in streams}
  return found, present_BTM & valid_BT[..., None]


def error(predicted: Array, x: Array, target_BT: Array) -> Array:
  """Error of each token [B, T], a mean over its dimensions or levels.

  Args:
    predicted: values [B, T, dim] or logits [B, T, levels, vocab].
    x: [B, T, dim] floats or [B, T, levels] integers; where `target_BT` is
      False it may hold anything.
  """
  if _is_discrete(x):
    nats_BTL = targets_lib.cross_entropy(predicted, x)
    return nats_BTL.mean(-1) / jnp.log(predicted.shape[-1])
  difference = predicted - x.astype(jnp.float32)
  return (jnp.where(target_BT[..., None], difference, 0.0) ** 2).mean(-1)


def metrics(
  name: str,
  predicted: Array,
  x: Array,
  seen_BT: Array,
  target_BT: Array,
  rules: dict[str, Callable],
) -> dict[str, tuple[Array, Array]]:
  """'error/<name>' and '<rule>/<name>', (sum, count) over the targets.

  A rule of `guesses` gives what is said from the steps `seen_BT` without
  learning. Of a discrete stream, whose errors are no squares, 'wrong/<name>'
  is the share of units named wrongly, and 'copy_last/<name>' that of copying.
  """
  found = {'error': error(predicted, x, target_BT)}
  if _is_discrete(x):
    copied = rules['copy_last'](x + 1, seen_BT)
    found['wrong'] = _wrong(predicted.argmax(-1), x)
    # Plus one, minus one: -1, no unit, where there is nothing to copy.
    found['copy_last'] = _wrong(copied - 1, x)
  else:
    for rule, guess in rules.items():
      found[rule] = error(guess(x, seen_BT), x, target_BT)
  return {
    f'{what}/{name}': targets_lib.pair(each_BT, target_BT)
    for what, each_BT in found.items()
  }


def total(metrics: dict[str, tuple[Array, Array]]) -> Array:
  """The loss: over the streams that have targets, the mean of mean errors."""
  pairs = [pair for name, pair in metrics.items() if name.startswith('error/')]
  means = [each / jnp.maximum(count, 1.0) for each, count in pairs]
  have = [(count > 0).astype(jnp.float32) for _, count in pairs]
  return sum(means) / jnp.maximum(sum(have), 1.0)


def _is_discrete(x):
  return jnp.issubdtype(x.dtype, jnp.integer)


def _wrong(guess, x):
  return (guess != x).mean(-1, dtype=jnp.float32)
