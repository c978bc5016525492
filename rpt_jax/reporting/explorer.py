"""The explorer of units: clips one can scrub, units one can ask about.

`explorer.js` draws it from a block of JSON in the page. Where no script runs,
and on paper, strips and galleries of the same frames stand in its place.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.reporting import frames, html, pictures

DATA = 'explorer-data'  # Id of the block of JSON.
_SHEET_BYTES = 8_000_000  # Of all frames; a third more in the page.
_QUALITIES = (70, 40, 15)  # Of WebP.
_STILL_STEPS = 32  # Of a clip on paper.
_STILL_UNITS, _STILL_FRAMES = 12, 6
_CAPTION = (
  'Units of held-out clips. Choose a clip and move through its frames: beneath '
  'lie its units by every recipe, a colour for each, beside it what was done '
  'and felt, at most eight numbers of each. Click on a unit to see where else '
  'it is: the held-out frames nearest to its mean (of those within {ahead} '
  'steps of each other one), '
  'each with the {ahead} frames after it; its mean action with the standard '
  'deviation over its frames; and how many of its frames lie in one clip, '
  'beside what units shuffled over the frames of their dataset have. One '
  'colour for a whole clip is the collapse onto clip identity (“dog, dog, '
  'dog”); blocks that change with the motion are what is wanted. Keys: ← and → '
  'a frame, [ and ] a clip, space plays.'
)


class Clip(NamedTuple):
  """A held-out clip, or those frames of it that units are shown by.

  units: lane -> [T] integers of its first T steps, -1 where there is none;
    empty where the clip cannot be chosen.
  curves: stream -> [T, A] numbers.
  """

  domain: str
  number: int  # Its place among the episodes of the split.
  steps_S: Sequence[int]  # Those that have frames, ascending.
  frames_SHW3: np.ndarray  # uint8
  units: Mapping[str, np.ndarray]
  curves: Mapping[str, np.ndarray]
  text: str = ''


class Action(NamedTuple):
  """What is done in a domain while a unit is seen, over `count` frames.

  Of discrete actions the share of each, without a spread.
  """

  domain: str
  count: int
  mean_A: np.ndarray
  spread_A: np.ndarray | None  # Standard deviation.
  names: Sequence[str] = ()  # Of its numbers, where the dataset has some.


class Unit(NamedTuple):
  """What one unit is used for."""

  number: int
  count: int  # Held-out frames.
  nearest: Sequence[tuple[int, int]]  # (clip, step), the nearest first.
  actions: Sequence[Action]
  share: float  # Of its frames that lie in one clip.
  by_chance: float  # The same of units shuffled within their dataset.


class Explorer(NamedTuple):
  """Clips; by lane (a recipe, or a level of one) its units, common first."""

  clips: Sequence[Clip]
  lanes: Mapping[str, Sequence[Unit]]
  ahead: int = 8  # Frames shown after a frame of a unit.


def section(
  doc: html.Document,
  shown: Explorer | None,
  main: str | None = None,
  verdicts: Mapping[str, str] = {},
) -> list[str]:
  """The explorer, what stands in its place, and its data.

  `main` is the lane of the gallery on paper, `verdicts` {recipe: sentence}.
  """
  if shown is None or not shown.clips:
    return []
  clips = _timelines(shown)
  still = [
    frames.strips(clips),
    frames.units_behind(clips),
    *(frames.tiles(gallery) for gallery in _galleries(shown, main)),
  ]
  doc.script('units.js')
  doc.script('explorer.js')
  body = (
    '<div id="explorer-live" class="live"></div>'
    f'<div class="still">{"".join(still)}</div>'
  )
  return [
    doc.figure(body, _CAPTION.format(ahead=shown.ahead)),
    html.data(DATA, json_of(shown, verdicts)),
  ]


def json_of(shown: Explorer, verdicts: Mapping[str, str]) -> dict:
  """What `explorer.js` reads."""
  numbers = {u.number for units in shown.lanes.values() for u in units}
  return {
    'ahead': shown.ahead,
    'colours': {str(n): pictures.unit_colour(n) for n in sorted(numbers)},
    'clips': [
      _clip(clip, *sheet)
      for clip, sheet in zip(shown.clips, _sheets(shown.clips), strict=True)
    ],
    'lanes': [
      {
        'name': name,
        'verdict': verdicts.get(name.partition(', level ')[0], ''),
        'units': [_unit(unit) for unit in units],
      }
      for name, units in shown.lanes.items()
    ],
  }


def _sheets(clips):
  """A sheet of every clip, coarser ones where they would be too much."""
  for quality in _QUALITIES:
    sheets = [pictures.sprite(c.frames_SHW3, quality=quality) for c in clips]
    if sum(len(sheet.data) for sheet, _ in sheets) <= _SHEET_BYTES:
      break
  return sheets


def _clip(clip, sheet, columns):
  return {
    'name': f'{clip.domain}, clip {clip.number}',
    'text': clip.text,
    'sheet': sheet.uri,
    'columns': columns,
    'size': [*reversed(np.shape(clip.frames_SHW3)[1:3])],
    'steps': [int(s) for s in clip.steps_S],
    'units': {k: np.asarray(x).tolist() for k, x in clip.units.items()},
    'curves': {k: _rounded(x) for k, x in clip.curves.items()},
  }


def _unit(unit):
  return {
    'unit': unit.number,
    'count': unit.count,
    'nearest': [[int(x) for x in place] for place in unit.nearest],
    'share': _round(unit.share),
    'chance': _round(unit.by_chance),
    'actions': [
      {
        'domain': action.domain,
        'count': action.count,
        'mean': _rounded(action.mean_A),
        'spread': (
          None if action.spread_A is None else _rounded(action.spread_A)
        ),
        'names': [*action.names],
      }
      for action in unit.actions
    ],
  }


def _rounded(x):
  """Nested lists of four digits each; what is not finite is null."""
  x = np.asarray(x)
  return [_rounded(row) for row in x] if x.ndim > 1 else [_round(v) for v in x]


def _round(value):
  return float(f'{value:.4g}') if np.isfinite(value) else None


def _timelines(shown):
  """The first clip of every domain that can be chosen."""
  first = {}
  for clip in shown.clips:
    if clip.units:
      first.setdefault(clip.domain, clip)
  clips = []
  for clip in first.values():
    count = min(_STILL_STEPS, *map(len, clip.units.values()))
    clips.append(
      frames.Timeline(
        f'{clip.domain}, clip {clip.number}',
        np.asarray(clip.frames_SHW3)[:count],
        {k: np.asarray(x)[:count] for k, x in clip.units.items()},
      )
    )
  return clips


def _galleries(shown, main):
  """The commonest units of one lane, nearest frames first."""
  lane = main if main in shown.lanes else next(iter(shown.lanes), None)
  units = [u for u in shown.lanes.get(lane, ()) if u.nearest][:_STILL_UNITS]
  if not units:
    return []
  return [
    frames.Gallery(
      lane,
      [unit.number for unit in units],
      [
        [_frame(shown, *place) for place in unit.nearest[:_STILL_FRAMES]]
        for unit in units
      ],
      [unit.count for unit in units],
    )
  ]


def _frame(shown, clip, step):
  clip = shown.clips[clip]
  return clip.frames_SHW3[list(clip.steps_S).index(step)]
