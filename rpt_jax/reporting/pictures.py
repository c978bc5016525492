"""Frames to pictures: filmstrips, sheets, strips of units; with Pillow.

Frames are uint8 [..., H, W, 3]. A picture is its encoded bytes, ready to stand
in a page. Equal frames give equal bytes.
"""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

WHITE = 255
_MIN_LABEL = 0.022  # Of a clip: shorter runs of a unit are not named.


class Picture(NamedTuple):
  """Encoded bytes and the size in pixels at which they are to be seen."""

  mime: str
  data: bytes
  width: int
  height: int

  @property
  def uri(self) -> str:
    """The picture itself, as an address inside the page."""
    return f'data:{self.mime};base64,{base64.b64encode(self.data).decode()}'


def encode(image_HW3) -> Picture:
  """A still: lossless PNG, or JPEG where PNG would be over twice the size.

  Raises ValueError unless the image is uint8 [H, W, 3].
  """
  image = _checked(image_HW3, 3, 'image')
  pillow, png, jpeg = Image.fromarray(image), io.BytesIO(), io.BytesIO()
  pillow.save(png, 'PNG', optimize=True)
  pillow.save(jpeg, 'JPEG', quality=88, subsampling=0, optimize=True)
  height, width = image.shape[:2]
  if len(png.getvalue()) <= 2 * len(jpeg.getvalue()):
    return Picture('image/png', png.getvalue(), width, height)
  return Picture('image/jpeg', jpeg.getvalue(), width, height)


