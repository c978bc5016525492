"""Gymnax environments, rolled out: clips of mixed behaviour, expert episodes.

Every split draws from its own range of episode indices, so that no episode of
one is seen in another. Demonstrations wander: random actions are done for a
while, but every action recorded is the expert's for that state, which shows the
way back from where an expert never comes to (after DART, Laskey et al. 2017,
arXiv 1703.09327). Their rewards and lengths are those of what was done.

Policies are rolled out in jitted JAX, all seeds of a cell by one program; an
outcome is the return of an episode, its score 0 for random acting and 1 for the
expert, who is measured alone.
"""

import contextlib
import dataclasses
import functools
import zlib
from pathlib import Path

import jax
import numpy as np

from rpt_jax import envs, episodes, files, results
from rpt_jax.domains import measures, playing
from rpt_jax.domains.playing import Played, Scored, Seen
from rpt_jax.envs import behaviours, rollout
from rpt_jax.episodes import clips
from rpt_jax.episodes.scales import Scale
from rpt_jax.evals import intervals
from rpt_jax.results import Collect
from rpt_jax.settings import key, refuse
from rpt_jax.types import StreamSpec

FIRST_INDEX = {
  'pretrain': 0,
  'heldout': 1 << 20,
  'demos': 2 << 20,
  'returns': 3 << 20,
  'evaluation': 4 << 20,
  'watched': 5 << 20,
  'practice': 6 << 20,
  'guided': 7 << 20,
}
_CHUNK = 32  # Episodes of one call.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Gymnax environments, and how many episodes each has."""

  envs: tuple[str, ...] = key(
    (), 'by their ids in gymnax', length=1, distinct=True
  )
  nuisance: float = key(
    1.0, 'strength of the look that is constant over a clip', low=0, high=10
  )
  pretrain_clips: int = key(
    192, 'clips of mixed behaviour', low=1, high=10_000_000
  )
  heldout_clips: int = key(
    32, 'likewise; never trained on', low=1, high=10_000_000
  )
  clip_length: int = key(
    48, 'decisions; episodes may end earlier', low=2, high=100_000
  )
  demos: int = key(64, 'whole episodes of the expert', low=1, high=1_000_000)
  demo_noise: float = key(
    0.25, 'share of their time on random actions', low=0, high=0.9, absent=0.0
  )
  score_episodes: int = key(
    1024, 'episodes of the random and the expert return', low=2, high=1_000_000
  )


def domains(name: str, settings: Settings, seed: int) -> tuple['Gymnax', ...]:
  """The environments of an entry; ValueError for one that there is not."""
  unknown = sorted(set(settings.envs) - set(envs.NAMES))
  if unknown:
    refuse(
      f'config.domains.{name}.envs',
      unknown,
      f'some of {", ".join(envs.NAMES)}',
    )
  return tuple(Gymnax(env, name, seed, settings) for env in settings.envs)


