"""The policy: observations of a robot in, its actions out.

    policy = Policy.load('policies/stack')
    policy.reset(instruction='stack the cups')
    action = policy.act({'front': frame, 'proprio': joints})[0]

It knows how training saw the world (which cameras at which size, the scale of
every number, how much history) and shows its model nothing else.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.models.sequence import SequenceModel
from rpt_jax.models.words import Words
from rpt_jax.policy import checks, observed, program, saved, watching
from rpt_jax.policy.ahead import Ahead
from rpt_jax.policy.execution import Execution
from rpt_jax.policy.program import Program, Weights
from rpt_jax.policy.ranking import Ranking, Values
from rpt_jax.policy.watching import Foresight, Watching
from rpt_jax.types import ACTION, TEXT, Array, DatasetNames, PyTree
from rpt_jax.vision.sentences import Tower


class Policy:
  """A sequence model, its image model and all it takes to act with them.

  One object drives one robot or, in a batch, several that start together.

  Args:
    model: streams 'latent/<camera>', 'latent' (those of all `frames` side by
      side), 'action', any other a vector of that name ('proprio', and 'latent'
      without `frames`); a head 'action' of C steps.
    params: of the model, one seed's.
    scales: {stream: (mean [D], std [D])} of every stream, and of 'action'
      where actions are continuous.
    constants: {head: {name: array}}: what heads have that is not learned.
    image: what gives latents: `.apply(params, x)`, `.params`,
      `.preprocess(uint8)`, `.dim`, as `vision.load` returns it.
    image_from: (what, settings) that `vision.load(what, **settings)` made
      `image` of; needed to save.
    frames: {camera: (height, width)} of frames in training, in the order of
      their latents.
    execution: how chunks are played; None: an action a prediction.
    action_limit: (low, high), numbers or [A], that actions are cut to; None
      where they are discrete.
    labels: {stream: what each number is, in which unit}, for 'action' and
      vectors; kept with the policy and named in errors.
    num_actions: discrete actions of this robot, the first of the head's; 0:
      actions are continuous.
    recorded: how its dataset calls what it sees, and how large frames were;
      `act` takes that, too.
    words: the vocabulary, or text tower, that a stream 'text' is read with, so
      that `reset` takes sentences; None: `act` takes its tokens.
    critic: who chooses among chunks that are drawn, and its arrays; it is not
      saved with the policy.

  Raises ValueError where parts do not fit each other.
  """

  def __init__(
    self,
    model: SequenceModel,
    params: PyTree,
    scales: dict[str, tuple[Array, Array]],
    *,
    constants: dict[str, dict[str, Array]] | None = None,
    image=None,
    image_from: tuple[str | os.PathLike, dict] | None = None,
    frames: dict[str, tuple[int, int]] | None = None,
    execution: Execution | None = None,
    action_limit: tuple[Array, Array] | None = None,
    labels: dict[str, tuple[str, ...]] | None = None,
    num_actions: int = 0,
    recorded: DatasetNames | None = None,
    words: Words | Tower | None = None,
    critic: tuple[Ranking, Values] | None = None,
  ):
    self.frames = {
      camera: tuple(map(int, size)) for camera, size in (frames or {}).items()
    }
    self.labels = {k: tuple(names) for k, names in (labels or {}).items()}
    self.recorded = recorded or DatasetNames()
    self.program = Program(
      model,
      image and image.apply,
      image and image.preprocess,
      execution or Execution(),
      num_actions,
      tuple(self.frames),
    )
    checks.program(self.program)
    self._fields = checks.fields(self.program, self.frames, self.labels)
    self.words = checks.words(words, self._fields)
    self._heard = self._fields.pop(TEXT) if words else None
    checks.image_model(self.program, image)
    checks.params(model, params)
    self.image, self.image_from = image, image_from
    self.action_limit = action_limit
    image_params = image.params if image else {}
    self.weights: Weights = jax.tree.map(
      jnp.asarray,
      checks.weights(
        self.program, params, image_params, scales, constants, action_limit
      ),
    )
    self._keys = None
    self._memory, self._batch, self._acted = None, 0, False
    self._ahead: Ahead | None = None
    self._said = {}
    self._watching: Watching | None = None
    self._watch, self._foresight, self._thresholds = None, None, {}
    self.guide(critic)

  @property
  def model(self) -> SequenceModel:
    return self.program.model

  @property
  def params(self) -> PyTree:
    """Of the model, on the device."""
    return self.weights.model

  @property
  def scales(self) -> dict[str, tuple[Array, Array]]:
    """(mean, deviation) of streams and actions; 0: it never varied."""
    return self.weights.scales

  @property
  def execution(self) -> Execution:
    return self.program.execution

  @property
  def observed(self) -> tuple[str, ...]:
    """Names of an observation's entries, cameras first."""
    return tuple(self._fields)

  @property
  def chunk(self) -> int:
    """Actions predicted at once."""
    return self.program.head.steps

  @property
  def num_actions(self) -> int:
    """Discrete actions there are; 0: an action is `action_dim` numbers."""
    return self.program.num_actions

  @property
  def action_dim(self) -> int:
    """Numbers of a continuous action; 0 where actions are discrete."""
    return 0 if self.num_actions else self.program.width

  @property
  def late(self) -> int:
    """Chunks of this episode that were not there when they were needed.

    Only where execution has a delay and actions are continuous; then it was too
    short. `slowest` is the most steps that one took.
    """
    return self._ahead.late if self._ahead else 0

  @property
  def slowest(self) -> int:
    """Steps that the slowest chunk of this episode took, a whole number."""
    return self._ahead.slowest if self._ahead else 0

  def monitor(
    self,
    monitors: Mapping[str, Any],
    *,
    model: SequenceModel | None = None,
    foresight: Foresight | None = None,
    thresholds: Mapping[str, float] | None = None,
  ) -> None:
    """From the next `reset` on, these watch; none of them: nobody does.

    Actions are the same. Each adds up a score over an episode (`scores`), and
    raises an alarm where that passes its threshold (`alarms`).

    Args:
      monitors: {name: settings of a file of `policy/monitors`}.
      model, foresight: what foresees, for those that need it.
      thresholds: {name: sum that is an alarm}, of `monitors.calibrate` on
        the scores of successful episodes; one that has none raises no alarm.

    Raises:
      ValueError: it cannot watch this policy, or a threshold is of none.
    """
    watching_ = Watching(tuple(monitors.items()), model)
    watching_.check(self.program)
    unknown = sorted(set(thresholds or {}) - set(monitors))
    if unknown:
      raise ValueError(
        f'monitor: found thresholds of {unknown}, expected some of '
        f'{list(monitors)}'
      )
    self._thresholds = dict(thresholds or {})
    self._watching = watching_ if monitors else None
    self._foresight = jax.tree.map(jnp.asarray, foresight)
    self._memory, self._watch, self._batch = None, None, 0

  def guide(self, critic: tuple[Ranking, Values] | None) -> None:
    """From the next `reset` on, this chooses among chunks; None: nobody does.

    Raises ValueError where it cannot rank what this policy draws.
    """
    ranking, values = critic or (None, None)
    if ranking:
      ranking.check(self.program)
      values.check()
    self.program = dataclasses.replace(self.program, ranking=ranking)
    values = jax.tree.map(jnp.asarray, values)
    self.weights = self.weights._replace(values=values)
    self._memory, self._batch = None, 0

  @property
  def scores(self) -> dict[str, np.ndarray]:
    """{monitor: float32 [B]}: what it has added up in this episode."""
    sums = self._watch.sums if self._watch else {}
    return {name: np.asarray(sum_B) for name, sum_B in sums.items()}

  @property
  def alarms(self) -> dict[str, np.ndarray]:
    """{monitor: bool [B]}: whether its sum is above its threshold."""
    scores = self.scores.items()
    most = self._thresholds
    return {name: sum_B > most[name] for name, sum_B in scores if name in most}

  def reset(
    self,
    batch: int = 1,
    seed: int = 0,
    instruction: str | Sequence[str] = '',
  ) -> None:
    """Begins `batch` episodes: forgets all that was seen, said and done.

    `seed` is that of actions that are drawn; robot i of any batch draws the
    same. Everything is compiled here, at the first call for so many:
    no `act` waits. `instruction` is said to all, or one to each; '' says
    nothing. Raises ValueError for one that is longer than those of training,
    and where the policy reads none.
    """
    if batch < 1:
      raise ValueError(f'reset: a batch of {batch}, expected at least 1')
    self._said = self._tokens(instruction, batch)
    self._keys = program.episode_keys(seed, batch)
    if batch != self._batch:
      self._rehearse(batch)
    self._memory = program.start(self.program, batch)
    if self._watching:
      self._watch = watching.start(self._watching, self.program, batch)
    self._batch, self._acted = batch, False
    execution = self.execution
    if execution.delay and not self.num_actions:
      self._ahead = Ahead(execution.execute, execution.delay)

  def act(self, observation: dict[str, Array]) -> np.ndarray:
    """The action of this step, float32 [B, A] in the robot's units.

    Of discrete actions int32 [B]. Of an observation without a batch, after
    `reset(1)`, the action has none either. With a delay it does not wait for
    what is predicted from this observation.

    Args:
      observation: {camera: uint8 [B, H, W, 3]} and the vectors f32 [B, P],
        exactly those the policy was trained on, under its names or under
        those of its dataset (`recorded.columns`); frames also of the size
        they were recorded at (`recorded.sizes`).

    Raises:
      ValueError: `reset` was not called, something is missing, unknown,
        misshaped, of another type or not finite, or the parameters diverged.
    """
    if self._memory is None:
      raise ValueError(
        'policy: act before reset; call policy.reset(batch) when an episode '
        'begins'
      )
    seen, is_single = observed.taken(
      observation, self._fields, self.recorded, self._batch
    )
    seen = observed.check(seen, self._fields, self._batch) | self._said
    action = self._step(seen)
    self._acted = True
    if self._ahead:
      if self._ahead.due:
        actions = program.upcoming(self.program, self.weights, self._memory)
        self._ahead.predicted(actions)
      action = self._ahead.next()
      self._did(action)
    action = self._checked(
      np.asarray(action),
      'the parameters or the statistics are not sound; do not move the robot',
    )
    return action[0] if is_single else action

  def nothing(self, batch: int = 1) -> dict[str, np.ndarray]:
    """An observation of zeros, as `act` takes it."""
    return {
      name: np.zeros((batch, *field.shape), field.dtype)
      for name, field in self._fields.items()
    }

  def executed(self, action: Array) -> None:
    """Tells the policy what was done in place of the last action it gave.

    For a safety limit or a human who took over; without it history holds what
    `act` returned.

    Args:
      action: [B, A] in the robot's units, or integers [B]; of one robot also
        without B.

    Raises:
      ValueError: before `act`, or for another shape, a number not finite or an
        action there is not.
    """
    if self._memory is None or not self._acted:
      raise ValueError('policy: executed before act; there is no action yet')
    done = np.asarray(action)
    if self._batch == 1 and done.ndim == (0 if self.num_actions else 1):
      done = done[None]
    shape = (self._batch, *([] if self.num_actions else [self.action_dim]))
    if done.shape != shape:
      raise ValueError(
        f'executed: an action of shape {done.shape}, expected {shape}'
      )
    done = self._checked(done)
    memory, self._memory = self._memory, None
    self._memory = _correct(self.program, memory, self.weights, done)
    self._did(done)

  def save(
    self,
    folder: str | os.PathLike,
    *,
    origin: dict | None = None,
    card: str = '',
  ) -> None:
    """Writes the policy to a folder, whole or not at all.

    `origin` (what trained it) and `card` (its README) are those of
    `sharing.folder.write`.

    An image model that is a folder is copied into it; one that is an id or a
    file stays where it is and is checked when the policy is loaded.
    Raises ValueError without `image_from`, or where that is another model,
    and where `folder` holds something else.
    """
    saved.write(folder, self, origin, card)

  @classmethod
  def load(
    cls, folder: str | os.PathLike, execution: Execution | None = None
  ) -> 'Policy':
    """The policy that `save` wrote, played as it was then unless told how.

    Raises ValueError for what is missing, damaged or of another version.
    """
    parts = saved.read(folder)
    return cls(**parts | ({'execution': execution} if execution else {}))

  def _tokens(self, instruction, batch):
    """{'text': int32 [B, L]}; {} where the policy reads no sentences."""
    said = (
      [instruction] * batch if isinstance(instruction, str) else instruction
    )
    if self.words is None:
      if any(said):
        raise ValueError(
          f'reset: found an instruction {said[0]!r}, but this policy reads '
          f'none: it is shown {list(self._fields)}; leave it out'
        )
      return {}
    if len(said) != batch:
      raise ValueError(
        f'reset: found {len(said)} instructions, expected one, or one for each '
        f'of {batch} episodes'
      )
    return {TEXT: self.words.said(said, self._heard.shape[0])}

  def _step(self, seen):
    """The action of a step, watched or not; what was carried is donated."""
    memory, self._memory = self._memory, None
    about = self.program, self.weights, memory
    if self._watching is None:
      self._memory, action = program.step(*about, seen, self._keys)
      return action
    watch, self._watch = self._watch, None
    self._memory, self._watch, action = watching.step(
      self._watching, self._foresight, *about, watch, seen, self._keys
    )
    return action

  def _did(self, action):
    """Tells monitors what was done in place of what was chosen."""
    if self._watching:
      self._watch = self._watch._replace(done=jnp.asarray(action))

  def _rehearse(self, batch):
    """Runs every program once, on nothing."""
    nothing = self.nothing(batch) | self._said
    self._memory = program.start(self.program, batch)
    if self._watching:
      self._watch = watching.start(self._watching, self.program, batch)
    action = self._step(nothing)
    memory, self._memory = self._memory, None
    if self.execution.delay and not self.num_actions:
      program.upcoming(self.program, self.weights, memory)
    _correct(self.program, memory, self.weights, np.asarray(action))

  def _checked(self, action, *advice):
    """A copy; ValueError where it is no action, with `advice` if given."""
    if self.num_actions:
      return observed.choices(action, self.num_actions, *advice)
    labels = self.labels.get(ACTION, ())
    return observed.vector(ACTION, action, labels, *advice)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _correct(program_, memory, weights, action):
  """`program.record`, its memory given away."""
  return program.record(program_, memory, weights, action)
