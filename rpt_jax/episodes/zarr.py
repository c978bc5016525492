"""Zarr arrays that lead nowhere else, and hold what they declare.

Version 2 and 3 of the format, in a folder or a .zip of one (https://zarr-specs.
readthedocs.io). Chunks are found, measured and checked here; tensorstore, which
orbax brings along, decodes them, and imagecodecs those that are images.
"""

import json
import math
import os
import pathlib
import zipfile
from typing import Any, NamedTuple

import numpy as np

from rpt_jax import files
from rpt_jax.episodes.errors import needs

_MOST_HEAD = 1 << 20  # Bytes of what describes an array.
_MOST_MORE = 1 << 16  # Bytes by which a compressed chunk may be the longer one.
_CODECS = ('blosc', 'zstd', 'zlib', 'gzip', 'bz2')
_CODECS_3 = ('blosc', 'zstd', 'gzip')
_IMAGES = ('imagecodecs_jpegxl', 'imagecodecs_jpeg2k')


class Head(NamedTuple):
  """What is declared of an array: `codec` packs its chunks, '' none.

  `fault` is why it cannot be read, '' where it can.
  """

  shape: tuple[int, ...]
  chunks: tuple[int, ...]
  dtype: np.dtype
  codec: str
  fault: str
  key: tuple[str, str]  # What a chunk's name begins with, and separates.
  order: str = 'C'


class Group:
  """A folder of arrays, or a .zip of one; several threads may read it.

  Raises ValueError, naming the file, for whatever cannot be read.
  """

  def __init__(self, path: str | os.PathLike):
    self.path = pathlib.Path(path)
    self._archive = None
    if not self.path.is_dir():
      with files.reading(path):
        self._archive = zipfile.ZipFile(files.regular(path))

  def arrays(self, name: str) -> dict[str, Head]:
    """The arrays right below a group, by their whole names."""
    if self._archive is None:
      heads = [h for file in HEADS for h in self.path.glob(f'{name}/*/{file}')]
      names = {head.parent.name for head in heads}
    else:
      parts = [n.split('/') for n in self._archive.namelist()]
      parts = [p for p in parts if p[0] == name and p[-1] in HEADS]
      names = {p[1] for p in parts if len(p) == 3}
    heads = {each: self.array(f'{name}/{each}') for each in sorted(names)}
    return {f'{name}/{each}': head for each, head in heads.items() if head}

  def array(self, name: str) -> Head | None:
    """What is declared of an array; None where there is none."""
    for file, read in HEADS.items():
      if self._has(f'{name}/{file}'):
        text = self._bytes(f'{name}/{file}', _MOST_HEAD)
        with files.reading(self.path / name / file):
          head = _read_head(read, json.loads(text))
        if head and head.codec in _IMAGES and not head.fault:
          _imagecodecs()
        return head
    return None

  def rows(self, name: str, head: Head, first: int, stop: int) -> np.ndarray:
    """Rows `first` to `stop`; of the chunks no others are read.

    A chunk that is missing is an error, though the format lets writers leave
    out those of one value: nothing tells them from what was not copied.
    """
    place = self.path / name
    if head.fault:
      raise ValueError(f'{place}: {head.fault}')
    if not 0 <= first < stop <= head.shape[0]:
      raise ValueError(f'{place}: no rows {first} to {stop} of {head.shape[0]}')
    size = math.prod(head.chunks) * head.dtype.itemsize
    most = size + size // 8 + _MOST_MORE
    with files.reading(place):
      chunks = {}
      for key, file in _keys(head, first, stop):
        chunks[key] = chunk = self._bytes(f'{name}/{file}', most)
        unpacked = _blosc_size(chunk) if head.codec == 'blosc' else size
        if unpacked != size:
          raise ValueError(f'{file} has {unpacked} bytes, expected {size}')
      stored = sum(map(len, chunks.values()))
      files.holds(place, 'an array', len(chunks) * size, stored)
      if head.codec in _IMAGES:
        return _images(head, chunks.values())
      return _numbers(head, chunks, first, stop)

  def _has(self, name):
    if self._archive is None:
      return os.path.lexists(self.path / name)
    return name in self._archive.NameToInfo

  def _bytes(self, name, most) -> bytes:
    """A file of the group, of at most so many bytes."""
    if not self._has(name):
      raise ValueError(
        f'{self.path}: {name} is missing; copy the dataset again, or write it '
        'with write_empty_chunks=True if its writer left out what is empty'
      )
    if self._archive is None:
      path = files.regular(files.inside(self.path, name))
      size = path.stat().st_size
    else:
      size = self._archive.getinfo(name).file_size
    if size > most:
      raise ValueError(
        f'{self.path}: {name} holds {size} bytes, expected {most} at most; '
        'copy the dataset again'
      )
    with files.reading(self.path):
      if self._archive is None:
        return path.read_bytes()
      return self._archive.read(name)


def _read_head(read, about) -> Head | None:
  try:
    return read(about)
  except (KeyError, TypeError, AttributeError, IndexError) as error:
    raise ValueError(
      'found another head than that of a zarr array of version 2 or 3'
    ) from error


