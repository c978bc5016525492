"""One line of a terminal that is rewritten in place; elsewhere there is none.

Whoever prints a line while a training is under way removes it first.
"""

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator

_SECONDS = 0.2  # Between two drawings.
_WIDTH = 20  # Of the bar.
_drawn = 0.0  # When, by the monotonic clock; 0: there is none on the screen.


def possible() -> bool:
  """Whether there is a terminal that can do it."""
  terminal = os.environ.get('TERM', 'dumb') != 'dumb'
  return terminal and sys.stdout.isatty()


def plain(text: str) -> str:
  """A text without what a terminal obeys: names come from files of others."""
  obeyed = r'[\0-\x09\x0b-\x1f\x7f-\x9f]'
  return re.sub(obeyed, '\N{REPLACEMENT CHARACTER}', text)


def draw(label: str, step: int, total: int, text: str) -> None:
  """A bar of steps and a text after it, in the place of the line before."""
  global _drawn
  now = time.monotonic()
  if _drawn and now - _drawn < _SECONDS:
    return
  _drawn = now
  full = _WIDTH * step // max(total, 1)
  line = f'{label} [{"#" * full:.<{_WIDTH}}] {step}/{total} {text}'
  line = line[: shutil.get_terminal_size().columns - 1]
  print(f'\r\x1b[K{line}', end='', flush=True)


@contextlib.contextmanager
def cleared() -> Iterator[None]:
  """Leaves no line on the screen, however it ends."""
  try:
    yield
  finally:
    clear()


def clear() -> None:
  """Removes the line, if there is one."""
  global _drawn
  if _drawn:
    _drawn = 0.0
    print('\r\x1b[K', end='', flush=True)
