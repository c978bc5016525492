"""The websocket server: who may come in, who asks what, and how it ends.

A connection is a session, and both end together. Its requests are read while
earlier ones are answered, `_AHEAD` at most; who asks for more, or does not read
the answers, is not read until he does, so that nobody's demands take memory.
"""

import asyncio
import contextlib
import dataclasses
import functools
import hmac
import http
import logging
import math
import time
import types
from collections.abc import Callable
from typing import NamedTuple

from websockets import exceptions
from websockets.asyncio import server as websockets

from rpt_jax.serve import layouts, messages
from rpt_jax.serve.batches import Batches
from rpt_jax.serve.places import Places
from rpt_jax.serve.requests import Act, Reset

_AHEAD = 8  # Requests of a session that are read and not yet answered.
_MOST_BAD = 16  # Messages in a row that nobody can read, or nothing can mean.
_SLACK = 1 << 20  # Bytes of a message beside what the policy observes.
_TRY_LATER = 1013  # These codes: RFC 6455, section 7.4.1, and IANA's list.
_TOO_BAD = 1008, f'{_MOST_BAD} messages in a row were no requests'
_GOING = 1001, 'the server ends'
_PATIENCE = 10.0  # Seconds for answers under way as the server ends.


@dataclasses.dataclass(frozen=True)
class Door:
  """Where the server listens, and the word that lets in ('' lets anybody)."""

  host: str = '127.0.0.1'
  port: int = 8000
  token: str = ''


