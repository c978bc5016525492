"""What is done to latents before clustering: keep motion, drop the clip.

Frames of all clips lie one after the other in x_ND; clip_N numbers their clips
(frames of one clip adjacent and in order). A recipe is a tuple of steps:

  'clip_mean'      subtract the mean of the whole clip (sees the future: for
                   targets only)
  'running_mean'   its causal form: subtract the mean of the frames so far
  'delta:s'        x_t - x_{t-s}; zero while t < s; 'delta:s^2' twice
  'delta:a-b'      likewise, of a stride from a to b that each frame draws, by
                   its place alone (the random horizon of LAOM)
  'stack:a,b'      the frame, then its deltas a, b, ... side by side:
                   'stack:2,2^2' is MFCC + delta + delta-delta
  'standardise'    zero mean, unit variance of every dimension (fitted)
  'whiten:k'       the first k principal components, unit variance (fitted;
                   without k all of them)

What is fitted is fitted on the clips given to `fit` alone.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rpt_jax.episodes import stack
from rpt_jax.episodes.windows import Clips
from rpt_jax.types import LATENT, Array, PyTree
from rpt_jax.units import moments as moments_lib
from rpt_jax.units.moments import Moments

STEPS = ('clip_mean', 'running_mean', 'delta', 'stack', 'standardise', 'whiten')
EIGENVALUE_FLOOR = 1e-6  # of the largest; directions below are noise


def slabs(clips: Clips) -> Iterator[tuple[Array, Array]]:
  """(latents [B, D], clip numbers [B]) of some whole clips after others.

  All have as many rows, so that they share what is compiled: what is filled up
  is of clip -1.
  """
  offsets, cuts = clips.offsets, [0]
  while cuts[-1] < len(clips.lengths):
    most = offsets[cuts[-1]] + stack.BLOCK
    stop = int(np.searchsorted(offsets, most, side='right')) - 1
    cuts.append(max(stop, cuts[-1] + 1))
  size = int(np.diff(offsets[cuts]).max())
  for first, stop in zip(cuts, cuts[1:], strict=False):
    x_ND = clips.arrays[LATENT][offsets[first] : offsets[stop]]
    clip_N = np.repeat(np.arange(first, stop), clips.lengths[first:stop])
    if extra := size - len(clip_N):
      x_ND = np.pad(x_ND, ((0, extra), (0, 0)))
      clip_N = np.pad(clip_N, (0, extra), constant_values=-1)
    yield x_ND, clip_N


def clip_starts(clip_N: Array) -> Array:
  """Returns the row of the first frame of each frame's clip, start_N."""
  clip_N = jnp.asarray(clip_N)
  row_N = jnp.arange(len(clip_N))
  first_N = jnp.concatenate([jnp.ones(1, bool), clip_N[1:] != clip_N[:-1]])
  return lax.cummax(jnp.where(first_N, row_N, 0))


def clip_mean(x_ND: Array, clip_N: Array) -> Array:
  """Subtracts from every frame the mean of its clip."""
  start_N = clip_starts(clip_N)
  total_ND = jnp.zeros_like(x_ND).at[start_N].add(x_ND)
  count_N = jnp.zeros(len(x_ND)).at[start_N].add(1)
  return x_ND - total_ND[start_N] / count_N[start_N][:, None]


def running_mean(x_ND: Array, clip_N: Array) -> Array:
  """Subtracts the mean of the clip's frames up to and with this one."""
  start_N = clip_starts(clip_N)
  row_N = jnp.arange(len(x_ND))

  def add(left, right):
    total_left, _ = left
    total_right, first_right = right
    total = jnp.where(first_right, total_right, total_left + total_right)
    return total, left[1] | first_right

  first_N1 = (start_N == row_N)[:, None]
  total_ND, _ = lax.associative_scan(add, (x_ND, first_N1))
  return x_ND - total_ND / (row_N - start_N + 1)[:, None]


def delta(x_ND: Array, clip_N: Array, stride: int, order: int = 1) -> Array:
  """Returns x_t - x_{t-stride}, `order` times; zero before the clip began."""
  row_N = jnp.arange(len(x_ND))
  inside_N1 = (row_N - stride >= clip_starts(clip_N))[:, None]
  for _ in range(order):
    before_ND = jnp.roll(x_ND, stride, axis=0)
    x_ND = jnp.where(inside_N1, x_ND - before_ND, 0)
  return x_ND


