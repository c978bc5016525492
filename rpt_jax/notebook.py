"""What a notebook shows, one call each: clips, units, films, results, a page.

Every function returns what a notebook draws where it is the last line of a
cell. All text is escaped, and nothing is fetched from elsewhere.
"""

import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from rpt_jax import files, results
from rpt_jax.domains.playing import Played
from rpt_jax.episodes.windows import Clips
from rpt_jax.reporting import frames, html, pictures, style, tidy
from rpt_jax.results import Acting
from rpt_jax.types import Array

_SIDE, _FILM_SIDE = 96, 256  # Pixels of a frame at most: stills and films.
_LONGEST = 64  # Steps of a clip that are drawn; longer ones are thinned.
# Light in all notebooks: what stands on white is made for white.
_CSS = f""".rpt_jax {{
  --ink: #1c1c1e; --soft: #5c5f66; --rule: #dcdcdf; --paper: #ffffff;
  --panel: #ffffff; --tint: #f4f5f7; --sans: system-ui, sans-serif;
  background: #ffffff; color: #1c1c1e; padding: 10px; max-width: 1000px;
  font: 14px/1.5 var(--sans);
{style.PARTS}
table {{ min-width: 0; }}
}}"""


class Shown:
  """A piece of HTML, drawn by a notebook; printed, what it is."""

  def __init__(self, body_html: str, what: str):
    self._body, self._what = body_html, what

  def _repr_html_(self) -> str:
    return f'<div class="rpt_jax"><style>{_CSS}</style>{self._body}</div>'

  def __repr__(self) -> str:
    return f'<{self._what}>'


def clips(
  shown: Clips,
  units: Mapping[str, Array] | None = None,
  *,
  camera: str = 'image',
  most: int = 3,
) -> Shown:
  """Filmstrips of the first clips, with strips of their units below.

  Args:
    shown: what `source.read_all` returns; frames are `arrays[camera]`.
    units: {name: [N] or [N, L] integers}, a row for every frame of all clips.
    most: clips that are drawn.

  Raises ValueError for a camera there is not and units of another length.
  """
  image_NHWC, offsets = _frames(shown, camera), shown.offsets
  for name, units_N in (units or {}).items():
    if len(units_N) != len(image_NHWC):
      raise ValueError(
        f'units {name!r}: found {len(units_N)} rows, expected '
        f'{len(image_NHWC)}, one for each frame of all clips'
      )
  body = []
  for i, (low, high) in enumerate(itertools.pairwise(offsets[: most + 1])):
    picked = _thinned(low, high)
    own = {k: np.asarray(x)[picked] for k, x in (units or {}).items()}
    still = _small(image_NHWC[picked], _SIDE)
    body.append(frames.timeline(frames.Timeline(f'clip {i}', still, own)))
  return Shown(f'<div class="scroll">{"".join(body)}</div>', 'clips')


def gallery(
  shown: Clips, rows_KC: Array, *, camera: str = 'image', most: int = 12
) -> Shown:
  """Frames of the units that have most of them, a tile a unit.

  Args:
    shown: clips that `rows_KC` count the frames of.
    rows_KC: of each unit, as `units.kmeans.examples` gives them; -1: none.
    most: units that are drawn.
  """
  image_NHWC, rows_KC = _frames(shown, camera), np.asarray(rows_KC)
  used = np.flatnonzero((rows_KC >= 0).any(1))
  order = np.argsort(-(rows_KC[used] >= 0).sum(1), kind='stable')
  tiles = []
  for unit in used[order][:most]:
    rows_C = rows_KC[unit][rows_KC[unit] >= 0]
    still = _small(image_NHWC[rows_C], _SIDE)
    tiles.append(frames.units_of(frames.Gallery('units', (unit,), [still])))
  return Shown(f'<div class="grid medium">{"".join(tiles)}</div>', 'gallery')


