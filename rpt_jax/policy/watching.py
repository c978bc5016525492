"""Monitors beside a policy: what they carry from step to step, and their step.

`advance` is `program.advance` with monitors in it. A policy that nobody watches
never comes here, so that it costs nothing and its bits are the same.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.models.sequence import SequenceModel
from rpt_jax.policy import monitors, program
from rpt_jax.policy.monitors import Watched, surprise
from rpt_jax.policy.program import Memory, Program, Weights
from rpt_jax.types import Array, PyTree

_OWN = 0x57A7C  # Folded into a step's keys: monitors never draw as policies do.


class Foresight(NamedTuple):
  """Arrays of a model that foresees.

  `scales` {stream: (mean [D], deviation [D])} of its streams, `variance`
  {stream: [D]} of its errors where all goes well, in scaled numbers; see
  `monitors.surprise.spread`.
  """

  params: PyTree
  scales: dict[str, tuple[Array, Array]]
  variance: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Watching:
  """Which monitors watch: [(name, settings)], and the model that foresees."""

  monitors: tuple[tuple[str, Any], ...]
  model: SequenceModel | None = None

  @property
  def names(self) -> tuple[str, ...]:
    return tuple(name for name, _ in self.monitors)

  def check(self, program_: Program) -> None:
    """Raises ValueError where one of them cannot watch such a policy."""
    for _, settings in self.monitors:
      monitors.module(settings).check(settings, program_, self.model)


class Watch(NamedTuple):
  """What monitors carry: a state each, {name: sums [B]}, the last action."""

  states: dict[str, PyTree]
  sums: dict[str, Array]
  done: Array


def start(watching: Watching, program_: Program, batch: int) -> Watch:
  """What monitors carry as `batch` episodes begin."""
  states = {
    name: monitors.module(own).start(own, program_, watching.model, batch)
    for name, own in watching.monitors
  }
  sums = {name: jnp.zeros(batch) for name in watching.names}
  if program_.num_actions:
    return Watch(states, sums, jnp.zeros(batch, jnp.int32))
  return Watch(states, sums, jnp.zeros((batch, program_.width)))


def advance(
  watching: Watching,
  foresight: Foresight | None,
  program_: Program,
  weights: Weights,
  memory: Memory,
  watch: Watch,
  observation: dict[str, Array],
  keys: Array,
) -> tuple[Memory, Watch, Array]:
  """One step of policy and monitors: (memory, watch, action).

  Arguments as of `program.advance`, whose action this is.
  """
  seen = program.see(program_, weights, observation)
  memory = program.remember(program_, weights, memory, seen)
  own_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, _OWN)
  watched = Watched(
    program_,
    weights,
    memory,
    seen,
    watch.done,
    _chunks(watching, program_, weights, memory, own_keys),
    watching.model,
    foresight,
  )
  states, sums = {}, {}
  for name, settings in watching.monitors:
    update = monitors.module(settings).update
    states[name], score_B = update(settings, watched, watch.states[name])
    sums[name] = watch.sums[name] + score_B
  memory, action = program.play(program_, weights, memory, keys)
  return memory, Watch(states, sums, action), action


def _chunks(watching, program_, weights, memory, keys):
  """Draws [B, N, C, A], once for all monitors; N is 0 where none asks."""
  asked = [getattr(own, 'samples', 0) for _, own in watching.monitors]
  shape = program_.head.steps, program_.width
  num = max(asked, default=0)
  nothing = jnp.zeros((len(keys), num, *shape))
  if not num:
    return nothing
  due = memory.count % program_.execution.execute == 0

  def drawn():
    return program.drawn(program_, weights, memory, keys, num)

  return jax.lax.cond(due, drawn, lambda: nothing)


@functools.partial(jax.jit, static_argnums=(0, 2), donate_argnums=(4, 5))
def step(
  watching: Watching,
  foresight: Foresight | None,
  program_: Program,
  weights: Weights,
  memory: Memory,
  watch: Watch,
  observation: dict[str, Array],
  episode_keys: Array,
) -> tuple[Memory, Watch, Array]:
  """`advance` for what is not jitted itself, as `program.step` is."""
  keys = program.step_keys(episode_keys, memory)
  return advance(
    watching, foresight, program_, weights, memory, watch, observation, keys
  )


@functools.cache
def in_rollouts(watching: Watching, program_: Program):
  """The watched policy as `program.in_rollouts` gives it.

  `((weights, memory, foresight, watch), observation, keys)`; cached likewise.
  """

  def policy(carry, observation, keys):
    weights, memory, foresight, watch = carry
    memory, watch, action = advance(
      watching, foresight, program_, weights, memory, watch, observation, keys
    )
    return (weights, memory, foresight, watch), action

  return policy


def shown(carry) -> tuple[dict[str, Array], dict[str, Array]]:
  """Of a rollout's carry ({monitor: sums [B]}, squares of a surprised one).

  The squares are {stream: [B, D]}, of the first monitor that foresees, {}
  where none does.
  """
  *_, watch = carry
  states = watch.states.values()
  squares = (s.squares for s in states if isinstance(s, surprise.State))
  return watch.sums, next(squares, {})
