"""Sections of how policies are played and judged, watched and guided."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rpt_jax.settings.declare import key


@dataclasses.dataclass(frozen=True)
class Watch:
  """How monitors of a policy are calibrated and judged: `learning/watch.py`."""

  monitors: Mapping[str, Any] = key(
    {}, 'by name; none: nobody watches', plugins='policy/monitors'
  )
  run: str = key('', 'whose model foresees; empty: that of the policy')
  delta: float = key(
    0.05, 'share of successes with an alarm, at most', above=0, high=0.5
  )
  calibration: int = key(
    100, 'successful episodes a threshold is of', low=2, high=100_000
  )
  episodes: int = key(
    512, 'of the world as it was, and of every other', low=8, high=100_000
  )
  worlds: tuple[str, ...] = key(
    (),
    'what else is played, of `envs.worlds`; the delay of an execution is one',
    distinct=True,
  )


@dataclasses.dataclass(frozen=True)
class Guide:
  """A critic that chooses among what the kept policy draws.

  It learns from demonstrations and from the policy's own episodes:
  `learning/guiding.py`.
  """

  samples: tuple[int, ...] = key(
    (),
    'chunks that are drawn, of which one is played; none: there is no critic',
    low=2,
    high=10_000,
    distinct=True,
  )
  temperature: float = key(0.1, 'of a choice by softmax', above=0, high=1000)
  seeds: int = key(1, 'critics', low=1, high=1000)
  recorded: int = key(512, "of the policy's own episodes", low=1, high=100_000)
  episodes: int = key(
    256, 'of each critic and way to choose', low=2, high=100_000
  )
  width: int = key(64, 'of hidden layers', low=1, high=65_536)
  depth: int = key(2, 'hidden layers', low=1, high=100)
  steps: int = key(2000, 'updates', low=1, high=1_000_000_000)
  batch_size: int = key(128, 'decisions', low=2, high=1_000_000)
  learning_rate: float = key(1e-3, 'the peak', above=0, high=1)
  discount: float = key(0.99, 'of a step of the robot', low=0, high=0.9999)


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """How policies are played and compared."""

  episodes: int = key(256, 'of a seed', low=2, high=1_000_000)
  execution: str = key(
    'execute:1',
    "'execute:<actions of a chunk played>', 'realtime:<likewise>', in which a "
    "chunk goes on from the one before, or 'ensemble:<decay>'; all may have a "
    "delay, as in 'realtime:4,delay:2'",
    match=r'((execute|realtime):\d+|ensemble:-?[\d.e-]+)(,delay:\d+)?',
  )
  comparisons: Mapping[str, tuple[str, str]] = key(
    {}, "question: (run, run); '<run>:probe', 'none:scratch'"
  )
  watch: Watch = key(Watch(), 'monitors of the kept policy', absent=Watch())
  guide: Guide = key(
    Guide(), 'a critic of the kept policy that chooses', absent=Guide()
  )
