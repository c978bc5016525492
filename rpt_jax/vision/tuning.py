"""Which parameters of an image model train: none, the last blocks, LoRA, all.

`split` cuts a tree of parameters in two, `merge` puts it together again; the
gradient is taken of the first part alone:

  trained, fixed = tuning.split(model.params, 'lora:8')
  loss = lambda trained: f(model.apply(tuning.merge(trained, fixed), x))
"""

import re

import jax
import jax.numpy as jnp
from flax import traverse_util

from rpt_jax.types import Array, PyTree

MODES = "'frozen', 'full', 'last:<blocks>' or 'lora:<rank>'"
ALPHA = 16.0  # LoRA's update is A @ B * ALPHA / rank.
TARGETS = r'(qkv|out|up|down)/kernel'
# What follows the blocks of a ViT trains with the last of them.
_AFTER = ('norm', 'pool', 'projection')
# Blocks of a convolutional network by name: '3.1.0', 'conv_13.pointwise'.
_CONV_BLOCK = re.compile(r'(?:conv_)?(\d+)(?:\.(\d+))?\.')


def split(
  params: PyTree, mode: str, key: Array | None = None
) -> tuple[PyTree, PyTree]:
  """(trained, fixed) of an image model's parameters, nested dictionaries.

  'last:<n>' trains the last n blocks and what follows them. 'lora:<rank>' (Hu
  et al. 2021) fixes all and trains matrices A [..., in, rank] (normal, from
  `key`) and B [..., rank, out] (zeros) for each kernel whose path 'a/b/c' ends
  in `TARGETS`, so that nothing changes at first.
  Raises ValueError for an unknown mode and for one that finds no parameter.
  """
  flat = traverse_util.flatten_dict(params)
  name, _, number = mode.partition(':')
  if mode in ('frozen', 'full'):
    trained, fixed = ({}, flat) if mode == 'frozen' else (flat, {})
  elif name in ('last', 'lora') and number.isdigit() and int(number) > 0:
    if name == 'last':
      trained, fixed = _last(flat, int(number))
    else:
      key = jax.random.key(0) if key is None else key
      trained, fixed = _lora(flat, int(number), key), flat
  else:
    raise ValueError(f'tuning: found {mode!r}, expected {MODES}')
  return tuple(map(traverse_util.unflatten_dict, (trained, fixed)))


def merge(trained: PyTree, fixed: PyTree) -> PyTree:
  """The parameters that `model.apply` takes, of both parts of a `split`."""
  merged = traverse_util.flatten_dict(fixed)
  flat = traverse_util.flatten_dict(trained)
  for path, leaf in flat.items():
    *base, last = path
    base = tuple(base)
    if last == 'lora_a':
      update = jnp.matmul(leaf, flat[*base, 'lora_b'], precision='highest')
      merged[base] = merged[base] + update * (ALPHA / leaf.shape[-1])
    elif last != 'lora_b':
      first = (merged[path],) if path in merged else ()
      merged[path] = jnp.concatenate([*first, leaf]) if first else leaf
  return traverse_util.unflatten_dict(merged)


def _last(flat, number):
  """The last blocks, a slice of stacked leaves or leaves by their names."""
  stacked = {path for path in flat if 'blocks' in path}
  if stacked:
    depth = len(flat[min(stacked)])
  else:
    blocks = sorted({_conv_block(path) for path in flat} - {None})
    depth = len(blocks)
  if number > depth:
    raise ValueError(f'tuning: last:{number} of a model of {depth} blocks')
  trained, fixed = {}, {}
  for path, leaf in flat.items():
    if path in stacked:
      fixed[path], trained[path] = leaf[:-number], leaf[-number:]
    elif stacked:
      (trained if path[0] in _AFTER else fixed)[path] = leaf
    else:
      last = _conv_block(path) in blocks[-number:]
      (trained if last else fixed)[path] = leaf
  return trained, fixed


def _conv_block(path):
  """The place of a parameter's block, comparable; None before all blocks."""
  match = _CONV_BLOCK.match(path[0])
  return match and tuple(int(x or 0) for x in match.groups())


def _lora(flat, rank, key):
  """A and B in the places of the kernels they change."""
  trained = {}
  for index, path in enumerate(sorted(flat)):
    if not re.search(f'(^|/)({TARGETS})$', '/'.join(path)):
      continue
    *stack, rows, columns = flat[path].shape
    if rank > min(rows, columns):
      raise ValueError(
        f'tuning: lora:{rank} on {"/".join(path)} of {rows} x {columns}; '
        'expected a smaller rank'
      )
    a = jax.random.normal(jax.random.fold_in(key, index), (*stack, rows, rank))
    trained[*path, 'lora_a'] = a * rows**-0.5
    trained[*path, 'lora_b'] = jnp.zeros((*stack, rank, columns))
  if not trained:
    names = ['/'.join(path) for path in list(flat)[:3]]
    raise ValueError(
      f'tuning: no parameter ends in {TARGETS!r} (they are called like '
      f"{names}); expected a transformer, or 'last:<blocks>'"
    )
  return trained
