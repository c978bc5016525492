"""Columns of datasets: what a step holds, and which streams are made of them.

Datasets call one thing by many names, and lay frames out in many ways: what is
a frame, what a robot feels, what is said and what a field of a step is called
are decided here, for all formats.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rpt_jax.types import Episode

STEP_FIELDS = Episode._fields[1:]
_MOST_FELT = 256  # Numbers of a matrix that may be joined to others.
_CHANNELS = (1, 3, 4)  # Grey, RGB, RGBA.
_CHANNELS_FIRST = (1, 3)  # Four may as well be grey frames in a row.
# What datasets call that which is to be done, in the order of preference.
LANGUAGE = (
  'instruction',
  'language_instruction',
  'natural_language_instruction',
  'language',
  'lang',
  'task_description',
  'instructions',
  'task_instruction',
  'language_raw',
  'mission',
  'task',
  'prompt',
)
# What they call the fields of a step, in the same order.
FIELDS = {
  'action': ('action', 'actions'),
  'reward': ('next.reward', 'reward', 'rewards'),
  'is_terminal': ('next.done', 'is_terminal', 'terminal', 'terminals', 'done',
                  'dones'),
}  # fmt: skip


class Column(NamedTuple):
  """What a step holds: kind 'image', 'values' or 'text', shape of one."""

  kind: str
  shape: tuple[int, ...] = ()
  dtype: np.dtype | None = None

  def __str__(self):
    word = self.kind if self.dtype is None else self.dtype
    return f'{word}{list(self.shape)}'


def column(shape: Sequence[int], dtype: np.dtype) -> Column:
  """The column of an array of `dtype` whose steps have `shape`.

  Bytes are a frame where one axis can be of channels: the last, else the first.
  """
  if np.dtype(dtype) == np.uint8 and len(shape) == 3:
    if shape[2] in _CHANNELS:
      return Column('image', (*shape[:2], 3), np.dtype(np.uint8))
    if shape[0] in _CHANNELS_FIRST:
      return Column('image', (*shape[1:], 3), np.dtype(np.uint8))
  return Column('values', tuple(shape), np.dtype(dtype))


def frames(image: np.ndarray) -> np.ndarray:
  """Frames as recorded, [T, H, W, C] or [T, C, H, W], as RGB [T, H, W, 3].

  Grey is repeated, and alpha dropped.
  """
  if image.shape[3] not in _CHANNELS and image.shape[1] in _CHANNELS_FIRST:
    image = np.moveaxis(image, 1, 3)
  if image.shape[3] == 1:
    return np.repeat(image, 3, axis=3)
  return image[..., :3]


def text(value: Any) -> str:
  """A string from a string, bytes, or an array of their codes, 0-padded."""
  if isinstance(value, np.ndarray) and value.dtype.kind in 'iu':
    value = bytes(value[value != 0].astype(np.uint8))
  if isinstance(value, bytes):
    return value.decode('utf-8', 'replace')
  return str(value)


def short_names(columns: Sequence[str], separator: str) -> dict[str, str]:
  """{last part of a column's name: column}; the whole name where two agree."""
  last = [c.rsplit(separator, 1)[-1] for c in columns]
  return {
    name
    if last.count(name) == 1 and name not in STEP_FIELDS
    else column: column
    for name, column in zip(last, columns, strict=True)
  }


def sole_image(
  streams: Mapping[str, str], columns: Mapping[str, Column]
) -> dict[str, str]:
  """Calls the only camera among the streams 'image'; else as they were."""
  images = [k for k, c in streams.items() if columns[c].kind == 'image']
  if len(images) != 1 or 'image' in streams:
    return dict(streams)
  return {('image' if k in images else k): c for k, c in streams.items()}


def cameras(
  names: Sequence[str], columns: Mapping[str, Column], separator: str = '/'
) -> dict[str, str]:
  """{short name: column} of those that are frames; 'image' of the only one."""
  images = [name for name in names if columns[name].kind == 'image']
  return sole_image(short_names(images, separator), columns)


def felt(names: Sequence[str], columns: Mapping[str, Column]) -> list[str]:
  """Those that are numbers of what a robot feels: rows, or small matrices.

  Larger arrays are frames of a kind that nobody told, or clouds of points.
  """
  return [
    name
    for name in names
    if columns[name].kind == 'values' and not is_large(columns[name])
  ]


def is_large(column: Column) -> bool:
  """Whether it is a matrix or more, of more numbers than are joined."""
  return len(column.shape) > 1 and np.prod(column.shape) > _MOST_FELT


def fields_of(
  names: Mapping[str, Sequence[str]], columns: Mapping[str, Column]
) -> dict[str, str]:
  """{field: the first of its names that is a column}; none where none is."""
  return {
    field: next(name for name in own if name in columns)
    for field, own in names.items()
    if columns.keys() & {*own}
  }


def joined(columns: Sequence[Column], size=None) -> Column:
  """What a stream of these columns holds, frames at `size` (H, W) if given."""
  if len(columns) == 1:
    (column,) = columns
    if column.kind == 'image' and size is not None:
      return column._replace(shape=(*size, *column.shape[2:]))
    return column._replace(shape=(1,)) if _is_number(column) else column
  width = sum(int(np.prod(c.shape)) for c in columns)
  return Column('values', (width,), np.dtype(np.float32))


def _is_number(column):
  """Whether a step is one number that was measured, no flag or choice."""
  floats = column.kind == 'values' and np.dtype(column.dtype).kind == 'f'
  return floats and column.shape == ()


def standard(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
  """One array of a stream: floats are float32 [T, ...], actions never int64.

  Raises ValueError where a whole number would become another one.
  """
  if len(parts) > 1:
    flat = [cast(x.reshape(len(x), -1), np.float32) for x in parts]
    return np.concatenate(flat, axis=-1)
  x = np.asarray(parts[0])
  if x.dtype.kind == 'f':
    x = x[:, None] if x.ndim == 1 else x
    return x.astype(np.float32, copy=False)
  if x.dtype.kind in 'biuf':
    x = x.astype(x.dtype.newbyteorder('='), copy=False)  # As JAX wants it.
  return cast(x, np.int32) if name == 'action' else x


def cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
  """The same numbers; ValueError where a whole number would be another one."""
  if x.dtype.kind not in 'iu':
    return x.astype(dtype)
  with np.errstate(over='ignore'):
    cast = x.astype(dtype)
  if len(differs := np.argwhere(cast.astype(x.dtype) != x)):
    raise ValueError(
      f'step {differs[0][0]} holds {x[tuple(differs[0])]}, which '
      f'{np.dtype(dtype)} cannot; name another column, or store smaller numbers'
    )
  return cast


def complete(
  values: Mapping[str, np.ndarray], length: int
) -> dict[str, np.ndarray]:
  """Fills what a dataset leaves out; ends come from the record's extent."""
  steps = np.arange(length)
  terminal = values.get('is_terminal', np.zeros(length, bool)).astype(bool)
  reward = values.get('reward', np.zeros(length))
  discount = values.get('discount', ~terminal)
  return {
    'action': np.zeros((length, 0), np.float32),
    **values,
    'reward': reward.reshape(length).astype(np.float32),
    'discount': discount.reshape(length).astype(np.float32),
    'is_first': steps == 0,
    'is_last': steps == length - 1,
    'is_terminal': terminal.reshape(length),
  }
