"""MCAP files: where their messages are and when they came, then the messages.

Behind a chunk of messages, which may be compressed, stands at which offsets in
it and when those of a channel are; at the end, where the chunks are
(https://mcap.dev/spec). So times are known without reading messages, and a
message is read without those before it. Where the end is missing, as the
recorder was killed, or nothing was indexed, all is read as far as it goes.
"""

import collections
import contextlib
import functools
import io
import mmap
import os
import pathlib
import struct
import types
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rpt_jax import files
from rpt_jax.episodes.errors import needs
from rpt_jax.episodes.ros import packed

MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _INDEX, _CHUNK_INDEX = 3, 4, 5, 6, 7, 8
_STATISTICS = 11
_FOOTER = struct.Struct('<BQQQI')
_NO_CHUNK = -1


class Channel(NamedTuple):
  """The messages of a topic in a file, in the order of the file."""

  topic: str
  type: str
  encoding: str  # Of the messages.
  definition: tuple[str, str]  # Its encoding, and what it says.
  times: np.ndarray  # [N] int64 ns, when they were recorded.
  places: np.ndarray  # [N, 4] int64: chunk, offset in it, channel, time.


def channels(path: pathlib.Path) -> tuple[list[Channel], bool]:
  """The channels of a file, and whether its end is missing.

  Raises ValueError for what is no MCAP file, or not what its end says.
  """
  with _mapped(path) as data:
    head, is_cut = _summary(data)
    entries = _indexed(data, head)
    if entries is None:
      walked, entries = _walked(path, data, is_cut)
      head = walked._replace(messages=head.messages)
    counted = sum(len(x) for x in entries.values())
    if head.messages not in (None, counted):
      raise ValueError(
        f'{path}: found {counted} messages, expected {head.messages} as its '
        'end counts; copy it again'
      )
    none = np.zeros((0, 3), np.int64)
    numbers = head.channels
    return [_channel(head, i, entries.get(i, none)) for i in numbers], is_cut


def messages(path: pathlib.Path, places_N4: np.ndarray) -> Iterator[bytes]:
  """The messages at these places; a chunk is decompressed once in a row.

  Raises ValueError where another thing is there, or a chunk is damaged.
  """
  with _mapped(path) as data:
    at, content = None, None
    for chunk, offset, *about in places_N4.tolist():
      if chunk != at:
        content = data if chunk == _NO_CHUNK else _content(path, data, chunk)
        at = chunk
      records = _records(content, offset, len(content))
      opcode, begin, end = next(records, (None, 0, 0))
      if opcode != _MESSAGE or [*_message(content, begin, end)] != about:
        raise ValueError(
          f'{path}: found no message of channel {about[0]} and time {about[1]} '
          f'at {chunk}+{offset}, where its index has one; copy it again'
        )
      yield content[begin + 22 : end]


class _Head(NamedTuple):
  """What a file says of itself: schemas and channels by their numbers."""

  schemas: dict
  channels: dict
  chunks: list
  messages: int | None  # How many; None: it says nothing.


@contextlib.contextmanager
def _mapped(path):
  """The bytes of a file, read as they are asked for."""
  if not os.path.getsize(files.regular(path)):
    raise ValueError(f'{path}: found nothing in it, expected an MCAP file')
  with (
    open(path, 'rb') as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
  ):
    if data[:8] != MAGIC:
      raise ValueError(
        f'{path}: found another kind of file, expected MCAP; copy it again'
      )
    yield data


def _records(data, begin, end, cut=False) -> Iterator[tuple[int, int, int]]:
  """(kind, begin, end) of the records in `data`.

  Raises ValueError for one that is not whole; what is `cut` just ends there.
  """
  while begin < end:
    opcode, size = 0, 0
    if begin + 9 <= end:
      opcode, size = struct.unpack_from('<BQ', data, begin)
    if not opcode or begin + 9 + size > end:  # Zeros: room that was kept free.
      if cut:
        return
      raise ValueError(f'the record at byte {begin} is not whole')
    yield opcode, begin + 9, begin + 9 + size
    begin += 9 + size


def _summary(data) -> tuple[_Head, bool]:
  """What the end of a file says, and whether it is missing."""
  head = _Head({}, {}, [], None)
  at = len(data) - _FOOTER.size - len(MAGIC)
  if at < len(MAGIC) or data[-8:] != MAGIC or data[at] != 2:
    return head, True
  *_, begin, _, crc = _FOOTER.unpack_from(data, at)
  if begin < len(MAGIC):
    return head, False
  if crc and zlib.crc32(data[begin : at + _FOOTER.size - 4]) != crc:
    raise ValueError('its end is damaged (its checksum is another)')
  for opcode, *where in _records(data, begin, at):
    if opcode == _STATISTICS:
      head = head._replace(messages=_parsed(data, opcode, *where).message_count)
    elif opcode == _CHUNK_INDEX:
      head.chunks.append(_parsed(data, opcode, *where))
    else:
      _note(head, data, opcode, *where)
  return head, False


