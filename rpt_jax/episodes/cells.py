"""What lies in HDF5 files beside numbers: encoded frames, and texts.

A frame may be bytes of any length, a string of one length for all, or a row of
uint8 [T, L]; what is shorter than the others is followed by zeros. JPEG and PNG
are told by their first bytes.
"""

import numpy as np

from rpt_jax.episodes import decode, hdf5
from rpt_jax.episodes.source import Column, text

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
  return array


def frames(rows) -> np.ndarray:
  """Encoded frames of one size as uint8 [T, H, W, 3], RGB as they declare it.

  Raises ValueError, naming the step, for what is no whole image.
  """
  images = []
  for step, row in enumerate(rows):
    try:
      # A decoder would take the zeros after half a JPEG for grey pixels.
      images.append(decode.image(_bytes(row).rstrip(b'\0')))
    except OSError as error:
      raise ValueError(f'step {step}: {error}') from error
    if images[-1].shape != images[0].shape:
      raise ValueError(
        f'step {step}: found a frame {images[-1].shape[:2]}, expected '
        f'{images[0].shape[:2]} as in the first'
      )
  return np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8)


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
      height, width = frames([first]).shape[1:3]
    except ValueError as error:
      raise ValueError(
        f'{group.file.filename}: {data.name}: {error}; copy the file again'
      ) from error
    return Column('image', (height, width, 3), np.dtype(np.uint8))
  return Column('text') if is_text else None


def _bytes(row) -> bytes:
  return row if isinstance(row, bytes) else np.asarray(row).tobytes()
