"""What messages of ROS 2 hold, as values of a step.

Colours become RGB; what is measured in the pixels of a depth camera stays what
it is; of all else the numbers are put one after the other, without header,
layout and names of frames.
"""

from typing import Any, NamedTuple

import numpy as np

from rpt_jax.episodes import decode
from rpt_jax.episodes.columns import Column

IMAGES = ('sensor_msgs/Image', 'sensor_msgs/CompressedImage')
PARTS = ('position', 'velocity', 'effort')
_JOINTS = 'sensor_msgs/JointState'
_TEXT = 'std_msgs/String'
_COLOURS = {
  'rgb8': (3, slice(3)),
  'bgr8': (3, slice(2, None, -1)),
  'rgba8': (4, slice(3)),
  'bgra8': (4, slice(2, None, -1)),
  'mono8': (1, slice(1)),
}
_DEPTHS = {'16UC1': 'u2', '32FC1': 'f4'}
_ASIDE = ('header', 'layout', 'stamp')


class Entry(NamedTuple):
  """A column: the part of a topic's messages that it holds, and how."""

  topic: str
  type: str  # package/Name
  part: str  # A field; '' is the whole message.
  kind: str  # As `columns.Column` has it, like the two below.
  shape: list[int]
  dtype: str
  joints: list[str] = []

  def column(self, size: tuple[int, int] | None) -> Column:
    """What the source is told of it; frames are of `size` (H, W)."""
    if self.kind == 'text':
      return Column('text')
    shape = tuple(self.shape)
    if self.kind == 'image' and size is not None:
      shape = (*size, 3)
    return Column(self.kind, shape, np.dtype(self.dtype))


def entries(topic: str, type_name: str, message: dict) -> dict[str, Entry]:
  """The columns of a topic by its first message.

  They are called as the topic is, those of joints with `/position`,
  `/velocity` and `/effort` after it. Raises ValueError or OSError for what
  cannot be read.
  """
  if type_name == _TEXT:
    return {topic: Entry(topic, type_name, '', 'text', [], 'O')}
  if type_name != _JOINTS:
    x = _whole(type_name, message)
    is_image = type_name in IMAGES and x.dtype == np.uint8
    kind = 'image' if is_image else 'values'
    about = kind, list(x.shape), x.dtype.str
    return {topic: Entry(topic, type_name, '', *about)}
  columns = {}
  for part in PARTS:
    x = message[part]
    if len(x):
      about = 'values', [len(x)], x.dtype.str, list(message['name'])
      entry = Entry(topic, type_name, part, *about)
      value(entry, message)
      columns[f'{topic}/{part}'] = entry
  if not columns:
    raise ValueError('its first message has no joints')
  return columns


def value(entry: Entry, message: dict) -> np.ndarray | str:
  """What a column holds of a message.

  A frame is uint8 [H, W, 3], depth [H, W, 1]; joints are in the order of the
  names in the first message. Raises ValueError or OSError for a message that
  is not as the first.
  """
  if entry.type == _TEXT:
    return message['data']
  if entry.part:
    return _by_name(entry, message)
  x = _whole(entry.type, message)
  same = x.shape == tuple(entry.shape) or entry.kind == 'image'
  if not same or x.dtype != np.dtype(entry.dtype):
    raise ValueError(
      f'found {x.dtype}{list(x.shape)}, expected '
      f'{np.dtype(entry.dtype)}{entry.shape} as in the first message'
    )
  return x


def _by_name(entry, message):
  """The joints in the order of the column, whatever that of the message is."""
  names, x = message['name'], message[entry.part]
  if entry.joints or names:
    missing = sorted({*entry.joints} - {*names})
    others = sorted({*names} - {*entry.joints})
    if missing or others or len({*names}) < len(names):
      raise ValueError(
        f'found joints {names}, expected {entry.joints}, each once: {missing} '
        f'are missing, {others} are new'
      )
  if len(x) != entry.shape[0] or names and len(names) != len(x):
    raise ValueError(
      f'{entry.part} has {len(x)} numbers for {len(names)} joints, expected '
      f'{entry.shape[0]}'
    )
  return x[[names.index(joint) for joint in entry.joints]] if names else x


def _whole(type_name, message) -> np.ndarray:
  if type_name == 'sensor_msgs/Image':
    return _image(message)
  if type_name == 'sensor_msgs/CompressedImage':
    return _compressed(message)
  leaves = list(_leaves(message))
  if len(leaves) == 1 and not leaves[0].shape:
    return leaves[0]
  if not sum(x.size for x in leaves):
    raise ValueError('its first message has no numbers')
  return np.concatenate([x.reshape(-1) for x in leaves])


def _leaves(message: dict[str, Any]):
  for name, x in message.items():
    if name in _ASIDE or name.endswith('frame_id'):
      continue
    if isinstance(x, dict):
      yield from _leaves(x)
    elif isinstance(x, np.ndarray | np.generic):
      yield np.asarray(x)
    else:
      what = 'a text' if isinstance(x, str) else 'a list'
      raise ValueError(f'its field {name} is {what}, expected numbers alone')


def _image(message) -> np.ndarray:
  # Not as NumPy's: a product of those may be cut to 32 bits.
  height, width, step = (int(message[k]) for k in ('height', 'width', 'step'))
  encoding, data = message['encoding'], message['data']
  if encoding in _COLOURS:
    channels, order = _COLOURS[encoding]
    dtype = np.dtype(np.uint8)
  elif encoding in _DEPTHS:
    channels, order = 1, slice(1)
    end = '>' if message['is_bigendian'] else '<'
    dtype = np.dtype(f'{end}{_DEPTHS[encoding]}')
  else:
    raise ValueError(
      f'its encoding is {encoding!r}, expected one of '
      f'{[*_COLOURS, *_DEPTHS]}; convert it with image_proc'
    )
  row = width * channels * dtype.itemsize
  if not row or not height or step < row or len(data) != step * height:
    raise ValueError(
      f'{height} rows of {step} bytes in {len(data)}, expected {row} bytes or '
      f'more a row of {width} {encoding} pixels'
    )
  rows = np.ascontiguousarray(data.reshape(height, step)[:, :row])
  pixels = rows.view(dtype).reshape(height, width, channels)
  if encoding == 'mono8':
    return np.repeat(pixels, 3, axis=2)
  return pixels[..., order].astype(dtype.newbyteorder('='), copy=False)


def _compressed(message) -> np.ndarray:
  """By its bytes alone: `format` says what they were before they were packed,

  as in 'bgr8; jpeg compressed bgr8'.
  """
  data = message['data'].tobytes()
  try:
    with decode.opened(data) as image:
      is_depth = decode.is_depth(image)
    return decode.depth(data) if is_depth else decode.image(data)
  except OSError as error:
    raise ValueError(
      f'cannot be decoded ({error}); its format is {message["format"]!r}, '
      'expected a whole JPEG or PNG'
    ) from error
