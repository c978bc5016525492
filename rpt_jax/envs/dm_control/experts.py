"""Experts of four tasks, as small networks in NumPy.

Those that come along are the policies published with LAOM (Nikulin et al.
2025, github.com/dunnolab/laom, Apache-2.0: the licence lies beside them): PPO
of three layers with tanh on observations that are standardised, and SAC with
relu and tanh at its end for the humanoid. An observation is its entries end to
end in the order of their names.
"""

import pathlib
from collections.abc import Callable

import numpy as np

from rpt_jax import files

FOLDER = pathlib.Path(__file__).parent / 'weights'
_LAYERS = tuple(f'{kind}{i}' for i in range(3) for kind in 'wb')
_EPSILON = 1e-8  # Of the variance, as CleanRL's.
_CLIP = 10.0  # Of standardised observations, likewise.


def tasks(folder: str = '') -> tuple[str, ...]:
  """Those there is an expert of."""
  paths = (pathlib.Path(folder) if folder else FOLDER).glob('*.safetensors')
  return tuple(sorted(path.stem for path in paths))


def sizes(task: str, folder: str = '') -> tuple[int, int]:
  """(numbers of a state, numbers of an action) of a task; errors as `load`."""
  weights = _weights(task, folder)
  return weights['w0'].shape[1], len(weights['b2'])


def load(task: str, folder: str = '') -> Callable[[np.ndarray], np.ndarray]:
  """The greedy expert of a task: state [P] -> action [A] in [-1, 1], float32.

  Raises ValueError for a task without expert, and for a file that holds none.
  """
  weights = _weights(task, folder)
  scaled = 'obs_mean' in weights

  def act(state_P):
    x = np.asarray(state_P, np.float32)
    if scaled:
      spread_P = np.sqrt(weights['obs_var'] + _EPSILON)
      x = np.clip((x - weights['obs_mean']) / spread_P, -_CLIP, _CLIP)
    for i in range(3):
      x = weights[f'w{i}'] @ x + weights[f'b{i}']
      if i < 2:
        x = np.tanh(x) if scaled else np.maximum(x, 0)
    x = np.clip(x, -1, 1) if scaled else np.tanh(x)
    return x.astype(np.float32)

  return act


def _weights(task, folder):
  from safetensors.numpy import load_file

  path = (pathlib.Path(folder) if folder else FOLDER) / f'{task}.safetensors'
  if task not in tasks(folder):
    raise ValueError(
      f'{path}: found no expert, expected one of '
      f'{", ".join(tasks(folder)) or "some"}; launch/experts_to_safetensors.py '
      'makes them of published policies'
    )
  with files.reading(path):
    weights = load_file(files.regular(path))
  if missing := sorted(set(_LAYERS) - set(weights)):
    raise ValueError(
      f'{path}: found {sorted(weights)}, expected also {", ".join(missing)}'
    )
  _check(path, weights)
  return weights


def _check(path, weights):
  """Raises ValueError unless layers fit each other and all is finite."""
  out = [weights[f'w{i}'].shape[:1] for i in range(3)]
  into = [weights['w0'].shape[1:2], *out[:2]]
  expected = {f'w{i}': (*out[i], *into[i]) for i in range(3)}
  expected |= {f'b{i}': out[i] for i in range(3)}
  if {'obs_mean', 'obs_var'} & set(weights):
    expected |= dict.fromkeys(('obs_mean', 'obs_var'), into[0])
  wrong = [k for k, x in weights.items() if not np.isfinite(x).all()]
  for name, shape in expected.items():
    own = weights[name].shape if name in weights else None
    if own != shape or len(shape) != 1 + (name[0] == 'w'):
      wrong.append(f'{name} of shape {own}')
  if wrong:
    raise ValueError(
      f'{path}: found {", ".join(wrong)}, expected finite numbers of layers '
      'that fit each other'
    )
