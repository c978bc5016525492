"""SigLIP (Zhai et al. 2023) and SigLIP 2 (Tschannen et al. 2025).

SigLIP 2 is of the first kind at a fixed resolution; its NaFlex checkpoints
('siglip2') are read here on square frames.
"""

from rpt_jax.vision import layout, published, vit
from rpt_jax.vision.families.clip import BLOCK

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
)
