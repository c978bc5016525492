"""minLSTM: a minGRU whose state keeps and takes in by gates of their own.

    f_t = sigmoid(W_f x_t),  i_t = sigmoid(W_i x_t)
    h_t = f_t / (f_t + i_t) h_{t-1} + i_t / (f_t + i_t) g(W_h x_t)

The two shares add up to 1 (Feng et al. 2024, arXiv 2410.01201, 3.2, of which
this is the form whose state does not grow with the length), so that it is a
minGRU with the gate log(i_t / f_t), and all else is as there.
"""

import dataclasses

import jax

from rpt_jax.models.trunks import mingru

VISIBILITIES = mingru.VISIBILITIES
SHARDING = (
  (r'blocks/(forget|input|candidate|up)/kernel$', (None, 'fsdp', 'tensor')),
  (r'blocks/(out|down)/kernel$', (None, 'tensor', 'fsdp')),
)
check, start = mingru.check, mingru.start


@dataclasses.dataclass(frozen=True)
class Settings(mingru.Settings):
  """Those of a minGRU."""


class Block(mingru.Block):
  """Pre-norm minLSTM, then a pre-norm MLP."""

  def _gate(self, hidden, y_BND):
    """log(i / f), as log sigmoid(x) = -softplus(-x)."""
    forget_BNH = self._dense(hidden, 'forget', y_BND)
    input_BNH = self._dense(hidden, 'input', y_BND)
    return jax.nn.softplus(-forget_BNH) - jax.nn.softplus(-input_BNH)


class Trunk(mingru.Trunk):
  """Blocks one after the other; `state` is log h of each, f32 [B, depth, H]."""

  block: type = Block
