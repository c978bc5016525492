"""Bags that are SQLite databases (`.db3`), as ROS 2 before Iron writes them.

Tables `topics` (id, name, type, serialization_format), `messages` (id,
topic_id, timestamp in ns, data) and, since Iron, `message_definitions`
(https://github.com/ros2/rosbag2, rosbag2_storage_sqlite3).
"""

import contextlib
import os
import pathlib
import re
import sqlite3
from collections.abc import Iterator

import numpy as np

from rpt_jax import files
from rpt_jax.episodes.ros.mcap_file import Channel

MAGIC = b'SQLite format 3\0'
_PLAIN = re.compile(r'(?is)CREATE TABLE ((?!\bAS\b).)*')


def channels(path: pathlib.Path) -> tuple[list[Channel], bool]:
  """The topics of a file, and False; ValueError where it is none of a bag."""
  with _opened(path) as (base, tables):
    if not {'topics', 'messages'} <= tables:
      raise ValueError(
        f'{path}: has the tables {sorted(tables)}, expected topics and messages'
      )
    definitions = {}
    if 'message_definitions' in tables:
      columns = 'topic_type, encoding, encoded_message_definition'
      rows = base.execute(f'SELECT {columns} FROM message_definitions')
      definitions = {name: (how, text) for name, how, text in rows}
    columns = 'id, name, type, serialization_format'
    topics = list(base.execute(f'SELECT {columns} FROM topics'))
    columns = 'timestamp, id, topic_id'
    rows = base.execute(f'SELECT {columns} FROM messages ORDER BY id')
    kind = [('time', np.int64), ('row', np.int64), ('topic', np.int64)]
    table = np.fromiter(rows, kind)
  own_channels = []
  for number, name, kind, how in topics:
    own = table[table['topic'] == number]
    zero = np.zeros_like(own['row'])
    places = np.stack([zero, own['row'], own['topic'], own['time']], 1)
    about = str(kind), str(how), definitions.get(kind, ('', ''))
    own_channels.append(Channel(str(name), *about, own['time'], places))
  return own_channels, False


def messages(path: pathlib.Path, places_N4: np.ndarray) -> Iterator[bytes]:
  """The messages in these rows; ValueError where another thing is there."""
  with _opened(path) as (base, _):
    for _, row, *_ in places_N4.tolist():
      query = 'SELECT data FROM messages WHERE id = ?'
      (data,) = base.execute(query, (row,)).fetchone() or (None,)
      if not isinstance(data, bytes):
        raise ValueError(f'{path}: no message in row {row}')
      yield data


@contextlib.contextmanager
def _opened(path):
  """A database that is only read, and the names of its plain tables."""
  log = pathlib.Path(f'{path}-wal')
  if log.exists() and os.path.getsize(log):
    raise ValueError(
      f'{path}: its last messages are in {log.name}, as its recorder was '
      'killed; open it once with sqlite3, which puts them back'
    )
  place = f'{files.regular(path).absolute().as_uri()}?mode=ro&immutable=1'
  try:
    with contextlib.closing(sqlite3.connect(place, uri=True)) as base:
      base.execute('PRAGMA trusted_schema = OFF')
      # Views, virtual tables and columns with AS compute what they say.
      rows = base.execute('SELECT name, sql FROM sqlite_master')
      plain = {name for name, sql in rows if _PLAIN.fullmatch(str(sql))}
      yield base, plain
  except sqlite3.Error as error:
    raise ValueError(
      f'{path}: no readable SQLite file ({error}); copy it again'
    ) from error
