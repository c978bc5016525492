"""How long stages took last time on this machine, for those who wait.

Kept in the user's folder of compiled code (`compiled`), by config and stage. It
is best effort: what cannot be read or written is not there, and no run fails.
"""

import contextlib
import os

from rpt_jax import files
from rpt_jax.training import compiled

_NAME = 'durations.json'
_MOST = 200  # Configs; those that ran longest ago go first.


def read(title: str) -> dict[str, float]:
  """{stage: seconds} of a config by its title; empty where nothing is known."""
  took = _all().get(title)
  if not isinstance(took, dict):
    return {}
  return {k: float(v) for k, v in took.items() if isinstance(v, int | float)}


def keep(title: str, stage: str, seconds: float) -> None:
  """Notes how long a stage took that ran from its beginning to its end."""
  folder = compiled.own()
  if folder is None or not title:
    return
  took = _all()
  own = read(title) | {stage: round(seconds, 1)}
  took.pop(title, None)
  took = dict(list(took.items())[1 - _MOST :]) | {title: own}
  partial = folder / f'{_NAME}.{os.getpid()}'  # Jobs may end at once.
  with contextlib.suppress(OSError, ValueError):
    files.write_json(partial, took)
    os.replace(partial, folder / _NAME)


def _all():
  folder = compiled.own()
  if folder is None:
    return {}
  with contextlib.suppress(OSError, ValueError):
    return files.read_json(folder / _NAME)
  return {}
