"""Who may see whom: one rule for all trunks.

Tokens lie time-major, token n = t * M + m. Every rule gives each token an
order; a token sees those whose order is not above its own:

  bidirectional   all equal
  causal          the time step t: all M tokens of a step see each other
  token_causal    the token n
  prefix          the step, the first `prefix` steps counting as one
  readout         the step; the last token of a step is seen by itself only
  interleaved     the step, its last token half a step later: o_t, then a_t

What is absent or padded is seen by itself only, so no row is ever empty.
"""

import jax.numpy as jnp
import numpy as np

from rpt_jax.types import Array

CAUSAL = ('causal', 'token_causal', 'readout', 'interleaved')
RULES = ('bidirectional', 'prefix', *CAUSAL)


def rule_NN(rule: str, steps: int, streams: int, prefix: int = 0) -> np.ndarray:
  """Bool [N, N], N = steps * streams: may query (row) see key (column)?

  Raises ValueError for an unknown rule.
  """
  token = np.arange(steps * streams)
  step = token // streams
  last = token % streams == streams - 1
  orders = {
    'bidirectional': np.zeros_like(token),
    'causal': step,
    'token_causal': token,
    'prefix': np.maximum(step - prefix + 1, 0),
    'readout': step,
    'interleaved': 2 * step + last,
  }
  if rule not in orders:
    raise ValueError(f'visibility: found {rule!r}, expected one of {RULES}')
  order = orders[rule]
  sees = order[None, :] <= order[:, None]
  if rule == 'readout':
    sees &= ~last[None, :] | np.eye(len(token), dtype=bool)
  return sees


def mask(
  rule: str, valid_BT: Array, present_BTM: Array, prefix: int = 0
) -> Array:
  """Bool [B, 1, N, N] attention mask of a batch; True = visible."""
  batch, steps, streams = present_BTM.shape
  sees_NN = rule_NN(rule, steps, streams, prefix)
  there_BN = (present_BTM & valid_BT[..., None]).reshape(batch, -1)
  itself_NN = np.eye(steps * streams, dtype=bool)
  mask_BNN = (sees_NN[None] & there_BN[:, None, :]) | itself_NN[None]
  return jnp.asarray(mask_BNN)[:, None]


def describe(
  rule: str, steps: int, names: tuple[str, ...], prefix: int = 0
) -> str:
  """The rule in words and as a drawing of (at most) its first three steps.

  Rows see the columns marked `#`.
  """
  words = {
    'bidirectional': 'every token sees every token',
    'causal': 'a token sees its own step and all before',
    'token_causal': 'a token sees itself and all tokens before',
    'prefix': f'the first {prefix} steps see each other; then causal',
    'readout': f'causal, and no other token sees {names[-1]!r}',
    'interleaved': f'causal, and {names[-1]!r} follows the rest of its step, '
    'which does not see it',
  }
  drawn = min(steps, 3)
  sees_NN = rule_NN(rule, drawn, len(names), prefix)
  labels = [f'{name}[{t}]' for t in range(drawn) for name in names]
  pad = max(map(len, labels))
  lines = [
    f'{rule}: {words[rule]} ({steps} steps x {len(names)} streams = '
    f'{steps * len(names)} tokens)'
  ]
  lines += [
    f'{label:>{pad}} ' + ''.join('#' if s else '.' for s in row)
    for label, row in zip(labels, sees_NN, strict=True)
  ]
  return '\n'.join(lines)
