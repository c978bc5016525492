"""Released .pth of MAE or MVP to a folder that `rpt_jax.vision.load` reads.

    python launch/pth_to_safetensors.py mae_pretrain_vit_base.pth mae-base/

Needs torch, which rpt_jax does not. The file is opened with weights_only, so
nothing in it can run. Writes model.safetensors (names as they are),
preprocessor_config.json and config.json; all but the number of heads is read
off the shapes.
"""

import argparse
import math
import pathlib

from rpt_jax.vision import weights

# Width: heads, of the released sizes S, B, L, H.
HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16}
IMAGENET = {'image_mean': [0.485, 0.456, 0.406],
            'image_std': [0.229, 0.224, 0.225]}  # fmt: skip


def convert(
  source: pathlib.Path, folder: pathlib.Path, heads: int | None = None
) -> dict:
  """Writes the model of `source` into `folder`; returns its config.json.

  Raises ValueError for a file that is no such encoder, and for a width whose
  number of heads must be given.
  """
  tensors = read(source)
  config = config_of(source, tensors, heads)
  size = config['image_size']
  preprocessor = dict(
    image_processor_type='ViTImageProcessor',
    size={'height': size, 'width': size},
    resample=3,
    **IMAGENET,
  )
  weights.write(folder, config, tensors, preprocessor_config=preprocessor)
  return config


def read(source: pathlib.Path) -> dict:
  """{name: f32 array} of a state dict, alone or under 'model'."""
  import torch

  try:
    found = torch.load(source, map_location='cpu', weights_only=True)
  except Exception as error:
    raise ValueError(
      f'{source}: torch does not read it as weights alone: {error}'
    ) from error
  for key in ('model', 'state_dict'):
    if isinstance(found, dict) and isinstance(found.get(key), dict):
      found = found[key]
  if not isinstance(found, dict):
    raise ValueError(f'{source}: a {type(found).__name__}, expected weights')
  return {
    name: value.float().numpy()
    for name, value in found.items()
    if isinstance(value, torch.Tensor)
  }


def config_of(source, tensors: dict, heads: int | None) -> dict:
  """config.json of an encoder in timm's names."""
  needed = ('cls_token', 'pos_embed', 'patch_embed.proj.weight')
  missing = [name for name in needed if name not in tensors]
  if missing:
    raise ValueError(f'{source}: no {missing}, so no encoder of MAE or MVP')
  width, _, patch, _ = tensors['patch_embed.proj.weight'].shape
  heads = heads or HEADS.get(width)
  if heads is None:
    raise ValueError(f'{source}: width {width} is new here, give --heads')
  depth = sum(name.endswith('.attn.qkv.weight') and name.startswith('blocks.')
              for name in tensors)  # fmt: skip
  side = math.isqrt(tensors['pos_embed'].shape[1] - 1)
  return dict(
    model_type='vit_mae',
    image_size=side * patch,
    patch_size=patch,
    hidden_size=width,
    num_hidden_layers=depth,
    num_attention_heads=heads,
    intermediate_size=len(tensors['blocks.0.mlp.fc1.weight']),
    hidden_act='gelu',
    layer_norm_eps=1e-6,
    qkv_bias=True,
  )


def main():
  """Command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('source', type=pathlib.Path)
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--heads', type=int, help='attention heads')
  arguments = parser.parse_args()
  try:
    config = convert(arguments.source, arguments.folder, arguments.heads)
  except ValueError as error:
    parser.error(str(error))
  print(f'{arguments.folder}: {config}')


if __name__ == '__main__':
  main()
