"""Held-out frames beside their units, for the page."""

import jax.numpy as jnp
import numpy as np

from rpt_jax.episodes import store, windows
from rpt_jax.learning import streams
from rpt_jax.reporting import frames
from rpt_jax.training import checkpoint
from rpt_jax.types import LATENT
from rpt_jax.units import recipes
from rpt_jax.vision import preprocessing

_TIMELINE_STEPS = 32
_LOOKED_AT = 20_000  # Frames at most that one is chosen from.
_GALLERY_UNITS = 12
_GALLERY_FRAMES = 8


class _Heldout:
  """Frames of a domain's held-out episodes, decoded when they are shown."""

  _SIDE = 96  # Pixels of a picture at most.

  def __init__(self, domain, inputs):
    self._source = domain.source(inputs['collect'], 'heldout')
    self._camera = domain.cameras[0]
    self.episodes = store.kept(inputs['encode'] / domain.name / 'heldout')
    self.lengths = self._source.lengths[self.episodes]

  def clip(self, i, steps):
    """The first `steps` frames [T, h, w, 3] of kept episode `i`."""
    episode = self._source.read(self.episodes[i], (self._camera,))
    return self._small(episode[self._camera][:steps])

  def frames(self, rows_N):
    """The frames at rows of all episodes end to end: [N, h, w, 3]."""
    starts = np.concatenate([[0], np.cumsum(self.lengths)])
    clip_N = np.searchsorted(starts, rows_N, side='right') - 1
    shown = {}
    for clip in np.unique(clip_N):
      places = np.flatnonzero(clip_N == clip)
      episode = self._source.read(self.episodes[clip], (self._camera,))
      picked = episode[self._camera][rows_N[places] - starts[clip]]
      shown |= dict(zip(places, self._small(picked), strict=True))
    return np.stack([shown[i] for i in range(len(rows_N))])

  def _small(self, image_NHWC):
    return preprocessing.shrink(image_NHWC, self._SIDE)


def timelines(domains, names, inputs) -> list[frames.Timeline]:
  """Each domain's longest held-out clip with the units of all recipes."""
  units = {r: np.load(inputs['quantize'] / r / 'heldout.npy') for r in names}
  shown_clips, start = [], 0
  for domain in domains:
    heldout = _Heldout(domain, inputs)
    clip = int(heldout.lengths.argmax())
    first = start + heldout.lengths[:clip].sum()
    shown = heldout.clip(clip, _TIMELINE_STEPS)
    steps = slice(first, first + len(shown))
    shown_clips.append(
      frames.Timeline(
        f'{domain.name}, one held-out clip',
        shown,
        {r: units[r][steps] for r in names},
      )
    )
    start += heldout.lengths.sum()
  return shown_clips


def gallery(domains, name, recipe, inputs) -> frames.Gallery:
  """Frames of one recipe's commonest units, the nearest to their mean."""
  unit_N, nearest = _units(domains, name, recipe, inputs)
  units, counts = np.unique(unit_N[unit_N >= 0], return_counts=True)
  common = np.argsort(-counts, kind='stable')[:_GALLERY_UNITS]
  rows = [nearest(unit)[:_GALLERY_FRAMES] for unit in units[common]]
  shown = _shown(domains, inputs, np.concatenate(rows))
  shape = (len(common), -1, *shown.shape[1:])
  return frames.Gallery(
    name, units[common].tolist(), shown.reshape(shape), counts[common].tolist()
  )


def futures(domains, name, recipe, path, inputs) -> list[frames.Timeline]:
  """Of every domain a window and what came, and what was drawn in its place.

  A unit that is drawn is shown as the frame nearest to its mean, black where no
  held-out frame has it. `path` is of what `pretraining.futures` has drawn.
  """
  unit_N, nearest = _units(domains, name, recipe, inputs)
  with np.load(path) as drawn:
    row_BS, unit_SBK = drawn['row_BS'], drawn['unit_SBKL'][..., 0]
  strips, steps = [], unit_SBK.shape[-1]
  for b, domain in enumerate(domains):
    prompt, came = row_BS[b, :-steps], row_BS[b, -steps:]
    lines = {'what came': (came, unit_N[came])}
    for s, unit_K in enumerate(unit_SBK[:, b]):
      lines[f'drawn, {s + 1}'] = [_first(nearest(u)) for u in unit_K], unit_K
    for title, (rows, unit_K) in lines.items():
      rows = np.concatenate([prompt, rows]).astype(int)
      shown = _shown(domains, inputs, np.maximum(rows, 0))
      shown[rows < 0] = 0
      units = {name: np.concatenate([unit_N[prompt], unit_K])}
      strips.append(frames.Timeline(f'{domain.name}: {title}', shown, units))
  return strips


def _first(rows):
  return rows[0] if len(rows) else -1


def _units(domains, name, recipe, inputs):
  """(held-out units [N], unit -> rows of frames, nearest to its mean first)."""
  folder = inputs['quantize'] / name
  if (folder / 'heldout_code.npy').exists():
    x_ND = np.load(folder / 'heldout_code.npy')
  else:
    clips = store.concatenate(
      [streams.read(d, inputs, 'heldout', (LATENT,)) for d in domains]
    )
    fitted = checkpoint.load_params(folder / 'fitted.safetensors')
    x_ND = recipes.transformed(recipe, fitted, clips)
  unit_N = np.load(folder / 'heldout.npy')[:, 0]
  looked_at = windows.spread(len(unit_N), _LOOKED_AT)
  x_MD, unit_M = jnp.asarray(x_ND[looked_at], jnp.float32), unit_N[looked_at]

  def nearest(unit):
    own_ND = x_MD[unit_M == unit]
    if not len(own_ND):
      return np.zeros(0, int)
    far_M = jnp.square(x_MD - own_ND.mean(0)[None]).sum(1)
    return looked_at[np.argsort(far_M)]

  return unit_N, nearest


def _shown(domains, inputs, rows_N):
  """Held-out frames at rows counted over all domains, brought to one size."""
  start, shown = 0, {}
  for domain in domains:
    heldout = _Heldout(domain, inputs)
    stop = start + heldout.lengths.sum()
    places = np.flatnonzero((rows_N >= start) & (rows_N < stop))
    if len(places):
      pictures = heldout.frames(rows_N[places] - start)
      shown |= dict(zip(places, pictures, strict=True))
    start = stop
  size = shown[0].shape[:2]
  return np.stack(
    [
      np.asarray(preprocessing.resize(shown[i][None], size, 'bilinear'))[0]
      for i in range(len(rows_N))
    ]
  )
