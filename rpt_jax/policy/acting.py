"""The policy: observations of a robot in, its actions out.

    policy = Policy.load('policies/stack')
    policy.reset()
    action = policy.act({'front': frame, 'proprio': joints})[0]

It knows how training saw the world (which cameras at which size, the scale of
every number, how much history) and shows its model nothing else.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.models.sequence import SequenceModel
from rpt_jax.objectives.behaviour_cloning import ACTION
from rpt_jax.policy import checks, program, saved
from rpt_jax.policy.program import Execution
from rpt_jax.types import Array, PyTree


class Policy:
  """A sequence model, its image model and all it takes to act with them.

  One object drives one robot or, in a batch, several that start together.

  Args:
    model: streams 'latent/<camera>', 'action', any other a vector of that
      name ('proprio'); a linear head 'action' of C steps.
    params: of the model, one seed's.
    scales: {stream: (mean [D], std [D])} of every stream and of 'action'.
    image: what gives latents: `.apply(params, x)`, `.params`,
      `.preprocess(uint8)`, `.dim`, as `vision.load` returns it.
    image_from: (what, settings) that `vision.load(what, **settings)` made
      `image` of; needed to save.
    frames: {camera: (height, width)} of frames in training.
    execution: how chunks are played; None: an action a prediction.
    action_limit: (low, high), numbers or [A], that actions are cut to.
    labels: {stream: what each number is, in which unit}, for 'action' and
      vectors; kept with the policy and named in errors.

  Raises ValueError where parts do not fit each other.
  """

  def __init__(
    self,
    model: SequenceModel,
    params: PyTree,
    scales: dict[str, tuple[Array, Array]],
    *,
    image=None,
    image_from: tuple[str | os.PathLike, dict] | None = None,
    frames: dict[str, tuple[int, int]] | None = None,
    execution: Execution | None = None,
    action_limit: tuple[Array, Array] | None = None,
    labels: dict[str, tuple[str, ...]] | None = None,
  ):
    self.frames = {
      camera: tuple(map(int, size)) for camera, size in (frames or {}).items()
    }
    self.labels = {k: tuple(names) for k, names in (labels or {}).items()}
    self._fields = checks.fields(model, self.frames, self.labels)
    checks.image_model(model, image)
    checks.params(model, params)
    self.image, self.image_from = image, image_from
    self.action_limit = action_limit
    apply = image and image.apply
    preprocess = image and image.preprocess
    self._program = program.Program(
      model, apply, preprocess, execution or Execution()
    )
    self.execution.check(self.chunk)
    scales, spread_A = checks.scales(model, scales)
    self._weights = jax.tree.map(
      jnp.asarray,
      program.Weights(
        params,
        image.params if image else {},
        scales,
        spread_A,
        *checks.limits(action_limit, self.action_dim),
      ),
    )
    self._memory, self._batch, self._acted = None, 0, False

  @property
  def model(self) -> SequenceModel:
    return self._program.model

  @property
  def params(self) -> PyTree:
    """Of the model, on the device."""
    return self._weights.model

  @property
  def scales(self) -> dict[str, tuple[Array, Array]]:
    """(mean, deviation) of streams; that of an input that is constant is 1."""
    mean_A, _ = self._weights.scales[ACTION]
    return self._weights.scales | {ACTION: (mean_A, self._weights.spread_A)}

  @property
  def execution(self) -> Execution:
    return self._program.execution

  @property
  def observed(self) -> tuple[str, ...]:
    """Names of an observation's entries, cameras first."""
    return tuple(self._fields)

  @property
  def chunk(self) -> int:
    """Actions predicted at once."""
    return self._program.head.steps

  @property
  def action_dim(self) -> int:
    """Numbers of an action."""
    return self._program.head.dim

  def reset(self, batch: int = 1) -> None:
    """Begins `batch` episodes: forgets all that was seen and done.

    Everything is compiled here, at the first call for so many: no `act` waits.
    """
    if batch < 1:
      raise ValueError(f'reset: a batch of {batch}, expected at least 1')
    if batch != self._batch:
      self._rehearse(batch)
    self._memory = program.start(self._program, batch)
    self._batch, self._acted = batch, False

  def act(self, observation: dict[str, Array]) -> np.ndarray:
    """The action of this step, float32 [B, A] in the robot's units.

    Args:
      observation: {camera: uint8 [B, H, W, 3]} and the vectors f32 [B, P],
        exactly those the policy was trained on.

    Raises:
      ValueError: `reset` was not called, something is missing, unknown,
        misshaped, of another type or not finite, or the parameters diverged.
    """
    if self._memory is None:
      raise ValueError(
        'policy: act before reset; call policy.reset(batch) when an episode '
        'begins'
      )
    seen = checks.observation(observation, self._fields, self._batch)
    memory, self._memory = self._memory, None  # It is donated.
    self._memory, action_BA = program.advance(
      self._program, self._weights, memory, seen
    )
    self._acted = True
    return checks.vector(
      'action',
      np.asarray(action_BA),
      self._names(),
      'the parameters or the statistics are not sound; do not move the robot',
    )

  def executed(self, action: Array) -> None:
    """Tells the policy what was done in place of the last action it gave.

    For a safety limit or a human who took over; without it history holds what
    `act` returned.

    Args:
      action: [B, A] in the robot's units.

    Raises:
      ValueError: before `act`, or for another shape or a number not finite.
    """
    if self._memory is None or not self._acted:
      raise ValueError('policy: executed before act; there is no action yet')
    action_BA = np.asarray(action)
    shape = self._batch, self.action_dim
    if action_BA.shape != shape:
      raise ValueError(
        f'executed: an action of shape {action_BA.shape}, expected {shape}'
      )
    action_BA = checks.vector('action', action_BA, self._names())
    memory, self._memory = self._memory, None
    self._memory = program.correct(memory, self._weights, action_BA)

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

  def _rehearse(self, batch):
    """Runs every program once, on nothing."""
    nothing = {
      name: np.zeros(
        (batch, *field.shape), np.uint8 if field.frame else np.float32
      )
      for name, field in self._fields.items()
    }
    memory, action_BA = program.advance(
      self._program,
      self._weights,
      program.start(self._program, batch),
      nothing,
    )
    program.correct(memory, self._weights, np.asarray(action_BA))

  def _names(self):
    return self.labels.get(ACTION, ())