def _head_2(about: dict[str, Any]) -> Head:
  compressor, filters = about.get('compressor'), about.get('filters')
  codec, fault = str(compressor['id']) if compressor else '', ''
  if codec not in ('', *_CODECS, *_IMAGES):
    fault = f'packed by {codec!r}, expected one of {_CODECS + _IMAGES}'
  elif filters:
    fault = f'filtered by {[f["id"] for f in filters]}, expected no filter'
  return _checked(
    Head(
      shape=about['shape'],
      chunks=about['chunks'],
      dtype=about['dtype'],
      codec=codec,
      fault=fault,
      key=('', str(about.get('dimension_separator', '.'))),
      order=str(about['order']),
    )
  )


def _head_3(about: dict[str, Any]) -> Head | None:
  if about.get('node_type') != 'array':
    return None
  first, *rest = [each['name'] for each in about['codecs']]
  fault = ''
  if first != 'bytes' or rest[1:] or not {*rest} <= {*_CODECS_3}:
    fault = (
      f"packed by {[first, *rest]}, expected 'bytes' and at most one of "
      f'{_CODECS_3}'
    )
  encoding = about['chunk_key_encoding']
  begin, separator = {'default': ('c', '/'), 'v2': ('', '.')}[encoding['name']]
  separator = encoding.get('configuration', {}).get('separator', separator)
  endian = about['codecs'][0].get('configuration', {}).get('endian')
  head = _checked(
    Head(
      shape=about['shape'],
      chunks=about['chunk_grid']['configuration']['chunk_shape'],
      dtype=about['data_type'],
      codec=rest[0] if rest else '',
      fault=fault,
      key=(begin and begin + separator, separator),
    )
  )
  return head._replace(dtype=head.dtype.newbyteorder(endian or '='))


HEADS = {'.zarray': _head_2, 'zarr.json': _head_3}


def _checked(head: Head) -> Head:
  """What is declared, if it can be meant; numbers of a type of NumPy's."""
  for counts, least in ((head.shape, 0), (head.chunks, 1)):
    whole = isinstance(counts, list) and all(type(n) is int for n in counts)
    if not whole or min(counts, default=least) < least:
      raise ValueError(f'found {counts} as shape or chunks')
  if len(head.shape) != len(head.chunks):
    raise ValueError(f'found chunks {head.chunks} of shape {head.shape}')
  try:
    dtype = np.dtype(str(head.dtype))
  except TypeError:
    dtype = np.dtype('V')
  fault = head.fault
  if dtype.kind not in 'biuf' or dtype.itemsize > 8:
    fault = f'of type {head.dtype}, expected numbers'
  frame = [1, *head.shape[1:]]
  if head.codec in _IMAGES and (head.chunks != frame or dtype != np.uint8):
    fault = f'{dtype} images in chunks {head.chunks}, expected uint8 {frame}'
  if head.order not in ('C', 'F'):
    fault = f'in the order {head.order}, expected C or F'
  return head._replace(
    shape=tuple(head.shape),
    chunks=tuple(head.chunks),
    dtype=dtype,
    fault=fault,
  )


def _keys(head, first, stop):
  """(place, name) of each chunk in which those rows lie, in their order.

  One by one, as there may be said to be more than can be counted up.
  """
  begin, *rest = head.chunks
  offset = first // begin
  grid = [-(-stop // begin) - offset]
  grid += [-(-n // c) for n, c in zip(head.shape[1:], rest, strict=True)]
  start, separator = head.key
  for i in range(math.prod(grid)):
    row, *others = map(int, np.unravel_index(i, grid))
    place = (row + offset, *others)
    yield place, start + separator.join(map(str, place))


def _blosc_size(chunk) -> int:
  """Bytes that a Blosc chunk unpacks to, as its header says."""
  return int.from_bytes(chunk[4:8], 'little')


def _numbers(head, chunks, first, stop):
  """The rows, of {place: chunk}, all of version 2 by now."""
  try:
    import tensorstore as ts
  except ImportError as error:
    raise needs('tensorstore', 'zarr') from error
  context = ts.Context()  # Of its own, or chunks of all reads would add up.
  memory = ts.KvStore.open({'driver': 'memory'}, context=context).result()
  for place, chunk in chunks.items():
    memory['.'.join(map(str, place))] = chunk
  about = {
    'zarr_format': 2,
    'shape': head.shape,
    'chunks': head.chunks,
    'dtype': head.dtype.str,
    'compressor': {'id': head.codec} if head.codec else None,
    'filters': None,
    'order': head.order,
    'fill_value': None,
  }
  memory['.zarray'] = json.dumps(about).encode()
  spec = {'driver': 'zarr', 'kvstore': {'driver': 'memory'}}
  spec['fill_missing_data_reads'] = False
  array = ts.open(spec, context=context, read=True).result()
  return array[first:stop].read().result()


def _images(head, chunks):
  """[T, H, W, C] of an encoded frame in each chunk; of that size or refused."""
  name = head.codec.removeprefix('imagecodecs_')
  decode = getattr(_imagecodecs(), f'{name}_decode')
  frames = np.empty((len(chunks), *head.shape[1:]), head.dtype)
  for frame, chunk in zip(frames, chunks, strict=True):
    decode(chunk, out=frame, numthreads=1)
  return frames


def _imagecodecs():
  try:
    import imagecodecs
  except ImportError as error:
    raise needs('imagecodecs', 'zarr') from error
  return imagecodecs
