"""TFRecord files, read without TensorFlow.

A record is framed as u64 length, u32 masked CRC-32C of those eight bytes, the
data, and u32 masked CRC-32C of the data, all little-endian.
"""

import os
import struct
from collections.abc import Iterator

from rpt_jax import files
from rpt_jax.episodes.rlds import crc32c

_GZIP = b'\x1f\x8b'  # A record that began so would have a length of 2^60.


def records(path: str | os.PathLike) -> Iterator[bytes]:
  """Yields the records of a TFRecord file, verified.

  Raises ValueError naming the file and the record that is cut off or fails
  its checksum.
  """
  with open(files.regular(path), 'rb') as file:
    index = 0
    if file.peek(2)[:2] == _GZIP:
      raise ValueError(f'{path}: compressed; unpack it first, with gunzip')
    while header := file.read(12):
      length = _checked(header, 8, path, index, 'length')
      (size,) = struct.unpack('<Q', length)
      rest = os.fstat(file.fileno()).st_size - file.tell()
      body = file.read(size + 4) if size + 4 <= rest else b''
      yield _checked(body, size, path, index, 'data')
      index += 1


def _checked(data, size, path, index, what) -> bytes:
  """The first `size` bytes, if the four after them are their checksum."""
  if len(data) < size + 4:
    raise ValueError(
      f'{path}: record {index} is cut off in its {what}; the file is '
      'truncated, copy it again'
    )
  payload, crc = data[:size], struct.unpack('<I', data[size:])[0]
  if crc32c.masked(payload) != crc:
    raise ValueError(
      f'{path}: record {index} is corrupt (checksum of its {what}); copy the '
      'file again'
    )
  return payload
