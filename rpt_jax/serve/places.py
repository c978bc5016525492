"""The places that sessions have in a policy's table, and acting for some.

All but `open` and `close` is called by one thread, which computes. Nothing is
compiled after `warm`, as batches are padded to a few sizes, and nothing grows.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from rpt_jax.policy import Policy, checks, observed, sessions
from rpt_jax.policy.sessions import Asked
from rpt_jax.serve.requests import Act
from rpt_jax.types import ACTION, TEXT

# A gap as long as this is as one that is longer: nothing is remembered.
_LONGEST_GAP = 2**20


@dataclasses.dataclass
class Session:
  """One robot's episodes on one connection: its place and where it is.

  `step` is the last one that was shown, None before the first.
  """

  place: int
  step: int | None = None
  name: str = ''


class Places:
  """A policy and the sessions it acts for, `most` at once.

  `execute` actions of a chunk are played before the next one is asked for by
  who does not stamp observations. Robots play `delay` more steps before an
  answer is there: what was planned for these stays as it was, and the rest of
  a chunk goes on from there where the policy's execution is `realtime`.
  """

  def __init__(
    self, policy: Policy, most: int, execute: int = 1, delay: int = 0
  ):
    execution = dataclasses.replace(policy.execution, execute=1, delay=delay)
    self._program = dataclasses.replace(policy.program, execution=execution)
    self._weights, self._policy = policy.weights, policy
    fields = checks.fields(policy.program, policy.frames, policy.labels)
    self.fields = {name: fields[name] for name in policy.observed}
    self._entries = fields  # With what sentences become.
    self._said = functools.lru_cache(256)(self._tokens)
    self.most, self.execute = most, execute
    self._free = list(range(most))
    self._sizes = _sizes(most)
    self._table = sessions.empty(self._program, most + 1)  # One for padding.

  @property
  def taken(self) -> int:
    """How many sessions there are."""
    return self.most - len(self._free)

  def open(self) -> Session | None:
    """A session that is to `begin`; None where all places are taken."""
    return Session(self._free.pop(0)) if self._free else None

  def close(self, session: Session) -> None:
    """Gives its place back."""
    self._free.append(session.place)

  def warm(self) -> None:
    """Compiles all there is, by acting for nobody."""
    self.begin(Session(self.most), 0)
    for size in self._sizes:
      jax.block_until_ready(self._step([], [], size))

  def begin(self, session: Session, seed: int) -> None:
    """A session's episode begins."""
    place, seed = np.int32(session.place), np.int32(seed)
    self._table = sessions.begin(self._program, self._table, place, seed)
    session.step = None

  def act(
    self, asked: Sequence[tuple[Session, Act]]
  ) -> list[np.ndarray | ValueError]:
    """For each what is planned from its step on, [C, A] or [C], or why not.

    No two are of one session, and observations are as `checked` returns them.
    """
    sound, answers = [], {}
    for i, (session, act) in enumerate(asked):
      try:
        sound.append((i, session, act, self._since(session, act)))
      except ValueError as error:
        answers[i] = error
    if sound:
      rows = [(session.place, *since) for _, session, _, since in sound]
      seen = [act.observation for _, _, act, _ in sound]
      size = min(n for n in self._sizes if n >= len(sound))
      chunks = np.asarray(self._step(rows, seen, size))
      for (i, *_), chunk in zip(sound, chunks, strict=False):
        answers[i] = self._sound(chunk)
    return [answers[i] for i in range(len(asked))]

  def checked(self, act: Act) -> Act:
    """The request with arrays [1, ...] as the policy takes them.

    Raises ValueError for an observation that is none of its.
    """
    given = {name: np.asarray(x)[None] for name, x in act.observation.items()}
    seen = observed.check(given, self.fields, 1)
    executed = act.stamp.executed
    if executed is not None:
      self._action(executed, 'as a robot does them')
    if self._policy.words:
      seen[TEXT] = self._said(act.instruction)
    return act._replace(observation=seen)

  def _tokens(self, instruction):
    """[1, ...] of a sentence; ValueError for one that is too long."""
    length = self._entries[TEXT].shape[0]
    return self._policy.words.said([instruction], length)

  def _since(self, session, act):
    """(steps not shown, what was done, whether it is told) since the last."""
    stamp, last = act.stamp, session.step
    step = stamp.step
    if step is None:
      step = 0 if last is None else last + self.execute
    if last is not None and step <= last:
      raise ValueError(
        f'late: step {step} came after step {last}; steps of an episode rise, '
        'and reset begins another'
      )
    session.step = step
    nothing = self._nothing
    if last is None:
      return 0, nothing, False
    skipped = min(step - last - 1, _LONGEST_GAP)
    executed = stamp.executed
    if executed is None or len(executed) < step - last:
      return skipped, nothing, False
    return skipped, executed[last - step].astype(nothing.dtype), True

  def _step(self, rows, seen, size):
    """Chunks [size, C, ...] of as many lanes, those without a row for nobody.

    Rows are (place, skipped, done, corrects).
    """
    rows = [*rows] + [(self.most, 0, self._nothing, False)] * (size - len(rows))
    place_B, skipped_B, done, corrects_B = zip(*rows, strict=True)
    asked = Asked(
      np.asarray(place_B, np.int32),
      np.asarray(skipped_B, np.int32),
      np.stack(done),
      np.asarray(corrects_B, bool),
    )
    observation = {}
    for name, field in self._entries.items():
      x = np.zeros((size, *field.shape), field.dtype)
      for lane, each in enumerate(seen):
        x[lane] = each[name][0]
      observation[name] = x
    self._table, chunk = sessions.step(
      self._program, self._weights, self._table, asked, observation
    )
    return chunk

  @property
  def _nothing(self):
    """What stands for an action that nobody told."""
    if self._program.num_actions:
      return np.int32(0)
    return np.zeros(self._program.width, np.float32)

  def _sound(self, chunk):
    """The chunk, or a ValueError where the parameters are not sound."""
    advice = 'the parameters or the statistics are not sound; do not move'
    try:
      return self._action(chunk, advice)
    except ValueError as error:
      return error

  def _action(self, action, advice):
    """Actions [K, A] or [K]; ValueError where they are none of the robot's."""
    policy = self._policy
    shape = action.shape[:1] + (policy.action_dim,) * (not policy.num_actions)
    if action.shape != shape:
      raise ValueError(
        f'actions of shape {action.shape}, expected {shape}; {advice}'
      )
    if policy.num_actions:
      return observed.choices(action, policy.num_actions, advice)
    labels = policy.labels.get(ACTION, ())
    return observed.vector(ACTION, action, labels, advice)


def _sizes(most):
  """Batch sizes: powers of two, and `most`."""
  return sorted({*(2**i for i in range(most.bit_length())), most})
