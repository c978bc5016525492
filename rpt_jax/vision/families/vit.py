"""Supervised ViT (Dosovitskiy et al. 2021; AugReg, Steiner et al. 2021)."""

import numpy as np

from rpt_jax.types import PyTree
from rpt_jax.vision import layout, positions, published, vit, weights

DEFAULTS = dict(
  image_size=224,
  patch_size=16,
  hidden_size=768,
  num_hidden_layers=12,
  num_attention_heads=12,
  intermediate_size=3072,
  hidden_act='gelu',
  layer_norm_eps=1e-12,
)
BLOCK = dict(
  norm_attention='layernorm_before',
  qkv=tuple(f'attention.attention.{x}' for x in ('query', 'key', 'value')),
  out='attention.output.dense',
  norm_mlp='layernorm_after',
  up='intermediate.dense',
  down='output.dense',
)


def encoder(config, tensors=None) -> vit.Encoder:
  """The network of a config.json."""
  del tensors
  config = DEFAULTS | config
  return vit.Encoder(
    **published.shape_fields(config),
    image_size=published.image_size(config),
    mlp_ratio=config['intermediate_size'] / config['hidden_size'],
    pool='none',
  )


def table(prefix='', tensors=None) -> layout.Table:
  """Names of its tensors."""
  del tensors
  return {
    'cls': f'{prefix}embeddings.cls_token',
    'positions': f'{prefix}embeddings.position_embeddings',
    'embed': f'{prefix}embeddings.patch_embeddings.projection',
    'norm': f'{prefix}layernorm',
  } | layout.blocks(f'{prefix}encoder.layer.{{}}', **BLOCK)


FAMILY = published.Family(
  encoder,
  table,
  prefixes=('vit.',),
  ignored=r'(vit\.)?pooler\..*|classifier\..*|.*\.mask_token',
)


def save(encoder: vit.Encoder, params: PyTree, directory) -> None:
  """Writes an encoder of ours as transformers' ViTModel does.

  `config.json`, `model.safetensors` and `preprocessor_config.json`; what
  `vision.load` reads. Positions are the fixed ones.
  """
  tensors = layout.export(params, table())
  tensors[table()['cls']] = tensors[table()['cls']][None, None]
  tensors[table()['positions']] = fixed_positions(encoder.side, encoder.width)
  kind = {'architectures': ['ViTModel'], 'model_type': 'vit'}
  config = kind | config_of(encoder)
  preprocessor = preprocessor_of(encoder)
  weights.write(directory, config, tensors, preprocessor_config=preprocessor)


def config_of(encoder: vit.Encoder) -> dict:
  """What config.json says of an encoder of ours, its kind apart."""
  return {
    'hidden_act': 'gelu_pytorch_tanh',
    'layer_norm_eps': encoder.epsilon,
    'num_channels': 3,
    'qkv_bias': True,
    'image_size': encoder.image_size,
    'patch_size': encoder.patch,
    'hidden_size': encoder.width,
    'num_hidden_layers': encoder.depth,
    'num_attention_heads': encoder.num_heads,
    'intermediate_size': round(encoder.mlp_ratio * encoder.width),
  }


def preprocessor_of(encoder: vit.Encoder) -> dict:
  """preprocessor_config.json that does what `vision.vit.preprocess` does."""
  size = encoder.image_size
  return dict(
    image_processor_type='ViTImageProcessor',
    do_resize=True,
    size={'height': size, 'width': size},
    resample=2,
    do_rescale=True,
    rescale_factor=1 / 255,
    do_normalize=True,
    image_mean=[0.5] * 3,
    image_std=[0.5] * 3,
  )


def fixed_positions(side: int, width: int) -> np.ndarray:
  """Positions [1, 1 + side^2, width], a row of zeros for the class token."""
  return np.pad(positions.fixed(side, width), ((1, 0), (0, 0)))[None]
