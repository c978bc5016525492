"""Siamese masked autoencoding: a later frame is rebuilt from an earlier one.

SiamMAE (Gupta et al. 2023, arXiv 2305.14344, section 3). One encoder sees a
frame whole, and a few patches of a later frame of its clip; the decoder's
tokens of the later frame look at those of the earlier one, and fill in what was
hidden. Where things have gone is all that cannot be copied. The encoder sees
one frame at a time, so that a latent is of one frame.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from rpt_jax import settings as keys
from rpt_jax.models import transformer
from rpt_jax.models.transformer import Transformer, attention, dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import positions, pretraining, published, vit
from rpt_jax.vision.families import vit as vit_family
from rpt_jax.vision.masking import Masking, fill_in
from rpt_jax.vision.pretraining import mae

NEEDS = ('pairs',)
SHARDING = transformer.SHARDING
CAPTION = (
  'Held-out frames, each from an earlier one. The encoder sees “earlier”, and '
  'of the frame itself only the patches left in “masked”; “output” is what the '
  'decoder makes of both.'
)
_PICTURES, _JUDGED = 12, 256  # Held-out pairs that are drawn, and measured.


@dataclasses.dataclass(frozen=True)
class Settings(mae.Settings):
  """Those of MAE, of which more is hidden, and how far frames are apart."""

  patch: int = keys.key(8, 'pixels', low=1, high=4096)
  mask_ratio: float = keys.key(
    0.9,
    'share of the later frame hidden; published: 0.95 of 196 patches',
    above=0,
    high=0.99,
  )
  batch_size: int = keys.key(64, 'pairs of frames', low=1, high=1_000_000)
  reach: int = keys.key(
    8, 'steps from a frame to the later one, at most', low=1, high=1000
  )


class _Network(nn.Module):
  """The encoder on both frames, and a decoder that looks from one to the other.

  Every block of the decoder first looks at the earlier frame, then at the
  later one ("cross-self").
  """

  encoder: vit.Encoder
  shapes: mae.Autoencoder

  @nn.compact
  def __call__(self, image_N2HWC, masking: Masking):
    c, encoder = self.shapes, self.encoder
    embed = _Flat(c.decoder_width, name='decoder_embed')
    place_PD = jnp.asarray(positions.fixed(encoder.side, c.decoder_width))[None]
    mask_D = self.param(
      'mask', nn.initializers.normal(0.02), (c.decoder_width,)
    )

    def placed(x_NTD, patches_NPD):
      return jnp.concatenate([x_NTD[:, :1], patches_NPD + place_PD], axis=1)

    past_NTD = embed(encoder(image_N2HWC[:, 0]).tokens)
    past_NTD = placed(past_NTD, past_NTD[:, 1:])
    x_NTD = embed(encoder(image_N2HWC[:, 1], masking.keep).tokens)
    x_NTD = placed(x_NTD, fill_in(x_NTD[:, 1:], masking, mask_D))
    for i in range(c.decoder_depth):
      x_NTD = _Across(c.decoder_num_heads, name=f'across_{i}')(x_NTD, past_NTD)
      x_NTD, _ = Transformer(
        c.decoder_width, 1, c.decoder_num_heads, c.mlp_ratio, name=f'own_{i}'
      )(x_NTD)
    x_NTD = nn.LayerNorm(name='decoder_norm')(x_NTD)
    values = c.patch**2 * image_N2HWC.shape[-1]
    return _Flat(values, name='predict')(x_NTD[:, 1:])


class _Flat(nn.Module):
  """A linear layer on the tokens of all frames at once."""

  features: int

  @nn.compact
  def __call__(self, x_NTD):
    flat = dense(self.features, 'dense')(x_NTD.reshape(-1, x_NTD.shape[-1]))
    return flat.reshape(*x_NTD.shape[:-1], self.features)


class _Across(nn.Module):
  """Tokens x_NTD look at those of another frame, past_NSD; pre-LN."""

  num_heads: int

  @nn.compact
  def __call__(self, x_NTD, past_NSD):
    width = x_NTD.shape[-1]

    def heads(x):
      return rearrange(x, 'n t (h k) -> n t h k', h=self.num_heads)

    q_NTD = _Flat(width, name='query')(nn.LayerNorm(name='norm')(x_NTD))
    past_NSD = nn.LayerNorm(name='norm_past')(past_NSD)
    k_NSD, v_NSD = jnp.split(_Flat(2 * width, name='seen')(past_NSD), 2, -1)
    h_NTHK = attention(heads(q_NTD), heads(k_NSD), heads(v_NSD))
    return x_NTD + _Flat(width, name='out')(h_NTHK.reshape(x_NTD.shape))


@dataclasses.dataclass(frozen=True)
class Siamese:
  """The shapes of what is trained; hashable, so static under `jit`."""

  shapes: mae.Autoencoder
  reach: int

  @property
  def encoder(self) -> vit.Encoder:
    """The part that is kept after pretraining."""
    return self.shapes.encoder.clone(pool='none')

  @property
  def tokens(self) -> int:
    """Patches of both frames, those that are masked too."""
    return 2 * self.shapes.tokens

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and those of the decoder."""
    size = self.shapes.image_size
    image = jnp.zeros((1, 2, size, size, 3))
    masking = self.shapes.mask(key, 1)
    return jax.jit(self._network.init)(key, image, masking)['params']

  def predict(self, params: PyTree, image_N2HWC: Array, masking: Masking):
    """Normalised patches [N, P, K] of later frames, of f32 pairs."""
    return self._network.apply({'params': params}, image_N2HWC, masking)

  def loss(
    self, params: PyTree, image_N2HWC: Array, key: Array
  ) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of uint8 pairs, later frames masked by `key`."""
    image_N2HWC = vit.preprocess(image_N2HWC)
    masking = self.shapes.mask(key, len(image_N2HWC))
    prediction = self.predict(params, image_N2HWC, masking)
    target = mae.normalised_patches(image_N2HWC[:, 1], self.shapes.patch)
    loss = mae.masked_error(prediction, target, masking.removed)
    return loss, {'loss': loss}

  @property
  def _network(self):
    return _Network(self.encoder.clone(name='encoder'), self.shapes)


def model(settings: Settings, size: int) -> Siamese:
  """That of frames of `size` pixels; raises as `mae.model` does."""
  return Siamese(mae.model(settings, size), settings.reach)


def earlier(frames) -> np.ndarray:
  """Rows of the frames that another one follows in their clip."""
  clip_N = frames.clips.clip_N
  return np.flatnonzero(clip_N[1:] == clip_N[:-1])


def draw(frames, row_B: np.ndarray, draw_B: np.ndarray, reach: int):
  """Rows [B, 2] of frames and later ones, by uniform numbers in [0, 1).

  Of the `reach` frames that follow in the clip each is as likely.
  """
  clips = frames.clips
  last_B = clips.offsets[clips.clip_N[row_B] + 1] - 1
  most_B = np.minimum(reach, last_B - row_B)
  return np.stack([row_B, row_B + 1 + (draw_B * most_B).astype(int)], axis=1)


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> {'image': uint8 [B, 2, H, W, 3]}, a frame and a later one.

  Every frame but the last of its clip is the earlier one, in the order of
  `balanced`.
  """
  c, rows = settings, np.arange(settings.batch_size) if rows is None else rows
  row_N = earlier(frames)
  ends = np.cumsum([0, *map(len, frames.parts)])
  order = pretraining.order(
    c, np.diff(np.searchsorted(row_N, ends)), seed, rows
  )

  def at(step: int) -> dict[str, np.ndarray]:
    # Drawn for the whole batch: the same however many processes there are.
    draw_B = np.random.default_rng([seed, step, 1]).random(c.batch_size)
    pair_B2 = draw(frames, row_N[order(step)], draw_B[rows], c.reach)
    return {'image': frames.take(pair_B2)}

  return at


