"""Episodes: datasets of any format, read as windows and batches."""

import os
import pathlib

from rpt_jax import files
from rpt_jax.episodes import cards, formats
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.formats import register
from rpt_jax.episodes.source import Source

__all__ = ['CorruptEpisode', 'Source', 'open', 'register']


def open(
  path_or_name: str | os.PathLike,
  *,
  split: str = 'all',
  size: tuple[int, int] | None = None,
  fps: float | None = None,
  clip_steps: int | None = None,
  card: str | None = None,
  format: str = '',
  **mapping: str,
) -> Source:
  """Opens a dataset: `len(source)`, `source[i]` -> Episode.

  What lies at the path decides on the reader, a file of `formats`; `format`
  names one, or a module of your own (`register`). `split` is one of the
  dataset's own names, or 'all'. `size` (H, W) scales frames; `fps` and
  `clip_steps` say how videos are resampled and cut. `mapping` names columns
  for streams, as in `image='observation.images.cam_high', action='action'`;
  `card` names a published dataset whose mapping is known (`cards.CARDS`).

  Raises ValueError for a layout that no reader knows, an unknown split or
  column, and files that are missing or shorter than the dataset says.
  """
  size = None if size is None else tuple(size)
  path = pathlib.Path(path_or_name).expanduser()
  reader = formats.find(path, format)
  options = {'fps': fps, 'clip_steps': clip_steps}
  options = {k: v for k, v in options.items() if v is not None}
  taken = formats.options(reader)
  with files.reading(path):  # What is not there is said before all else.
    own = {k: v for k, v in options.items() if k in taken}
    store = reader.open(path, split, size, **own)
  if others := options.keys() - taken:
    raise ValueError(
      f'{path}: found {sorted(others)}, which its format does not take; leave '
      'out clip_steps but for videos, fps but for videos and bags of ROS 2'
    )
  return Source(store, mapping, size, cards.find(card) if card else None)
