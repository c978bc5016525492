"""Some episodes of a source, in an order of their own."""

import types
from collections.abc import Mapping, Sequence

import numpy as np

from rpt_jax.episodes.errors import CorruptEpisode


class Subset:
  """Some of a source's episodes, in a given order; read as that source is.

  `unreadable` {episode of the source: why}: of those nothing is read.
  """

  def __init__(
    self,
    whole,
    indices: Sequence[int],
    unreadable: Mapping[int, str] = types.MappingProxyType({}),
  ):
    self.whole, self.indices = whole, list(indices)
    self.unreadable = dict(unreadable)

  def __len__(self):
    return len(self.indices)

  @property
  def streams(self):
    """Those of the source."""
    return self.whole.streams

  @property
  def lengths(self):
    """[episodes] int64, in this order."""
    return np.asarray(self.whole.lengths)[self.indices]

  def read(self, i, fields):
    """Episode i of these; CorruptEpisode for one that is unreadable."""
    if why := self.unreadable.get(self.indices[i]):
      raise CorruptEpisode(why)
    return self.whole.read(self.indices[i], fields)

  def read_all(self, fields, indices):
    """Some of these end to end; see `Source.read_all`."""
    return self.whole.read_all(fields, [self.indices[i] for i in indices])

  def metadata(self, i):
    """What there is beside the steps of episode i of these."""
    return self.whole.metadata(self.indices[i])
