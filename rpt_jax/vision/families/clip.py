"""CLIP (Radford et al. 2021): image and text towers, one embedding space."""

from rpt_jax.vision import layout, published, text, vit

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
