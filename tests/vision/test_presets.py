"""Published sizes: our counts, transformers' counts, the published counts.

Nothing is allocated: shapes here, the meta device there.
"""

import math

import jax
import pytest

from rpt_jax import vision
from rpt_jax.vision import published, vit
from tests.vision import presets

# Name: parameters of the released weights without heads and mask tokens that
# no latent depends on (added to in `WITH_HEAD` where those are usually quoted).
COUNTS = {
  'vit-s16': 21_665_664,
  'vit-b16': 85_798_656,
  'vit-b32': 87_455_232,
  'vit-l16': 303_301_632,
  'clip-b32': 87_849_216,
  'clip-b16': 86_192_640,
  'clip-l14': 303_966_208,
  'clip-l14-336': 304_293_888,
  'dinov2-s14': 22_056_192,
  'dinov2-b14': 86_579_712,
  'dinov2-l14': 304_367_616,
  'dinov2-g14': 1_136_479_232,
  'dinov2-reg-s14': 22_057_728,
  'dinov2-reg-b14': 86_582_784,
  'siglip-b16': 92_884_224,
  'siglip-l16-256': 315_956_224,
  'siglip-so400m14': 428_225_600,
  'mae-b16': 85_798_656,
  'mae-l16': 303_301_632,
  'mae-h14': 630_764_800,
  'mvp-s16': 21_665_664,
  'mvp-b16': 85_798_656,
  'mvp-l16-256': 303_363_072,
}
# With a classifier of 1000 classes, or DINOv2's mask token.
WITH_HEAD = {
  'vit-s16': 22_050_664,
  'vit-b16': 86_567_656,
  'vit-b32': 88_224_232,
  'vit-l16': 304_326_632,
  'dinov2-s14': 22_056_576,
  'dinov2-g14': 1_136_480_768,
}


def test_every_preset_is_counted():
  assert COUNTS.keys() == presets.ENCODERS.keys()


@pytest.mark.parametrize('name', COUNTS)
def test_counts(name):
  encoder = vit.Encoder(**presets.ENCODERS[name])
  shapes = published.shapes(encoder)
  count = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
  assert count == COUNTS[name]
  head = encoder.width if 'dino' in name else 1000 * (encoder.width + 1)
  assert count + head == WITH_HEAD.get(name, count + head)


@pytest.mark.parametrize('name', [k for k in COUNTS if 'mvp' not in k])
def test_transformers_counts_the_same(name):
  torch = pytest.importorskip('torch')
  pytest.importorskip('transformers')
  with torch.device('meta'):
    model = peer(presets.ENCODERS[name], name)
  unused = ('mask_token', 'pooler')
  named = list(model.named_parameters())
  kept = [x for key, x in named if not any(u in key for u in unused)]
  assert sum(x.numel() for x in kept) == COUNTS[name]


def peer(preset, name):
  """The model of transformers with a preset's shape."""
  import transformers as t

  shape = dict(
    hidden_size=preset['width'],
    num_hidden_layers=preset['depth'],
    num_attention_heads=preset['num_heads'],
    image_size=preset['image_size'],
    patch_size=preset['patch'],
  )
  hidden = round(preset.get('mlp_ratio', 4) * preset['width'])
  if name.startswith('dinov2-reg'):
    return t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**shape))
  if name.startswith('dinov2'):
    swiglu = preset['activation'] == 'swiglu'
    config = t.Dinov2Config(**shape, use_swiglu_ffn=swiglu)
    return t.Dinov2Model(config)
  shape['intermediate_size'] = hidden
  if name.startswith('clip'):
    config = t.CLIPVisionConfig(**shape, projection_dim=preset['projection'])
    return t.CLIPVisionModelWithProjection(config)
  if name.startswith('siglip'):
    return t.SiglipVisionModel(t.SiglipVisionConfig(**shape))
  if name.startswith('mae'):
    return t.ViTMAEModel(t.ViTMAEConfig(**shape))
  return t.ViTModel(t.ViTConfig(**shape), add_pooling_layer=False)


def test_a_preset_is_a_control_with_random_weights():
  preset = presets.ENCODERS['siglip-so400m14']
  small = {'image_size': 30, 'depth': 1, 'width': 32, 'num_heads': 4}
  model = vision.load('random', output='pooled', **preset | small)
  assert model.dim == 32 and model.image_size == 30
