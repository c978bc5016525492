"""RPT: hide tokens of all streams, and give back what is hidden.

Of every sample a share r ~ U[low, high] is hidden, by token, by step, by
stream, or as a suffix ("causal"; attention stays bidirectional). The loss is
the error of hidden tokens alone, all streams weighing the same (arXiv
2306.10007, section 3). Of what is hidden BERT shows a tenth as it is and
another value in the place of a tenth (arXiv 1810.04805, 3.1), so that what is
seen is looked at, too: `shown`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models import heads as heads_lib
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import guesses, tokens
from rpt_jax.types import Array, Batch, StreamSpec

VISIBILITY = 'bidirectional'
MASKS = ('token', 'timestep', 'modality', 'causal')
# What is shown must not be drawn as what is hidden is, whose key a split gives:
# it is that of the fold with 1.
_SHOWN = 1 << 20


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is hidden of a window."""

  mask: str = keys.key('token', 'what is hidden together', choices=MASKS)
  ratio: tuple[float, float] = keys.key(
    (0.7, 0.9), 'share hidden, drawn per sample', low=0, high=1
  )
  shown: tuple[float, float] = keys.key(
    (0.0, 0.0),
    'shares of what is hidden that are shown as they are, and as another value',
    low=0,
    high=1,
    absent=(0.0, 0.0),
  )

  def check(self, where: str) -> None:
    """Raises ValueError where the least share is above the largest."""
    if self.ratio[0] > self.ratio[1]:
      raise ValueError(
        f'{where}.ratio: found {self.ratio}, expected (low, high)'
      )
    if sum(self.shown) > 1:
      keys.refuse(f'{where}.shown', self.shown, 'shares of at most 1 in all')


GUESSES = {
  'copy_last': guesses.copy_last,
  'interpolation': guesses.interpolation,
}


