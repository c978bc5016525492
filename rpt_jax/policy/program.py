"""What acts: pure functions from observations to a robot's actions.

`advance` is one step, for a robot, a simulator on the host, or a rollout that
calls it in its own jit, scan and vmap. Its parts can be called apart:

    seen = see(program, weights, observation)     frames through the image model
    memory = remember(program, weights, memory, seen)      the window moves on
    chunk_BCA = predict(program, weights, memory, keys)    what to do next
    memory, action = play(program, weights, memory, keys)  predicts where due
    memory = record(program, memory, weights, action)      what was done

Where the trunk carries a state there are no windows: `Memory.state` is what the
model made of all steps before, and the window is the step that is going on,
which enters the state when the next one is seen, its action then being what was
done.
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

from rpt_jax.episodes import scales
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import ranking
from rpt_jax.policy.execution import Execution
from rpt_jax.policy.ranking import Ranking, Values
from rpt_jax.types import ACTION, CAMERA, LATENT, Array, PyTree


@dataclasses.dataclass(frozen=True)
class Program:
  """What is compiled: the model, the image model's functions, the execution.

  `apply` and `preprocess` are None where there are no `cameras`, whose order
  is that of latents side by side in a stream 'latent'. `num_actions` is how
  many discrete actions this robot has, the first ones of the head; 0: its
  actions are continuous.
  """

  model: sequence.SequenceModel
  apply: Callable[[PyTree, Array], Array] | None
  preprocess: Callable[[Array], Array] | None
  execution: Execution = Execution()
  num_actions: int = 0
  cameras: tuple[str, ...] = ()
  ranking: Ranking | None = None

  @property
  def head(self):
    """The HeadSpec of the action."""
    return next(h for h in self.model.heads if h.name == ACTION)

  @property
  def width(self) -> int:
    """A: numbers of an action, or logits where actions are discrete."""
    return self.num_actions or self.head.target.dim


class Weights(NamedTuple):
  """All arrays that a policy is, none of which changes as it acts.

  `scales` {stream: (mean [D], deviation [D])} of continuous streams and
  actions, see `episodes/scales.py`; `constants` as `sequence.bind` takes them;
  the limits of actions are infinite where
  there is none, and [0] where actions are discrete.
  """

  model: PyTree
  image: PyTree
  scales: dict[str, tuple[Array, Array]]
  constants: dict[str, dict[str, Array]]
  low_A: Array
  high_A: Array
  values: Values | None = None  # Of a critic that ranks.


class Memory(NamedTuple):
  """What a policy carries from step to step.

  `windows` {stream: standardised f32 [B, T, D], or integers [B, T, levels]},
  the newest step last, or a prefix [B, L]; which steps there were; `plan_BCA`
  the weighted sum of what chunks say of this and later steps, `weight_C` the
  sum of weights; `count` steps played since the start; `state` what the model
  carries, None where its trunk carries nothing.
  """

  windows: dict[str, Array]
  valid_BT: Array
  plan_BCA: Array
  weight_C: Array
  count: Array
  state: PyTree


def cameras_of(stream: str, cameras: tuple[str, ...]) -> tuple[str, ...]:
  """Whose latents a stream is, side by side; none: it is no latent of frames.

  'latent/front' is of the camera 'front', 'latent' of all `cameras`; without
  any it is a vector of that name.
  """
  if stream.startswith(CAMERA):
    return (stream.removeprefix(CAMERA),)
  return cameras if stream == LATENT else ()


def start(program: Program, batch: int) -> Memory:
  """The memory of `batch` episodes that begin."""
  model, chunk = program.model, program.head.steps
  state = sequence.start(model, batch)
  steps = model.context if state is None else 1
  return Memory(
    {s.name: sequence.absent(s, batch, steps) for s in model.streams},
    jnp.zeros((batch, steps), bool),
    jnp.zeros((batch, chunk, program.width)),
    jnp.zeros(chunk),
    jnp.int32(0),
    state,
  )


def see(
  program: Program, weights: Weights, observation: dict[str, Array]
) -> dict[str, Array]:
  """{stream: [B, D]}, not yet scaled: what the model is to read of a step.

  `observation` has uint8 frames [B, H, W, 3] under their cameras' names and
  vectors f32 [B, P] under their streams' names; what else is in it is ignored.
  """
  latents = _latents(program, weights.image, observation)
  seen = {}
  for stream in program.model.streams:
    cameras = cameras_of(stream.name, program.cameras)
    if cameras:
      views = [latents[camera] for camera in cameras]
      seen[stream.name] = jnp.concatenate(views, axis=-1)
    elif stream.name != ACTION:
      seen[stream.name] = observation[stream.name]
  return seen


def remember(
  program: Program, weights: Weights, memory: Memory, seen: dict[str, Array]
) -> Memory:
  """The windows one step later, with what `see` gave in their last step.

  What will be done in that step is not known: its action is zeros, which
  `predict` hides from the model.
  """
  windows, state = {}, memory.state
  if state is not None:
    apply = sequence.bind(program.model, weights.model)
    state = apply(memory.windows, memory.valid_BT, state=state)['state']
  for stream in program.model.streams:
    name, x_BTD = stream.name, memory.windows[stream.name]
    if not stream.timed:  # What is said holds for the whole window.
      silent = sequence.absent(stream, len(x_BTD), 1)
      words_BL = seen[name].astype(silent.dtype)
      if state is not None:  # It has heard them at the first step.
        words_BL = jnp.where(memory.count == 0, words_BL, silent)
      windows[name] = words_BL
      continue
    if name == ACTION:
      now_BD = jnp.zeros_like(x_BTD[:, 0])
    else:
      now_BD = scales.apply(seen[name], weights.scales[name])
    windows[name] = jnp.concatenate([x_BTD[:, 1:], now_BD[:, None]], axis=1)
  new_B1 = jnp.ones((len(memory.valid_BT), 1), bool)
  valid_BT = jnp.concatenate([memory.valid_BT[:, 1:], new_B1], axis=1)
  return memory._replace(windows=windows, valid_BT=valid_BT, state=state)


def predict(
  program: Program,
  weights: Weights,
  memory: Memory,
  keys: Array,
  follow_C: Array | None = None,
) -> Array:
  """The next actions [B, C, A] after the windows' last step.

  Standardised values, a draw of the head's, or logits of the robot's own
  actions. `keys` are B typed keys, one a lane; `follow_C` says how firmly steps
  go on as the memory's plan says, None: not at all.
  """
  apply = sequence.bind(program.model, weights.model, weights.constants)
  hide_BTM = behaviour_cloning.hidden(memory.valid_BT, apply.streams)
  output = apply(memory.windows, memory.valid_BT, hide_BTM, state=memory.state)
  head, read_B1D = apply.head(ACTION), output['reads'][ACTION][:, -1:]
  if program.num_actions:
    # Robots share a vocabulary of actions; the first ones are this one's.
    return head.logits(read_B1D)[:, 0, :, 0, : program.width]
  if follow_C is not None:

    def go_on(key, read_1D, plan_CA):
      plan, weight = plan_CA[None, None], follow_C[None, None]
      return head.guided(read_1D[None], key, plan, weight)[0, 0]

    return jax.vmap(go_on)(keys, read_B1D, memory.plan_BCA)
  if program.ranking:
    chunk_BKCA = _draws(head, read_B1D, keys, program.ranking.samples)
    about = program.ranking, weights, memory
    return ranking.choose(*about, chunk_BKCA, keys)
  draw = jax.vmap(lambda key, read_1D: head.sample(read_1D[None], key)[0, 0, 0])
  return draw(keys, read_B1D)


def drawn(
  program: Program, weights: Weights, memory: Memory, keys: Array, num: int
) -> Array:
  """Chunks [B, num, C, A] that may come next, standardised, as of `predict`.

  Of a program whose actions are continuous.
  """
  apply = sequence.bind(program.model, weights.model, weights.constants)
  hide_BTM = behaviour_cloning.hidden(memory.valid_BT, apply.streams)
  output = apply(memory.windows, memory.valid_BT, hide_BTM, state=memory.state)
  read_B1D = output['reads'][ACTION][:, -1:]
  return _draws(apply.head(ACTION), read_B1D, keys, num)


def play(
  program: Program, weights: Weights, memory: Memory, keys: Array
) -> tuple[Memory, Array]:
  """The action of the windows' last step, and the memory of having done it.

  Args:
    keys: B typed keys, one a lane, read only where actions are drawn (by the
      head, or discrete ones at a temperature above 0), so that a lane's actions
      do not depend on the others.

  Returns:
    (memory, action): float32 [B, A] in the robot's units and within its
    limits, or int32 [B], -1 where logits are not finite.
  """
  memory = _plan(program, weights, memory, keys)
  planned_BA = memory.plan_BCA[:, 0] / memory.weight_C[0]
  action = decided(program, weights, planned_BA, keys)
  memory = memory._replace(count=memory.count + 1)
  return record(program, memory, weights, action), action


def decided(
  program: Program, weights: Weights, planned_BA: Array, keys: Array
) -> Array:
  """The action of a step of which `planned_BA` is planned, as `play` gives it.

  `planned_BA` are standardised values or logits, `keys` as of `play`.
  """
  if program.num_actions:
    return _chosen(planned_BA, program.execution.temperature, keys)
  action = scales.invert(planned_BA, weights.scales[ACTION])
  return action.clip(weights.low_A[None], weights.high_A[None])


def advance(
  program: Program,
  weights: Weights,
  memory: Memory,
  observation: dict[str, Array],
  keys: Array,
) -> tuple[Memory, Array]:
  """One step: `see`, `remember`, `play`; arguments and results are theirs."""
  seen = see(program, weights, observation)
  memory = remember(program, weights, memory, seen)
  return play(program, weights, memory, keys)


def episode_keys(seed: int, batch: int) -> Array:
  """Typed keys [B] for `step`; robot i of any batch has the same."""
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  return fold(jax.random.key(seed), jnp.arange(batch))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def step(
  program: Program,
  weights: Weights,
  memory: Memory,
  observation: dict[str, Array],
  episode_keys: Array,
) -> tuple[Memory, Array]:
  """`advance` for what is not jitted itself; the memory is given away.

  `episode_keys` [B] are an episode's; every step draws with its own.
  """
  keys = step_keys(episode_keys, memory)
  return advance(program, weights, memory, observation, keys)


def step_keys(episode_keys: Array, memory: Memory) -> Array:
  """Typed keys [B] for the step that comes, of an episode's."""
  return jax.vmap(jax.random.fold_in, (0, None))(episode_keys, memory.count)


