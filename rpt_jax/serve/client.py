"""A client of the policy server for a robot; it needs no JAX.

with Client('ws://gpu:8000', token) as policy:
  policy.reset()
  action = policy.act({'front': frame, 'proprio': joints})['actions'][0]
"""

import contextlib
from typing import Any

from websockets.sync.client import connect

from rpt_jax.serve.messages import pack, unpack


class Client:
  """A connection, which is one episode after another of one robot.

  `about` is what the server says of its policy. Raises OSError or
  websockets' errors where there is no connection, RuntimeError with the
  server's words where a request is refused, TimeoutError after `timeout` s.
  """

  def __init__(
    self, address='ws://127.0.0.1:8000', token='', *, timeout: float = 10.0
  ):
    headers = {'Authorization': f'Api-Key {token}'} if token else None
    connection = connect(
      address, compression=None, max_size=None, additional_headers=headers
    )
    self._timeout = timeout
    with contextlib.ExitStack() as opened:
      self._socket = opened.enter_context(connection)
      self.about: dict = self.receive()
      self._end = opened.pop_all()

  def reset(self, seed: int = 0) -> None:
    """Begins an episode; `seed` is that of actions that are drawn."""
    self.send({'endpoint': 'reset', 'seed': seed})
    self.receive()

  def act(self, observation: dict, **stamp) -> dict:
    """{'actions': [C, A] from this step on, ...} of frames [H, W, 3] and
    vectors [P]; the README says what a `stamp` may hold."""
    self.send(observation | ({'stamp': stamp} if stamp else {}))
    try:
      return self.receive()
    except TimeoutError:
      self.close()  # Its answer would be taken for the next one's.
      raise

  def send(self, message: dict) -> None:
    """Asks, and does not wait; answers come in order."""
    self._socket.send(pack(message))

  def receive(self) -> Any:
    """The next answer."""
    answer = self._socket.recv(self._timeout)
    if isinstance(answer, str):
      raise RuntimeError(answer)
    return unpack(answer)

  def close(self) -> None:
    """Ends the connection, and the episode on the server with it."""
    self._end.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()
