"""Requests of many sessions, answered together.

What comes while a batch is computed is the next one: nobody waits for company.
A session has at most one request in a batch, and its requests are answered in
order. One thread computes, so that the network is never waited for.
"""

import asyncio
import collections
import concurrent.futures
import time
from typing import NamedTuple

from rpt_jax.serve.places import Places, Session
from rpt_jax.serve.requests import Act, Reset


class Answer(NamedTuple):
  """A chunk [C, A] or [C], or None to a Reset, and {what took how many ms}."""

  chunk: object
  timing: dict[str, float]


class _Waiting(NamedTuple):
  session: Session
  request: Act | Reset
  came: float  # By `time.monotonic`.
  answer: asyncio.Future


class Batches:
  """Answers requests to the sessions of `places`, as `run` goes on."""

  def __init__(self, places: Places):
    self._places = places
    self._waiting = collections.deque()
    self._some = asyncio.Event()
    self.answered = self.computed = 0  # Requests, and batches of them.

  def submit(self, session: Session, request: Act | Reset) -> asyncio.Future:
    """The Answer that there will be; ValueError where the request is refused.

    Cancelled, it is not computed unless it is already under way.
    """
    answer = asyncio.get_running_loop().create_future()
    now = time.monotonic()
    self._waiting.append(_Waiting(session, request, now, answer))
    self._some.set()
    return answer

  async def run(self) -> None:
    """Computes until it is cancelled; raises what computing raises."""
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1, 'compute') as thread:
      while True:
        await self._some.wait()
        batch = self._take()
        if not self._waiting:
          self._some.clear()
        if not batch:
          continue
        began = time.monotonic()
        answers = await loop.run_in_executor(thread, self._compute, batch)
        self._tell(batch, answers, began, time.monotonic() - began)

  def _take(self):
    """The next batch, the oldest first; what is late is refused."""
    batch, left, busy = [], [], set()
    while self._waiting:
      each = self._waiting.popleft()
      if each.answer.done():  # Who asked has left.
        continue
      if each.session.place in busy:
        left.append(each)
        continue
      late = _late(each)
      if late:
        each.answer.set_exception(ValueError(late))
        continue
      busy.add(each.session.place)
      batch.append(each)
    self._waiting.extend(left)
    return batch

  def _compute(self, batch):
    """A chunk, None or a ValueError for each."""
    answers, asked = [None] * len(batch), []
    for i, each in enumerate(batch):
      act = each.request
      if isinstance(act, Reset):
        self._places.begin(each.session, act.seed)
        continue
      if act.session != each.session.name:
        if each.session.name or each.session.step is not None:
          self._places.begin(each.session, 0)
        each.session.name = act.session
      asked.append(i)
    acts = [(batch[i].session, batch[i].request) for i in asked]
    for i, chunk in zip(asked, self._places.act(acts), strict=True):
      answers[i] = chunk
    return answers

  def _tell(self, batch, answers, began, seconds):
    self.answered += len(batch)
    self.computed += 1
    for each, chunk in zip(batch, answers, strict=True):
      if each.answer.done():
        continue
      if isinstance(chunk, ValueError):
        each.answer.set_exception(chunk)
        continue
      waited = 1000 * (began - each.came)
      timing = {'infer_ms': 1000 * seconds, 'waited_ms': waited}
      each.answer.set_result(Answer(chunk, timing))


def _late(waiting):
  """Why a request is of no use any more, or ''."""
  if isinstance(waiting.request, Reset):
    return ''
  within = waiting.request.stamp.within_ms
  waited = 1000 * (time.monotonic() - waiting.came)
  if not within or waited <= within:
    return ''
  return (
    f'late: waited {waited:.0f} ms for its turn, asked for within '
    f'{within:g} ms; the server is busy, ask less often or with fewer robots'
  )
