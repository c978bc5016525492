"""One face for datasets of every format: episodes in RLDS terms, NumPy.

A format is a store: what its columns are called and how one episode is read.
`Source` names streams after columns, completes episodes, checks them, and
reads all: written once. A store has

  name, path, fps     words for messages; control rate in Hz, or None
  columns             {column: Column}, everything a step can hold
  defaults            {stream: column}, the streams if none are asked for
  lengths             [episodes] int64, steps of each (0: cannot be opened)
  read(index, columns) -> {column: [T, ...]}, only what is asked for
  metadata(index) -> what there is beside the steps
  left_out            {column: why it cannot be read}; may be missing
  warnings            lines on what is odd in all of it; may be missing
  labels              {column: names of its numbers}; may be missing

and is picklable: workers open files again.
"""

import concurrent.futures
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import columns as columns_lib
from rpt_jax.episodes import decode
from rpt_jax.episodes import mapping as mapping_lib
from rpt_jax.episodes.cards import Card
from rpt_jax.episodes.columns import (
  STEP_FIELDS,
  Column,
  frames,
  is_large,
  text,
)
from rpt_jax.episodes.errors import CorruptEpisode, blaming
from rpt_jax.episodes.windows import Clips
from rpt_jax.types import Episode

# What datasets call the time of a step.
_TIME = re.compile(r'(.*[/.])?(timestamps?|times?)', re.IGNORECASE)
_OF_ONE = ('reward', 'discount', 'is_terminal')  # A number a step.


