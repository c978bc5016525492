"""What objectives call, without a model behind it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from rpt_jax.models import heads
from rpt_jax.types import StreamSpec


class Said(heads.Reader):
  """A head that says what it is given to read."""

  def __call__(self, read_BTD, query=None):
    assert query is None
    return read_BTD


class Apply(NamedTuple):
  """Like `sequence.Bound`; `call` gets what a bound model is called with.

  Its 'reads' are what the heads of `targets` (None: of `streams`) say, of
  `steps` steps; they have the settings `head`, None: the usual ones.
  """

  call: Callable
  streams: tuple[StreamSpec, ...] = ()
  visibility: str = 'bidirectional'
  targets: tuple[StreamSpec, ...] | None = None
  steps: int = 1
  settings: Any = None

  def __call__(self, inputs, valid_BT, corrupt_BTM=None, present_BTM=None):
    return self.call(inputs, valid_BT, corrupt_BTM, present_BTM)

  def head(self, name):
    targets = self.streams if self.targets is None else self.targets
    (target,) = (s for s in targets if s.name == name)
    settings = self.settings or heads.usual(target)
    return Said(heads.HeadSpec(target, settings, self.steps), {}, {})
