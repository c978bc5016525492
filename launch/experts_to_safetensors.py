"""Published policies of the Control Suite to what `kind = 'dm_control'` reads.

    python launch/experts_to_safetensors.py cheetah-run.npz experts/
    python launch/experts_to_safetensors.py cheetah-run.pth experts/

Writes experts/cheetah-run.safetensors with `w0 b0 w1 b1 w2 b2` (weights are
[out, in]) and, where observations are standardised, `obs_mean` and `obs_var`;
`config.domains.<name>.experts` is then the folder. An .npz has those names
already. Of a state dict (.pth, which needs torch and is opened with
weights_only, so nothing in it can run) the three layers of the actor are taken
in their order, and the moments of observations by their names.
"""

import argparse
import pathlib
import re

import numpy as np
from safetensors.numpy import save_file

LAYERS = tuple(f'{kind}{i}' for i in range(3) for kind in 'wb')
MOMENTS = ('obs_mean', 'obs_var')
_ACTOR = re.compile(r'actor.*\.(weight|bias)$|\bmu\.(weight|bias)$')
_MOMENT = {
  'obs_mean': re.compile(r'(obs|rms|norm).*mean$'),
  'obs_var': re.compile(r'(obs|rms|norm).*var$'),
}


def convert(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Writes `folder`/<task>.safetensors; ValueError for what is no policy."""
  if source.suffix == '.npz':
    with np.load(source, allow_pickle=False) as arrays:
      tensors = dict(arrays)
  else:
    import pth_to_safetensors  # Beside this file; it needs rpt_jax.

    tensors = of_state_dict(pth_to_safetensors.read(source))
  if missing := [name for name in LAYERS if name not in tensors]:
    raise ValueError(f'{source}: found {sorted(tensors)}, missing {missing}')
  kept = [name for name in (*LAYERS, *MOMENTS) if name in tensors]
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{source.stem}.safetensors'
  save_file({k: np.float32(tensors[k]) for k in kept}, path)
  return path


def of_state_dict(tensors: dict) -> dict:
  """The names of this format; a file without an actor keeps none."""
  actor = [name for name in tensors if _ACTOR.search(name)]
  for kind, letter in (('weight', 'w'), ('bias', 'b')):
    names = [name for name in actor if name.endswith(kind)]
    tensors |= {f'{letter}{i}': tensors[n] for i, n in enumerate(names[:3])}
  for name, pattern in _MOMENT.items():
    matching = [each for each in tensors if pattern.search(each)]
    if matching:
      tensors |= {name: tensors[matching[0]].ravel()}
  return tensors


def main():
  """Command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('source', type=pathlib.Path)
  parser.add_argument('folder', type=pathlib.Path)
  arguments = parser.parse_args()
  try:
    print(convert(arguments.source, arguments.folder))
  except ValueError as error:
    parser.error(str(error))


if __name__ == '__main__':
  main()