def heads(
  settings: Settings,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One head for each stream in time, reading its own token."""
  del settings
  tokens.check_targets(streams, targets, 'masked_streams')
  timed = [s for s in streams if s.timed]
  return tuple(HeadSpec(s, heads_lib.usual(s), reads=(s.name,)) for s in timed)


def mask(
  kind: str,
  key: Array,
  ratio: tuple[float, float],
  valid_BT: Array,
  present_BTM: Array,
) -> Array:
  """Bool [B, T, M]: which tokens to hide, of those that are there.

  'token', 'timestep' and 'modality' (a stream in the whole window) hide each
  with probability r. Where the draw hides none, the one nearest to it is
  hidden; where it hides every modality and there are two or more, the one
  farthest from it stays. 'causal' hides the last round(r * n), at least one,
  of the n tokens in the order of time.

  Args:
    ratio: (low, high) of r, drawn once a sample; r = 0 hides nothing.

  Raises:
    ValueError: an unknown kind, or a ratio out of order.
  """
  low, high = ratio
  if kind not in MASKS:
    raise ValueError(f'mask: found {kind!r}, expected one of {MASKS}')
  if not 0 <= low <= high <= 1:
    raise ValueError(
      f'ratio: found {tuple(ratio)}, expected 0 <= low <= high <= 1'
    )
  ratio_key, key = jax.random.split(key)
  shape = (len(valid_BT), 1, 1)
  r_B11 = jax.random.uniform(ratio_key, shape, minval=low, maxval=high)
  real_BTM = present_BTM & valid_BT[..., None]
  if kind == 'causal':
    return _suffix(r_B11, real_BTM)
  return _drawn(kind, key, r_B11, real_BTM) & (r_B11 > 0) & real_BTM


def _suffix(r_B11, real_BTM):
  real_BN = real_BTM.reshape(len(real_BTM), -1)
  left_BN = jnp.cumsum(real_BN[:, ::-1], axis=1)[:, ::-1]  # Itself included.
  r_B1 = r_B11[..., 0]
  hidden_B1 = jnp.round(r_B1 * real_BN.sum(1, keepdims=True))
  hidden_B1 = jnp.maximum(hidden_B1, (r_B1 > 0).astype(hidden_B1.dtype))
  return (real_BN & (left_BN <= hidden_B1)).reshape(real_BTM.shape)


def _drawn(kind, key, r_B11, real_BTM):
  """One draw for all of what is hidden together; the others' size is 1."""
  together = {'token': (), 'timestep': (2,), 'modality': (1,)}[kind]
  groups = real_BTM.any(together, keepdims=True) if together else real_BTM
  draw = jax.random.uniform(key, groups.shape)
  nearest = jnp.where(groups, draw, 2.0).min((1, 2), keepdims=True)
  hide = (draw < r_B11) | (draw == nearest)
  if kind == 'modality':
    farthest = jnp.where(groups, draw, -1.0).max((1, 2), keepdims=True)
    hide &= (draw != farthest) | (farthest == nearest)
  return hide


def disguise(
  shown: tuple[float, float],
  key: Array,
  timed: dict[str, Array],
  specs: list[StreamSpec],
  real_BTM: Array,
  hide_BTM: Array,
) -> tuple[dict[str, Array], Array]:
  """(what is read of each stream, bool [B, T, M] where a mask vector is).

  Of the tokens in `hide_BTM` the first share of `shown` is read as it is, the
  second as another value: of a discrete stream any, all as likely, of a
  continuous one that of the same step of another window, 0 where it has none.

  Args:
    timed: stream -> [B, T, ...], in the order of `specs` and M; where
      `real_BTM` is False it may hold anything.
  """
  same, other = shown
  key = jax.random.fold_in(key, _SHOWN)
  draw_BTM = jax.random.uniform(key, hide_BTM.shape)
  other_BTM = hide_BTM & (draw_BTM >= same) & (draw_BTM < same + other)
  read = {}
  for m, spec in enumerate(specs):
    x, own_key = timed[spec.name], jax.random.fold_in(key, m)
    if spec.kind == 'discrete':
      another = jax.random.randint(own_key, x.shape, 0, spec.vocab, x.dtype)
    else:
      has_BT1 = jnp.roll(real_BTM[..., m : m + 1], 1, axis=0)
      another = jnp.where(has_BT1, jnp.roll(x, 1, axis=0), 0.0)
    read[spec.name] = jnp.where(other_BTM[..., m : m + 1], another, x)
  return read, hide_BTM & (draw_BTM >= same + other)


def loss(apply, batch: Batch, key: Array, settings: Settings, teacher=None):
  """Error of hidden tokens: the mean over streams of each one's mean.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM, present_BTM) -> output`.
    batch: as `tokens.inputs` takes it.

  Returns:
    (loss, metrics as (sum, count)): 'masked_fraction'; for every stream
    'error/<stream>' and, on the same tokens, 'copy_last/<stream>' and
    'interpolation/<stream>', see `tokens.metrics` and `guesses`.
  """
  del teacher
  timed, real_BTM = tokens.inputs(batch, apply.streams)
  hide_BTM = mask(settings.mask, key, settings.ratio, batch['valid'], real_BTM)
  inputs, corrupt_BTM = batch['inputs'], hide_BTM
  if any(settings.shown):
    specs = [s for s in apply.streams if s.timed]
    changed, corrupt_BTM = disguise(
      settings.shown, key, timed, specs, real_BTM, hide_BTM
    )
    inputs = inputs | changed
  reads = apply(inputs, batch['valid'], corrupt_BTM, real_BTM)['reads']
  metrics = {
    'masked_fraction': (
      hide_BTM.sum().astype(jnp.float32),
      real_BTM.sum().astype(jnp.float32),
    )
  }
  for m, (name, x) in enumerate(timed.items()):
    hide_BT = hide_BTM[..., m]
    seen_BT = real_BTM[..., m] & ~hide_BT
    own_key = jax.random.fold_in(key, m)
    metrics |= tokens.metrics(
      apply.head(name), reads[name], x, seen_BT, hide_BT, GUESSES, own_key
    )
  return tokens.total(metrics), metrics
