"""Frames as uncompressed PNG: any reader opens them, records compress well.

Deflate level 0 leaves the pixels as they are, so that the compressor of the
record around them sees the still background of a clip again in every frame:
smaller than PNG's own compression of each frame, and ten times faster.
"""

import struct
import zlib

import numpy as np

from rpt_jax.episodes.decode import is_depth, opened, stack

_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}
_STORED_BLOCK = 65535  # bytes; deflate's largest uncompressed block


def encode(image_THWC: np.ndarray) -> list[bytes]:
  """Encodes uint8 frames [T, H, W, C], C in {1, 3, 4}, without loss."""
  num, height, width, channels = image_THWC.shape
  if image_THWC.dtype != np.uint8 or channels not in _COLOUR_TYPE:
    raise ValueError(
      f'image: found {image_THWC.dtype} with {channels} channels, expected '
      'uint8 with 1, 3 or 4'
    )
  rows = np.zeros((num, height, width * channels + 1), np.uint8)
  rows[:, :, 1:] = image_THWC.reshape(num, height, -1)
  head, tail = _header(height, width, channels), _chunk(b'IEND', b'')
  return [
    head + _chunk(b'IDAT', zlib.compress(frame.tobytes(), 0)) + tail
    for frame in rows
  ]


def decode(pngs: list[bytes]) -> np.ndarray:
  """Decodes frames of one size to uint8 [T, H, W, C].

  What `encode` wrote is sliced, not inflated; other files go through Pillow.
  """
  height, width, channels = shape = _shape(pngs[0])
  size = height * (width * channels + 1)
  prefix = _stored_prefix(*shape)
  total = len(prefix) + size + 8 + len(_chunk(b'IEND', b''))
  if prefix and all(len(p) == total and p.startswith(prefix) for p in pngs):
    rows = np.frombuffer(b''.join(pngs), np.uint8).reshape(len(pngs), total)
    rows = rows[:, len(prefix) : len(prefix) + size]
    rows = rows.reshape(len(pngs), height, -1)
    if not rows[:, :, 0].any():
      return rows[:, :, 1:].reshape(len(pngs), *shape)
  stacked = stack(pngs, _decoded)
  return stacked[..., None] if stacked.ndim == 3 else stacked


def _decoded(png):
  with opened(png) as image:
    as_they_are = image.mode in ('L', 'RGB', 'RGBA') or is_depth(image)
    return np.asarray(image if as_they_are else image.convert('RGB'))


def _chunk(kind, data):
  crc = zlib.crc32(kind + data)
  return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', crc)


def _header(height, width, channels):
  colour = _COLOUR_TYPE[channels]
  ihdr = struct.pack('>IIBBBBB', width, height, 8, colour, 0, 0, 0)
  return b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', ihdr)


def _stored_prefix(height, width, channels):
  """What stands before the pixels when they fit one uncompressed block."""
  size = height * (width * channels + 1)
  if not channels or size > _STORED_BLOCK:
    return b''
  length = struct.pack('>I', size + 11)
  block = struct.pack('<BHH', 1, size, size ^ 0xFFFF)
  return _header(height, width, channels) + length + b'IDAT\x78\x01' + block


def _shape(png):
  """(H, W, C) of an 8-bit PNG; C = 0 where Pillow must decide."""
  if len(png) < 26 or png[12:16] != b'IHDR':
    return 0, 0, 0
  width, height, depth, colour = struct.unpack('>IIBB', png[16:26])
  by_colour = {colour: c for c, colour in _COLOUR_TYPE.items()}
  channels = by_colour.get(colour, 0) if depth == 8 else 0
  return height, width, channels