def drawn_delta(x_ND: Array, clip_N: Array, low: int, high: int) -> Array:
  """Returns x_t - x_{t-s}, s drawn from low to high for every frame.

  By a hash of the frame's place and its clip's number, so that nothing depends
  on which clips are at hand. Where the clip has not that many frames before, s
  is what it has.
  """
  row_N, start_N = jnp.arange(len(x_ND)), clip_starts(clip_N)
  place_N = (row_N - start_N).astype(jnp.uint32)
  mixed_N = place_N * jnp.uint32(2654435761)
  mixed_N += jnp.asarray(clip_N).astype(jnp.uint32) * jnp.uint32(2246822519)
  mixed_N = (mixed_N ^ (mixed_N >> 15)) * jnp.uint32(3266489917)
  stride_N = low + ((mixed_N >> 16) % jnp.uint32(high - low + 1)).astype(
    jnp.int32
  )
  return x_ND - x_ND[jnp.maximum(row_N - stride_N, start_N)]


def standardise_fit(moments: Moments) -> dict[str, Array]:
  """Returns mean and scale of each dimension; constant ones keep scale 1."""
  std_D = jnp.sqrt(jnp.asarray(moments.spread, jnp.float32))
  scale_D = jnp.where(std_D > 1e-8, 1 / std_D, 1.0)
  return {'mean': jnp.asarray(moments.mean, jnp.float32), 'scale': scale_D}


def whiten_fit(moments: Moments, size: int) -> dict[str, Array]:
  """Returns mean and projection [D, size] onto unit-variance components."""
  width = len(moments.mean)
  size = size or width
  if size > width:
    raise ValueError(
      f'whiten:{size}: found {width} dimensions; ask for at most that many'
    )
  mean_D = jnp.asarray(moments.mean, jnp.float32)
  covariance_DD = jnp.asarray(moments.spread, jnp.float32)
  value_D, vector_DD = jnp.linalg.eigh(covariance_DD)
  value_D, vector_DD = value_D[::-1][:size], vector_DD[:, ::-1][:, :size]
  # The sign of an eigenvector is free: make its largest entry positive.
  peak_D = jnp.take_along_axis(
    vector_DD, jnp.abs(vector_DD).argmax(0)[None, :], 0
  )
  vector_DD = vector_DD * jnp.sign(peak_D)
  floor = EIGENVALUE_FLOOR * jnp.maximum(value_D[0], 1e-30)
  scale_D = lax.rsqrt(jnp.maximum(value_D, floor))
  return {'mean': mean_D, 'project': vector_DD * scale_D[None, :]}


def _number(text: str, step: str) -> int:
  if not text.isdigit() or int(text) < 1:
    raise ValueError(f'{step!r}: found {text!r}, expected a positive integer')
  return int(text)


def _strides(text: str, step: str) -> list[tuple[int, int]]:
  """Parses 'a,b^2' into (stride, order) pairs."""
  pairs = []
  for part in text.split(','):
    stride, _, order = part.strip().partition('^')
    pairs.append((_number(stride, step), _number(order or '1', step)))
  return pairs


def _range(text: str, step: str) -> tuple[int, int]:
  """Parses 'a-b' into (a, b)."""
  low, _, high = text.partition('-')
  low, high = _number(low, step), _number(high, step)
  if low > high:
    raise ValueError(f'{step!r}: found {low} before {high}, expected a-b')
  return low, high


def parse(recipe: tuple[str, ...]) -> list[tuple[str, object]]:
  """Returns (name, argument) of each step.

  Raises ValueError for an unknown step, listing the known, and for an argument
  that is missing, malformed or not taken.
  """
  if isinstance(recipe, str):
    raise ValueError(f'recipe: found the text {recipe!r}, expected a list')
  steps = []
  for step in recipe:
    name, _, text = step.partition(':')
    if name not in STEPS:
      raise ValueError(
        f'recipe: unknown transform {name!r}; known: {", ".join(STEPS)}'
      )
    if name == 'delta' and '-' in text:
      name, argument = 'drawn_delta', [_range(text, step)]
    elif name in ('delta', 'stack'):
      argument = _strides(text, step)
    elif name == 'whiten':
      argument = _number(text, step) if text else 0
    elif text:
      raise ValueError(f'{step!r}: {name} takes no argument')
    else:
      argument = None
    if name == 'delta' and len(argument) > 1:
      raise ValueError(f'{step!r}: one stride expected; stack takes several')
    steps.append((name, argument))
  return steps