class Server:
  """Connections to one policy; `run` serves until it is told to stop."""

  def __init__(
    self, places: Places, layout: types.ModuleType, about: layouts.About
  ):
    layout.check(about)
    self._places, self._layout, self._about = places, layout, about
    self._batches = Batches(places)
    self._connections: set[_Connection] = set()
    self.sessions = self.refused = 0

  @property
  def served(self) -> dict[str, int]:
    """Counts of what was done since the server began."""
    return {
      'sessions': self.sessions,
      'requests': self._batches.answered,
      'batches': self._batches.computed,
      'refused': self.refused,
    }

  async def run(
    self,
    door: Door,
    stop: asyncio.Event,
    listening: Callable[[int], None] = lambda port: None,
  ) -> None:
    """Serves until `stop` is set; what is under way is answered first.

    `listening` is called with the port. Raises OSError where it is taken, and
    whatever computing raises.
    """
    async with websockets.serve(
      self._handle,
      door.host,
      door.port,
      process_request=functools.partial(self._admit, door.token),
      origins=[None],  # Pages in a browser have one, robots none.
      compression=None,
      max_size=_SLACK + sum(map(_bytes, self._about.fields.values())),
      max_queue=2,
      close_timeout=2,
      logger=_logger(),
    ) as listener:
      listening(listener.sockets[0].getsockname()[1])
      computing = asyncio.create_task(self._batches.run())
      stopping = asyncio.create_task(stop.wait())
      await asyncio.wait(
        {computing, stopping}, return_when=asyncio.FIRST_COMPLETED
      )
      if stopping.done():
        await self._drain(listener)
      for task in (computing, stopping):
        task.cancel()
      with contextlib.suppress(asyncio.CancelledError):
        await computing

  async def _drain(self, listener):
    """No more connections, no more requests; what came is answered."""
    listener.close(close_connections=False)
    for connection in self._connections:
      connection.reading.cancel()
    until = time.monotonic() + _PATIENCE
    while self._connections and time.monotonic() < until:
      await asyncio.sleep(0.01)
    for connection in self._connections:  # They do not read their answers.
      connection.socket.transport.abort()

  def _admit(self, token, socket, request):
    """An HTTP answer in place of a connection; None lets it in."""
    if request.path == '/healthz':
      return socket.respond(http.HTTPStatus.OK, 'OK\n')
    scheme, _, word = request.headers.get('Authorization', '').partition(' ')
    right = hmac.compare_digest(word.strip().encode(), token.encode())
    if token and not (right and scheme.lower() in ('api-key', 'bearer')):
      expected = "expected the header 'Authorization: Api-Key <token>'\n"
      return socket.respond(http.HTTPStatus.UNAUTHORIZED, expected)
    if self._places.taken >= self._places.most:
      status = http.HTTPStatus.SERVICE_UNAVAILABLE
      return socket.respond(status, f'{self._full()}\n')
    return None

  def _full(self):
    return f'all {self._places.most} sessions are taken; come back later'

  async def _handle(self, socket):
    """A connection from its greeting to its end."""
    session = self._places.open()
    if session is None:
      await socket.close(_TRY_LATER, self._full())
      return
    self.sessions += 1
    answers = asyncio.Queue(_AHEAD)
    try:
      self._batches.submit(session, Reset())
      await socket.send(messages.pack(self._layout.greeting(self._about)))
      await self._both(socket, session, answers)
    except exceptions.ConnectionClosed:
      pass
    finally:
      while not answers.empty():
        _forget(answers.get_nowait())
      self._places.close(session)

  async def _both(self, socket, session, answers):
    """Reads and answers, until the client leaves or no more is read."""
    reading = asyncio.create_task(self._read(socket, session, answers))
    sending = asyncio.create_task(self._send(socket, answers))
    connection = _Connection(socket, reading)
    self._connections.add(connection)
    try:
      await asyncio.wait(
        {reading, sending}, return_when=asyncio.FIRST_COMPLETED
      )
      if not sending.done():
        end = _TOO_BAD
        with contextlib.suppress(asyncio.CancelledError):
          end = await reading if not reading.cancelled() else _GOING
        await answers.put(None)
        await sending
        await socket.close(*end)
      sending.result()
    finally:
      self._connections.discard(connection)
      for task in (reading, sending):
        task.cancel()
      await asyncio.gather(reading, sending, return_exceptions=True)

  async def _read(self, socket, session, answers):
    """Requests as they come; why it ends, where too much is none."""
    bad = 0
    while bad < _MOST_BAD:
      data = await socket.recv()
      try:
        request = self._request(data)
      except ValueError as error:
        bad += 1
        await answers.put(_Refused(str(error)))
        continue
      bad = 0
      future = self._batches.submit(session, request)
      await answers.put(_Asked(future, request))
    return _TOO_BAD

  def _request(self, data):
    """The request of a message; ValueError for none."""
    if isinstance(data, str):
      raise ValueError('message: found a text, expected msgpack in bytes')
    request = self._layout.read(messages.unpack(data), self._about)
    if isinstance(request, Reset):
      return request
    return self._places.checked(request)

  async def _send(self, socket, answers):
    """Answers in the order of the requests, until None."""
    before = None
    while (each := await answers.get()) is not None:
      began = time.monotonic()
      if isinstance(each, _Asked):
        each = await self._answer(each, before)
      if isinstance(each, _Refused):
        self.refused += 1
        each = each.why
      await socket.send(each)
      before = 1000 * (time.monotonic() - began)

  async def _answer(self, asked, before):
    """A message, or _Refused."""
    try:
      chunk, timing = await asked.future
    except ValueError as error:
      return _Refused(str(error))
    if isinstance(asked.request, Reset):
      answer = self._layout.begun(self._about)
    else:
      if before is not None:
        timing['prev_total_ms'] = before
      answer = self._layout.acted(chunk, timing, asked.request, self._about)
    return answer if isinstance(answer, str) else messages.pack(answer)


class _Connection(NamedTuple):
  socket: websockets.ServerConnection
  reading: asyncio.Task


class _Asked(NamedTuple):
  future: asyncio.Future
  request: Act | Reset


class _Refused(NamedTuple):
  why: str


def _forget(each):
  """Nobody waits for this answer any more."""
  if isinstance(each, _Asked) and not each.future.cancel():
    if not each.future.cancelled():
      each.future.exception()  # Else asyncio says that nobody looked.


def _bytes(field):
  """Of a field in a message, at most: vectors may come in f64."""
  return math.prod(field.shape) * (1 if field.frame else 8)


def _logger():
  """Says nothing of what strangers do, but all of faults of this server."""
  logger = logging.Logger('rpt_jax.serve', logging.ERROR)
  handler = logging.StreamHandler()
  handler.addFilter(lambda record: record.msg == 'connection handler failed')
  logger.addHandler(handler)
  return logger
