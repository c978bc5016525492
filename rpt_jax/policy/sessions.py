"""Episodes of one policy side by side, each at a step of its own.

`Policy` acts for robots that start together. Here every robot has a place in a
table of memories, and one call acts for those that ask, whichever they are. A
lane of it is `program.advance` with what a robot elsewhere brings: the steps it
did not show, and what it did in fact. Shapes depend on how many ask alone.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.policy import program as acting
from rpt_jax.policy.program import Memory, Program, Weights
from rpt_jax.types import Array


class Table(NamedTuple):
  """What S episodes carry: leaves [S, ...] of a memory of one robot, and keys.

  `keys` are typed, [S, 1], those of `program.episode_keys`.
  """

  memory: Memory
  keys: Array


class Asked(NamedTuple):
  """Who asks, and what went on since the last step that was shown.

  Places [B], each once; but for lanes that pad, whose memory nobody reads.
  `skipped_B` steps were not shown. `done` [B, A] in the robot's units, or
  integers [B], is what was done in the last one shown, where `corrects_B`.
  """

  place_B: Array
  skipped_B: Array
  done: Array
  corrects_B: Array


def empty(program: Program, places: int) -> Table:
  """The table of `places` episodes, none of which has begun."""
  one = Table(acting.start(program, 1), acting.episode_keys(0, 1))
  repeat = functools.partial(jnp.repeat, repeats=places, axis=0)
  return jax.tree.map(lambda x: repeat(x[None]), one)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def begin(program: Program, table: Table, place: Array, seed: Array) -> Table:
  """The table with a new episode in a place; the old one is given away.

  `seed` is that of actions that are drawn: the robot draws as the first of
  `Policy.reset` with it.
  """
  one = Table(acting.start(program, 1), acting.episode_keys(seed, 1))
  return jax.tree.map(lambda x, new: x.at[place].set(new), table, one)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def step(
  program: Program,
  weights: Weights,
  table: Table,
  asked: Asked,
  observation: dict[str, Array],
) -> tuple[Table, Array]:
  """One step of those who ask; the old table is given away.

  Args:
    observation: {name: [B, ...]} as `Policy.act` takes it.

  Returns:
    (table, chunks): what is planned for this step and the next ones, float32
    [B, C, A] in the robot's units, or int32 [B, C]; NaN or -1 where the
    parameters are not sound or no prediction reaches.
  """
  lanes = jax.tree.map(lambda x: x[asked.place_B], table)
  lane = functools.partial(_lane, program, weights)
  memory, chunk = jax.vmap(lane)(lanes.memory, lanes.keys, asked, observation)
  memory = jax.tree.map(
    lambda x, new: x.at[asked.place_B].set(new), table.memory, memory
  )
  return table._replace(memory=memory), chunk


def skip(program: Program, memory: Memory, steps: Array) -> Memory:
  """The memory `steps` later, of which the policy was shown nothing.

  They are absent from its windows, and what was planned for them is over. A
  carried state is left as it is, as absent steps leave it.
  """

  def later(x, axis):
    index = jnp.arange(x.shape[axis]) + steps
    return jnp.take(x, index, axis, mode='fill', fill_value=0)

  memory = memory._replace(
    plan_BCA=later(memory.plan_BCA, 1),
    weight_C=later(memory.weight_C, 0),
    count=memory.count + steps,
  )
  if memory.state is not None:
    return memory
  timed = {s.name for s in program.model.streams if s.timed}
  windows = {
    name: later(x, 1) if name in timed else x
    for name, x in memory.windows.items()
  }
  return memory._replace(windows=windows, valid_BT=later(memory.valid_BT, 1))


def planned(
  program: Program, weights: Weights, memory: Memory, keys: Array
) -> Array:
  """All that is planned after `play`, whose action is the first of it.

  Args:
    memory: as `play` left it.
    keys: B typed keys, those of `play`; a later step is drawn with its own.

  Returns:
    [B, C, A] or [B, C], as `step` returns them.
  """
  plan_BCA = memory.plan_BCA / memory.weight_C[None, :, None]
  decide = functools.partial(acting.decided, program, weights)
  now = decide(plan_BCA[:, 0], keys)[:, None]
  if plan_BCA.shape[1] == 1:
    return now
  fold = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))
  keys_CB = fold(keys, jnp.arange(1, plan_BCA.shape[1]))
  later = jax.vmap(decide, (1, 0), 1)(plan_BCA[:, 1:], keys_CB)
  return jnp.concatenate([now, later], axis=1)


def _lane(program, weights, memory, keys, asked, observation):
  """`step` of one robot: (memory, chunk [C, A] or [C])."""
  done = asked.done[None]
  corrected = acting.record(program, memory, weights, done)
  memory = jax.tree.map(
    lambda new, old: jnp.where(asked.corrects_B, new, old), corrected, memory
  )
  memory = skip(program, memory, asked.skipped_B)
  keys = acting.step_keys(keys, memory)
  one = {name: x[None] for name, x in observation.items()}
  memory, _ = acting.advance(program, weights, memory, one, keys)
  return memory, planned(program, weights, memory, keys)[0]