def lookahead(recipe: tuple[str, ...]) -> float:
  """Returns how many later frames of its clip a frame depends on.

  0 for a causal recipe, infinity where it is the whole clip.
  """
  whole = any(name == 'clip_mean' for name, _ in parse(recipe))
  return math.inf if whole else 0


def _step(name, argument, fitted, x_ND, clip_N) -> Array:
  if name == 'clip_mean':
    return clip_mean(x_ND, clip_N)
  if name == 'running_mean':
    return running_mean(x_ND, clip_N)
  if name == 'delta':
    return delta(x_ND, clip_N, *argument[0])
  if name == 'drawn_delta':
    return drawn_delta(x_ND, clip_N, *argument[0])
  if name == 'stack':
    deltas = [delta(x_ND, clip_N, *pair) for pair in argument]
    return jnp.concatenate([x_ND, *deltas], axis=1)
  centred_ND = x_ND - fitted['mean'][None, :]
  if name == 'standardise':
    return centred_ND * fitted['scale'][None, :]
  return jnp.matmul(
    centred_ND, fitted['project'], precision=lax.Precision.HIGHEST
  )


_jit_step = jax.jit(_step, static_argnames=('name', 'argument'))


def _find(params: PyTree, label: str, width: int) -> dict[str, Array]:
  if label not in params:
    raise ValueError(
      f'params: nothing fitted for step {label!r} (found {sorted(params)}); '
      'these belong to another recipe'
    )
  fitted_width = len(params[label]['mean'])
  if fitted_width != width:
    raise ValueError(
      f'params[{label!r}]: fitted on {fitted_width} dimensions, found {width}'
    )
  return params[label]


def _check(x_ND: Array, clip_N: Array) -> None:
  if x_ND.ndim != 2 or not len(x_ND) or clip_N.shape != (len(x_ND),):
    raise ValueError(
      f'x_ND, clip_N: found shapes {x_ND.shape} and {clip_N.shape}, expected '
      '[N, D] with N > 0 and a clip number for each of the N frames'
    )
  if isinstance(clip_N, jax.core.Tracer):
    return
  clip_N = np.asarray(clip_N)
  runs = 1 + np.count_nonzero(clip_N[1:] != clip_N[:-1])
  if runs != len(np.unique(clip_N)):
    raise ValueError(
      'clip_N: frames of one clip are not adjacent; sort frames by clip'
    )


def fit(
  recipe: tuple[str, ...], slabs: Callable[[], Iterable[tuple[Array, Array]]]
) -> PyTree:
  """Fits a recipe on training clips, a slab of whole clips in memory.

  `slabs` gives what `slabs` of this file does, as often as it is called: once
  for each step that is fitted. The params are a dictionary of dictionaries of
  arrays, empty if no step of the recipe is fitted. Raises ValueError as `parse`
  does, for shapes that disagree and for clips that are not contiguous.
  """
  params, steps = {}, parse(recipe)
  for i, (name, argument) in enumerate(steps):
    if name not in ('standardise', 'whiten'):
      continue
    before = (
      (apply(recipe[:i], params, x_ND, clip_N), clip_N >= 0)
      for x_ND, clip_N in slabs()
    )
    moments = moments_lib.of(before, name)
    fitted = (
      standardise_fit(moments)
      if name == 'standardise'
      else whiten_fit(moments, argument)
    )
    params[f'{i}_{name}'] = fitted
  return params


def fit_transform(
  recipe: tuple[str, ...], x_ND: Array, clip_N: Array
) -> tuple[PyTree, Array]:
  """Fits a recipe on clips in memory; returns its params and their x_NE."""
  params = fit(recipe, lambda: [(x_ND, clip_N)])
  return params, apply(recipe, params, x_ND, clip_N)


def apply(
  recipe: tuple[str, ...], params: PyTree, x_ND: Array, clip_N: Array
) -> Array:
  """Applies a fitted recipe to any whole clips; returns x_NE float32.

  Raises ValueError as `fit` does, and for params of another recipe.
  """
  _check(x_ND, clip_N)
  x_ND = jnp.asarray(x_ND, jnp.float32)
  for i, (name, argument) in enumerate(parse(recipe)):
    fitted = None
    if name in ('standardise', 'whiten'):
      fitted = _find(params, f'{i}_{name}', x_ND.shape[1])
    if isinstance(argument, list):
      argument = tuple(argument)
    x_ND = _jit_step(name, argument, fitted, x_ND, clip_N)
  return x_ND
