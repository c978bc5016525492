"""Sizes of the trunk: RPT's own, the ViT ladder (S, B, L), and one of 1B."""

# Parameters of the trunk alone; stems and heads depend on the streams.
SIZES = {
  'paper': {'width': 192, 'depth': 4, 'num_heads': 4, 'mlp_ratio': 2.0},  # 1.2M
  'S': {'width': 384, 'depth': 12, 'num_heads': 6, 'mlp_ratio': 4.0},  # 21M
  'B': {'width': 768, 'depth': 12, 'num_heads': 12, 'mlp_ratio': 4.0},  # 85M
  'L': {'width': 1024, 'depth': 24, 'num_heads': 16, 'mlp_ratio': 4.0},  # 302M
  'XL': {'width': 2048, 'depth': 20, 'num_heads': 16, 'mlp_ratio': 4.0},  # 1.0B
}
