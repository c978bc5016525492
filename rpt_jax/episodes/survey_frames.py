"""What is gathered from the cameras of some episodes: frames, what is odd."""

import hashlib

import numpy as np

from rpt_jax.episodes import decode, stride
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.statistics import Moments

FRAMES = 8  # Sample frames an episode,
_TALL = 128  # of at most so many pixels.


class Pictures:
  """Cameras of a source; `frames` is {camera: {episode: [F, H, W, 3]}}.

  `products` are those of `stride`, of each camera. Where they are `alone`,
  without numbers that tell, copies are found by their frames.
  """

  def __init__(self, source, cameras, alone: bool = False):
    self._source, self._cameras, self._alone = source, cameras, alone
    self.moments = {k: Moments() for k in cameras}
    self.frames = {k: {} for k in cameras}
    self.products = {k: 0.0 for k in cameras}
    self._frozen, self._copies, self._first_seen = [], [], {}
    self.corrupt = {}

  def read(self, index: int) -> None:
    """Looks at an episode."""
    if not self._cameras:
      return
    try:
      images = self._source.read(index, self._cameras)
    except CorruptEpisode as error:
      self.corrupt[index] = str(error)
      return
    if self._alone:
      self._compare(index, images)
    for name, image in images.items():
      brightness = image.reshape(len(image), -1).mean(-1, dtype=np.float64)
      self.moments[name].add(brightness[:, None])
      if len(image) > 1 and (image == image[:1]).all():
        self._frozen.append((name, index))
      self.products[name] += stride.products(stride.seen(image))
      steps = np.linspace(0, len(image) - 1, min(FRAMES, len(image)))
      self.frames[name][index] = _small(image[steps.round().astype(int)])

  def _compare(self, index, images):
    digest = hashlib.blake2b(digest_size=16)
    for image in images.values():
      digest.update(np.ascontiguousarray(image))
    first = self._first_seen.setdefault(digest.digest(), index)
    if first != index:
      self._copies.append((first, index))

  @property
  def black(self) -> set[str]:
    """Cameras that have shown nothing."""
    seen = {k: m.result().max for k, m in self.moments.items() if m.count}
    return {name for name, most in seen.items() if not most.any()}

  def warnings(self) -> list[str]:
    """What is odd in the frames."""
    lines = [
      f'{name}: every frame seen is black; leave it out'
      for name in self._cameras
      if name in self.black
    ]
    lines += [
      f'{name}: all frames of episode {index} are equal'
      for name, index in self._frozen
      if name not in self.black
    ]
    return lines + [
      f'frames of episode {copy} are those of episode {first}'
      for first, copy in self._copies
    ]


def _small(image_THWC):
  """RGB frames, scaled down where they are tall."""
  height, width, channels = image_THWC.shape[1:]
  if channels == 1:
    image_THWC = np.repeat(image_THWC, 3, axis=-1)
  scale = min(1.0, _TALL / height)
  size = (round(scale * height), max(round(scale * width), 1))
  return decode.resize(np.ascontiguousarray(image_THWC[..., :3]), size)
