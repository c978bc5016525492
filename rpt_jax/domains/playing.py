"""What is played and what comes of it, the same for domains of every kind."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import files
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import tuning


class Own(NamedTuple):
  """What seeds differ in, all [S, ...] or of one seed."""

  model: PyTree
  image: PyTree  # The part of the image model that trained with the policy.
  constants: dict  # Of heads, as `sequence.bind` takes them.


@dataclasses.dataclass(frozen=True)
class SeedWeights:
  """The policies of a cell, one a seed, which are one program.

  `shared` are `policy.program.Weights` whose image model is what no seed has
  changed, `latents` {stream: f16 [S, N, D]} of the frames of a split as every
  seed's image model sees them, none where they share one. `sight` is what they
  see of the true state: 'state' all of it, 'positions' what a frame shows; ''
  where they see frames. `words` is the vocabulary of those that read
  instructions, or a text tower.
  """

  shared: Any
  own_S: Own
  latents: Callable[[str], dict[str, np.ndarray]]
  sight: str = ''
  words: Any = None

  @property
  def count(self) -> int:
    """S."""
    return len(jax.tree.leaves(self.own_S)[0])

  def of(self, seed: int):
    """`policy.program.Weights` of one seed, on the device."""
    own = jax.tree.map(lambda x: x[seed], self.own_S)
    return jax.device_put(with_own(self.shared, own))


def with_own(shared, own: Own):
  """The weights of a seed, in jit or outside; as `SeedWeights` has them."""
  image = tuning.merge(own.image, shared.image)
  return shared._replace(model=own.model, image=image, constants=own.constants)


class Played(NamedTuple):
  """How the episodes of a cell went; a domain says what an outcome is."""

  outcome: np.ndarray  # [S, episodes, ...]
  steps: np.ndarray | None = None  # Decisions [S, episodes].
  reference: np.ndarray | None = None  # Outcomes [R, episodes, ...] of guesses.
  film: np.ndarray | None = None  # u8 [T, H, W, 3] of the first one.

  def save(self, path: Path) -> None:
    """Writes a .npz of what there is."""
    arrays = {k: x for k, x in self._asdict().items() if x is not None}
    files.write_arrays(path, arrays)

  @classmethod
  def load(cls, path: Path) -> 'Played':
    """What `save` wrote; ValueError for another file."""
    arrays = files.read_arrays(path)
    film = arrays.get('film', np.zeros((1, 1, 1, 3), np.uint8))
    if film.dtype != np.uint8 or film.ndim != 4 or not film.size:
      raise ValueError(
        f'{path}: film: found {film.dtype}{list(film.shape)}, expected frames '
        'uint8 [T, H, W, 3]'
      )
    with files.reading(path):
      return cls(**arrays)


class Seen(NamedTuple):
  """Episodes that monitors watched, N of at most T steps.

  `sums` {monitor: [N, T]} as they add up, standing still once an episode has
  ended; `squares` {stream: [N, D]} of `monitors.surprise`, at its end.
  """

  success_N: np.ndarray  # bool
  steps_N: np.ndarray
  sums: Mapping[str, np.ndarray]
  squares: Mapping[str, np.ndarray]

  def only(self, chosen_N) -> 'Seen':
    """Some of the episodes."""
    return jax.tree.map(lambda x: x[chosen_N], self)


class Scored(NamedTuple):
  """The scores of a cell, and what else its outcomes say.

  `measures` {name of rows: (value, interval)} are of the cell, `references`
  {name: value} of the domain alone, whatever was played; `ending` is how the
  episode of the film ended, '' where that says little.
  """

  score_SN: np.ndarray
  measures: Mapping[str, tuple[float, tuple[float, float]]] = {}
  references: Mapping[str, float] = {}
  ending: str = ''


def instruction(
  played, weights: SeedWeights, sentence: str
) -> dict[str, np.ndarray]:
  """{'text': [L, ...]} for policies that read instructions, {} for others.

  `played` is their program; '' is no instruction.
  """
  if weights.words is None:
    return {}
  return {
    s.name: weights.words.tokens([sentence], s.levels)[0][0]
    for s in played.model.streams
    if not s.timed
  }


def pad(state: Array, dim: int) -> Array:
  """True states [..., P] in the place of latents: zeros up to `dim` numbers."""
  missing = dim - state.shape[-1]
  return jnp.pad(state, (*[(0, 0)] * (state.ndim - 1), (0, missing)))


@functools.cache
def in_rollouts(played, shown: tuple[int, ...], watching=None):
  """A policy's program as `envs.rollout` takes it, which calls things its way.

  Cached, as rollouts are compiled for each policy that they are given. Without
  cameras the true state stands in for latents, with zeros up to their width;
  of it only the numbers `shown` are. With a `policy.watching.Watching` it is
  the watched one.
  """
  from rpt_jax.models import sequence
  from rpt_jax.policy import program
  from rpt_jax.policy import watching as watching_lib

  act = program.in_rollouts(played)
  if watching is not None:
    act = watching_lib.in_rollouts(watching, played)
  width = next((s.dim for s in played.model.streams if s.name == 'latent'), 0)
  silent = [s for s in played.model.streams if not s.timed]

  def policy(carry, observation, keys):
    state = observation['state']
    seen = observation | {'proprio': state}
    for s in silent:  # Nobody says anything here.
      seen[s.name] = sequence.absent(s, len(state), 1)
    if width and not played.cameras:
      hidden_P = ~np.isin(np.arange(state.shape[-1]), shown)
      seen['latent'] = pad(jnp.where(hidden_P[None], 0.0, state), width)
    return act(carry, seen, keys)

  return policy


def on_host(
  played,
  weights,
  batch: int,
  seed: int,
  first: int = 0,
  said: Mapping[str, Array] | None = None,
) -> Callable:
  """A policy for a simulator outside JAX: `act(observation) -> actions [B, A]`.

  Args:
    played, weights: `policy.program.Program` and `Weights`.
    batch: episodes that begin together.
    seed: of actions that are drawn.
    first: episodes of this seed before these; each draws by its place.
    said: what `instruction` gives, the same for all of them.
  """
  from rpt_jax.policy import program

  names = {*played.cameras, *(s.name for s in played.model.streams)}
  keys_B = program.episode_keys(seed, first + batch)[first:]
  memory = program.start(played, batch)
  said_B = {
    name: np.broadcast_to(x_L, (batch, *x_L.shape))
    for name, x_L in (said or {}).items()
  }

  def act(observation):
    nonlocal memory
    seen = {name: x for name, x in observation.items() if name in names}
    seen |= said_B
    memory, action = program.step(played, weights, memory, seen, keys_B)
    return np.asarray(action)

  return act
