"""R3M: time-contrastive, aligned with language, sparse (arXiv 2203.12601).

Of a clip five frames are seen: one near its start, one near its end, and s0 <
s1 <= s2 between. Frames nearer in time are nearer in the latent (L_tcn), a
reward head tells from the first frame, another and the sentence which is
further on (L_lang), and the norms of latents are kept small (L1, L2). Formulas
are those of facebookresearch/r3m; where they differ, the code and not the
paper. The image model is a ViT, whose latent is the mean of its patches.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from rpt_jax import settings as keys
from rpt_jax.models import transformer
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import (
  augment,
  hashed_words,
  pretraining,
  published,
  r3m_losses,
  sentences,
  vit,
)
from rpt_jax.vision.families import vit as vit_family

NEEDS = ('pairs',)
SHARDING = transformer.SHARDING
CAPTION = (
  'R3M on held-out clips. Between the first and the last frame is the one '
  'that, of five along the clip, is rewarded most for what the clip is told.'
)
_PICTURES, _JUDGED = 12, 64  # Held-out clips that are drawn, and measured.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of the encoder, the weight of each loss, and the training."""

  patch: int = keys.key(16, 'pixels', low=1, high=4096)
  width: int = keys.key(128, 'numbers of a token', low=1, high=65_536)
  depth: int = keys.key(4, 'blocks', low=1, high=1000)
  num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  reward_width: int = keys.key(
    1024, 'numbers of a hidden layer of the reward head', low=1, high=65_536
  )
  time: float = keys.key(1.0, 'weight of L_tcn', low=0, high=1000)
  language: float = keys.key(1.0, 'weight of L_lang', low=0, high=1000)
  l1: float = keys.key(1e-5, 'weight of the mean 1-norm', low=0, high=1000)
  l2: float = keys.key(1e-5, 'weight of the mean 2-norm', low=0, high=1000)
  negatives: int = keys.key(3, 'other clips of a term', low=1, high=1000)
  text_encoder: str = keys.key(
    '', "a text tower's folder or id; '': a frozen vector of each word"
  )
  crop_scale: tuple[float, float] = keys.key(
    (0.2, 1.0), 'share of a frame that is looked at', above=0, high=1
  )
  batch_size: int = keys.key(16, 'clips', low=2, high=1_000_000)
  balanced: bool = keys.key(True, 'each domain as often, not each clip')
  steps: int = keys.key(1000, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = keys.key(1e-4, 'the peak', above=0, high=1)
  weight_decay: float = keys.key(0.0, 'of kernels', low=0, high=10)

  def check(self, where: str) -> None:
    """Raises ValueError for shapes that do not fit and a loss of nothing."""
    keys.ordered(self.crop_scale, f'{where}.crop_scale')
    pretraining.check_shapes(self, where)
    if not self.time + self.language:
      keys.refuse(f'{where}.time', 0, 'more than 0, or that of language is')


@dataclasses.dataclass(frozen=True)
class R3M:
  """The shapes of what is trained; hashable."""

  encoder: vit.Encoder
  reward: r3m_losses.Reward
  text_encoder: str
  said_dim: int

  @property
  def tokens(self) -> int:
    """Patches of the five frames of a row."""
    return 5 * self.encoder.side**2

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and 'reward'."""
    size = self.encoder.image_size
    z_1D = jnp.zeros((1, self.encoder.width))
    said_1L = jnp.zeros((1, self.said_dim))
    keys = jax.random.split(key)
    image = jnp.zeros((1, size, size, 3))
    return {
      'encoder': jax.jit(self.encoder.init)(keys[0], image)['params'],
      'reward': jax.jit(self.reward.init)(keys[1], z_1D, z_1D, said_1L)[
        'params'
      ],
    }

  def embed(self, params: PyTree, image_NHWC: Array) -> Array:
    """Latents [N, D] of uint8 frames: the mean of the patches."""
    variables = {'params': params['encoder']}
    x_NTD = self.encoder.apply(variables, vit.preprocess(image_NHWC)).tokens
    return vit.readout(x_NTD, 'mean_patch', self.encoder.num_prefix)

  def rewards(self, params: PyTree, first_ND, now_ND, said_NL) -> Array:
    """How far on, in the eyes of the sentence [N]."""
    variables = {'params': params['reward']}
    return self.reward.apply(variables, first_ND, now_ND, said_NL)

  def terms(self, params: PyTree, batch, others_KB: Array) -> r3m_losses.Losses:
    """Those of a batch of `batch_at`."""
    image_NHWC = rearrange(batch['image'], 'b n ... -> (b n) ...')
    z_ND = self.embed(params, image_NHWC)
    z_B5D = rearrange(z_ND, '(b n) d -> b n d', n=5)

    def reward(*seen):
      return self.rewards(params, *seen)

    said = batch['said'], batch['told']
    return r3m_losses.losses(reward, z_B5D, *said, others_KB)


def model(settings: Settings, size: int) -> R3M:
  """That of frames of `size` pixels; ValueError if not whole patches."""
  c = settings
  encoder = pretraining.encoder(c, size)
  dim = hashed_words.DIM
  if c.text_encoder:
    dim = sentences.Tower(c.text_encoder).dim
  return R3M(
    encoder, r3m_losses.Reward(c.reward_width, parent=None), c.text_encoder, dim
  )


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> {'image': uint8 [B, 5, H, W, 3], 'said': f32 [B, L], 'told': [B]}.

  Of the clips that have two frames, in the order of `balanced`; frames are
  those of `r3m_losses.clip_frames`. Raises ValueError where language has a
  weight and no clip a sentence.
  """
  c = settings
  if c.language and not any(frames.texts):
    raise ValueError(
      f'config.image_model.language: found {c.language}, but no clip has an '
      'instruction; expected 0, or a dataset that has some'
    )
  clip_N = np.flatnonzero(frames.lengths > 1)
  ends = np.cumsum([0, *frames.clips_of_parts])
  sizes = np.diff(np.searchsorted(clip_N, ends))
  order = pretraining.order(c, sizes, seed, rows)
  chosen = slice(None) if rows is None else rows
  told = _said(frames, c.text_encoder)

  def at(step: int) -> dict[str, np.ndarray]:
    # Drawn for the whole batch: the same however many processes there are.
    draw_B5 = np.random.default_rng([seed, step, 1]).random((c.batch_size, 5))
    return _batch(frames, told, clip_N[order(step)], draw_B5[chosen])

  return at


def loss(settings: Settings, model: R3M, params, batch, key: Array):
  """(loss, metrics) of a batch; crops and negatives are drawn from `key`.

  All five frames of a clip are cut alike.
  """
  c = settings
  crop_key, *other_keys = jax.random.split(key, 1 + c.negatives)
  count = len(batch['told'])
  change = augment.Augmentation(crop_scale=c.crop_scale)
  if change.crops:
    image = augment.augment(crop_key, batch['image'], change)
    batch = batch | {'image': image}
  others_KB = jnp.stack([jax.random.permutation(k, count) for k in other_keys])
  terms = model.terms(params, batch, others_KB)
  total = weighted(c, terms)
  return total, {'loss': total, **terms._asdict()}


def weighted(settings: Settings, terms: r3m_losses.Losses) -> Array:
  """What is minimised; a term of no weight is left out, whatever it is."""
  c = settings
  weights = c.time, c.language, c.l1, c.l2
  return sum(w * x for w, x in zip(weights, terms[:4], strict=True) if w)


def judge(model: R3M, params, heldout, key: Array) -> dict[str, Array]:
  """The terms on held-out clips, without crops, of evenly chosen frames."""
  clip_B = _spread(heldout, _JUDGED)
  draw_B5 = np.random.default_rng(0).random((len(clip_B), 5))
  told = _said(heldout, model.text_encoder)
  batch = _batch(heldout, told, clip_B, draw_B5)
  keys = jax.random.split(key, 3)
  others_KB = jnp.stack([jax.random.permutation(k, len(clip_B)) for k in keys])
  return jax.jit(model.terms)(params, batch, others_KB)._asdict()


def pictures(model: R3M, params, heldout, key: Array):
  """First and last frames of clips; of five along them the most rewarded."""
  del key
  clip_B = _spread(heldout, _PICTURES)
  first_B, length_B = heldout.clips.offsets[clip_B], heldout.lengths[clip_B]
  along_5 = np.linspace(0, 1, 5)
  row_B5 = first_B[:, None] + (along_5 * (length_B - 1)[:, None]).astype(int)
  z_ND = jax.jit(model.embed)(params, heldout.take(row_B5.reshape(-1)))
  z_B5D = rearrange(z_ND, '(b n) d -> b n d', n=5)
  said_BL = _said(heldout, model.text_encoder)[0][clip_B]
  rewards = jax.jit(model.rewards)
  reward_5B = [
    rewards(params, z_B5D[:, 0], z_B5D[:, i], said_BL) for i in range(5)
  ]
  most_B = np.argmax(reward_5B, axis=0)
  rows = np.arange(len(clip_B))
  return {
    'first': heldout.take(row_B5[:, 0]),
    'most rewarded': heldout.take(row_B5[rows, most_B]),
    'last': heldout.take(row_B5[:, -1]),
  }


def save(model: R3M, params: PyTree, directory) -> None:
  """The encoder alone, as transformers' ViTModel."""
  vit_family.save(model.encoder, params['encoder'], directory)


def untrained(model: R3M, **how):
  """The encoder as `vision.load` gives it, with shapes for weights."""
  return published.untrained(model.encoder, **how)


def _said(frames, text_encoder):
  """(sentences f32 [clips, L], whether anything is said [clips])."""
  texts, own = np.unique(frames.texts, return_inverse=True)
  if text_encoder:
    said = sentences.Tower(text_encoder).tokens(list(texts))[0][:, 0]
  else:
    said = hashed_words.vectors(texts)
  told = np.array([bool(text.strip()) for text in texts])
  return said[own], told[own]


def _batch(frames, said, clip_B, draw_B5):
  """What `batch_at` gives, of clips and uniform numbers."""
  said_NL, told_N = said
  frame_B5 = r3m_losses.clip_frames(frames.lengths[clip_B], draw_B5)
  row_B5 = frames.clips.offsets[clip_B][:, None] + frame_B5
  return {
    'image': frames.take(row_B5),
    'said': said_NL[clip_B],
    'told': told_N[clip_B],
  }


def _spread(frames, count):
  """At most `count` clips that have two frames, evenly over all."""
  clip_N = np.flatnonzero(frames.lengths > 1)
  places = np.linspace(0, len(clip_N) - 1, min(count, len(clip_N)))
  return clip_N[places.astype(int)]
