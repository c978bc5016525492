"""The losses of R3M (arXiv 2203.12601), as facebookresearch/r3m has them.

Of five frames of a clip, in the order START, END, S0, S1, S2: frames nearer in
time are nearer in the latent, and what is further on is rewarded more by what
the clip is told to do. Where the paper and its code differ, this is the code.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from rpt_jax.models import transformer
from rpt_jax.types import Array

ENDS = 0.2  # Share of a clip that its start, and its end, is drawn from.
START, END, S0, S1, S2 = range(5)  # Of the five frames.
_EPSILON = 1e-8  # Inside the logarithm and below the fraction.


class Losses(NamedTuple):
  """The terms, each a mean over a batch; see `losses`."""

  time: Array
  language: Array
  l1: Array
  l2: Array
  time_accuracy: Array  # Share of terms whose positive is the likeliest.
  language_accuracy: Array


def clip_frames(length_B: np.ndarray, draw_B5: np.ndarray) -> np.ndarray:
  """Which five frames of clips of >= 2 frames are seen: [B, 5] integers.

  The start is of the first fifth, the end of the last, s0 < s1 <= s2 of all;
  `draw_B5` are uniform numbers in [0, 1).
  """
  last_B = length_B - 1
  fifth_B = (ENDS * length_B).astype(int)

  def between(low_B, high_B, draw_B):
    return low_B + (draw_B * (high_B - low_B + 1)).astype(int)

  start_B = between(0, fifth_B, draw_B5[:, 0])
  end_B = between(last_B - fifth_B, last_B, draw_B5[:, 1])
  middle_B = between(1, last_B, draw_B5[:, 2])
  early_B = between(0, middle_B - 1, draw_B5[:, 3])
  late_B = between(middle_B, last_B, draw_B5[:, 4])
  return np.stack([start_B, end_B, early_B, middle_B, late_B], axis=1)


def similarity(a_ND: Array, b_ND: Array) -> Array:
  """-|a - b|, not squared: [N]; its gradient is 0 where they are the same."""
  square_N = ((a_ND - b_ND) ** 2).sum(-1)
  apart_N = square_N > 0
  return -jnp.where(apart_N, jnp.sqrt(jnp.where(apart_N, square_N, 1.0)), 0.0)


def nce(logit_BC: Array) -> tuple[Array, Array]:
  """(-log(eps + e^first / (eps + sum of e^all)), is the first the largest) [B].

  The fraction is never formed, so that nothing overflows.
  """
  floor = jnp.log(_EPSILON)
  whole_B = jnp.logaddexp(jax.nn.logsumexp(logit_BC, axis=1), floor)
  loss_B = -jnp.logaddexp(logit_BC[:, 0] - whole_B, floor)
  return loss_B, (logit_BC[:, :1] > logit_BC[:, 1:]).all(1)


def time_contrast(z_B5D: Array, others_KB: Array) -> tuple[Array, Array]:
  """L_tcn, (loss, right) [B]: s1 is nearer s2 than s0 is, and s0 nearer s1.

  `others_KB` says which clip of the batch each negative is of, maybe its own.
  """
  s0, s1, s2 = (z_B5D[:, i] for i in (S0, S1, S2))
  far_B = similarity(s2, s0)

  def others(s_BD):
    return [similarity(s_BD, s_BD[rows_B]) for rows_B in others_KB]

  late_BC = jnp.stack([similarity(s1, s2), far_B, *others(s2)], axis=1)
  early_BC = jnp.stack([similarity(s0, s1), far_B, *others(s0)], axis=1)
  (loss_B, right_B), (more_B, also_B) = nce(late_BC), nce(early_BC)
  return (loss_B + more_B) / 2, (right_B + also_B) / 2.0


def language_contrast(reward, z_B5D: Array, said_BL: Array, others_KB: Array):
  """L_lang, (loss, right) [B]: what is further on is rewarded more.

  `reward(first [N, D], now [N, D], said [N, L]) -> [N]`. End, s1 and s2
  against start, s0 and s1 of the clip, and against the same two frames of
  others with this clip's sentence.
  """
  first_BD = z_B5D[:, START]
  pairs = [(END, START), (S1, S0), (S2, S1)]
  losses, right = [], []
  for later, earlier in pairs:
    seen = [(first_BD, z_B5D[:, later]), (first_BD, z_B5D[:, earlier])]
    seen += [(first_BD[rows], z_B5D[rows, later]) for rows in others_KB]
    first_CBD, now_CBD = (jnp.stack(x) for x in zip(*seen, strict=True))
    said_CBL = jnp.broadcast_to(said_BL, (len(seen), *said_BL.shape))
    rows = (rearrange(x, 'c b d -> (c b) d') for x in (first_CBD, now_CBD))
    logit_N = reward(*rows, rearrange(said_CBL, 'c b l -> (c b) l'))
    loss_B, right_B = nce(rearrange(logit_N, '(c b) -> b c', c=len(seen)))
    losses.append(loss_B)
    right.append(right_B)
  return sum(losses) / 3, sum(right) / 3.0


def losses(reward, z_B5D, said_BL, told_B, others_KB) -> Losses:
  """All terms of a batch; where nothing is `told_B`, language has no loss."""
  time_B, time_right_B = time_contrast(z_B5D, others_KB)
  language_B, right_B = language_contrast(reward, z_B5D, said_BL, others_KB)
  told = jnp.maximum(told_B.sum(), 1)
  return Losses(
    time_B.mean(),
    jnp.where(told_B, language_B, 0.0).sum() / told,
    jnp.abs(z_B5D).sum(-1).mean(),
    -similarity(z_B5D, jnp.zeros_like(z_B5D)).mean(),
    time_right_B.mean(),
    jnp.where(told_B, right_B, 0.0).sum() / told,
  )


class Reward(nn.Module):
  """(first [N, D], now [N, D], sentence [N, L]) -> how far on it is [N]."""

  width: int

  @nn.compact
  def __call__(self, first_ND, now_ND, said_NL):
    x_NK = jnp.concatenate([first_ND, now_ND, said_NL], axis=-1)
    for i in range(4):
      x_NK = nn.relu(transformer.dense(self.width, f'hidden_{i}')(x_NK))
    return transformer.dense(1, 'project')(x_NK)[:, 0]
