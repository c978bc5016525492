"""What the chunks of an ArrayRecord file declare, without unpacking them.

ArrayRecord keeps records in the chunks of a Riegeli file: 40 bytes that say how
large a chunk is, packed and unpacked, then its data, interrupted every 64 KiB
by 24 bytes of a block. What is packed is unpacked as a whole, and of zeros 128
KiB make more than a GiB. ArrayRecord itself refuses sizes that are not true; a
chunk that its index places within another one is not seen here.
Layout: github.com/google/riegeli, doc/riegeli_records_file_format.md.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from rpt_jax import files

_BLOCK, _BLOCK_HEADER, _HEADER = 1 << 16, 24, 40
_USABLE = _BLOCK - _BLOCK_HEADER
_KINDS = b'sprtm'  # signature, padding, records, transposed, metadata
_FREE = 1 << 28  # bytes of a chunk, as records of blank frames may have


def check(path: str | os.PathLike) -> None:
  """Raises ValueError where a chunk declares more than it can hold."""
  with open(path, 'rb') as file:
    for stored, declared in _chunks(file, os.path.getsize(path)):
      files.holds(path, 'a record', declared, stored, _FREE)


def check_index(path: str | os.PathLike) -> None:
  """`check` of the chunk with which ArrayRecord begins: where records lie.

  The last block of the file says where that is, as a varint of its fields.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    fields = _read(file, max(size - _BLOCK, 0), _HEADER + 64)[_HEADER:]
    place = _varint(fields[fields.find(b'\x08') + 1 :])
    if place < size:
      stored, declared, *_ = _header(file, place)
      files.holds(path, 'its index', declared, stored, _FREE)


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
  """(bytes packed, bytes unpacked) of all chunks that lie in the file."""
  place = 0
  while place < size:
    stored, declared, count, kind = _header(file, place)
    if kind not in _KINDS or stored > size:  # It is said when it is read.
      place = _next(file, place, size)
      continue
    yield stored, declared
    length = _HEADER + stored
    blocks = (length + (place + _USABLE - 1) % _BLOCK) // _USABLE
    end = place + length + blocks * _BLOCK_HEADER
    place = max(end, _possible(place + count))


def _possible(place):
  """The next place where a chunk may begin: not in what a block begins with."""
  return place + max(-place % _BLOCK - (_USABLE - 1), 0)


def _next(file, place, size):
  """Where after a damaged chunk the next one begins, as the next block says."""
  block = (place // _BLOCK + 1) * _BLOCK
  file.seek(block + 16)
  ahead = int.from_bytes(file.read(8), 'little')
  return block + (ahead if block + ahead < size else 0)


def _header(file, place):
  """(bytes packed, bytes unpacked, records, kind) of the chunk at a place."""
  _, stored, _, kind, declared = struct.unpack(
    '<5Q', _read(file, place, _HEADER).ljust(_HEADER, b'\0')
  )
  return stored, declared, kind >> 8, kind & 255


def _read(file, place, count):
  """So many bytes from a place on, without the headers of blocks."""
  parts = b''
  while len(parts) < count:
    if place % _BLOCK == 0:
      place += _BLOCK_HEADER
    file.seek(place)
    part = file.read(min(count - len(parts), _BLOCK - place % _BLOCK))
    if not part:
      break
    parts, place = parts + part, place + len(part)
  return parts


def _varint(data):
  """The number that bytes begin with, seven bits in each."""
  value = 0
  for index, byte in enumerate(data[:9]):
    value |= (byte & 0x7F) << 7 * index
    if byte < 0x80:
      break
  return value
