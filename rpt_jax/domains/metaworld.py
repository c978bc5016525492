"""Tasks of Meta-World, shown by their scripted experts, stored as RLDS.

Of what an expert tries, successes are kept: `pretrain` and `heldout` at every
level of noise, `demos` without any. The split `failures` has deliberate
failures instead. Every split draws from its own range of seeds. Policies are
played closed loop by processes of this host, every seed of a cell its own
episodes and all cells the same; an outcome is whether an episode succeeded.
With `look_every` they are played in rounds, and a cell may end after each.
"""

import contextlib
import dataclasses
import math
from pathlib import Path

import numpy as np

from rpt_jax import episodes, results
from rpt_jax.domains import measures, playing
from rpt_jax.domains.playing import Played, Scored
from rpt_jax.envs import metaworld
from rpt_jax.envs.metaworld import simulators
from rpt_jax.episodes.scales import Scale
from rpt_jax.evals import intervals
from rpt_jax.settings import key, refuse
from rpt_jax.types import StreamSpec

SEEDS = 1 << 16  # Of a split.
_PARTS = ('pretrain', 'heldout', 'demos', 'failures', 'evaluation')
_TRIES = 3  # Episodes tried for one that is kept, at most.
_HERTZ = 80  # Simulator steps a second.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Tasks of Meta-World, shown by their scripted experts."""

  tasks: tuple[str, ...] = key((), 'what pretraining sees', length=1)
  unseen: tuple[str, ...] = key((), 'tasks it never sees')
  cameras: tuple[str, ...] = key(
    ('corner2', 'gripperPOV', 'topview'),
    'which look',
    length=1,
    distinct=True,
  )
  size: int = key(84, 'pixels', low=8, high=4096)
  action_repeat: int = key(5, 'simulator steps of a decision', low=1, high=1000)
  horizon: int = key(30, 'decisions; experts need up to 20', low=1, high=10_000)
  noise: tuple[float, ...] = key(
    (0.0, 0.1, 0.3), 'of actions, episodes in turn', low=0, high=10, length=1
  )
  pretrain: int = key(150, 'episodes of a task', low=1, high=1_000_000)
  heldout: int = key(20, 'episodes of a task', low=1, high=1_000_000)
  demos: int = key(
    50, 'episodes without noise, for fine-tuning', low=1, high=1_000_000
  )
  failures: int = key(
    0, 'deliberate ones, for runs that want them', low=0, high=1_000_000
  )
  look_every: int = key(
    0,
    'episodes of a seed, at most, until one looks whether a cell does better '
    'or worse than scratch and ends it; 0: all are played',
    low=0,
    high=1_000_000,
    absent=0,
  )
  workers: int = key(
    2, 'processes that simulate and draw', low=1, high=1024, how=True
  )


def domains(name: str, settings: Settings, seed: int) -> tuple['Task', ...]:
  """The tasks of an entry, those of pretraining first.

  Raises ValueError for a task or camera there is not, or one named twice.
  """
  c = settings
  for field, names, expected in (
    ('tasks', c.tasks, metaworld.TASKS),
    ('unseen', c.unseen, [t for t in metaworld.TASKS if t not in c.tasks]),
    ('cameras', c.cameras, metaworld.CAMERAS),
  ):
    if set(names) - set(expected) or len(set(names)) < len(names):
      refuse(
        f'config.domains.{name}.{field}',
        names,
        f'each once of {", ".join(expected)}',
      )
  return tuple(
    Task(task, name, task in c.tasks, seed, c) for task in (*c.tasks, *c.unseen)
  )