def loss(settings: Settings, model: Siamese, params, batch, key: Array):
  """(loss, metrics) of a batch, both frames of a pair cropped alike."""
  image_N2HWC, key = mae.augmented(settings, batch['image'], key)
  return model.loss(params, image_N2HWC, key)


def judge(model: Siamese, params, heldout, key: Array) -> dict[str, Array]:
  """The loss on held-out pairs as they are."""
  image_N2HWC = heldout.take(_spread(model, heldout, _JUDGED))
  return jax.jit(model.loss)(params, image_N2HWC, key)[1]


def pictures(model: Siamese, params, heldout, key: Array):
  """An earlier frame, a later one, what is seen of it, and what is made."""
  image_N2HWC = heldout.take(_spread(model, heldout, _PICTURES))
  masking = model.shapes.mask(key, len(image_N2HWC))
  frames = vit.preprocess(image_N2HWC)
  predicted = jax.jit(model.predict)(params, frames, masking)
  later = image_N2HWC[:, 1]
  shown = mae.drawn(later, model.shapes.patch, masking, predicted)
  return {'earlier': image_N2HWC[:, 0]} | shown


def save(model: Siamese, params: PyTree, directory) -> None:
  """The encoder alone, as transformers' ViTModel."""
  vit_family.save(model.encoder, params['encoder'], directory)


def untrained(model: Siamese, **how):
  """The encoder as `vision.load` gives it, with shapes for weights."""
  return published.untrained(model.encoder, **how)


def _spread(model, frames, count):
  """Rows [B, 2] of at most `count` pairs, evenly over all; always the same."""
  row_N = earlier(frames)
  places = np.linspace(0, len(row_N) - 1, min(count, len(row_N))).astype(int)
  draw_B = np.random.default_rng(0).random(len(places))
  return draw(frames, row_N[places], draw_B, model.reach)
