"""DINOv2 (Oquab et al. 2023), with and without registers (Darcet 2023)."""

from rpt_jax.vision import layout, published, vit
from rpt_jax.vision.families.vit import BLOCK

DEFAULTS = dict(
  image_size=224,
  patch_size=14,
  hidden_size=768,
  num_hidden_layers=12,
  num_attention_heads=12,
  mlp_ratio=4,
  hidden_act='gelu',
  layer_norm_eps=1e-6,
  use_swiglu_ffn=False,
  num_register_tokens=0,
)
DEFAULTS_WITH_REGISTERS = DEFAULTS | dict(patch_size=16, num_register_tokens=4)


def encoder(config, tensors=None) -> vit.Encoder:
  """The network of a config.json.

  SwiGLU keeps two thirds of the hidden features, rounded up to eights.
  """
  del tensors
  registers = config.get('model_type') == 'dinov2_with_registers'
  config = (DEFAULTS_WITH_REGISTERS if registers else DEFAULTS) | config
  width = config['hidden_size']
  hidden = int(width * config['mlp_ratio'])
  fields = published.shape_fields(config)
  if config['use_swiglu_ffn']:
    hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    fields['activation'] = 'swiglu'
  return vit.Encoder(
    **fields,
    image_size=published.image_size(config),
    mlp_ratio=hidden / width,
    layer_scale=True,
    registers=config['num_register_tokens'],
  )


def table(prefix, tensors) -> layout.Table:
  """Names of its tensors."""
  swiglu = any('.mlp.weights_in.' in name for name in tensors.shapes)
  block = BLOCK | {
    'norm_attention': 'norm1',
    'norm_mlp': 'norm2',
    'up': 'mlp.weights_in' if swiglu else 'mlp.fc1',
    'down': 'mlp.weights_out' if swiglu else 'mlp.fc2',
    'scale_attention': 'layer_scale1.lambda1',
    'scale_mlp': 'layer_scale2.lambda1',
  }
  return {
    'cls': f'{prefix}embeddings.cls_token',
    'registers': f'{prefix}embeddings.register_tokens',
    'positions': f'{prefix}embeddings.position_embeddings',
    'embed': f'{prefix}embeddings.patch_embeddings.projection',
    'norm': f'{prefix}layernorm',
  } | layout.blocks(f'{prefix}encoder.layer.{{}}', **block)


_IGNORED = r'classifier\..*|.*embeddings\.mask_token'
FAMILY = published.Family(encoder, table, ('dinov2.',), _IGNORED)
WITH_REGISTERS = published.Family(
  encoder,
  table,
  ('dinov2_with_registers.',),
  _IGNORED,
  resize='bicubic_antialias',
)
