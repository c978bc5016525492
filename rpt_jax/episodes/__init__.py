"""Episodes: datasets of any format, read as windows and batches."""

import os
import pathlib

from rpt_jax.episodes.source import CorruptEpisode, Source

__all__ = ['CorruptEpisode', 'Source', 'open']


def open(
  path_or_name: str | os.PathLike,
  *,
  split: str = 'all',
  size: tuple[int, int] | None = None,
  **mapping: str,
) -> Source:
  """Opens a dataset: `len(source)`, `source[i]` -> Episode.

  What lies at the path decides on the reader: RLDS (a `dataset_info.json`),
  LeRobot v2 and v3 (`meta/info.json`). `split` is one of the dataset's own
  names, or 'all'. `size` (H, W) scales frames as they are decoded.
  `mapping` names columns for streams, as in
  `image='observation.images.cam_high', action='action'`; see `Source`.

  Raises ValueError for a layout that no reader knows, an unknown split or
  column, and files that are missing or shorter than the dataset says.
  """
  path = pathlib.Path(path_or_name).expanduser()
  if (path / 'meta' / 'info.json').exists():
    from rpt_jax.episodes import lerobot

    return Source(lerobot.LeRobotStore(path, split, size), mapping)
  from rpt_jax.episodes import rlds_reader

  return Source(rlds_reader.RldsStore(path_or_name, split), mapping)