def _note(head, data, opcode, begin, end):
  """Keeps a schema or a channel."""
  if opcode in (_SCHEMA, _CHANNEL):
    record = _parsed(data, opcode, begin, end)
    kept = head.schemas if opcode == _SCHEMA else head.channels
    kept[record.id] = record


def _parsed(data, opcode, begin, end):
  stream = library().ReadDataStream(io.BytesIO(data[begin:end]))
  return library().kinds[opcode].read(stream)


def _indexed(data, head) -> dict[int, np.ndarray] | None:
  """{channel: [N, 3] times, chunks, offsets}; None where not all is indexed."""
  parts = collections.defaultdict(list)
  for chunk in head.chunks:
    begin = chunk.chunk_start_offset + chunk.chunk_length
    end = min(begin + chunk.message_index_length, len(data))
    for opcode, first, last in _records(data, begin, end):
      if opcode != _INDEX:
        return None
      channel = int.from_bytes(data[first : first + 2], 'little')
      pairs = np.frombuffer(data[first + 6 : last], '<i8').reshape(-1, 2)
      chunks = np.full(len(pairs), chunk.chunk_start_offset)
      parts[channel].append(np.stack([pairs[:, 0], chunks, pairs[:, 1]], 1))
  entries = {channel: np.concatenate(x) for channel, x in parts.items()}
  is_whole = head.messages == sum(len(x) for x in entries.values())
  return (
    entries if is_whole and entries.keys() <= head.channels.keys() else None
  )


def _walked(path, data, is_cut) -> tuple[_Head, dict[int, np.ndarray]]:
  """The same of all that is whole, by reading everything."""
  head, entries = _Head({}, {}, [], None), collections.defaultdict(list)

  def walk(content, chunk, begin, end, cut):
    for opcode, first, last in _records(content, begin, end, cut):
      if opcode == _MESSAGE:
        channel, time = _message(content, first, last)
        entries[channel].append((time, chunk, first - 9))
      elif opcode == _CHUNK and chunk == _NO_CHUNK:
        inner = _content(path, data, first - 9)
        walk(inner, first - 9, 0, len(inner), False)
      else:
        _note(head, content, opcode, first, last)

  end = len(data) - (0 if is_cut else len(MAGIC))
  walk(data, _NO_CHUNK, len(MAGIC), end, is_cut)
  if lost := entries.keys() - head.channels.keys():
    raise ValueError(
      f'{path}: found messages of channels {sorted(lost)}, which it does not '
      'describe; copy it again'
    )
  return head, {k: np.array(x, np.int64) for k, x in entries.items()}


def _message(content, begin, end) -> tuple[int, int]:
  """(channel, time of recording) of the message in these bytes."""
  if end - begin < 22:
    raise ValueError(f'a message of {end - begin} bytes, expected 22 or more')
  channel, _, time = struct.unpack_from('<HIQ', content, begin)
  return channel, time


def _content(path, data, at) -> bytes:
  """The records of the chunk at this place of a file."""
  opcode, begin, end = next(_records(data, at, len(data)), (None, 0, 0))
  if opcode != _CHUNK:
    raise ValueError(
      f'{path}: found no chunk at byte {at}, where its index has one; copy it '
      'again'
    )
  chunk = _parsed(data, opcode, begin, end)
  size = chunk.uncompressed_size
  content = packed.unpacked(path, chunk.data, chunk.compression, size)
  crc = chunk.uncompressed_crc
  if crc and zlib.crc32(content) != crc:
    raise ValueError(
      f'{path}: the chunk at byte {at} is damaged (its checksum is another); '
      'copy the file again'
    )
  return content


def _channel(head, number, entries_N3) -> Channel:
  channel = head.channels[number]
  schema = head.schemas.get(channel.schema_id)
  definition = (schema.encoding, schema.data.decode()) if schema else ('', '')
  times, chunks, offsets = entries_N3.T
  places = np.stack([chunks, offsets, np.full_like(times, number), times], 1)
  about = schema.name if schema else '', channel.message_encoding, definition
  return Channel(channel.topic, *about, times, places)


@functools.cache
def library():
  """Foxglove's records, by their numbers, and what they are read from."""
  try:
    from mcap import records
    from mcap.data_stream import ReadDataStream
  except ImportError as error:
    raise needs('mcap', 'ros') from error
  kinds = {
    _SCHEMA: records.Schema,
    _CHANNEL: records.Channel,
    _CHUNK: records.Chunk,
    _CHUNK_INDEX: records.ChunkIndex,
    _STATISTICS: records.Statistics,
  }
  return types.SimpleNamespace(kinds=kinds, ReadDataStream=ReadDataStream)
