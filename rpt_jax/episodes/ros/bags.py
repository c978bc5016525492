"""Bags of ROS 2: a file, or a folder of files that follow each other.

A folder with a `metadata.yaml` is one bag, whose files it names; any other
`.mcap` or `.db3` file is a bag of its own.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import listing
from rpt_jax.episodes.ros import cdr, mcap_file, packed, sqlite_file

SUFFIXES = ('.mcap', '.db3')
_KINDS = {'.mcap': mcap_file, '.db3': sqlite_file}
_ABOUT = 'metadata.yaml'
_MARK = 'rosbag2_bagfile_information'
_NAMES = re.compile(
  r'(?m)^[ \t]*(?:- )?(?:path: )?["\']?([^"\'\n:]+\.(?:mcap|db3)(?:\.zstd)?)'
  r'["\']?[ \t\r]*$'
)


class Bag(NamedTuple):
  """An episode: what it is called by, and its files in their order."""

  path: pathlib.Path
  files: list[pathlib.Path]


class Topic(NamedTuple):
  """The messages of a topic in a bag, in the order of their times."""

  type: str
  definition: tuple[str, str]  # Its encoding, and what it says.
  fault: str  # Why they cannot be read, or ''.
  times: np.ndarray  # [N] int64 ns, when they were recorded.
  places: np.ndarray  # [N, 5] int64: the file, and where in it.


def is_bag(path: pathlib.Path) -> bool:
  """Whether it is a folder that rosbag2 wrote, or a file that begins as one."""
  about = path / _ABOUT
  if about.is_file():
    return _MARK in files.read_text(about)
  magic = {'.mcap': mcap_file.MAGIC, '.db3': sqlite_file.MAGIC}
  if path.suffix.lower() not in magic or not path.is_file():
    return False
  with open(path, 'rb') as file:
    return file.read(16).startswith(magic[path.suffix.lower()])


def below(root: pathlib.Path) -> list[Bag]:
  """All bags at or below a path, in the order of their numbers."""
  if root.is_file():
    return [Bag(root, [root])]
  paths = [
    path
    for path in listing.visible(root, *SUFFIXES, '.zstd')
    if path.name.removesuffix('.zstd').lower().endswith(SUFFIXES)
  ]
  folders = {path.parent for path in paths}
  whole = {folder for folder in folders if (folder / _ABOUT).is_file()}
  bags = [Bag(folder, _named(folder)) for folder in whole]
  bags += [Bag(path, [path]) for path in paths if path.parent not in whole]
  return sorted(bags, key=lambda bag: listing.natural(bag.path))


def topics(bag: Bag) -> tuple[dict[str, Topic], bool]:
  """The topics of a bag, and whether the end of a file is missing.

  No message is read. Raises ValueError for a file that is missing or damaged.
  """
  parts, is_cut = {}, False
  for number, path in enumerate(bag.files):
    if path.suffix.lower() not in _KINDS:
      raise ValueError(
        f'{path}: is compressed as a whole; decompress it, as in: zstd -d '
        f'{path.name}, and take .zstd out of {_ABOUT}'
      )
    if not path.is_file():
      raise ValueError(
        f'{path}: no such file; {_ABOUT} names it: bring it back, or run '
        f'ros2 bag reindex {bag.path}'
      )
    with files.reading(path):
      channels, cut = _KINDS[path.suffix.lower()].channels(path)
    is_cut |= cut
    for channel in channels:
      if channel.times.min(initial=0) < 0:
        raise ValueError(f'{path}: {channel.topic} has times below zero')
      parts.setdefault(channel.topic, []).append((number, channel))
  return {name: _topic(part) for name, part in parts.items()}, is_cut


def messages(
  bag: Bag, places: dict[str, np.ndarray]
) -> Iterator[tuple[str, int, bytes]]:
  """(topic, which of its places, message) in the order of the files.

  `places` are some of each topic's, [N, 5]. Errors as `topics`.
  """
  owners = [(name, i) for name, x in places.items() for i in range(len(x))]
  if not owners:
    return
  all_N5 = np.concatenate([*places.values()])
  order = np.lexsort(all_N5.T[::-1])
  for number, path in enumerate(bag.files):
    rows = order[all_N5[order, 0] == number]
    if not len(rows):
      continue
    kind = _KINDS[path.suffix.lower()]
    with files.reading(path):
      own = kind.messages(path, all_N5[rows, 1:])
      for row, data in zip(rows, own, strict=True):
        if data[:4] == packed.ZSTD:  # rosbag2 --compression-mode message
          data = packed.unpacked(path, data, 'zstd', None)
        yield *owners[row], data


def decoded(topic: Topic, data: bytes) -> dict[str, Any]:
  """A message of a topic; ValueError where it is not of its type."""
  types = cdr.definition(topic.type, *topic.definition)
  return cdr.decode(types, topic.type, data)


def _topic(parts) -> Topic:
  """The channels of a topic as one: who sends on it has one each."""
  times = np.concatenate([channel.times for _, channel in parts])
  places = [np.insert(c.places, 0, number, axis=1) for number, c in parts]
  order = np.argsort(times, kind='stable')
  first = parts[0][1]
  types = sorted({channel.type for _, channel in parts})
  encodings = sorted({channel.encoding for _, channel in parts})
  definitions = {c.definition for _, c in parts if c.type == first.type}
  fault = ''
  if encodings != ['cdr']:
    fault = f'its messages are encoded as {encodings}, expected cdr, of ROS 2'
  elif len(types) > 1 or len(definitions) > 1:
    fault = f'its messages are of several types, {types}, expected one'
  return Topic(
    *(first.type, first.definition, fault),
    *(times[order], np.concatenate(places)[order]),
  )


def _named(folder) -> list[pathlib.Path]:
  """The files that `metadata.yaml` names, in its order."""
  text = files.read_text(folder / _ABOUT)
  names = [pathlib.PurePath(name).name for name in _NAMES.findall(text)]
  if _MARK not in text or not names:
    names = sorted(listing.visible(folder, *SUFFIXES), key=listing.natural)
    return [path for path in names if path.parent == folder]
  return [files.inside(folder, name) for name in dict.fromkeys(names)]
