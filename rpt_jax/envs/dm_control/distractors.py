"""What moves beside the robot: a camera, colours, and the background.

Strengths are those of the Distracting Control Suite (Stone et al. 2021): a
strength of 0.1, 'scale_easy', is what LAOM trains on. All is drawn from the
seed of an episode when it starts.
"""

from collections.abc import Callable, Sequence

import numpy as np

# Of strength 1: how far it goes (yaw, pitch, roll, zoom), its jolts and speed.
_FAR = np.pi / 2
CAMERA_LOW = np.array([-_FAR, -_FAR, -_FAR, -0.5])
CAMERA_HIGH = np.array([_FAR, _FAR, _FAR, 1.5])
CAMERA_JOLT = np.array([0.1, 0.1, np.pi / 300, 0.1])  # Deviation of a change.
CAMERA_SPEED = np.array([0.4, 0.4, 0.4, 0.4])  # At most, a step.
COLOUR_FAR, COLOUR_STEP = 1.0, 0.03
CLIP_FRAMES = 96  # Of a texture.
_WAVES, _LAYERS = 24, 2  # Waves of a layer; layers that move by themselves.


def camera(rng: np.random.Generator, steps: int, strength: float) -> np.ndarray:
  """A smooth walk of (yaw, pitch, roll, zoom): [steps + 1, 4].

  Speeds walk, and what arrives at a bound stands still there.
  """
  low, high = strength * CAMERA_LOW, strength * CAMERA_HIGH
  most = strength * CAMERA_SPEED
  jolts = strength * CAMERA_JOLT * rng.standard_normal((steps, 4))
  place_T4, speed = np.empty((steps + 1, 4)), np.zeros(4)
  place_T4[0] = rng.uniform(low, high)
  for t in range(steps):
    speed = np.clip(speed + jolts[t], -most, most)
    ahead = place_T4[t] + speed
    place_T4[t + 1] = np.clip(ahead, low, high)
    speed = np.where(place_T4[t + 1] == ahead, speed, 0)
  return place_T4


def colours(
  rng: np.random.Generator, steps: int, strength: float, materials: int
) -> np.ndarray:
  """What is added to the colour of each material: [steps + 1, M, 3]."""
  far = strength * COLOUR_FAR
  shift = np.empty((steps + 1, materials, 3))
  shift[0] = rng.uniform(-far, far, (materials, 3))
  drift = strength * COLOUR_STEP * rng.standard_normal((steps, materials, 3))
  for t in range(steps):
    shift[t + 1] = np.clip(shift[t] + drift[t], -far, far)
  return shift


def background(
  rng: np.random.Generator, videos: Sequence[np.ndarray]
) -> Callable[[int], np.ndarray] | None:
  """Frame [H, W, 3] of a step: a video to and fro, from anywhere in it."""
  if not videos:
    return None
  video = videos[rng.integers(len(videos))]
  first, period = int(rng.integers(len(video))), max(2 * len(video) - 2, 1)

  def frame(step):
    place = (first + step) % period
    return video[min(place, period - place)]

  return frame


def opened(path: str, size: int) -> np.ndarray:
  """Frames [T, size, size, 3] of a background, where they lie.

  Raises ValueError for what is no such file.
  """
  try:
    video = np.lib.format.open_memmap(path, mode='r')
  except (OSError, ValueError) as error:
    raise ValueError(f'{path}: found no background: {error}') from error
  if video.dtype != np.uint8 or video.shape[1:] != (size, size, 3):
    raise ValueError(
      f'{path}: found {video.dtype} {list(video.shape)}, expected uint8 '
      f'[T, {size}, {size}, 3]'
    )
  return video


def texture(source: int, size: int, frames: int = CLIP_FRAMES) -> np.ndarray:
  """A clip made in code: uint8 [frames, size, size, 3].

  Layers of waves with a spectrum as natural images have it (amplitude falls
  with frequency), each in colours of its own and moving its own way.
  """
  rng = np.random.default_rng([source, 7])
  y, x = np.mgrid[:size, :size] / size
  place_2N = np.stack([x.ravel(), y.ravel()])
  clip = np.zeros((size * size, frames * 3), np.float32)
  for _ in range(_LAYERS):
    wave_W2 = rng.normal(size=(_WAVES, 2)) * rng.uniform(1, 6, (_WAVES, 1))
    # Light and dark more than colour, as in most of what is filmed.
    height_W3 = rng.normal(size=(_WAVES, 1)) + 0.4 * rng.normal(
      size=(_WAVES, 3)
    )
    height_W3 /= (0.5 + np.linalg.norm(wave_W2, axis=1, keepdims=True)) ** 1.5
    drift_2 = rng.normal(size=2) * 0.01  # Sides a frame.
    boil_W = rng.normal(size=_WAVES) * 0.03  # Radians a frame.
    rate_W = boil_W + 2 * np.pi * wave_W2 @ drift_2
    phase_WT = rng.uniform(0, 2 * np.pi, (_WAVES, 1))
    phase_WT = phase_WT + rate_W[:, None] * np.arange(frames)
    angle_NW = 2 * np.pi * (wave_W2 @ place_2N).T
    # sin(a + b) of all places and times, as two products of matrices.
    for of_place, of_time in ((np.sin, np.cos), (np.cos, np.sin)):
      height = of_time(phase_WT)[..., None] * height_W3[:, None]
      wave_NW = of_place(angle_NW).astype(np.float32)
      clip += wave_NW @ height.reshape(_WAVES, -1).astype(np.float32)
  clip = clip.reshape(size, size, frames, 3).transpose(2, 0, 1, 3)
  middle = rng.uniform(60, 190, 3)
  clip = middle + 50 * clip / clip.std(axis=(0, 1, 2))
  return np.clip(clip, 0, 255).astype(np.uint8)