@dataclasses.dataclass(frozen=True)
class Gymnax:
  """One environment, with pixels and a scripted expert."""

  name: str
  entry: str
  seed: int
  settings: Settings
  vocab: int = 0
  seen = True
  cameras = ('image',)
  splits = ('pretrain', 'heldout', 'demos')
  demos = 'demos'
  fields = ('state', 'action')
  probed = ('state',)
  weight, content = 0.0, ''
  measure = measures.RETURN
  together, sequential = True, False

  @property
  def discrete(self) -> bool:
    return bool(self.env.num_actions)

  @property
  def state_dim(self) -> int:
    return len(self.env.state_names)

  @property
  def visible(self) -> tuple[int, ...]:
    env = self.env
    return tuple(env.state_names.index(name) for name in env.visible)

  @property
  def widths(self) -> dict[str, int]:
    widths = {'proprio': self.state_dim}
    return widths if self.discrete else widths | {'action': self.env.action_dim}

  @property
  def longest(self) -> int:
    return self.settings.clip_length

  @property
  def num_actions(self) -> int:
    return self.env.num_actions

  @property
  def action_limit(self) -> tuple[float, float] | None:
    limit = self.env.action_limit
    return None if self.discrete else (-limit, limit)

  def frame_sizes(self, collected: Path | None = None) -> dict:
    del collected
    return dict.fromkeys(self.cameras, (64, 64))

  def fps(self, collected: Path | None = None) -> float:
    del collected
    return 0.0

  def check(self, as_stream: bool = False) -> None:
    """Nothing is read from elsewhere."""

  @property
  def env(self):
    return envs.make(self.name)

  @property
  def key(self) -> jax.Array:
    """Of all its episodes, whichever other environments there are."""
    name = zlib.crc32(self.name.encode())
    return jax.random.fold_in(jax.random.key(self.seed), name)

  def source(self, collected: Path, split: str):
    return episodes.open(collected / self.name, split=split)

  def action(self, collected: Path | None = None) -> StreamSpec:
    del collected
    if self.env.num_actions:
      return StreamSpec('action', 'discrete', vocab=self.vocab)
    return StreamSpec('action', 'continuous', dim=self.env.action_dim)

  def action_scale(self, collected: Path | None = None) -> Scale:
    """Continuous actions come in units of their limit."""
    del collected
    dim = self.env.action_dim
    limit_A = np.full(dim, self.env.action_limit, np.float32)
    return np.zeros(dim, np.float32), limit_A

  def collect(self, directory: Path) -> list[results.Row]:
    """Writes its splits as RLDS; rows: returns that scores are measured by."""
    from rpt_jax.episodes.rlds import writer

    splits = {split: self._episodes(split) for split in self.splits}
    frames = {split: sum(x.length for x in e) for split, e in splits.items()}
    writer.write(directory, self.name, splits)
    print(f'  {self.name}: frames {frames}', flush=True)
    return [
      self._return(Collect.EXPERT_RETURN, behaviours.expert),
      self._return(Collect.RANDOM_RETURN, behaviours.random),
    ]

  def most_demos(self) -> tuple[int, str]:
    return self.settings.demos, f'config.domains.{self.entry}.demos'

  def describe(self) -> str:
    return f'{self.name}: simulated'

  def table(self) -> list[str]:
    env = self.env
    action = (
      f'{env.num_actions} actions'
      if env.num_actions
      else f'{env.action_dim} numbers within ±{env.action_limit}'
    )
    return [
      f'{self.name:26} image [T, 64, 64, 3] u8, state '
      f'[T, {self.state_dim}], {action}; T <= {env.horizon}, '
      f'{env.action_repeat} simulator steps each'
    ]

  def episodes(self, count, streams, mesh):
    """The compiled function that plays `count` episodes of every seed.

    (program, shown, shared, own_S, keys_S) -> returns [S, count].
    """
    from rpt_jax.training import sharding

    play = functools.partial(self._returns, count, mesh)
    whole = sharding.replicated(mesh)
    play = jax.jit(play, static_argnums=(0, 1), out_shardings=whole)
    return contextlib.nullcontext(play)

  def play(
    self, program, weights, episodes, condition=None, record=False, stop=None
  ):
    """All seeds' returns; the film is of one episode of the first seed."""
    keys_S = jax.random.split(self.key, weights.count)
    shown = self._shown(weights.sight)
    returns_SN = episodes(program, shown, weights.shared, weights.own_S, keys_S)
    film = None
    if record:
      film = self._film(program, shown, weights.of(0), keys_S[0])
    return Played(np.asarray(returns_SN), film=film)

  @property
  def worlds(self) -> tuple[str, ...]:
    """What policies can be watched in; none where no episode can succeed."""
    from rpt_jax.envs.gymnax import catalogue, worlds

    if self.name not in catalogue.WITH_GOAL:
      return ()
    return tuple(name for name in worlds.NAMES if worlds.has(self.env, name))

  def watch(self, program, weights, watched, count, first=0, world='') -> Seen:
    """`count` episodes of one seed's policy in a world, watched by monitors.

    `watched` is (`policy.watching.Watching`, its foresight), `first` how many
    episodes come before these, `world` one of `worlds` or '', as it was.
    """
    from rpt_jax.envs.gymnax import worlds
    from rpt_jax.policy import program as programs
    from rpt_jax.policy import watching

    monitors, foresight = watched
    shown = tuple(range(self.state_dim))
    start = (
      weights,
      programs.start(program, count),
      foresight,
      watching.start(monitors, program, count),
    )
    steps = rollout.rollout(
      worlds.make(self.env, world),
      playing.in_rollouts(program, shown, monitors),
      start,
      self.key,
      count,
      record=('reward', 'valid'),
      first_index=FIRST_INDEX['watched'] + first,
      carried=watching.shown,
    )
    steps = jax.tree.map(np.asarray, steps)
    return _watched(steps)

  def steps(self, program, weights, count, split) -> dict[str, np.ndarray]:
    """Every step [N, T, ...] of `count` episodes of one seed's policy.

    `split` is whose episodes they are, of `FIRST_INDEX`. Of `rollout.FIELDS`
    all but what an expert would do and what a camera sees.
    """
    from rpt_jax.policy import program as programs

    shown = tuple(range(self.state_dim))
    start = weights, programs.start(program, count)
    policy = playing.in_rollouts(program, shown)
    return self._steps(policy, start, count, FIRST_INDEX[split])

  def shown_how(self) -> dict[str, np.ndarray]:
    """Every step of its demonstrations, as `steps` has them."""
    first, c = FIRST_INDEX['demos'], self.settings
    start = behaviours.mixture_start(
      self.env, self.key, c.demos, first, c.demo_noise
    )
    return self._steps(behaviours.mixture(self.env), start, c.demos, first)

  def _steps(self, policy, start, count, first):
    steps = rollout.rollout(
      self.env, policy, start, self.key, count, first_index=first
    )
    return jax.tree.map(np.asarray, steps)

  def score(self, played: Played, collected: Path) -> Scored:
    rows = files.read_json(collected / f'{self.name}.json', kind=list)
    bounds = [
      results.select(rows, name)[0]['value']
      for name in (Collect.RANDOM_RETURN, Collect.EXPERT_RETURN)
    ]
    return Scored(intervals.normalise(played.outcome, *bounds))

  def _returns(self, count, mesh, played, shown, shared, own_S, keys_S):
    """Returns [S, count], one seed after the other."""
    from rpt_jax.policy import program
    from rpt_jax.training import sharding

    def one(seed):
      own, key_ = seed
      memory = program.start(played, count)
      lanes = memory.windows, memory.valid_BT, memory.state
      windows, valid_BT, state = sharding.split(lanes, mesh)
      memory = memory._replace(windows=windows, valid_BT=valid_BT, state=state)
      return rollout.returns(
        self.env,
        playing.in_rollouts(played, shown),
        (playing.with_own(shared, own), memory),
        key_,
        count,
        nuisance=self.settings.nuisance,
        first_index=FIRST_INDEX['evaluation'],
      )

    return jax.lax.map(one, (own_S, keys_S))

  def _shown(self, sight):
    """The numbers of the state that a policy without cameras may see."""
    if sight == 'positions':
      return self.visible
    return tuple(range(self.state_dim))

  def _film(self, played, shown, weights, key_):
    """Frames [T, 64, 64, 3] of the first episode that these weights play."""
    from rpt_jax.policy import program

    steps = rollout.rollout(
      self.env,
      playing.in_rollouts(played, shown),
      (weights, program.start(played, 1)),
      key_,
      1,
      record=('image', 'valid'),
      nuisance=self.settings.nuisance,
      first_index=FIRST_INDEX['evaluation'],
    )
    return np.asarray(steps['image'][0])[np.asarray(steps['valid'][0])]

  def _episodes(self, split):
    """The episodes of a split, from one compiled rollout of `_CHUNK`."""
    c, demos = self.settings, split == 'demos'
    num = {
      'pretrain': c.pretrain_clips,
      'heldout': c.heldout_clips,
      'demos': c.demos,
    }[split]
    length = self.env.horizon if demos else c.clip_length
    starts = range(FIRST_INDEX[split], FIRST_INDEX[split] + num, _CHUNK)
    wander = c.demo_noise if demos else None
    parts = [self._rollout(first, wander) for first in starts]
    steps = {
      k: np.concatenate([part[k] for part in parts])[:num, :length]
      for k in parts[0]
    }
    label = steps.pop('expert')
    return clips.from_rollout(steps | ({'action': label} if demos else {}))

  def _rollout(self, first, wander):
    env, key_ = self.env, self.key
    steps = rollout.rollout(
      env,
      behaviours.mixture(env),
      behaviours.mixture_start(env, key_, _CHUNK, first, wander),
      key_,
      _CHUNK,
      record=rollout.FIELDS,
      nuisance=self.settings.nuisance,
      first_index=first,
    )
    return jax.tree.map(np.asarray, steps)

  def _return(self, name, behaviour):
    """The mean return of a behaviour, with its standard error."""
    num = self.settings.score_episodes
    play = functools.partial(rollout.returns, self.env, behaviour(self.env), ())
    returns_N = np.asarray(
      play(self.key, num, first_index=FIRST_INDEX['returns'])
    )
    mean, error = returns_N.mean(), returns_N.std() / np.sqrt(num)
    interval = (mean - 1.96 * error, mean + 1.96 * error)
    print(f'  {self.name}: {name} {mean:.2f} ± {1.96 * error:.2f}', flush=True)
    tags = {'env': self.name, 'episodes': num}
    return results.row(Collect.STAGE, name, mean, interval, **tags)


def _watched(steps):
  """Recorded steps as `Seen`: nothing counts after an episode's end."""
  sums, squares = steps['carried']
  valid_NT = steps['valid']
  last_N = valid_NT.sum(1) - 1
  at_N = np.arange(len(last_N))

  def until(x_NT):
    return np.where(valid_NT, x_NT, x_NT[at_N, last_N][:, None])

  return Seen(
    (steps['reward'] > 0).any(1),
    last_N + 1,
    {name: until(x_NT) for name, x_NT in sums.items()},
    {name: x_NTD[at_N, last_N] for name, x_NTD in squares.items()},
  )