def contact_sheet(frames_NHW3, columns: int, gap: int = 2) -> np.ndarray:
  """Frames in reading order on a white sheet, uint8 [H', W', 3].

  `gap` pixels lie between frames; the last row may be short.
  """
  frames = _checked(frames_NHW3, 4, 'frames')
  n, height, width = frames.shape[:3]
  columns = min(columns, n)
  rows = -(-n // columns)
  shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
  sheet = np.full(shape, WHITE, np.uint8)
  for i, frame in enumerate(frames):
    y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
    sheet[y : y + height, x : x + width] = frame
  return sheet


def alike(frames) -> np.ndarray:
  """Frames of any sizes at that of the first: uint8 [N, H, W, 3]."""
  return resized(frames, np.shape(frames[0])[:2])


def shrunk(height: int, width: int, side: int) -> tuple[int, int]:
  """Height and width of a frame whose longer side is `side` at most."""
  scale = min(1.0, side / max(height, width))
  return max(1, round(height * scale)), max(1, round(width * scale))


def resized(frames, size: tuple[int, int]) -> np.ndarray:
  """Frames of any sizes at (height, width): uint8 [N, H, W, 3]."""
  shape, bilinear = size[::-1], Image.Resampling.BILINEAR
  return np.stack(
    [
      frame
      if np.shape(frame)[:2] == tuple(size)
      else np.asarray(Image.fromarray(frame).resize(shape, bilinear))
      for frame in frames
    ]
  )


def sprite(
  frames_NHW3, columns: int = 8, quality: int = 70
) -> tuple[Picture, int]:
  """(frames edge to edge in reading order as WebP, frames in a row)."""
  frames = _checked(frames_NHW3, 4, 'frames')
  columns = min(columns, len(frames))
  sheet = contact_sheet(frames, columns, gap=0)
  buffer = io.BytesIO()
  Image.fromarray(sheet).save(buffer, 'WEBP', quality=quality, method=4)
  height, width = sheet.shape[:2]
  return Picture('image/webp', buffer.getvalue(), width, height), columns


def animation(
  frames_THW3, steps_per_second: float = 15.0, max_frames: int = 60
) -> Picture:
  """A WebP that plays at the clip's own speed, and rests at the end.

  Longer clips are thinned to `max_frames` frames shown for longer.
  """
  frames = _checked(frames_THW3, 4, 'frames')
  count = min(len(frames), max_frames)
  steps = np.linspace(0, len(frames) - 1, count).round().astype(int)
  shown = max(20, round(1000.0 * len(frames) / steps_per_second / count))
  first, *others = (Image.fromarray(frames[t]) for t in steps)
  buffer = io.BytesIO()
  first.save(
    buffer,
    'WEBP',
    save_all=True,
    append_images=others,
    duration=[shown] * (count - 1) + [max(shown, 1200)],  # ms
    loop=0,
    quality=80,
  )
  height, width = frames.shape[1:3]
  return Picture('image/webp', buffer.getvalue(), width, height)


def filmstrip(frames_THW3, count: int = 16) -> tuple[np.ndarray, np.ndarray]:
  """`count` evenly spaced frames side by side: (strip, their time steps).

  Frames lie edge to edge, so that a timeline of the same width below the strip
  has every frame above the steps it stands for.
  """
  frames = _checked(frames_THW3, 4, 'frames')
  length = len(frames)
  count = min(count, length)
  steps = ((np.arange(count) + 0.5) * length / count).astype(int)
  return contact_sheet(frames[steps], count, gap=0), steps


def runs(units_T) -> list[tuple[int, int, int]]:
  """Runs of equal units as (unit, start, length)."""
  units = np.asarray(units_T)
  edges = np.flatnonzero(np.diff(units)) + 1
  starts = np.concatenate([[0], edges])
  lengths = np.diff(np.concatenate([starts, [len(units)]]))
  return [
    (int(units[s]), int(s), int(n))
    for s, n in zip(starts, lengths, strict=True)
  ]


def unit_colour(unit: int) -> tuple[str, str]:
  """A fixed (background, ink) for a unit id, as CSS hex colours.

  Hues step by the golden angle and lightness by thirds in OKLCH, so that ids
  that are near each other are far apart to the eye, also to a colour-blind one.
  """
  lightness = (0.80, 0.55, 0.68)[unit % 3]
  hue = np.deg2rad((unit * 137.50776) % 360)
  a, b = 0.105 * np.cos(hue), 0.105 * np.sin(hue)
  long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
  linear = np.array([
    4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
    -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
    -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
  ]).clip(0, 1)  # fmt: skip
  rgb = np.where(
    linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear
  )
  red, green, blue = (int(x) for x in (255 * rgb).round())
  ink = '#ffffff' if lightness < 0.6 else '#1a1a1a'
  return f'#{red:02x}{green:02x}{blue:02x}', ink


def unit_strip(units_T) -> str:
  """One clip's units as an inline SVG bar, 1000 wide, stretched to its box.

  Every run is a block in its unit's colour, named where it is long enough
  for its number.
  """
  runs_of_units, length = runs(units_T), len(units_T)
  parts = [
    '<svg class="strip" viewBox="0 0 1000 24" width="1000" height="24" '
    f'role="img" aria-label="{len(runs_of_units)} runs of units">'
  ]
  for unit, start, count in runs_of_units:
    x, width = 1000 * start / length, 1000 * count / length
    fill, ink = unit_colour(unit)
    parts.append(
      f'<rect x="{x:.2f}" y="0" width="{width:.2f}" height="24" '
      f'fill="{fill}"><title>unit {unit}, steps {start} to '
      f'{start + count - 1}</title></rect>'
    )
    if count / length >= _MIN_LABEL:
      parts.append(
        f'<text x="{x + width / 2:.2f}" y="16.5" fill="{ink}">{unit}</text>'
      )
    if start:
      parts.append(f'<path d="M{x:.2f} 0V24"/>')
  return ''.join(parts) + '</svg>'


def _checked(frames, rank: int, name: str) -> np.ndarray:
  frames = np.asarray(frames)
  axes = '[H, W, 3]' if rank == 3 else '[N, H, W, 3]'
  bad_shape = frames.ndim != rank or frames.shape[-1] != 3 or not frames.size
  if bad_shape or frames.dtype != np.uint8:
    raise ValueError(
      f'{name}: found {frames.dtype} {frames.shape}, expected uint8 {axes}: '
      'scale to 0..255 and cast'
    )
  return frames
