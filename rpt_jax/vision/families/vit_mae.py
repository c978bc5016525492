"""Masked autoencoders (He et al. 2021): theirs, ours, and MVP's encoders.

Two spellings of one network: that of transformers, and that of timm, in which
MAE and MVP (Radosavovic et al. 2022) were released.
"""

from rpt_jax.vision import layout, published
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
