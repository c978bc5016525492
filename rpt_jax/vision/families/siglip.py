"""SigLIP (Zhai et al. 2023) and SigLIP 2 (Tschannen et al. 2025).

SigLIP 2 is of the first kind at a fixed resolution; its NaFlex checkpoints
('siglip2') are read here on square frames.
"""

from rpt_jax.vision import layout, published, text, vit
from rpt_jax.vision.families.clip import BLOCK
from rpt_jax.vision.preprocessing import Preprocess

DEFAULTS = dict(
  image_size=224,
  patch_size=16,
  hidden_size=768,
  num_hidden_layers=12,
  num_attention_heads=12,
  intermediate_size=3072,
  hidden_act='gelu_pytorch_tanh',
  layer_norm_eps=1e-6,
  num_patches=256,
)
TEXT_DEFAULTS = dict(
  vocab_size=32000,
  max_position_embeddings=64,
  hidden_size=768,
  num_hidden_layers=12,
  num_attention_heads=12,
  intermediate_size=3072,
  hidden_act='gelu_pytorch_tanh',
  layer_norm_eps=1e-6,
)


def encoder(config, tensors) -> vit.Encoder:
  """The image tower of a config.json."""
  config = DEFAULTS | config.get('vision_config', config)
  size = published.image_size(config)
  if config.get('model_type', '').startswith('siglip2'):
    size = round(config['num_patches'] ** 0.5) * config['patch_size']
  pooled = any('head.probe' in name for name in tensors.shapes)
  return vit.Encoder(
    **published.shape_fields(config),
    image_size=size,
    mlp_ratio=config['intermediate_size'] / config['hidden_size'],
    cls=False,
    pool='attention' if pooled else 'none',
  )


def table(prefix, tensors=None) -> layout.Table:
  """Names of the image tower's tensors."""
  del tensors
  head = f'{prefix}head'
  return {
    'positions': f'{prefix}embeddings.position_embedding.weight',
    'embed': f'{prefix}embeddings.patch_embedding',
    'norm': f'{prefix}post_layernorm',
    'pool/query': f'{head}.probe',
    'pool/qkv/kernel': f'{head}.attention.in_proj_weight',
    'pool/qkv/bias': f'{head}.attention.in_proj_bias',
    'pool/out': f'{head}.attention.out_proj',
    'pool/norm': f'{head}.layernorm',
    'pool/up': f'{head}.mlp.fc1',
    'pool/down': f'{head}.mlp.fc2',
  } | layout.blocks(f'{prefix}encoder.layers.{{}}', **BLOCK)


_IGNORED = (
  r'text_model\..*|logit_scale|logit_bias|.*\.position_ids|classifier\..*'
)
FAMILY = published.Family(encoder, table, ('vision_model.',), _IGNORED)
NAFLEX = published.Family(
  encoder,
  table,
  ('vision_model.',),
  _IGNORED,
  resize='bilinear_antialias',
  preprocess=Preprocess((256, 256)),
)


def text_encoder(config, tensors=None) -> text.TextEncoder:
  """The text tower of a config.json."""
  del tensors
  config = TEXT_DEFAULTS | config.get('text_config', config)
  return text.TextEncoder(
    **text.fields(config),
    causal=False,
    projection=config.get('projection_size') or config['hidden_size'],
    projection_bias=True,
  )


def text_table(prefix) -> layout.Table:
  """Names of the text tower's tensors."""
  return {'projection': f'{prefix}head', **text.table(prefix, BLOCK)}


TEXT = text.TextFamily(
  text_encoder,
  text_table,
  prefixes=('text_model.',),
  ignored=r'vision_model\..*|logit_scale|logit_bias|.*\.position_ids',
)
