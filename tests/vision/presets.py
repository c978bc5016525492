"""Published sizes, as fields of `vit.Encoder`; also of `vision.load('random')`.

A downloaded model brings its own config.json.
"""


def _shape(image_size, patch, width, depth, num_heads, **settings):
  fields = dict(
    image_size=image_size,
    patch=patch,
    width=width,
    depth=depth,
    num_heads=num_heads,
    learned_positions=True,
  )
  return fields | settings


_S, _B, _L, _H = (384, 12, 6), (768, 12, 12), (1024, 24, 16), (1280, 32, 16)
_VIT = dict(activation='gelu', epsilon=1e-12, pool='none')
_CLIP = dict(
  activation='quick_gelu',
  epsilon=1e-5,
  patch_bias=False,
  pre_norm=True,
  norm_tokens=False,
)
_DINOV2 = dict(activation='gelu', layer_scale=True)
_SIGLIP = dict(activation='gelu_tanh', cls=False, pool='attention')

ENCODERS = {
  'vit-s16': _shape(224, 16, *_S, **_VIT),
  'vit-b16': _shape(224, 16, *_B, **_VIT),
  'vit-b32': _shape(224, 32, *_B, **_VIT),
  'vit-l16': _shape(224, 16, *_L, **_VIT),
  'clip-b32': _shape(224, 32, *_B, **_CLIP, projection=512),
  'clip-b16': _shape(224, 16, *_B, **_CLIP, projection=512),
  'clip-l14': _shape(224, 14, *_L, **_CLIP, projection=768),
  'clip-l14-336': _shape(336, 14, *_L, **_CLIP, projection=768),
  'dinov2-s14': _shape(518, 14, *_S, **_DINOV2),
  'dinov2-b14': _shape(518, 14, *_B, **_DINOV2),
  'dinov2-l14': _shape(518, 14, *_L, **_DINOV2),
  'dinov2-g14': _shape(
    518,
    14,
    1536,
    40,
    24,
    mlp_ratio=4096 / 1536,
    **_DINOV2 | {'activation': 'swiglu'},
  ),
  'dinov2-reg-s14': _shape(518, 14, *_S, **_DINOV2, registers=4),
  'dinov2-reg-b14': _shape(518, 14, *_B, **_DINOV2, registers=4),
  'siglip-b16': _shape(224, 16, *_B, **_SIGLIP),
  'siglip-l16-256': _shape(256, 16, *_L, **_SIGLIP),
  'siglip-so400m14': _shape(
    384, 14, 1152, 27, 16, mlp_ratio=4304 / 1152, **_SIGLIP
  ),
  'mae-b16': _shape(224, 16, *_B, **_VIT),
  'mae-l16': _shape(224, 16, *_L, **_VIT),
  'mae-h14': _shape(224, 14, *_H, **_VIT),
  'mvp-s16': _shape(224, 16, *_S, **_VIT | {'epsilon': 1e-6}),
  'mvp-b16': _shape(224, 16, *_B, **_VIT | {'epsilon': 1e-6}),
  'mvp-l16-256': _shape(256, 16, *_L, **_VIT | {'epsilon': 1e-6}),
}
