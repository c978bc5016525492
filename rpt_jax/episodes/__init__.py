"""Episodes: datasets of any format, read as windows and batches."""

import os
import pathlib

from rpt_jax import files
from rpt_jax.episodes import cards
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.source import Source

__all__ = ['CorruptEpisode', 'Source', 'open']


def open(
  path_or_name: str | os.PathLike,
  *,
  split: str = 'all',
  size: tuple[int, int] | None = None,
  fps: float | None = None,
  clip_steps: int | None = None,
  card: str | None = None,
  **mapping: str,
) -> Source:
  """Opens a dataset: `len(source)`, `source[i]` -> Episode.

  What lies at the path decides on the reader: RLDS (a `dataset_info.json`),
  LeRobot v2 and v3 (`meta/info.json`), robomimic (an `.hdf5` file), NumPy (a
  folder of `.npz`), a video file or a folder of them. `split` is one of the
  dataset's own names, or 'all'. `size` (H, W) scales frames; `fps` and
  `clip_steps` say how videos are resampled and cut. `mapping` names columns
  for streams, as in `image='observation.images.cam_high', action='action'`;
  `card` names a published dataset whose mapping is known (`cards.CARDS`).

  Raises ValueError for a layout that no reader knows, an unknown split or
  column, and files that are missing or shorter than the dataset says.
  """
  size = None if size is None else tuple(size)
  path = _version_below(pathlib.Path(path_or_name).expanduser())
  kind = _kind(path)
  if kind != 'video' and (fps, clip_steps) != (None, None):
    raise ValueError(f'{path}: fps and clip_steps are for videos only')
  if kind == 'video' and split != 'all':
    raise ValueError(f"{path}: no split {split!r}; videos have only 'all'")
  with files.reading(path):
    store = _store(kind, path, path_or_name, split, size, fps, clip_steps)
  return Source(store, mapping, size, cards.find(card) if card else None)


def _store(kind, path, name, split, size, fps, clip_steps):
  """The reader of a kind; its packages are imported only now."""
  if kind == 'lerobot':
    from rpt_jax.episodes.formats import lerobot

    return lerobot.LeRobotStore(path, split, size)
  if kind == 'hdf5':
    from rpt_jax.episodes.formats import hdf5

    return hdf5.Hdf5Store(path, split)
  if kind == 'npz':
    from rpt_jax.episodes.formats import arrays

    return arrays.ArrayStore(path, split)
  if kind == 'video':
    from rpt_jax.episodes.formats import video

    return video.VideoStore(path, fps, clip_steps, size)
  from rpt_jax.episodes.formats import rlds_reader

  return rlds_reader.RldsStore(path if path.exists() else name, split)


def _kind(path):
  """Which reader a path is for; 'rlds' for all others, names included."""
  if path.suffix.lower() in ('.hdf5', '.h5') and path.is_file():
    return 'hdf5'
  if (path / 'meta' / 'info.json').exists():
    return 'lerobot'
  if not path.exists() or (path / 'dataset_info.json').exists():
    return 'rlds'
  if any(path.rglob('*.npz')) or path.suffix == '.npz':
    return 'npz'
  from rpt_jax.episodes.formats import video

  if video.video_files(path):
    return 'video'
  raise ValueError(
    f'{path}: no dataset found; expected a folder with dataset_info.json '
    '(RLDS), meta/info.json (LeRobot), .npz files or videos, or an .hdf5 file'
  )


def _version_below(path):
  """`name/1.0.0` for the folder `name` of a dataset in one version."""
  infos = list(path.glob('*/dataset_info.json'))
  is_above = len(infos) == 1 and not (path / 'dataset_info.json').exists()
  return infos[0].parent if is_above else path
