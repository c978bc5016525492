"""Rows of the arrays of an `.npz`, read where they lie.

NumPy reads an array whole. Here what lies before the rows is decompressed once
and dropped; states of the decompressor are kept on the way, so that rows are
found again by reading a little. An archive's checksums, which are of whole
arrays, are not compared. Pickled objects are left out: they are code.
"""

import math
import os
import pathlib
import struct
import threading
import zipfile
import zlib
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from rpt_jax import files

_CHUNK = 1 << 14  # Compressed bytes of one step; at most 16 MiB of an array.
_FINEST, _MOST_STATES = 1 << 18, 1 << 10  # A state takes about 40 kB.
_LOCAL = struct.Struct('<26xHH')  # The lengths of a name and of what follows.
_HEADERS = {
  (1, 0): npy.read_array_header_1_0,
  (2, 0): npy.read_array_header_2_0,
}


class Header(NamedTuple):
  """What an array declares, and where in its stream its values begin."""

  shape: tuple[int, ...]
  dtype: np.dtype
  by_columns: bool
  start: int


class Archive:
  """The arrays of one `.npz`, by their names; safe for several threads.

  Raises ValueError, naming the file, for what is no such archive, and arrays
  that declare more than they hold.
  """

  def __init__(self, path: str | os.PathLike):
    self.path = pathlib.Path(path)
    with files.reading(path), zipfile.ZipFile(files.regular(path)) as archive:
      members = {
        entry.filename.removesuffix('.npy'): (entry, header(archive, entry))
        for entry in archive.infolist()
      }
      self._streams = {
        name: _Stream(path, entry) for name, (entry, _) in members.items()
      }
    self._headers = {
      name: head
      for name, (_, head) in members.items()
      if not head.dtype.hasobject
    }

  @property
  def arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """{name: (shape, dtype)}, without reading values."""
    return {name: (h.shape, h.dtype) for name, h in self._headers.items()}

  def rows(self, name: str, first: int = 0, count: int | None = None):
    """`count` rows of an array from `first` on; None: all that follow.

    An array that was stored by columns (Fortran's order) is read whole.
    Raises ValueError for one that is damaged, or has no such rows.
    """
    head, stream = self._headers[name], self._streams[name]
    total, *step = head.shape
    count = total - first if count is None else count
    if not 0 <= first <= first + count <= total:
      raise ValueError(
        f'{self.path}: {name} has {total} rows, not {first} to {first + count}'
      )
    width = math.prod(step) * head.dtype.itemsize
    with files.reading(self.path):
      if head.by_columns:
        data = stream.read(head.start, head.start + total * width)
        whole = np.frombuffer(data, head.dtype).reshape(head.shape[::-1]).T
        return whole[first : first + count].copy()
      start = head.start + first * width
      data = stream.read(start, start + count * width)
    return np.frombuffer(data, head.dtype).reshape(count, *step)


class _Stream:
  """The bytes of one member of an archive, from any place."""

  def __init__(self, path, entry):
    self._path, self._size = path, entry.compress_size
    self._stored = entry.compress_type == zipfile.ZIP_STORED
    self._begin = _begin(path, entry)
    self._apart = max(_FINEST, entry.file_size // _MOST_STATES)
    # (decompressed, compressed bytes so far, the decompressor there).
    self._states, self._lock = (
      [(0, 0, zlib.decompressobj(-15))],
      threading.Lock(),
    )

  def read(self, start: int, stop: int) -> bytearray:
    """The bytes from `start` to `stop`; ValueError where it ends before."""
    if not self._stored:
      return self._inflate(start, stop)
    with open(self._path, 'rb') as file:
      file.seek(self._begin + start)
      data = bytearray(file.read(stop - start))
    if len(data) < stop - start:
      raise ValueError(f'ends {stop - start - len(data)} bytes early')
    return data

  def _inflate(self, start, stop):
    with self._lock:
      position, place, machine = max(s for s in self._states if s[0] <= start)
      machine = machine.copy()
    parts = []
    with open(self._path, 'rb') as file:
      file.seek(self._begin + place)
      while position < stop:
        chunk = file.read(min(_CHUNK, self._size - place))
        if not chunk:
          raise ValueError(f'ends {stop - position} bytes early')
        values = machine.decompress(chunk)
        parts.append(values[max(start - position, 0) : stop - position])
        position, place = position + len(values), place + len(chunk)
        self._keep(position, place, machine)
    return bytearray().join(parts)

  def _keep(self, position, place, machine):
    with self._lock:
      if position >= self._states[-1][0] + self._apart:
        self._states.append((position, place, machine.copy()))


def header(archive, entry) -> Header:
  """What an array of an open archive says of itself.

  Raises ValueError where it cannot be true.
  """
  if entry.flag_bits & 1 or entry.compress_type not in (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
  ):
    raise ValueError(
      f'{entry.filename}: found it encrypted or compressed otherwise, expected '
      'it as np.savez writes it'
    )
  with archive.open(entry) as stream:
    shape, by_columns, dtype = _HEADERS[npy.read_magic(stream)](stream)
    start = stream.tell()
  declares = Header(shape, dtype, by_columns and len(shape) > 1, start)
  if dtype.hasobject:
    return declares
  declared = math.prod(shape) * dtype.itemsize
  stored = min(entry.compress_size, os.path.getsize(archive.filename))
  files.holds(archive.filename, entry.filename, declared, stored)
  if min(shape, default=0) < 0 or start + declared != entry.file_size:
    raise ValueError(
      f'{entry.filename}: found {entry.file_size} bytes, expected '
      f'{start + declared} of {dtype}{list(shape)}'
    )
  return declares


def _begin(path, entry) -> int:
  """Where the bytes of a member begin, after the header that precedes them."""
  with open(path, 'rb') as file:
    file.seek(entry.header_offset)
    name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
  begin = entry.header_offset + _LOCAL.size + name + extra
  if begin + entry.compress_size > os.path.getsize(path):
    raise ValueError(f'{entry.filename}: lies beyond the end of the file')
  return begin
