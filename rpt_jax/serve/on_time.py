"""A robot that is never late: chunks arrive while the last one is played.

    player = Player(Client('ws://gpu:8000'), rest=np.zeros(4, np.float32))
    while not robot.done():  # At the rate of the demonstrations.
      step = player.step({'front': frame, 'proprio': joints})
      robot.move(step.action)

Every observation is stamped with its step and sent without waiting; of what has
arrived the newest chunk is played, at the entry that is due now. It needs no
JAX. Source: asynchronous inference as of Black et al. 2025 (arXiv 2506.07339).
"""

import collections
import queue
import threading
import time
from typing import NamedTuple

import numpy as np

from rpt_jax.serve.client import Client

_REMEMBERED = 64  # Steps of which the server is told what was done.


class Step(NamedTuple):
  """What to do now, float32 [A] or a number of an action.

  `age` steps ago the observation was made that it answers, and `delay` seconds
  passed until the answer was there. Both are None where nothing is due, `why`
  says so, and the action is the one that is safe.
  """

  action: np.ndarray
  age: int | None
  delay: float | None
  why: str = ''


class _Sent(NamedTuple):
  episode: int
  step: int | None
  when: float


class _Chunk(NamedTuple):
  step: int
  actions: np.ndarray
  delay: float


class Player:
  """Plays a policy that runs elsewhere, and rests when nothing is due.

  Args:
    client: the connection, which nobody else uses meanwhile.
    rest: the action that is safe: [A] of no motion, or an action's number.
    oldest: age in steps of what is played at most; None: to a chunk's end.
    ahead: observations under way at most; where there are as many, the next is
      not sent, and the server is told so by the stamps.
    within_ms: after as long the server need not begin with a request; 0: ever.
    patience: seconds that a step waits for its own answer, at most.
  """

  def __init__(
    self,
    client: Client,
    rest: np.ndarray,
    *,
    oldest: int | None = None,
    ahead: int = 4,
    within_ms: float = 0.0,
    patience: float = 0.0,
  ):
    rest = np.asarray(rest)
    dtype = np.float32 if rest.dtype.kind == 'f' else np.int32
    self._client, self._rest = client, rest.astype(dtype)
    self._oldest, self._within_ms, self._patience = oldest, within_ms, patience
    self._questions = queue.SimpleQueue()
    self._free = threading.Semaphore(ahead)
    self._sent = collections.deque()  # What is not answered yet.
    self._done = collections.deque(maxlen=_REMEMBERED)
    self._episode, self._turn = 0, threading.Condition()
    self._begin()
    for work in (self._ask, self._listen):
      threading.Thread(target=work, daemon=True).start()

  def reset(self, seed: int = 0) -> None:
    """Begins an episode: what is under way answers nothing any more."""
    with self._turn:
      self._episode += 1
      self._begin()
    message = {'endpoint': 'reset', 'seed': seed}
    self._questions.put((self._episode, None, message))

  def step(self, observation: dict) -> Step:
    """The action of this step; returns after `patience`, whatever happens.

    Until the first chunk is there the robot rests, and its steps do not count.
    """
    if self._chunk is None:
      if not self._begun:
        self._begun = True
        self._show(observation)
      return Step(self._rest, None, None, self._why)
    if self._now and self._show(observation) and self._patience:
      with self._turn:
        self._turn.wait_for(
          lambda: self._chunk.step == self._now, self._patience
        )
    step = self._due(self._now)
    self._now += 1
    self._done.append(step.action)
    return step

  def executed(self, action: np.ndarray) -> None:
    """What was done in place of the last action, as by a safety limit."""
    if self._done:  # Rests before the first chunk are no steps.
      self._done[-1] = np.asarray(action, self._done[-1].dtype)

  def close(self) -> None:
    """Ends the connection."""
    self._questions.put(None)
    self._client.close()

  def _begin(self):
    """No step was counted, nothing was shown."""
    self._now, self._chunk, self._begun = 0, None, False
    self._why = 'nothing has arrived yet'
    self._done.clear()

  def _show(self, observation):
    """Sends an observation, and whether: as many as may be may be under way."""
    if not self._free.acquire(blocking=False):
      return False
    stamp = {'step': self._now, 'within_ms': self._within_ms}
    if self._done:
      stamp['executed'] = np.stack(self._done)
    message = observation | {'stamp': stamp}
    self._questions.put((self._episode, self._now, message))
    return True

  def _due(self, now):
    chunk = self._chunk
    age = now - chunk.step
    if age >= len(chunk.actions):
      why = f'the newest chunk ended {age + 1 - len(chunk.actions)} steps ago'
    elif self._oldest is not None and age > self._oldest:
      why = f'the newest chunk is {age} steps old, {self._oldest} are allowed'
    else:
      return Step(chunk.actions[age], age, chunk.delay)
    why += f'; {self._why}' if self._why else ''
    return Step(self._rest, None, None, why)

  def _ask(self):
    """Sends what is asked, in a thread of its own."""
    while (question := self._questions.get()) is not None:
      episode, step, message = question
      self._sent.append(_Sent(episode, step, time.monotonic()))
      try:
        self._client.send(message)
      except Exception as error:
        self._why = f'no connection ({error})'
        return

  def _listen(self):
    """Takes what is answered, in a thread of its own."""
    while True:
      answer, refused = None, ''
      try:
        answer = self._client.receive()
      except RuntimeError as error:  # This request is refused.
        refused = str(error)
      except TimeoutError:
        continue  # Nothing was asked, or the answer takes long.
      except Exception as error:
        self._why = f'no connection ({error})'
        return
      sent = self._sent.popleft()
      if sent.step is None:  # An episode has begun.
        continue
      self._free.release()
      with self._turn:
        if sent.episode == self._episode:
          self._take(sent, answer, refused)
          self._turn.notify_all()

  def _take(self, sent, answer, refused):
    """What is answered to an observation of this episode."""
    self._why = refused
    if not refused:
      delay = time.monotonic() - sent.when
      self._chunk = _Chunk(sent.step, answer['actions'], delay)
    elif self._chunk is None:
      self._begun = False  # It is shown again.