@functools.partial(jax.jit, static_argnums=0)
def upcoming(program: Program, weights: Weights, memory: Memory) -> Array:
  """The actions [C, B, A] from this step on, so far as they are planned.

  Of a program whose actions are continuous. The first is the one that `step`
  gave; later ones may change with what is predicted in between.
  """
  planned_BCA = (
    memory.plan_BCA / jnp.maximum(memory.weight_C, 1e-30)[None, :, None]
  )
  decide = functools.partial(decided, program, weights, keys=None)
  return jax.vmap(decide, in_axes=1)(planned_BCA)


def record(
  program: Program, memory: Memory, weights: Weights, action: Array
) -> Memory:
  """The memory of a robot that did `action` in the windows' last step.

  `action` is [B, A] in the robot's units or integers [B]. Where the model sees
  no actions there is nothing to remember.
  """
  if ACTION not in memory.windows:
    return memory
  if program.num_actions:
    done = action[:, None]
  else:
    done = scales.apply(action, weights.scales[ACTION])
  window = memory.windows[ACTION]
  window = window.at[:, -1].set(done.astype(window.dtype))
  return memory._replace(windows=memory.windows | {ACTION: window})


@functools.cache
def in_rollouts(program: Program) -> Callable:
  """The policy `((weights, memory), observation, keys)` of `envs/rollout.py`.

  Cached, as rollouts are compiled for each policy that they are given.
  """

  def policy(carry, observation, keys):
    weights, memory = carry
    memory, action = advance(program, weights, memory, observation, keys)
    return (weights, memory), action

  return policy


