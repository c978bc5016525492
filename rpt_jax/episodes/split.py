"""Episodes held out by their content, so that copies stay on one side."""

import hashlib

import numpy as np

from rpt_jax.episodes.errors import CorruptEpisode


def assign(key: str, fractions: dict[str, float]) -> str:
  """The split that `key` (such as a content hash) falls into.

  Depends on nothing but the arguments: adding episodes moves none. Raises
  ValueError where the fractions do not sum to one.
  """
  if abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values()) < 0:
    raise ValueError(f'fractions {fractions}: expected shares that sum to 1')
  digest = hashlib.blake2b(f':{key}'.encode(), digest_size=8).digest()
  place = int.from_bytes(digest, 'big') / 2**64
  edges = np.cumsum(list(fractions.values()))
  index = int(np.searchsorted(edges[:-1], place, side='right'))
  return list(fractions)[index]


def hold_out(
  source, fraction: float, order: str = 'hash'
) -> tuple[np.ndarray, np.ndarray]:
  """Training and held-out episodes of a source, by index, both in order.

  'ordered' holds out the last `fraction` of them; 'hash' those whose content
  hashes into it, so that copies stay on one side (frames are not read: it is
  the content of the other streams; the file where there are none, so that
  clips of one video stay together; the index of what cannot be read).

  Raises ValueError for another order and where either part would be empty.
  """
  size = len(source)
  if order == 'ordered':
    held = np.arange(size) >= size - round(fraction * size)
  elif order == 'hash':
    shares = {'train': 1 - fraction, 'heldout': fraction}
    parts = [assign(_key(source, i), shares) for i in range(size)]
    held = np.array([part == 'heldout' for part in parts])
  else:
    raise ValueError(f"order: found {order!r}, expected 'ordered' or 'hash'")
  if held.all() or not held.any():
    raise ValueError(
      f'{source.path}: holding out {fraction} of {size} episodes leaves one '
      'part empty; change the fraction'
    )
  return np.flatnonzero(~held), np.flatnonzero(held)


def _key(source, index):
  kinds = {k: c.kind for k, c in source.streams.items()}
  fields = [k for k, kind in kinds.items() if kind == 'values']
  try:
    values = source.read(index, fields)
  except CorruptEpisode:
    values = {}
  if not values:
    return str(source.metadata(index).get('file', f'{source.path}:{index}'))
  return _digest(values)


def _digest(arrays):
  digest = hashlib.blake2b(digest_size=16)
  for name, array in sorted(arrays.items()):
    digest.update(f'{name} {array.dtype} {array.shape};'.encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()
