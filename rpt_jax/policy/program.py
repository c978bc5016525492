"""One step of a policy: a pure function, from frames to a robot's action.

Everything is in one program, the image model included. Policies that differ
in arrays only (seeds, statistics, limits) share what is compiled.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.objectives.behaviour_cloning import ACTION
from rpt_jax.types import Array, PyTree, StreamSpec

CAMERA = 'latent/'
_STEEPEST = 80.0  # exp of it is still a float32.


@dataclasses.dataclass(frozen=True)
class Execution:
  """How predicted chunks of actions are played.

  `execute` actions of a chunk are played before the next one is predicted.
  `ensemble` m averages what all chunks say of the present step, those of i
  steps ago weighted exp(-m * i): 0 the mean, above it the newest counts most,
  below it the oldest, as in ACT (Zhao et al. 2023, whose 0.01 is -0.01 here).
  """

  execute: int = 1
  ensemble: float | None = None

  def check(self, chunk: int) -> None:
    """Raises ValueError for what means nothing with chunks of that length."""
    if type(self.execute) is not int or not 1 <= self.execute <= chunk:
      raise ValueError(
        f'execution: execute={self.execute!r}, expected a whole number from 1 '
        f'to {chunk}, the actions of a chunk'
      )
    if self.ensemble is None:
      return
    if self.execute != 1 or chunk == 1:
      raise ValueError(
        f'execution: ensemble={self.ensemble} with execute={self.execute} and '
        f'chunks of {chunk}; only with execute=1 and longer chunks is there '
        'more than one prediction for a step'
      )
    steepness = abs(float(self.ensemble)) * chunk
    if not steepness <= _STEEPEST:  # Nor is NaN.
      raise ValueError(
        f'execution: ensemble={self.ensemble}, expected a number within '
        f'{_STEEPEST / chunk:.3g} of 0'
      )


@dataclasses.dataclass(frozen=True)
class Program:
  """What is compiled: the model, the image model's functions, the execution.

  `apply` and `preprocess` are None where no stream is a camera.
  """

  model: sequence.SequenceModel
  apply: Callable[[PyTree, Array], Array] | None
  preprocess: Callable[[Array], Array] | None
  execution: Execution

  @property
  def head(self):
    """The HeadSpec of the action."""
    return next(h for h in self.model.heads if h.name == ACTION)


class Weights(NamedTuple):
  """All arrays that a policy is, none of which changes as it acts.

  `scales` {stream: (mean [D], deviation [D])} of inputs; `spread_A` is the
  deviation of predicted actions, next to 0 where they never moved.
  """

  model: PyTree
  image: PyTree
  scales: dict[str, tuple[Array, Array]]
  spread_A: Array
  low_A: Array
  high_A: Array


class Memory(NamedTuple):
  """What a policy carries from step to step.

  `windows` {stream: standardised [B, T, D]}, the newest step last, and which
  steps there were; `plan_BCA` the weighted sum of what chunks say of this and
  later steps, `weight_C` the sum of weights; `count` steps since the start.
  """

  windows: dict[str, Array]
  valid_BT: Array
  plan_BCA: Array
  weight_C: Array
  count: Array


def start(program: Program, batch: int) -> Memory:
  """The memory of `batch` episodes that begin."""
  model, head = program.model, program.head
  return Memory(
    {s.name: jnp.zeros((batch, model.context, s.dim)) for s in model.streams},
    jnp.zeros((batch, model.context), bool),
    jnp.zeros((batch, head.steps, head.dim)),
    jnp.zeros(head.steps),
    jnp.int32(0),
  )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def advance(
  program: Program,
  weights: Weights,
  memory: Memory,
  observation: dict[str, Array],
) -> tuple[Memory, Array]:
  """One step: (memory, observation) -> (memory, action [B, A]).

  `observation` has uint8 frames [B, H, W, 3] under their cameras' names and
  vectors f32 [B, P] under their streams' names. Actions are in the robot's
  units, within its limits, and recorded as executed.
  """
  memory = _remember(program, weights, memory, observation)
  plan_BCA, weight_C = _shift(memory.plan_BCA, 1), _shift(memory.weight_C, 0)

  def predict():
    chunk_BCA = _chunk(program, weights, memory)
    if program.execution.ensemble is None:
      return chunk_BCA, jnp.ones_like(weight_C)
    decay = math.exp(-program.execution.ensemble)
    return decay * plan_BCA + chunk_BCA, decay * weight_C + 1

  if program.execution.execute == 1:
    plan_BCA, weight_C = predict()
  else:
    due = memory.count % program.execution.execute == 0
    plan_BCA, weight_C = jax.lax.cond(
      due, predict, lambda: (plan_BCA, weight_C)
    )
  mean_A = weights.scales[ACTION][0]
  wanted_BA = plan_BCA[:, 0] / weight_C[0]
  action_BA = mean_A[None] + wanted_BA * weights.spread_A[None]
  action_BA = action_BA.clip(weights.low_A[None], weights.high_A[None])
  memory = memory._replace(
    plan_BCA=plan_BCA, weight_C=weight_C, count=memory.count + 1
  )
  return _record(memory, weights, action_BA), action_BA


@functools.partial(jax.jit, donate_argnums=0)
def correct(memory: Memory, weights: Weights, action_BA: Array) -> Memory:
  """The memory of a robot that did `action_BA` in place of its last action."""
  return _record(memory, weights, action_BA)


def _remember(program, weights, memory, observation):
  """The windows one step later; the action of the new step is not known."""
  now = _latents(program, weights.image, observation)
  for stream in program.model.streams:
    if stream.name == ACTION:
      now[ACTION] = jnp.zeros_like(memory.windows[ACTION][:, 0])
    elif not stream.name.startswith(CAMERA):
      now[stream.name] = observation[stream.name]
    if stream.name != ACTION:
      now[stream.name] = _scaled(weights, stream.name, now[stream.name])
  windows = {
    name: jnp.concatenate([x_BTD[:, 1:], now[name][:, None]], axis=1)
    for name, x_BTD in memory.windows.items()
  }
  new_B1 = jnp.ones((len(memory.valid_BT), 1), bool)
  valid_BT = jnp.concatenate([memory.valid_BT[:, 1:], new_B1], axis=1)
  return memory._replace(windows=windows, valid_BT=valid_BT)


def _latents(program, params, observation):
  """{stream: latents [B, D]}; cameras of one size go through as one batch."""
  streams = [s.name for s in program.model.streams if s.name.startswith(CAMERA)]
  frames = [
    program.preprocess(observation[name.removeprefix(CAMERA)])
    for name in streams
  ]
  if len({x.shape for x in frames}) != 1:
    found = [program.apply(params, x) for x in frames]
  else:
    latent_ND = program.apply(params, jnp.concatenate(frames))
    found = jnp.split(latent_ND, len(frames))
  return dict(zip(streams, found, strict=True))


def _chunk(program, weights, memory):
  """The model's next actions [B, C, A], standardised."""
  names = [stream.name for stream in program.model.streams]
  hide_BTM = behaviour_cloning.hidden(memory.valid_BT, names)
  apply = sequence.bind(program.model, weights.model)
  output = apply(memory.windows, memory.valid_BT, hide_BTM)
  action = StreamSpec(ACTION, 'continuous', dim=program.head.dim)
  return behaviour_cloning.actions(output, action)


def _record(memory, weights, action_BA):
  """The action in the window's last step, if actions are seen at all."""
  if ACTION not in memory.windows:
    return memory
  window_BTA = memory.windows[ACTION]
  window_BTA = window_BTA.at[:, -1].set(_scaled(weights, ACTION, action_BA))
  return memory._replace(windows=memory.windows | {ACTION: window_BTA})


def _scaled(weights, name, x_BD):
  mean_D, std_D = weights.scales[name]
  return (x_BD - mean_D[None]) / std_D[None]


def _shift(x, axis):
  """The same a step later: the first entry gone, zeros at the end."""
  width = [(0, int(i == axis)) for i in range(x.ndim)]
  return jax.lax.slice_in_dim(jnp.pad(x, width), 1, None, axis=axis)
