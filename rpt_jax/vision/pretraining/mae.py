"""Masked autoencoding of frames (He et al. 2021; code: facebookresearch/mae).

The encoder sees a random quarter of the patches, a light decoder fills in the
others. `Autoencoder` is a frozen description of shapes; parameters are apart.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models import transformer
from rpt_jax.models.transformer import Transformer, dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import augment, positions, pretraining, published, vit
from rpt_jax.vision.families import vit_mae
from rpt_jax.vision.masking import Masking, fill_in, random_masking

NEEDS = ('frames',)
SHARDING = transformer.SHARDING
CAPTION = (
  'Masked autoencoding of held-out frames. The encoder sees only the patches '
  'left in “masked”; “output” is what the decoder makes of them.'
)
_PICTURES, _JUDGED = 12, 512  # Held-out frames that are drawn, and measured.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of the autoencoder, what it is shown, and its training."""

  patch: int = keys.key(16, 'pixels', low=1, high=4096)
  width: int = keys.key(128, 'numbers of a token', low=1, high=65_536)
  depth: int = keys.key(4, 'blocks', low=1, high=1000)
  num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  decoder_width: int = keys.key(128, 'numbers of a token', low=1, high=65_536)
  decoder_depth: int = keys.key(2, 'blocks', low=1, high=1000)
  decoder_num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  mask_ratio: float = keys.key(
    0.75, 'share of patches hidden', above=0, high=0.99
  )
  crop_scale: tuple[float, float] = keys.key(
    (1.0, 1.0), 'share of a frame that is looked at', above=0, high=1
  )
  flip: bool = keys.key(False, 'left and right; not where hands differ')
  batch_size: int = keys.key(64, 'frames', low=1, high=1_000_000)
  balanced: bool = keys.key(
    True, 'each domain as often, not each frame', absent=False
  )
  steps: int = keys.key(1000, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = keys.key(1e-3, 'the peak', above=0, high=1)
  weight_decay: float = keys.key(0.05, 'of kernels', low=0, high=10)

  def check(self, where: str) -> None:
    keys.ordered(self.crop_scale, f'{where}.crop_scale')
    for prefix in ('', 'decoder_'):
      pretraining.check_shapes(self, where, prefix)


def normalised_patches(image_NHWC: Array, patch: int) -> Array:
  """Target of the decoder: each patch to mean 0 and variance 1."""
  x_NPK = vit.patchify(image_NHWC, patch)
  mean = x_NPK.mean(axis=-1, keepdims=True)
  variance = x_NPK.var(axis=-1, keepdims=True, ddof=1)
  return (x_NPK - mean) / jnp.sqrt(variance + 1e-6)


def masked_error(prediction_NPK, target_NPK, removed_NP) -> Array:
  """Squared error, the mean over removed patches only."""
  error_NP = jnp.mean((prediction_NPK - target_NPK) ** 2, axis=-1)
  return jnp.sum(error_NP * removed_NP) / jnp.sum(removed_NP)


class _Network(nn.Module):
  """Encoder on what is kept, decoder on everything; predicts patches."""

  encoder: vit.Encoder
  decoder_width: int
  decoder_depth: int
  decoder_num_heads: int

  @nn.compact
  def __call__(self, image_NHWC, masking: Masking):
    encoder = self.encoder
    seen_NTD = encoder(image_NHWC, masking.keep).tokens
    num, patches = masking.restore.shape
    width = self.decoder_width
    x_NTD = self._dense(width, 'decoder_embed', seen_NTD)
    mask_D = self.param('mask', nn.initializers.normal(0.02), (width,))
    x_NPD = fill_in(x_NTD[:, 1:], masking, mask_D)
    x_NPD = x_NPD + jnp.asarray(positions.fixed(encoder.side, width))[None]
    x_NTD = jnp.concatenate([x_NTD[:, :1], x_NPD], axis=1)
    x_NTD, _ = Transformer(
      width,
      self.decoder_depth,
      self.decoder_num_heads,
      encoder.mlp_ratio,
      name='decoder',
    )(x_NTD)
    x_NTD = nn.LayerNorm(name='decoder_norm')(x_NTD)
    values = encoder.patch**2 * image_NHWC.shape[-1]
    return self._dense(values, 'predict', x_NTD[:, 1:])

  def _dense(self, features, name, x_NTD):
    flat = dense(features, name)(x_NTD.reshape(-1, x_NTD.shape[-1]))
    return flat.reshape(*x_NTD.shape[:-1], features)


@dataclasses.dataclass(frozen=True)
class Autoencoder:
  """The shapes of a masked autoencoder; hashable, so static under `jit`."""

  image_size: int = 64
  patch: int = 16
  width: int = 64
  depth: int = 2
  num_heads: int = 4
  mlp_ratio: float = 4.0
  decoder_width: int = 64
  decoder_depth: int = 1
  decoder_num_heads: int = 4
  mask_ratio: float = 0.75

  @property
  def encoder(self) -> vit.Encoder:
    """The part that is kept after pretraining."""
    return vit.Encoder(
      image_size=self.image_size,
      patch=self.patch,
      width=self.width,
      depth=self.depth,
      num_heads=self.num_heads,
      mlp_ratio=self.mlp_ratio,
      parent=None,
    )

  @property
  def tokens(self) -> int:
    """Patches of a frame, those that are masked too."""
    return self.encoder.side**2

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and those of the decoder."""
    image = jnp.zeros((1, self.image_size, self.image_size, 3))
    masking = self.mask(key, 1)
    return jax.jit(self._network.init)(key, image, masking)['params']

  def mask(self, key: Array, num: int) -> Masking:
    """A random masking of `num` frames."""
    return random_masking(key, num, self.tokens, self.mask_ratio)

  def predict(self, params: PyTree, image_NHWC: Array, masking: Masking):
    """Normalised patches [N, P, patch * patch * 3] for f32 frames."""
    return self._network.apply({'params': params}, image_NHWC, masking)

  def loss(
    self, params: PyTree, image_NHWC: Array, key: Array
  ) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of uint8 frames under a masking drawn from `key`."""
    image_NHWC = vit.preprocess(image_NHWC)
    masking = self.mask(key, image_NHWC.shape[0])
    prediction = self.predict(params, image_NHWC, masking)
    target = normalised_patches(image_NHWC, self.patch)
    loss = masked_error(prediction, target, masking.removed)
    return loss, {'loss': loss}

  @property
  def _network(self):
    encoder = self.encoder.clone(name='encoder')
    return _Network(
      encoder, self.decoder_width, self.decoder_depth, self.decoder_num_heads
    )


def model(settings: Settings, size: int) -> Autoencoder:
  """The autoencoder of frames of `size` pixels.

  Raises ValueError where they are not whole patches, or none would be masked.
  """
  if size % settings.patch:
    raise ValueError(
      f'patch: found {settings.patch}, expected a divisor of '
      f'config.frames.size={size}'
    )
  names = {f.name for f in dataclasses.fields(Autoencoder)}
  shapes = dataclasses.asdict(settings)
  shapes = {name: x for name, x in shapes.items() if name in names}
  autoencoder = Autoencoder(image_size=size, **shapes)
  jax.eval_shape(lambda key: autoencoder.mask(key, 1), jax.random.key(0))
  return autoencoder


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> {'image': uint8 [B, H, W, 3]}, in the order of `balanced`."""
  sizes = list(map(len, frames.parts))
  order = pretraining.order(settings, sizes, seed, rows)
  return lambda step: {'image': frames.take(order(step))}


def loss(settings: Settings, model: Autoencoder, params, batch, key: Array):
  """(loss, metrics) of a batch, its frames cropped and flipped at random."""
  image_NHWC, key = augmented(settings, batch['image'], key)
  return model.loss(params, image_NHWC, key)


def augmented(settings: Settings, image: Array, key: Array):
  """(frames as the settings crop and flip them, the key that is left).

  `image` are frames [N, H, W, 3], or [N, T, H, W, 3], T of them alike.
  """
  key, draw = jax.random.split(key)
  change = augment.Augmentation(
    crop_scale=settings.crop_scale, crop_ratio=(1.0, 1.0), flip=settings.flip
  )
  if change != augment.Augmentation(crop_ratio=(1.0, 1.0)):
    image = augment.augment(draw, image, change)
  return image, key


def judge(model: Autoencoder, params, heldout, key: Array) -> dict[str, Array]:
  """The loss on held-out frames as they are."""
  image_NHWC = heldout.take(heldout.spread(_JUDGED))
  return jax.jit(model.loss)(params, image_NHWC, key)[1]


def pictures(model: Autoencoder, params, heldout, key: Array):
  """What is filled in of held-out frames; see `reconstruct`."""
  image_NHWC = heldout.take(heldout.spread(_PICTURES))
  return reconstruct(model, params, image_NHWC, key)


save = vit_mae.save


def untrained(model: Autoencoder, **how):
  """The encoder as `vision.load` gives it, with shapes for weights."""
  return published.untrained(model.encoder, **how)


@functools.partial(jax.jit, static_argnames='model')
def reconstruct(
  model: Autoencoder, params: PyTree, image_NHWC: Array, key: Array
) -> dict[str, Array]:
  """Pictures of what the model fills in; see `drawn`."""
  image = vit.preprocess(image_NHWC)
  masking = model.mask(key, image.shape[0])
  predicted_NPK = model.predict(params, image, masking)
  return drawn(image_NHWC, model.patch, masking, predicted_NPK)


def drawn(
  image_NHWC: Array, patch: int, masking: Masking, predicted_NPK: Array
) -> dict[str, Array]:
  """Pictures of what is predicted of frames, uint8 [N, H, W, 3] each.

  'original', 'masked' with removed patches grey, 'output' with removed patches
  predicted: un-normalised by their own true mean and deviation, as
  the loss is blind to those.
  """
  x_NPK = vit.patchify(vit.preprocess(image_NHWC), patch)
  mean = x_NPK.mean(axis=-1, keepdims=True)
  deviation = jnp.sqrt(x_NPK.var(axis=-1, keepdims=True, ddof=1) + 1e-6)
  filled = predicted_NPK * deviation + mean
  removed = masking.removed[..., None]

  def picture(x_NPK):
    x = vit.unpatchify(x_NPK, patch)
    return jnp.clip((x + 1) * 127.5, 0, 255).round().astype(jnp.uint8)

  return {
    'original': image_NHWC,
    'masked': picture(x_NPK * (1 - removed)),
    'output': picture(x_NPK * (1 - removed) + filled * removed),
  }
