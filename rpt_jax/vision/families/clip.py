"""CLIP (Radford et al. 2021): image and text towers, one embedding space."""

from rpt_jax.vision import layout, published, vit

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
  both = {k: config[k] for k in ('projection_dim',) if k in config}
  config = DEFAULTS | config.get('vision_config', config) | both
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
