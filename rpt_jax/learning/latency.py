"""How long a policy takes to act."""

import statistics
import time

from rpt_jax.policy import Policy


def act_ms(policy: Policy, acts: int = 64) -> float:
  """The median of an `act` of one robot that sees zeros, in milliseconds.

  Where chunks are played for several steps it is the mean over such a time.
  """
  policy.reset()
  nothing, took = policy.nothing(), []
  each = policy.execution.execute
  for _ in range(max(acts // each, 3)):
    began = time.perf_counter()
    for _ in range(each):
      policy.act(nothing)
    took.append(1e3 * (time.perf_counter() - began) / each)
  return statistics.median(took)