def films(
  shown: Mapping[str, Array], *, steps_per_second: float = 15.0
) -> Shown:
  """Animations side by side, {title: uint8 [T, H, W, 3]}."""
  tiles = []
  for title, frames_THW3 in shown.items():
    animation = pictures.animation(
      _small(frames_THW3, _FILM_SIDE), steps_per_second
    )
    tiles.append(html.tile(animation, str(title), html.escape(str(title))))
  return Shown(f'<div class="grid small">{"".join(tiles)}</div>', 'films')


def rollouts(workdir: str | os.PathLike) -> Shown:
  """The films that the stage `evaluate` of a run has made of its policies.

  Raises ValueError where there are none.
  """
  folder = pathlib.Path(workdir) / Acting.STAGE
  shown = {}
  for path in sorted(folder.glob('*/*.npz')):
    film = Played.load(files.regular(path)).film
    if film is not None:
      shown[f'{path.parent.name}, {path.stem}'] = film
  if not shown:
    raise ValueError(
      f'{folder}: no film, expected those of a run whose policies were played; '
      'recorded datasets have none'
    )
  return films(shown)


def table(rows: Mapping[str, Mapping[str, float | str | None]]) -> Shown:
  """{row: {column: number or text}}; a dash stands for what there is not."""
  columns = list(dict.fromkeys(c for row in rows.values() for c in row))
  head = ['', *(html.escape(str(c)) for c in columns)]
  body = [
    html.cell(str(name)) + ''.join(_cell(row.get(c)) for c in columns)
    for name, row in rows.items()
  ]
  return Shown(f'<div class="scroll">{html.table(head, body)}</div>', 'table')


def scores(
  rows: Sequence[results.Row],
  names: Sequence[str] = (Acting.SCORE,),
  *,
  down: Sequence[str] = ('method', 'demos'),
) -> Shown:
  """Results of these names: a row for the tags `down`, a column a domain.

  `rows` are what `main.run` returns. Of one domain there is no column of all.
  Raises ValueError where none is called so and has these tags.
  """
  picked = [r for name in names for r in results.select(list(rows), name)]
  if len({*results.unique(picked, 'env')} - {results.ALL}) == 1:
    picked = [r for r in picked if results.tag(r, 'env') != results.ALL]
  cells = {}
  for row in picked:
    label = [results.tag(row, key) for key in down]
    if None in label:
      continue
    column = [row['name']] if len(names) > 1 else []
    column += [results.tag(row, 'env') or results.ALL]
    line = cells.setdefault(', '.join(map(str, label)), {})
    line[', '.join(column)] = tidy.with_interval(row)
  if not cells:
    raise ValueError(
      f'rows: found none called {tuple(names)} with the tags {tuple(down)}, '
      f'expected a name of {sorted({row["name"] for row in rows})}'
    )
  return table(cells)


def page(path: str | os.PathLike, *, height: int = 720) -> Shown:
  """A page that was written, as `<workdir>/report.html`, in a frame of its own.

  Its scripts run there alone: they cannot touch the notebook.
  """
  text = files.read_text(path)
  frame = (
    f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(text)}" '
    f'width="100%" height="{int(height)}" style="border:0"></iframe>'
  )
  return Shown(frame, 'page')


def _frames(shown, camera):
  if camera not in shown.arrays:
    raise ValueError(
      f'camera: found {camera!r}, expected one of {sorted(shown.arrays)}; read '
      f'it: source.read_all(({camera!r},))'
    )
  return shown.arrays[camera]


def _small(image_NHWC, side):
  """Frames whose longer side is `side` pixels at most."""
  size = pictures.shrunk(*np.shape(image_NHWC)[1:3], side)
  return pictures.resized(image_NHWC, size)


def _thinned(low, high):
  """Rows of a clip, evenly, at most `_LONGEST`."""
  count = min(high - low, _LONGEST)
  return low + ((np.arange(count) + 0.5) * (high - low) / count).astype(int)


def _cell(value):
  is_text = value is None or isinstance(value, str)
  return html.cell((value or '–') if is_text else tidy.number(float(value)))
