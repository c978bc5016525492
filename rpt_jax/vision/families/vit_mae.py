"""Masked autoencoders (He et al. 2021): theirs, ours, and MVP's encoders.

Two spellings of one network: that of transformers, and that of timm, in which
MAE and MVP (Radosavovic et al. 2022) were released.
"""

from rpt_jax.types import PyTree
from rpt_jax.vision import layout, published, weights
from rpt_jax.vision.families import vit

TIMM_BLOCK = dict(
  norm_attention='norm1',
  qkv='attn.qkv',
  out='attn.proj',
  norm_mlp='norm2',
  up='mlp.fc1',
  down='mlp.fc2',
)


def table(prefix, tensors) -> layout.Table:
  """Names of the encoder's tensors, in the spelling the file has."""
  if 'patch_embed.proj.weight' not in tensors.shapes:
    return vit.table(prefix)
  return {
    'cls': 'cls_token',
    'positions': 'pos_embed',
    'embed': 'patch_embed.proj',
    'norm': 'norm',
  } | layout.blocks('blocks.{}', **TIMM_BLOCK)


FAMILY = published.Family(
  vit.encoder,
  table,
  prefixes=('vit.',),
  ignored=r'decoder\..*|decoder_.*|mask_token|head\..*|fc_norm\..*',
)

# The whole of a ViTMAEForPreTraining but for its positions.
AUTOENCODER = {
  **{f'encoder/{k}': name for k, name in vit.table('vit.').items()},
  'mask': 'decoder.mask_token',
  'decoder_embed': 'decoder.decoder_embed',
  'decoder_norm': 'decoder.decoder_norm',
  'predict': 'decoder.decoder_pred',
  **layout.blocks(
    'decoder.decoder_encoder.layer.{}', 'decoder/blocks', **vit.BLOCK
  ),
}
# Vectors that are [1, 1, D] there.
TOKENS = ('vit.embeddings.cls_token', 'decoder.mask_token')
POSITIONS = (
  'vit.embeddings.position_embeddings',
  'decoder.decoder_pos_embed',
)


def save(model, params: PyTree, directory) -> None:
  """Writes an autoencoder as transformers' ViTMAEForPreTraining does.

  The files of `families.vit.save`. `model` is an `Autoencoder` of
  `vision.pretraining.mae`.
  """
  encoder, width = model.encoder, model.decoder_width
  tensors = layout.export(params, AUTOENCODER)
  for name in TOKENS:
    tensors[name] = tensors[name][None, None]
  for name, dim in (POSITIONS[0], encoder.width), (POSITIONS[1], width):
    tensors[name] = vit.fixed_positions(encoder.side, dim)
  config = vit.config_of(encoder) | {
    'architectures': ['ViTMAEForPreTraining'],
    'model_type': 'vit_mae',
    'norm_pix_loss': True,
    'mask_ratio': model.mask_ratio,
    'decoder_hidden_size': width,
    'decoder_num_hidden_layers': model.decoder_depth,
    'decoder_num_attention_heads': model.decoder_num_heads,
    'decoder_intermediate_size': round(model.mlp_ratio * width),
  }
  preprocessor = vit.preprocessor_of(encoder)
  weights.write(directory, config, tensors, preprocessor_config=preprocessor)
