"""A server of a small policy in a thread, as tests and robots reach it."""

import asyncio
import contextlib
import functools
import threading

from rpt_jax.policy import Policy
from rpt_jax.serve import layouts
from rpt_jax.serve.client import Client
from rpt_jax.serve.places import Places
from rpt_jax.serve.server import Door, Server
from tests.policy import robots

STREAMS = ('proprio', 'action')
CHUNK = 8
PLACES = 4  # One number, so that tests share what is compiled.


@functools.cache
def policy():
  return Policy(**robots.parts(STREAMS, chunk=CHUNK), labels=robots.LABELS)


class Running:
  """A server that listens, until the context is left."""

  def __init__(self, server, door):
    self.server, self._door = server, door
    self._ready = threading.Event()
    self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

  async def _serve(self):
    self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
    await self.server.run(self._door, self._stop, self._listening)

  def _listening(self, port):
    self.port = port
    self.address = f'ws://127.0.0.1:{port}'
    self._ready.set()

  def client(self, **how):
    return Client(self.address, **how)

  def stop(self):
    """Asks it to end, as SIGTERM does, and does not wait."""
    self._loop.call_soon_threadsafe(self._stop.set)

  def __enter__(self):
    self._thread.start()
    assert self._ready.wait(60)
    return self

  def __exit__(self, *_):
    with contextlib.suppress(RuntimeError):  # Its loop has ended.
      self.stop()
    self._thread.join(30)
    assert not self._thread.is_alive()


def serve(
  served=None,
  *,
  sessions=PLACES,
  execute=1,
  delay=0,
  layout='openpi',
  token='',
  **about,
):
  """A server, warm, of a policy that sees `STREAMS`, or another."""
  served = served or policy()
  places = Places(served, sessions, execute, delay)
  about = layouts.About(
    places.fields,
    served.chunk,
    served.action_dim,
    served.num_actions,
    served.labels,
    execute,
    **about,
  )
  places.warm()
  server = Server(places, layouts.load(layout), about)
  return Running(server, Door(port=0, token=token))
