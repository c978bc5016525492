"""Held-out frames and their units, for the page."""

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import store, windows
from rpt_jax.learning import streams
from rpt_jax.reporting import frames
from rpt_jax.reporting import pictures as drawing
from rpt_jax.training import checkpoint
from rpt_jax.types import LATENT
from rpt_jax.units import kmeans, recipes

_LOOKED_AT = 20_000  # Frames at most that one is chosen from.
_STRIP = 12  # Frames of a dataset.


class Heldout:
  """Frames of a domain's held-out episodes, decoded when they are shown.

  Or those of another split.
  """

  _SIDE = 96  # Pixels of a picture at most.

  def __init__(self, domain, inputs, split='heldout'):
    self._source = domain.source(inputs['collect'], split)
    self._camera = domain.cameras[0]
    self.episodes = store.kept(inputs['encode'] / domain.name / split)
    self.lengths = self._source.lengths[self.episodes]
    self.starts = np.cumsum(self.lengths) - self.lengths
    sizes = domain.frame_sizes(inputs['collect'])
    # As they are shown: (height, width).
    self.size = drawing.shrunk(*sizes[self._camera], self._SIDE)

  def frames(self, rows_N):
    """The frames at rows of all episodes end to end: [N, h, w, 3]."""
    clip_N = np.searchsorted(self.starts, rows_N, side='right') - 1
    shown = {}
    for clip in np.unique(clip_N):
      places = np.flatnonzero(clip_N == clip)
      episode = self._source.read(self.episodes[clip], (self._camera,))
      picked = episode[self._camera][rows_N[places] - self.starts[clip]]
      small = drawing.resized(picked, self.size)
      shown |= dict(zip(places, small, strict=True))
    return np.stack([shown[i] for i in range(len(rows_N))])


def datasets(domains, inputs) -> list[frames.Timeline]:
  """Some frames of the longest episode of every domain that has a camera."""
  strips = []
  for domain in (d for d in domains if d.cameras):
    split = 'heldout' if 'heldout' in domain.splits else domain.demos
    shown = Heldout(domain, inputs, split)
    longest = int(np.argmax(shown.lengths))
    steps = int(shown.lengths[longest])
    rows_N = np.linspace(0, steps - 1, min(_STRIP, steps)).astype(int)
    rows_N += shown.starts[longest]
    title = f'{domain.name}, {split} {shown.episodes[longest]}'
    strips.append(frames.Timeline(title, shown.frames(rows_N), {}, steps))
  return strips


def futures(domains, name, recipe, path, inputs) -> list[frames.Timeline]:
  """Of every domain a window and what came, and what was drawn in its place.

  A unit that is drawn is shown as the frame nearest to its mean, black where no
  held-out frame has it. `path` is of what `pretraining.futures` has drawn.
  """
  units_NL, of_level = units(domains, name, recipe, inputs)
  unit_N, nearest = units_NL[:, 0], of_level(0)
  drawn = files.read_arrays(path, 'row_BS', 'unit_SBKL')
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
      line = frames.Timeline(
        f'{domain.name}: {title}',
        shown,
        {name: np.concatenate([unit_N[prompt], unit_K])},
      )
      strips.append(line)
  return strips


def _first(rows):
  return rows[0] if len(rows) else -1


def units(domains, name, recipe, inputs):
  """(held-out units [N, L], level -> unit -> rows of frames).

  These are nearest to the mean of the unit's frames first.
  """
  folder = inputs['quantize'] / name
  if (folder / 'heldout_code.npy').exists():
    x_ND = np.load(folder / 'heldout_code.npy')
  else:
    clips = store.concatenate(
      [streams.read(d, inputs, 'heldout', (LATENT,)) for d in domains]
    )
    fitted = checkpoint.load_params(folder / 'fitted.safetensors')
    x_ND = recipes.transformed(recipe, fitted, clips)
  units_NL = np.load(folder / 'heldout.npy')
  looked_at = windows.spread(len(units_NL), _LOOKED_AT)
  x_MD = np.asarray(x_ND[looked_at], np.float32)

  def of_level(level):
    numbers, own_M = np.unique(units_NL[looked_at, level], return_inverse=True)
    means = [x_MD[own_M == k].mean(0) for k in range(len(numbers))]
    rows = kmeans.nearest(x_MD, own_M, np.stack(means))
    rows_of = dict(zip(numbers.tolist(), rows, strict=True))
    nothing = np.zeros(0, int)
    return lambda unit: looked_at[rows_of.get(int(unit), nothing)]

  return units_NL, of_level


def _shown(domains, inputs, rows_N):
  """Held-out frames at rows counted over all domains, brought to one size."""
  start, shown = 0, {}
  for domain in domains:
    heldout = Heldout(domain, inputs)
    stop = start + heldout.lengths.sum()
    places = np.flatnonzero((rows_N >= start) & (rows_N < stop))
    if len(places):
      pictures = heldout.frames(rows_N[places] - start)
      shown |= dict(zip(places, pictures, strict=True))
    start = stop
  return drawing.alike([shown[i] for i in range(len(rows_N))])
