"""Sizes of the trunk: RPT's own, the ViT ladder (S, B, L), and one of 1B."""


def _size(width, depth, num_heads, mlp_ratio):
  """As `config.pretrain` has it; the trunk is a transformer."""
  trunk = {'depth': depth, 'num_heads': num_heads, 'mlp_ratio': mlp_ratio}
  return {'width': width, 'trunk': trunk}


# Parameters of the trunk alone; stems and heads depend on the streams.
SIZES = {
  'paper': _size(192, 4, 4, 2.0),  # 1.2M
  'S': _size(384, 12, 6, 4.0),  # 21M
  'B': _size(768, 12, 12, 4.0),  # 85M
  'L': _size(1024, 24, 16, 4.0),  # 302M
  'XL': _size(2048, 20, 16, 4.0),  # 1.0B
}
