"""Supervised ViT (Dosovitskiy et al. 2021; AugReg, Steiner et al. 2021)."""

from rpt_jax.vision import layout, published, vit

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
