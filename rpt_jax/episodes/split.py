"""Episodes held out by their content, so that copies stay on one side."""

import hashlib

import numpy as np

from rpt_jax.types import Episode


def content_hash(episode: Episode) -> str:
  """A hash of what was observed and done: equal for copies of an episode."""
  digest = hashlib.blake2b(digest_size=16)
  arrays = {**episode.observation, 'action': episode.action}
  for name, array in sorted(arrays.items()):
    digest.update(f'{name} {array.dtype} {array.shape};'.encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()


def assign(key: str, fractions: dict[str, float], salt: str = '') -> str:
  """The split that `key` (such as a content hash) falls into.

  Depends on nothing but the arguments: adding episodes moves none. Raises
  ValueError where the fractions do not sum to one.
  """
  if abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values()) < 0:
    raise ValueError(f'fractions {fractions}: expected shares that sum to 1')
  digest = hashlib.blake2b(f'{salt}:{key}'.encode(), digest_size=8).digest()
  place = int.from_bytes(digest, 'big') / 2**64
  edges = np.cumsum(list(fractions.values()))
  index = int(np.searchsorted(edges[:-1], place, side='right'))
  return list(fractions)[index]