@dataclasses.dataclass(frozen=True)
class Task:
  """One task; of one that pretraining may not see there are demos alone."""

  name: str
  entry: str
  seen: bool
  seed: int
  settings: Settings
  demos = 'demos'
  discrete = False
  num_actions = vocab = state_dim = 0
  visible = ()
  action_limit = (-1.0, 1.0)
  fields = probed = ('proprio', 'action')
  weight, content = 0.0, ''
  measure = measures.SUCCESS
  together = False

  @property
  def sequential(self) -> bool:
    return self.settings.look_every > 0

  @property
  def widths(self) -> dict[str, int]:
    return {'proprio': metaworld.PROPRIO_DIM, 'action': metaworld.ACTION_DIM}

  @property
  def longest(self) -> int:
    return self.settings.horizon

  @property
  def cameras(self) -> tuple[str, ...]:
    return self.settings.cameras

  @property
  def splits(self) -> tuple[str, ...]:
    if not self.seen:
      return ('demos',)
    failures = ('failures',) if self.settings.failures else ()
    return ('pretrain', 'heldout', 'demos', *failures)

  def frame_sizes(self, collected: Path | None = None) -> dict:
    del collected
    size = self.settings.size, self.settings.size
    return dict.fromkeys(self.cameras, size)

  @property
  def simulator(self) -> metaworld.Settings:
    """What the simulator is told."""
    c = self.settings
    return metaworld.Settings(c.cameras, c.size, c.action_repeat, c.horizon)

  def fps(self, collected: Path | None = None) -> float:
    del collected  # Decisions a second.
    return _HERTZ / self.settings.action_repeat

  def check(self, as_stream: bool = False) -> None:
    """Nothing is read from elsewhere."""

  def first_seed(self, part: str) -> int:
    """The first seed of a split, or of the 'evaluation'."""
    return (self.seed * 8 + _PARTS.index(part)) * SEEDS

  def source(self, collected: Path, split: str):
    # Named, as a lone camera would else be called 'image'.
    seen = sorted((*self.cameras, 'proprio'))
    columns = {name: f'observation/{name}' for name in seen}
    return episodes.open(collected / self.name, split=split, **columns)

  def action(self, collected: Path | None = None) -> StreamSpec:
    del collected
    return StreamSpec('action', 'continuous', dim=metaworld.ACTION_DIM)

  def action_scale(self, collected: Path | None = None) -> Scale:
    del collected
    dim = metaworld.ACTION_DIM
    return np.zeros(dim, np.float32), np.ones(dim, np.float32)

  def collect(self, directory: Path) -> list[results.Row]:
    """Writes all splits; rows: how many, and how often it succeeds.

    Raises ValueError where too few episodes could be kept.
    """
    from rpt_jax.episodes.rlds import writer

    splits, metadata, rows = {}, {}, []
    for split in self.splits:
      kept, tried = self._kept(split)
      splits[split] = [episode for episode, _ in kept]
      metadata[split] = [about for _, about in kept]
      steps = np.array([episode.length for episode in splits[split]])
      print(
        f'  {self.name} {split}: {len(kept)} of {tried} episodes kept, '
        f'{steps.sum()} steps',
        flush=True,
      )
      rows += self._rows(split, steps, tried)
    writer.write(directory, self.name, splits, metadata=metadata)
    return rows

  def most_demos(self) -> tuple[int, str]:
    return self.settings.demos, f'config.domains.{self.entry}.demos'

  def describe(self) -> str:
    c = self.settings
    cameras = ', '.join(c.cameras)
    return f'{self.name}: Meta-World, scripted, {c.size} px frames of {cameras}'

  def table(self) -> list[str]:
    c = self.settings
    return [
      f'{self.name:26} {", ".join(c.cameras)} [T, {c.size}, {c.size}, 3] u8, '
      f'proprio [T, {metaworld.PROPRIO_DIM}], action '
      f'[T, {metaworld.ACTION_DIM}]; T <= {c.horizon}, {c.action_repeat} '
      'simulator steps each'
    ]

  @contextlib.contextmanager
  def episodes(self, count, streams, mesh):
    """(lanes that all cells are played in, episodes of a seed at most).

    Rounds are as alike as can be, so that few lanes of the last are in vain.
    """
    del streams, mesh
    rounds = math.ceil(count / (self.settings.look_every or count))
    num, workers = math.ceil(count / rounds), self.settings.workers
    simulator = self.name, self.simulator, num, workers
    with simulators.Simulators(*simulator) as lanes:
      yield lanes, count

  def play(
    self, program, weights, episodes, condition=None, record=False, stop=None
  ):
    """Whether every seed's episodes succeed, and how long they take.

    A policy that reads instructions is told the task's, or `condition`.
    """
    sentence = condition or metaworld.instruction(self.name)
    said = playing.instruction(program, weights, sentence)
    (lanes, count), first = episodes, self.first_seed('evaluation')
    success, steps, film = [], [], None
    for begin in range(0, count, lanes.num):
      outcomes = []
      for seed in range(weights.count):
        own = weights.of(seed)
        act = playing.on_host(program, own, lanes.num, seed, begin, said)
        start = first + seed * count + begin
        seeds = range(start, start + lanes.num)
        films = int(record and not seed and not begin)
        outcomes.append(simulators.play(lanes, act, seeds, films=films))
      film = outcomes[0].films[0] if record and not begin else film
      success.append([each.success_N for each in outcomes])
      steps.append([each.steps_N for each in outcomes])
      success_SN = np.concatenate(success, axis=1)[:, :count]
      if stop and stop(success_SN):
        break
    steps_SN = np.concatenate(steps, axis=1)[:, :count]
    return Played(success_SN, steps_SN, film=film)

  def score(self, played: Played, collected: Path) -> Scored:
    """Success is 1; the rate of all seeds' episodes with a Wilson interval."""
    del collected
    success_SN = played.outcome
    rate, *interval = intervals.wilson(int(success_SN.sum()), success_SN.size)
    return Scored(
      success_SN,
      {results.Acting.SUCCESS: (rate, interval)},
      ending='succeeded' if success_SN[0, 0] else 'failed',
    )

  def _rows(self, split, steps, tried):
    names, tags = results.Collect, {'env': self.name, 'split': split}
    rate, *interval = intervals.wilson(len(steps), tried)
    row = results.row
    return [
      row(names.STAGE, names.EPISODES, len(steps), **tags),
      row(names.STAGE, names.FRAMES, steps.sum(), **tags),
      row(names.STAGE, names.STEPS, steps.mean(), **tags),
      row(names.STAGE, names.KEPT, rate, interval, episodes=tried, **tags),
    ]

  def _kept(self, split):
    """([(episode, metadata)] of a split, how many were tried)."""
    count, failing = getattr(self.settings, split), split == 'failures'
    first = self.first_seed(split)
    kept, tried = [], 0
    while len(kept) < count and tried < _TRIES * count:
      missing = count - len(kept)
      seeds = range(first + tried, first + tried + missing)
      tried += missing
      for episode, about in self._shown(split, seeds):
        if bool(about['success']) != failing:
          kept.append((episode, about))
    if len(kept) < count:
      raise ValueError(
        f'{self.name} {split}: {len(kept)} episodes of {tried} could be kept, '
        f'expected {count}; try less noise, a longer horizon, or another task'
      )
    return kept, tried

  def _shown(self, split, seeds):
    """What the expert does from these seeds, as `simulators.record` has it."""
    c = self.settings
    noise = (0.0,) if split == 'demos' else c.noise
    failure = float(split == 'failures')
    behaviour = metaworld.Behaviour(noise=noise, failure=failure)
    label = f'{self.name} {split}'
    return simulators.record(
      self.name, self.simulator, seeds, behaviour, c.workers, label
    )
