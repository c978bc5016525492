"""Recorded datasets: read where they lie, judged on held-out episodes.

Open loop: every policy sees what was recorded and predicts the next actions;
nothing is executed, and history holds what the robot did. An outcome is the
squared error of an episode's chunks, its score 1 - that error over that of
always giving the mean training action: 0 knows nothing and 1 is perfect. For
scale there is `copy_last`, which repeats the action before: it sees actions, as
policies on streams do and those on latents do not.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rpt_jax import episodes, files, results
from rpt_jax.domains import measures
from rpt_jax.domains.playing import Played, Scored
from rpt_jax.episodes import listing, scales, statistics, subset
from rpt_jax.episodes.split import hold_out
from rpt_jax.settings import key, refuse
from rpt_jax.types import DatasetNames, StreamSpec

INDEX, STATISTICS = 'index.json', 'statistics.json'
UNREADABLE = 'unreadable'  # {episode: why} of an index.
# Statistics of datasets, by their content, for all runs of this user.
CACHE = listing.CACHE.with_name('statistics')


@dataclasses.dataclass(frozen=True)
class Settings:
  """A recorded dataset, read where it lies."""

  path: str = key('', 'folder or file; empty: there is no such entry')
  split: str = key('all', 'which of its own splits')
  cameras: tuple[str, ...] = key(
    ('image',), 'observations that hold frames; (): none', distinct=True
  )
  mapping: Mapping[str, Any] = key(
    {}, 'stream: column, see --inspect=<path>; fps, clip_steps, size of video'
  )
  heldout: float = key(0.25, 'share of the episodes', above=0, high=0.9)
  format: str = key(
    '',
    "a file of episodes/formats, or your own reader's dotted name",
  )
  order: str = key(
    'ordered',
    'the last are held out, or by content',
    choices=('ordered', 'hash'),
  )
  normalise: str = key(
    'mean_std', 'of actions', choices=('mean_std', 'quantiles', 'none')
  )
  weight: float = key(
    0.0, 'share of pretraining windows; 0: by size', low=0, high=1_000_000
  )

  def check(self, where: str) -> None:
    for name, value in self.mapping.items():
      fits, expected = _MAPPED.get(name, (_is_text, "a column's name"))
      if not fits(value):
        refuse(f'{where}.mapping.{name}', value, expected)


def domains(name: str, settings: Settings, seed: int) -> tuple['Recorded', ...]:
  """The one dataset of an entry, which is called as it is; none of no path."""
  del seed  # It was drawn by those who recorded.
  return (Recorded(name, settings),) if settings.path else ()


@dataclasses.dataclass(frozen=True)
class Recorded:
  """A dataset; its demonstrations are its pretraining episodes."""

  name: str
  settings: Settings
  seen = True
  splits = ('pretrain', 'heldout')
  demos = 'pretrain'
  discrete = False
  num_actions = vocab = 0
  visible = ()
  action_limit = None
  measure = measures.PREDICTION
  together = sequential = False

  @property
  def entry(self) -> str:
    return self.name

  @property
  def content(self) -> str:
    return statistics.content_hash(self.settings.path)

  @property
  def cameras(self) -> tuple[str, ...]:
    return self.settings.cameras

  @property
  def fields(self) -> tuple[str, ...]:
    """As the mapping names them; all there are where it names no column."""
    mapping = self.settings.mapping
    columns = mapping if mapping.keys() - _NO_STREAMS else self.open().streams
    return tuple(k for k in ('state', 'action') if k in columns)

  @property
  def widths(self) -> dict[str, int]:
    columns, names = self.open().streams, {'proprio': 'state'}
    return {
      stream: int(np.prod(columns[field].shape))
      for stream, field in (names | {'action': 'action'}).items()
      if field in self.fields
    }

  @property
  def number_names(self) -> dict[str, tuple[str, ...]]:
    """{stream: what its numbers are called}, where the dataset says so."""
    names = self.open().labels
    streams = {'proprio': 'state', 'action': 'action'}
    return {s: names[field] for s, field in streams.items() if field in names}

  @property
  def as_recorded(self) -> DatasetNames:
    """What a robot that recorded it calls what a policy sees."""
    source = self.open()
    entries = {c: c for c in self.cameras}
    if 'state' in self.fields:
      entries['proprio'] = 'state'
    columns = source.columns_of([*entries.values()])
    sizes = source.scaled_from
    return DatasetNames(
      {name: tuple(columns[field]) for name, field in entries.items()},
      {c: sizes[c] for c in self.cameras if c in sizes},
    )

  @property
  def state_dim(self) -> int:
    """Where there is no camera, what is felt is all that there is to see."""
    return 0 if self.cameras else self.widths.get('proprio', 0)

  @property
  def longest(self) -> int:
    return int(self.open().lengths.max())

  @property
  def probed(self) -> tuple[str, ...]:
    return self.fields

  @property
  def weight(self) -> float:
    """Share of the pretraining windows; 0: by its size."""
    return self.settings.weight

  def open(self):
    """The whole dataset; raises ValueError where it cannot be read so."""
    return self._whole

  @functools.cached_property
  def _whole(self):
    s = self.settings
    how = tuple(sorted(s.mapping.items()))
    path = Path(s.path).expanduser()
    now = listing.signature(path) if path.exists() else ''
    return _opened(s.path, s.split, s.format, how, now)

  def check(self, as_stream: bool = False) -> None:
    where = f'config.domains.{self.name}'
    try:
      columns = self.open().streams
    except (ValueError, OSError) as error:
      raise ValueError(f'{where}: {error}') from error
    frames = sorted(
      k for k, column in columns.items() if column.kind == 'image'
    )
    if not set(self.cameras) <= set(frames):
      refuse(f'{where}.cameras', self.cameras, f'some of {frames}')
    try:
      self.most_demos()
    except ValueError as error:
      raise ValueError(f'{where}.heldout: {error}') from error
    if as_stream and self.settings.normalise != 'mean_std':
      refuse(
        f'{where}.normalise',
        self.settings.normalise,
        "'mean_std', as actions are a stream of this run, and streams are "
        'scaled so',
      )

  def most_demos(self) -> tuple[int, str]:
    """What is not held out; by content, that is known when it is read."""
    train, what = self.open(), f'the episodes of config.domains.{self.name}'
    if self.settings.order == 'ordered':
      train, _ = hold_out(train, self.settings.heldout, 'ordered')
    return len(train), f'{what} that can be trained on'

  def source(self, collected: Path, split: str):
    index = self._index(collected)
    unreadable = index.get(UNREADABLE, {})  # Older workdirs have none.
    unreadable = {int(k): why for k, why in unreadable.items()}
    return subset.Subset(self.open(), index[split], unreadable)

  def frame_sizes(self, collected: Path) -> dict[str, tuple[int, int]]:
    columns = self.source(collected, self.demos).streams
    return {c: tuple(columns[c].shape[:2]) for c in self.cameras}

  def action(self, collected: Path) -> StreamSpec:
    mean_A, _ = self.action_scale(collected)
    return StreamSpec('action', 'continuous', dim=len(mean_A))

  def action_scale(self, collected: Path) -> scales.Scale:
    table = statistics.load(collected / self.name / STATISTICS)
    return scales.of(table.streams['action'], self.settings.normalise)

  def collect(self, directory: Path) -> list[results.Row]:
    """Writes which episodes are held out, and what numbers range over.

    Episodes whose numbers cannot be read are named; those who read frames
    leave them out, within their budgets. Raises ValueError for actions that
    never change.
    """
    source = self.open()
    for column, why in source.left_out.items():
      print(f'  {self.name}: column {column} is left out: {why}', flush=True)
    parts = hold_out(source, self.settings.heldout, self.settings.order)
    fields = tuple(k for k in ('state', 'action') if k in source.streams)
    tables = [
      statistics.cached(CACHE, source, fields, part)
      for part in (parts if fields else ())
    ]
    self._check_actions(tables)
    if tables:
      statistics.save(directory / STATISTICS, tables[0])
    train, heldout = parts
    index = {
      'pretrain': train.tolist(),
      'heldout': heldout.tolist(),
      'lengths': source.lengths.tolist(),
      'fps': source.fps,
      UNREADABLE: {
        k: v for t in tables for k, v in t.provenance['skipped'].items()
      },
    }
    for episode, why in index[UNREADABLE].items():
      print(
        f'  {self.name}: episode {episode} cannot be read: {why}', flush=True
      )
    directory.mkdir(parents=True, exist_ok=True)
    files.write_json(directory / INDEX, index)
    rows = []
    for split, chosen in (('pretrain', train), ('heldout', heldout)):
      frames = source.lengths[chosen].sum()
      print(f'  {self.name} {split}: {len(chosen)} episodes, {frames} frames')
      tags = {'env': self.name, 'split': split}
      names = results.Collect
      rows += [
        results.row(names.STAGE, names.EPISODES, len(chosen), **tags),
        results.row(names.STAGE, names.FRAMES, frames, **tags),
      ]
    return rows

  def _check_actions(self, tables):
    """Raises ValueError where actions, asked for, are always the same."""
    if 'action' not in self.fields:
      return
    for what, table in zip(('training', 'held-out'), tables, strict=True):
      action = table.streams['action']
      if (action.min == action.max).all():
        raise ValueError(
          f'config.domains.{self.name}.mapping.action: at every step of the '
          f'{what} episodes it is {action.min[:8].tolist()}: nothing to '
          'predict; name another column, hold out other episodes, or leave '
          'it out'
        )

  def episodes(self, count, streams, mesh):
    """The held-out episodes, all of them: `open_loop.Heldout`."""
    from rpt_jax.domains import open_loop

    del count, mesh
    return contextlib.nullcontext(open_loop.Heldout(streams('heldout')))

  def play(
    self, program, weights, episodes, condition=None, record=False, stop=None
  ):
    """Errors [S, episodes, C] of chunks; no film, as nothing is executed."""
    error_SEC = episodes.errors(program, weights)
    return Played(error_SEC, reference=episodes.guesses(program, weights))

  def score(self, played: Played, collected: Path) -> Scored:
    del collected
    mean_EC, last_EC = played.reference
    scores = [
      1.0 - error.mean(-1) / mean_EC.mean()
      for error in (played.outcome, last_EC)
    ]
    copied = {results.Acting.COPY_LAST: scores[1].mean()}
    return Scored(scores[0], references=copied)

  def describe(self) -> str:
    s = self.settings
    return f'{self.name}: recorded ({Path(s.path).name}, {s.split})'

  def table(self) -> list[str]:
    source = self.open()
    lines = [
      f'{self.name:26} {len(source)} episodes, {int(source.lengths.sum())} '
      f'steps, {source.fps} Hz'
    ]
    for stream, column in source.streams.items():
      lines.append(f'{"":26} {stream} [T, {", ".join(map(str, column.shape))}]')
    return lines

  def fps(self, collected: Path) -> float:
    return self._index(collected)['fps']

  def _index(self, collected):
    path = collected / self.name / INDEX
    return files.read_json(path, most=files.MANIFEST)


@functools.lru_cache(maxsize=8)
def _opened(path, split, format, mapping, signature):
  """A dataset, opened once a process as long as its files stay as they are."""
  del signature
  return episodes.open(path, split=split, format=format, **dict(mapping))


def _is_text(value):
  return isinstance(value, str) and bool(value)


def _is_count(value, most=1_000_000):
  return type(value) is int and 0 < value <= most


# What `Settings.mapping` holds besides columns: whether it fits, or what would.
_MAPPED = {
  'fps': (
    lambda x: type(x) in (int, float) and 0 < x <= 10_000,
    'a number above 0 and at most 10000',
  ),
  'clip_steps': (_is_count, 'a number of steps, at most 1000000'),
  'size': (
    lambda x: (
      type(x) is tuple
      and len(x) == 2
      and all(_is_count(each, 4096) for each in x)
    ),
    '(height, width), each at most 4096',
  ),
  **dict.fromkeys(
    ('split', 'format'),
    (lambda x: False, 'none here: it is a key of the dataset'),
  ),
}
# Of these none says which columns are streams.
_NO_STREAMS = {*_MAPPED, 'card', 'instruction'}
