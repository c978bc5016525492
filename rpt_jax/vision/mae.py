"""Masked autoencoding of frames (He et al. 2021; code: facebookresearch/mae).

The encoder sees a random quarter of the patches, a light decoder fills in the
others. `Autoencoder` is a frozen description of shapes; parameters are apart.
"""

import dataclasses
import functools
import pathlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.models.transformer import Transformer, dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import layout, positions, vit, weights
from rpt_jax.vision.families import vit_mae


class Masking(NamedTuple):
  """Which patches an encoder sees, for each frame.

  `keep` [N, K] indices of those kept; `restore` [N, P] puts (kept, removed)
  back in order; `removed` [N, P] is 1.0 where a patch was taken away.
  """

  keep: Array
  restore: Array
  removed: Array


def random_masking(
  key: Array, num: int, patches: int, mask_ratio: float
) -> Masking:
  """Keeps `patches * (1 - mask_ratio)` (floor) patches of each frame.

  Raises ValueError where none or all would be kept.
  """
  kept = int(patches * (1 - mask_ratio))
  if not 0 < kept < patches:
    raise ValueError(
      f'mask_ratio: {mask_ratio} keeps {kept} of {patches} patches, expected '
      'at least one kept and one removed'
    )
  order_NP = jnp.argsort(jax.random.uniform(key, (num, patches)), axis=1)
  restore_NP = jnp.argsort(order_NP, axis=1)
  removed_NP = (restore_NP >= kept).astype(jnp.float32)
  return Masking(order_NP[:, :kept], restore_NP, removed_NP)


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


def fill_in(x_NKD: Array, masking: Masking, mask_D: Array) -> Array:
  """Tokens of kept patches in their places, `mask_D` in all others: [N, P, D].

  A one-hot product: the gradient of a gather is a scatter, slow on CPU.
  """
  place_NPK = jax.nn.one_hot(masking.restore, x_NKD.shape[1])
  x_NPD = jnp.einsum('npk,nkd->npd', place_NPK, x_NKD)
  return x_NPD + masking.removed[..., None] * mask_D[None, None]


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

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and those of the decoder."""
    image = jnp.zeros((1, self.image_size, self.image_size, 3))
    masking = self.mask(key, 1)
    return jax.jit(self._network.init)(key, image, masking)['params']

  def mask(self, key: Array, num: int) -> Masking:
    """A random masking of `num` frames."""
    patches = (self.image_size // self.patch) ** 2
    return random_masking(key, num, patches, self.mask_ratio)

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


@functools.partial(jax.jit, static_argnames='model')
def reconstruct(
  model: Autoencoder, params: PyTree, image_NHWC: Array, key: Array
) -> dict[str, Array]:
  """Pictures of what the model fills in, uint8 [N, H, W, 3] each.

  'image' the input, 'masked' with removed patches grey, 'pasted' with removed
  patches predicted: un-normalised by their own true mean and deviation, as
  the loss is blind to those.
  """
  image = vit.preprocess(image_NHWC)
  masking = model.mask(key, image.shape[0])
  x_NPK = vit.patchify(image, model.patch)
  mean = x_NPK.mean(axis=-1, keepdims=True)
  deviation = jnp.sqrt(x_NPK.var(axis=-1, keepdims=True, ddof=1) + 1e-6)
  filled = model.predict(params, image, masking) * deviation + mean
  removed = masking.removed[..., None]

  def picture(x_NPK):
    x = vit.unpatchify(x_NPK, model.patch)
    return jnp.clip((x + 1) * 127.5, 0, 255).round().astype(jnp.uint8)

  return {
    'image': image_NHWC,
    'masked': picture(x_NPK * (1 - removed)),
    'pasted': picture(x_NPK * (1 - removed) + filled * removed),
  }


# Field here: field of a ViTMAEConfig.
_FIELDS = {
  'image_size': 'image_size',
  'patch': 'patch_size',
  'width': 'hidden_size',
  'depth': 'num_hidden_layers',
  'num_heads': 'num_attention_heads',
  'decoder_width': 'decoder_hidden_size',
  'decoder_depth': 'decoder_num_hidden_layers',
  'decoder_num_heads': 'decoder_num_attention_heads',
  'mask_ratio': 'mask_ratio',
}


def save(model: Autoencoder, params: PyTree, directory) -> None:
  """Writes the model as transformers' ViTMAEForPreTraining does.

  `config.json`, `model.safetensors` and `preprocessor_config.json`; what
  `vision.load` and `restore` read.
  """
  tensors = layout.export(params, vit_mae.AUTOENCODER)
  for name in vit_mae.TOKENS:
    tensors[name] = tensors[name][None, None]
  tensors |= _positions(model)
  size = {'height': model.image_size, 'width': model.image_size}
  half = [0.5] * 3
  preprocessor = dict(
    image_processor_type='ViTImageProcessor',
    do_resize=True,
    size=size,
    resample=2,
    do_rescale=True,
    rescale_factor=1 / 255,
    do_normalize=True,
    image_mean=half,
    image_std=half,
  )
  config = _config(model)
  weights.write(directory, config, tensors, preprocessor_config=preprocessor)


def restore(directory) -> tuple[Autoencoder, PyTree]:
  """The whole autoencoder, as `save` wrote it.

  Raises ValueError for a model this one is not (another activation, learned
  positions), and as `layout.read` for weights that do not fit.
  """
  directory = pathlib.Path(directory)
  path = directory / weights.CONFIG
  config = weights.read_config(directory)
  names = (*_FIELDS.values(), 'intermediate_size')
  *values, hidden = weights.require(config, path, *names)
  fields = dict(zip(_FIELDS, values, strict=True))
  model = Autoencoder(**fields, mlp_ratio=hidden / fields['width'])
  for name, expected in _config(model).items():
    if config.get(name) != expected:
      raise ValueError(
        f'{path}: {name} is {config.get(name)!r}, expected {expected!r}, as '
        'mae.save writes it; `vision.load` reads the encoder of any ViTMAE'
      )
  tensors = weights.open_tensors(directory)
  place = _positions(model)
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  params = layout.read(tensors, shapes, vit_mae.AUTOENCODER, place.__contains__)
  for name, expected in place.items():
    if name not in tensors.shapes or not np.allclose(tensors[name], expected):
      raise ValueError(f'{tensors.path}: {name} is not the fixed positions')
  return model, params


def _config(model):
  """config.json of a ViTMAEForPreTraining that is `model`."""
  return {
    'architectures': ['ViTMAEForPreTraining'],
    'model_type': 'vit_mae',
    'hidden_act': 'gelu_pytorch_tanh',
    'layer_norm_eps': 1e-6,
    'num_channels': 3,
    'qkv_bias': True,
    'norm_pix_loss': True,
    'intermediate_size': round(model.mlp_ratio * model.width),
    'decoder_intermediate_size': round(model.mlp_ratio * model.decoder_width),
    **{theirs: getattr(model, ours) for ours, theirs in _FIELDS.items()},
  }


def _positions(model):
  """The fixed positions as tensors, a row of zeros for the class token."""
  side = model.encoder.side

  def tensor(width):
    return np.pad(positions.fixed(side, width), ((1, 0), (0, 0)))[None]

  return {
    'vit.embeddings.position_embeddings': tensor(model.width),
    'decoder.decoder_pos_embed': tensor(model.decoder_width),
  }
