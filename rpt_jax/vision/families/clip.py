"""CLIP (Radford et al. 2021): image and text towers, one embedding space."""

import numpy as np

from rpt_jax.types import PyTree
from rpt_jax.vision import (
  byte_tokens,
  layout,
  published,
  text,
  vit,
  weights,
)
from rpt_jax.vision.families import vit as vit_family

DEFAULTS = dict(
  image_size=224,
  patch_size=32,
  hidden_size=768,
  num_hidden_layers=12,
  num_attention_heads=12,
  intermediate_size=3072,
  hidden_act='quick_gelu',
  layer_norm_eps=1e-5,
  projection_dim=512,
)
TEXT_DEFAULTS = dict(
  vocab_size=49408,
  max_position_embeddings=77,
  hidden_size=512,
  num_hidden_layers=12,
  num_attention_heads=8,
  intermediate_size=2048,
  hidden_act='quick_gelu',
  layer_norm_eps=1e-5,
  projection_dim=512,
  eos_token_id=49407,
)
BLOCK = dict(
  norm_attention='layer_norm1',
  qkv=tuple(f'self_attn.{x}_proj' for x in 'qkv'),
  out='self_attn.out_proj',
  norm_mlp='layer_norm2',
  up='mlp.fc1',
  down='mlp.fc2',
)


def encoder(config, tensors) -> vit.Encoder:
  """The image tower of a config.json, projected where the file can."""
  config = _part(DEFAULTS, config, 'vision_config')
  projected = 'visual_projection.weight' in tensors.shapes
  return vit.Encoder(
    **published.shape_fields(config),
    image_size=published.image_size(config),
    mlp_ratio=config['intermediate_size'] / config['hidden_size'],
    patch_bias=False,
    pre_norm=True,
    norm_tokens=False,
    projection=config['projection_dim'] if projected else 0,
  )


def table(prefix, tensors=None) -> layout.Table:
  """Names of the image tower's tensors."""
  del tensors
  return {
    'cls': f'{prefix}embeddings.class_embedding',
    'positions': f'{prefix}embeddings.position_embedding.weight',
    'embed': f'{prefix}embeddings.patch_embedding',
    'pre_norm': f'{prefix}pre_layrnorm',
    'norm': f'{prefix}post_layernorm',
    'projection': 'visual_projection',
  } | layout.blocks(f'{prefix}encoder.layers.{{}}', **BLOCK)


FAMILY = published.Family(
  encoder,
  table,
  prefixes=('vision_model.',),
  ignored=r'text_model\..*|text_projection\..*|logit_scale|.*\.position_ids'
  r'|classifier\..*',
)


def text_encoder(config, tensors) -> text.TextEncoder:
  """The text tower of a config.json, projected where the file can.

  An end token of 2 is how old files say that it is the largest id.
  """
  config = _part(TEXT_DEFAULTS, config, 'text_config')
  projected = 'text_projection.weight' in tensors.shapes
  end = config['eos_token_id']
  return text.TextEncoder(
    **text.fields(config),
    end_token=None if end == 2 else end,
    projection=config['projection_dim'] if projected else 0,
  )


def text_table(prefix) -> layout.Table:
  """Names of the text tower's tensors."""
  return {'projection': 'text_projection', **text.table(prefix, BLOCK)}


def _part(defaults, config, name):
  """One tower's config; the width of the common space is that of the whole."""
  common = {k: config[k] for k in ('projection_dim',) if k in config}
  return defaults | config.get(name, config) | common


TEXT = text.TextFamily(
  text_encoder,
  text_table,
  prefixes=('text_model.',),
  ignored=r'vision_model\..*|visual_projection\..*|logit_scale'
  r'|.*\.position_ids',
)


def save(
  image: vit.Encoder, said: text.TextEncoder, params: PyTree, directory
) -> None:
  """Writes two towers of ours as transformers' CLIPModel does.

  `params` has 'image', 'text' and 'scale', the log of what multiplies cosines.
  Captions are bytes (`byte_tokens`), which tokenizer.json says as well.
  """
  tensors = layout.export(params['image'], table('vision_model.'))
  tensors |= layout.export(params['text'], text_table('text_model.'))
  tensors['logit_scale'] = np.asarray(params['scale'], np.float32)
  config = {
    'architectures': ['CLIPModel'],
    'model_type': 'clip',
    'projection_dim': image.projection,
    'logit_scale_init_value': float(tensors['logit_scale']),
    'vision_config': _sizes(image)
    | {'image_size': image.image_size, 'patch_size': image.patch},
    'text_config': _sizes(said)
    | {
      'vocab_size': said.vocab,
      'max_position_embeddings': said.length,
      'bos_token_id': byte_tokens.START,
      'eos_token_id': byte_tokens.END,
      'pad_token_id': byte_tokens.END,
    },
  }
  weights.write(
    directory,
    config,
    tensors,
    preprocessor_config=vit_family.preprocessor_of(image),
    tokenizer=byte_tokens.tokenizer(),
    tokenizer_config=byte_tokens.settings(said.length),
  )


def _sizes(tower):
  """What config.json says of either tower."""
  return {
    'hidden_act': 'quick_gelu',
    'layer_norm_eps': tower.epsilon,
    'hidden_size': tower.width,
    'num_hidden_layers': tower.depth,
    'num_attention_heads': tower.num_heads,
    'intermediate_size': round(tower.mlp_ratio * tower.width),
    'projection_dim': tower.projection,
  }