class Source:
  """Random access to episodes: `len(source)`, `source[i]` -> Episode.

  `mapping` names the column of a stream, as in `image='observation/image_0',
  action='action'`; `'a+b'` joins columns along their last axis. Keys that
  are no field of an Episode become observations; without such keys the
  format's own are taken. `instruction` names a column of text. `size` (H, W)
  scales the frames of all cameras. `card` gives a mapping for what `mapping`
  leaves out, and brings actions to one convention.

  Raises ValueError for a column that the dataset does not have.
  """

  def __init__(
    self,
    store,
    mapping: Mapping[str, str],
    size: tuple[int, int] | None = None,
    card: Card | None = None,
  ):
    self._standardise = None
    if card is not None:
      if 'action' not in mapping:
        self._standardise = card.standardise
      mapping = {**card.mapping, **mapping}
    self.store, self._size, self._card = store, size, card
    self._instruction = (mapping := dict(mapping)).pop('instruction', None)
    self._columns = mapping_lib.resolve(store, mapping)
    if self._instruction is not None:
      mapping_lib.split(store, 'instruction', self._instruction)

  @property
  def name(self) -> str:
    """What messages call it."""
    return self.store.name

  @property
  def path(self) -> str:
    """Where it lies."""
    return self.store.path

  @property
  def fps(self) -> float | None:
    """Steps per second, where the dataset says so."""
    if self._card is not None and self.store.fps is None:
      return self._card.fps
    return self.store.fps

  @property
  def lengths(self) -> np.ndarray:
    """[episodes] int64, without decoding where the format knows them."""
    return self.store.lengths

  @property
  def streams(self) -> dict[str, Column]:
    """What a step of this source holds: observations, action, reward, ..."""
    return {
      name: columns_lib.joined(
        [self.store.columns[c] for c in columns], self._size
      )
      for name, columns in self._columns.items()
    }

  @property
  def labels(self) -> dict[str, tuple[str, ...]]:
    """{stream: what each of its numbers is called}, where the dataset says."""
    given = getattr(self.store, 'labels', {})
    named = {
      stream: sum((tuple(given.get(c, ())) for c in columns), ())
      for stream, columns in self._columns.items()
    }
    if self._standardise is not None:
      named.pop('action', None)  # They are other numbers by then.
    streams = self.streams
    return {
      stream: names
      for stream, names in named.items()
      if names and (len(names),) == streams[stream].shape
    }

  @property
  def scaled_from(self) -> dict[str, tuple[int, int]]:
    """{stream: (H, W) of frames that `episodes.decode` scales to `size`}.

    Without those that a decoder of video scales, in ways of its own.
    """
    kept = {
      stream: self.store.columns[columns[0]]
      for stream, columns in self._columns.items()
    }
    return {
      stream: column.shape[:2]
      for stream, column in kept.items()
      if column.kind == 'image' and self._size not in (None, column.shape[:2])
    }

  @property
  def left_out(self) -> dict[str, str]:
    """{column: why}: what the dataset holds and nobody can read."""
    return dict(getattr(self.store, 'left_out', {}))

  @property
  def warnings(self) -> list[str]:
    """What is odd in the dataset as a whole."""
    expressions = [*self.store.defaults.values()]
    named = {
      c for e in expressions for c in mapping_lib.split(self.store, '', e)
    }
    lines = [
      f'{name}: {c.dtype}{list(c.shape)} a step is neither a frame nor a few '
      'numbers, and no stream unless you name it'
      for name, c in self.store.columns.items()
      if c.kind == 'values' and is_large(c) and name not in named
    ]
    return [*getattr(self.store, 'warnings', []), *lines]

  @property
  def observations(self) -> tuple[str, ...]:
    """Names of what is seen and felt."""
    return tuple(k for k in self._columns if k not in STEP_FIELDS)

  @property
  def fields(self) -> tuple[str, ...]:
    """All that `read` knows: observations, then the fields of a step."""
    return (*self.observations, *STEP_FIELDS)

  def columns_of(self, fields: Sequence[str]) -> dict[str, list[str]]:
    """Which columns of the dataset each field is made of."""
    return {k: self._columns.get(k, []) for k in self._checked_fields(fields)}

  def __len__(self) -> int:
    return len(self.store.lengths)

  def __iter__(self) -> Iterator[Episode]:
    return (self[i] for i in range(len(self)))

  def __getitem__(self, index: int) -> Episode:
    values = self.read(index)
    observation = {k: values.pop(k) for k in self.observations}
    return Episode(observation=observation, **values)

  def read(
    self,
    index: int,
    fields: Sequence[str] | None = None,
    *,
    finite: bool = True,
  ) -> dict[str, np.ndarray]:
    """Reads `fields` (None: all) of one episode; others are not decoded.

    What a dataset lacks is completed: action [T, 0], reward 0; first and last
    come from the record's extent, never from stored flags.

    Raises CorruptEpisode where it cannot be decoded, a column is of another
    shape or type than the dataset's, columns disagree in length, or (unless
    `finite` is False) a value is NaN or infinite.
    """
    fields = self._checked_fields(fields)
    if not 0 <= index < len(self):
      raise IndexError(f'episode {index} of {len(self)} in {self.path}')
    names = {*fields, *(('is_terminal',) if 'discount' in fields else ())}
    columns_of = {k: v for k, v in self._columns.items() if k in names}
    columns = list(dict.fromkeys(sum(columns_of.values(), [])))
    with files.reading(self.path, CorruptEpisode):
      arrays = self.store.read(index, columns) if columns else {}
    length = self._length(index, arrays)
    arrays = {c: self._as_column(index, c, x) for c, x in arrays.items()}
    if self._size is not None:
      arrays = {c: self._scaled(c, x) for c, x in arrays.items()}
    values = {
      k: self._standard(index, k, [arrays[c] for c in columns], length)
      for k, columns in columns_of.items()
    }
    if self._standardise is not None and 'action' in values:
      values['action'] = self._standardise(values['action'])
    if finite:
      self._check_finite(index, values)
    values = columns_lib.complete(values, length)
    return {k: values[k] for k in fields}

  def metadata(self, index: int) -> dict[str, Any]:
    """What there is beside the steps; always has 'instruction', a string."""
    with files.reading(self.path, CorruptEpisode):
      values = {'instruction': '', **self.store.metadata(index)}
    if self._instruction is not None:
      texts = self.store.read(index, [self._instruction])[self._instruction]
      values['instruction'] = text(texts[0])
    return values

  def times(self, index: int) -> np.ndarray | None:
    """When each step was, [T], in a unit of the dataset; None: nobody knows."""
    named = (
      name
      for name, c in self.store.columns.items()
      if c.kind == 'values' and np.prod(c.shape) == 1 and _TIME.fullmatch(name)
    )
    if (column := next(named, None)) is None:
      return None
    with files.reading(self.path, CorruptEpisode):
      return self.store.read(index, [column])[column].reshape(-1)

  def read_all(
    self,
    fields: Sequence[str] | None = None,
    indices: Sequence[int] | None = None,
  ) -> Clips:
    """Reads episodes into memory, one array per field, clips end to end.

    `fields` are observations ('image', 'state', ...) and fields of steps
    ('action', 'reward', ...); None reads all. `indices` are the episodes, in
    order; None reads all. Arrays are [N, ...] with N the steps of all of them.
    """
    fields = self._checked_fields(fields)
    indices = range(len(self)) if indices is None else indices

    def read(index):
      return self.read(index, fields)

    if any(self._decoded(field) for field in fields):
      with concurrent.futures.ThreadPoolExecutor() as pool:
        episodes = list(pool.map(read, indices))
    else:  # Threads would wait for each other.
      episodes = [read(index) for index in indices]
    arrays = {k: self._end_to_end(k, [e[k] for e in episodes]) for k in fields}
    lengths = [len(e[fields[0]]) for e in episodes]
    return Clips(arrays, np.array(lengths, np.int32))

  def _decoded(self, field):
    columns = self._columns.get(field, ())
    return any(self.store.columns[c].kind == 'image' for c in columns)

  def _checked_fields(self, fields):
    if fields is None:
      return self.fields
    for field in fields:
      if field not in self.fields:
        raise ValueError(
          f'{self.path}: field {field!r} not found; it has {self.fields}'
        )
    return tuple(fields)

  def _scaled(self, column, x):
    is_image = self.store.columns[column].kind == 'image'
    return decode.resize(x, self._size) if is_image else x

  def _end_to_end(self, field, parts):
    shapes = {x.shape[1:] for x in parts}
    if len(shapes) > 1:
      raise ValueError(
        f'{self.path}: {field} has steps of shapes {sorted(shapes)}; open the '
        'dataset with size=(height, width) for frames of one size'
      )
    return np.concatenate(parts)

  def _standard(self, index, name, parts, length):
    with blaming(self.path, f'episode {index}, {name}'):
      x = columns_lib.standard(name, parts)
      if name in _OF_ONE and x.size != length:
        raise ValueError(
          f'found {list(x.shape[1:])} numbers a step, expected one'
        )
    return x

  def _length(self, index, arrays):
    for name, x in arrays.items():
      if np.ndim(x) == 0:
        raise CorruptEpisode(
          f'{self.path}: episode {index}, {name}: found one value, expected '
          'one for each step; leave the episode out'
        )
    lengths = {c: len(x) for c, x in arrays.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
      raise CorruptEpisode(
        f'{self.path}: episode {index} has columns of lengths {lengths}, '
        'expected one length of at least 1'
      )
    return next(iter(lengths.values()), None) or int(self.lengths[index])

  def _as_column(self, index, name, x):
    """The values of an episode, if they are what the dataset's column holds.

    Frames may be of any size, integers may stand for floats.
    """
    column = self.store.columns[name]
    if column.kind == 'text':
      return x
    is_image = column.kind == 'image'
    if is_image and x.dtype == np.uint8 and x.ndim == 4:
      x = frames(x)
    fits = (
      x.dtype == np.uint8 and x.shape[3:] == (3,)
      if is_image
      else np.can_cast(x.dtype, column.dtype, 'same_kind')
      and x.shape[1:] == column.shape
    )
    if not fits:
      raise CorruptEpisode(
        f'{self.path}: episode {index}, {name}: found '
        f'{x.dtype}{list(x.shape)}, expected {np.dtype(column.dtype)}'
        f'{["steps", *column.shape]}'
      )
    same = x.dtype.kind == np.dtype(column.dtype).kind
    with blaming(self.path, f'episode {index}, {name}'):
      return x if same else columns_lib.cast(x, column.dtype)

  def _check_finite(self, index, values):
    for name, x in values.items():
      if x.dtype.kind == 'f' and not np.isfinite(x).all():
        step, *place = np.argwhere(~np.isfinite(x))[0]
        names = self.labels.get(name)
        label = f' ({names[place[0]]})' if names else ''
        raise CorruptEpisode(
          f'{self.path}: episode {index}, {name}{label}: step {step} is not '
          'finite, expected a number; leave the episode out'
        )


@functools.lru_cache(maxsize=16)
def reopen(store_type, *arguments):
  """What a pickled store becomes: opened once in each process."""
  return store_type(*arguments)