def _latents(program, params, observation):
  """{camera: latents [B, D]}; frames of one size go through as one batch."""
  frames = {c: program.preprocess(observation[c]) for c in program.cameras}
  alike = {}
  for camera, x in frames.items():
    alike.setdefault(x.shape, []).append(camera)
  latents = {}
  for cameras in alike.values():
    batch = jnp.concatenate([frames[camera] for camera in cameras])
    latent_ND = program.apply(params, batch)
    parts = jnp.split(latent_ND, len(cameras))
    latents |= zip(cameras, parts, strict=True)
  return latents


def _plan(program, weights, memory, keys):
  """The plan one step later, with a new chunk in it where one is due.

  A chunk that takes `delay` steps to predict is of no use to them: the plan
  keeps what it has there, if it has anything.
  """
  execution = program.execution
  plan_BCA, weight_C = _shift(memory.plan_BCA, 1), _shift(memory.weight_C, 0)
  memory = memory._replace(plan_BCA=plan_BCA, weight_C=weight_C)
  chunk = program.head.steps
  late_C = (jnp.arange(chunk) < execution.delay) & (weight_C > 0)

  def renewed():
    follow_C = None
    if execution.realtime:
      follow_C = execution.follows(chunk) * (weight_C > 0)
    chunk_BCA = predict(program, weights, memory, keys, follow_C)
    if execution.ensemble is None:
      if not execution.delay:
        return chunk_BCA, jnp.ones_like(weight_C)
      kept_BCA = jnp.where(late_C[None, :, None], plan_BCA, chunk_BCA)
      return kept_BCA, jnp.ones_like(weight_C)
    decay = math.exp(-execution.ensemble)
    said_C = jnp.where(late_C, 0.0, 1.0)
    new_BCA = (
      chunk_BCA * said_C[None, :, None] if execution.delay else chunk_BCA
    )
    return decay * plan_BCA + new_BCA, decay * weight_C + said_C

  if execution.execute == 1:
    plan_BCA, weight_C = renewed()
  else:
    due = memory.count % execution.execute == 0
    plan_BCA, weight_C = jax.lax.cond(
      due, renewed, lambda: (plan_BCA, weight_C)
    )
  return memory._replace(plan_BCA=plan_BCA, weight_C=weight_C)


def _draws(head, read_B1D, keys, num):
  """Chunks [B, num, C, A]; a lane's draws depend on its own key alone."""

  def draw(key, read_1D):
    return head.sample(read_1D[None], key, num)[:, 0, 0]

  return jax.vmap(draw)(keys, read_B1D)


def _chosen(logits_BA, temperature, keys):
  """int32 [B]: the likeliest, or drawn; -1 where logits are not finite."""
  if temperature:
    draw = jax.vmap(jax.random.categorical)
    action_B = draw(keys, logits_BA / temperature)
  else:
    action_B = logits_BA.argmax(-1)
  sound_B = jnp.isfinite(logits_BA).all(-1)
  return jnp.where(sound_B, action_B, -1).astype(jnp.int32)


def _shift(x, axis):
  """The same a step later: the first entry gone, zeros at the end."""
  width = [(0, int(i == axis)) for i in range(x.ndim)]
  return jax.lax.slice_in_dim(jnp.pad(x, width), 1, None, axis=axis)
