"""Who may see whom, and where tokens stand: one description for all trunks.

Tokens lie time-major, n = L + t * M + m, after L tokens without time (a
sentence). Two numbers of each say who sees whom: query q sees key k iff
seen[k] <= sees[q], or k = q. In every rule both are an order of the tokens:

  bidirectional   all equal
  causal          the time step t: all M tokens of a step see each other
  interleaved     the step, its last token half a step later: o_t, then a_t

Tokens without time come before all others: they see each other, all see them.
What is absent or padded is seen by itself only, so no row is ever empty.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rpt_jax.types import Array

CAUSAL = ('causal', 'interleaved')
RULES = ('bidirectional', *CAUSAL)


class Place(NamedTuple):
  """Where N tokens stand; integers [N], the same for all windows of a batch.

  A trunk may see less than `sees` and `seen` allow, never more.
  """

  sees_N: np.ndarray
  seen_N: np.ndarray
  time_N: np.ndarray  # The step; -1: it has no time.
  group_N: np.ndarray  # Which of the M of a step; -1: it has no time.
  real_BN: Array  # Bool: neither absent nor padded.

  def mask(self) -> Array:
    """Bool [B, 1, N, N] attention mask: True = visible."""
    itself_NN = np.eye(len(self.sees_N), dtype=bool)
    mask_BNN = rule_NN(self.sees_N, self.seen_N)[None]
    mask_BNN = (mask_BNN & self.real_BN[:, None, :]) | itself_NN[None]
    return jnp.asarray(mask_BNN)[:, None]


def place(rule: str, real_BTM: Array, real_BL: Array | None = None) -> Place:
  """The tokens of a batch of windows.

  Args:
    real_BTM: which streams are there at which steps.
    real_BL: which tokens without time are, if there are any.

  Raises:
    ValueError: an unknown rule.
  """
  batch, steps, streams = real_BTM.shape
  real_BN = real_BTM.reshape(batch, -1)
  length = 0
  if real_BL is not None:
    length = real_BL.shape[1]
    real_BN = jnp.concatenate([real_BL, real_BN], axis=1)
  before = np.full(length, -1)
  order_N = _order(rule, steps, streams, length)
  token = np.arange(steps * streams)
  return Place(
    order_N,
    order_N,
    np.concatenate([before, token // streams]),
    np.concatenate([before, token % streams]),
    real_BN,
  )


def _order(rule, steps, streams, length):
  """[N], -1 of tokens without time; ValueError for an unknown rule."""
  token = np.arange(steps * streams)
  step, last = token // streams, token % streams == streams - 1
  orders = {
    'bidirectional': np.zeros_like(token),
    'causal': step,
    'interleaved': 2 * step + last,
  }
  if rule not in orders:
    raise ValueError(f'visibility: found {rule!r}, expected one of {RULES}')
  return np.concatenate([np.full(length, -1), orders[rule]])


def rule_NN(sees_N: np.ndarray, seen_N: np.ndarray) -> np.ndarray:
  """Bool [N, N]: may query (row) see key (column)?"""
  itself_NN = np.eye(len(sees_N), dtype=bool)
  return (seen_N[None, :] <= sees_N[:, None]) | itself_NN


def describe(
  rule: str,
  steps: int,
  names: tuple[str, ...],
  lengths: Mapping[str, int] | None = None,
) -> str:
  """The rule in words and as a drawing of (at most) its first three steps.

  Rows see the columns marked `#`. `lengths` {name: tokens} are those without
  time, of each of which three are drawn as well.
  """
  words = {
    'bidirectional': 'every token sees every token',
    'causal': 'a token sees its own step and all before',
    'interleaved': f'causal, and {names[-1]!r} follows the rest of its step, '
    'which does not see it',
  }
  lengths = lengths or {}
  before = [f'{k}[{i}]' for k, n in lengths.items() for i in range(min(n, 3))]
  drawn = min(steps, 3)
  order_N = _order(rule, drawn, len(names), len(before))
  labels = before + [f'{name}[{t}]' for t in range(drawn) for name in names]
  pad = max(map(len, labels))
  first = ''.join(f'{n} of {name} + ' for name, n in lengths.items())
  total = sum(lengths.values()) + steps * len(names)
  lines = [
    f'{rule}: {words[rule]} ({first}{steps} steps x {len(names)} streams = '
    f'{total} tokens)'
  ]
  lines += [
    f'{label:>{pad}} ' + ''.join('#' if s else '.' for s in row)
    for label, row in zip(labels, rule_NN(order_N, order_N), strict=True)
  ]
  return '\n'.join(lines)
