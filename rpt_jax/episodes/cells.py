"""What lies in HDF5 files beside numbers: encoded frames, and texts.

A frame may be bytes of any length, a string of one length for all, or a row of
uint8 [T, L]; what is shorter than the others is followed by zeros. JPEG and PNG
are told by their first bytes.
"""

import numpy as np

from rpt_jax.episodes import decode, hdf5
from rpt_jax.episodes.columns import Column, text

_MAGIC = (b'\xff\xd8\xff', b'\x89PNG')


def columns(group) -> dict[str, Column]:
  """All arrays at or below a group that have a first axis, decoded or not.

  Raises ValueError where a first frame lies in another file or is damaged.
  """
  by_name = hdf5.columns(group)
  for name, data in hdf5.datasets(group):
    is_packed = len(data.shape or ()) in (1, 2) and data.shape[0]
    column = _column(group, name) if is_packed else None
    if column is not None:
      by_name[name] = column
  return by_name


def read(
  group, name: str, column: Column, rows: slice | None = None
) -> np.ndarray:
  """The rows of one column: numbers as stored, RGB frames, texts [T] of str.

  Raises OSError, ValueError or KeyError for what cannot be read.
  """
  array = hdf5.values(group, name, rows)
  if column.kind == 'text':
    return np.array([text(x) for x in array], object)
  if column.kind == 'image' and array.ndim < 3:
    return frames(array)
  if array.dtype != column.dtype and column.dtype == np.uint16:
    return frames(array, decode.depth)
  return array


def left_out(group, by_name: dict[str, Column]) -> dict[str, str]:
  """{name: why} of the arrays at or below a group that are no `by_name`."""
  return {
    name: f'of type {data.dtype}, expected numbers, texts or encoded frames'
    for name, data in hdf5.datasets(group)
    if data.shape and name not in by_name
  }


def frames(rows, read=decode.image) -> np.ndarray:
  """Encoded frames of one size as uint8 [T, H, W, 3], RGB as they declare it.

  Or what else `read` makes of bytes, as `decode.depth`.

  Raises ValueError, naming the step, for what is no whole image.
  """
  # A decoder would take the zeros after half a JPEG for grey pixels.
  return decode.stack(rows, read, lambda x: _bytes(x).rstrip(b'\0'))


def _column(group, name) -> Column | None:
  data = hdf5.own(group, name)
  inner = (data.dtype.metadata or {}).get('vlen')
  is_text = data.dtype.kind == 'S' or inner in (str, bytes)
  if data.ndim == 2 and data.dtype != np.uint8:
    return None
  if data.ndim == 1 and not is_text and inner != np.uint8:
    return None
  first = _bytes(hdf5.values(group, name, slice(0, 1))[0])
  if first.startswith(_MAGIC):
    try:
      with decode.opened(first.rstrip(b'\0')) as image:
        size, is_depth = (image.height, image.width), decode.is_depth(image)
      frames([first], decode.depth if is_depth else decode.image)
    except (OSError, ValueError) as error:
      raise ValueError(
        f'{group.file.filename}: {data.name}: {error}; copy the file again'
      ) from error
    if is_depth:
      return Column('values', (*size, 1), np.dtype(np.uint16))
    return Column('image', (*size, 3), np.dtype(np.uint8))
  return Column('text') if is_text else None


def _bytes(row) -> bytes:
  return row if isinstance(row, bytes) else np.asarray(row).tobytes()
