"""Sections made of frames: timelines, galleries, samples, rollouts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.reporting import html, pictures, tidy
from rpt_jax.results import FINETUNE, Measure

_SHORT = {FINETUNE: 'fine-tuned'}
_MAX_PIXELS = 12_000_000  # Of all animations; more are thinned in time.


class Timeline(NamedTuple):
  """One clip and its units by recipe."""

  title: str
  frames_THW3: np.ndarray  # uint8
  units: dict[str, np.ndarray]  # recipe -> [T] or [T, L] integers


class Gallery(NamedTuple):
  """The frames nearest to some units of one recipe."""

  recipe: str
  units_K: Sequence[int]
  frames_KNHW3: np.ndarray  # uint8, nearest first
  counts_K: Sequence[int] | None = None  # frames assigned to each unit


class Samples(NamedTuple):
  """What an image model makes of frames: pictures side by side."""

  columns: dict[str, np.ndarray]  # title -> uint8 [N, H, W, 3]
  caption: str


class Rollout(NamedTuple):
  """One episode of a policy."""

  frames_THW3: np.ndarray  # uint8
  env: str
  method: str  # 'expert' | 'random' | 'scratch' | 'probe' | 'finetune' | ...
  demos: int | None
  score: float  # of all the policies' episodes, as tables give it
  measure: Measure
  steps_per_second: float = 15.0
  outcome: str = ''  # 'succeeded' or 'failed', of this episode


UNITS_IN_TIME = (
  'Units along held-out clips. Time runs to the right; every block is a run '
  'of one unit, with its number where there is room, and a unit keeps its '
  'colour from clip to clip within a recipe. One colour for a whole clip is '
  'the collapse onto clip identity (“dog, dog, dog”); blocks that change '
  'with the motion are what is wanted.'
)
FUTURES = (
  'Futures that the model draws. The first half of every strip is the prompt, '
  'frames of a held-out clip; the second is what came, and beneath it what '
  'the model drew instead, unit after unit, each shown as the held-out frame '
  'nearest to the mean of its unit, black where none has it. Blocks below are '
  'units.'
)


def timelines(
  doc: html.Document, clips: Sequence[Timeline], caption: str = UNITS_IN_TIME
) -> str:
  """Filmstrips with one coloured strip of units a recipe below each."""
  if not clips:
    return ''
  body = ''.join(timeline(clip) for clip in clips)
  return doc.figure(f'<div class="scroll">{body}</div>', caption)


def timeline(clip: Timeline) -> str:
  """One filmstrip with its strips of units."""
  strip, _ = pictures.filmstrip(clip.frames_THW3)
  image = html.image(pictures.encode(strip), f'Frames of {clip.title}')
  lines = [f'<span class="name"><b>{html.escape(clip.title)}</b></span>']
  lines.append(image)
  for recipe, units in clip.units.items():
    units_TL = _units(units, clip, recipe)
    for level in range(units_TL.shape[1]):
      name = f'{recipe}, level {level + 1}' if level else recipe
      lines.append(f'<span class="name">{html.escape(name)}</span>')
      lines.append(pictures.unit_strip(units_TL[:, level]))
  return f'<div class="clip">{"".join(lines)}</div>'


def galleries(
  doc: html.Document, recipe_galleries: Sequence[Gallery]
) -> list[str]:
  """For each recipe a tile a unit: the held-out frames nearest to it."""
  parts = []
  for gallery in recipe_galleries:
    if tiles := units_of(gallery):
      parts.append(
        doc.figure(
          tiles,
          f'Frames nearest to units of “{gallery.recipe}”. Held-out frames, '
          'nearest first, with the number of frames the unit was given. A '
          'unit that means something for acting shows one pose or motion over '
          'many backgrounds; a unit that means a clip shows one background.',
          'medium',
        )
      )
  return parts


def units_of(gallery: Gallery) -> str:
  """A tile a unit: its frames, its number, how many frames it has."""
  tiles = []
  for i, unit in enumerate(gallery.units_K):
    frames = np.asarray(gallery.frames_KNHW3[i])
    columns = 4 if len(frames) > 4 else len(frames)
    sheet = pictures.contact_sheet(frames, columns)
    fill, ink = pictures.unit_colour(int(unit))
    under = (
      f'<span class="swatch" style="background:{fill};color:{ink}">'
      f'{int(unit)}</span>'
    )
    if gallery.counts_K is not None:
      under += f'{int(gallery.counts_K[i]):,} frames'.replace(',', '\u202f')
    alt = f'Frames nearest to unit {int(unit)} of {gallery.recipe}'
    tiles.append(html.tile(pictures.encode(sheet), alt, under))
  return ''.join(tiles)


def samples(doc: html.Document, shown: Samples | None) -> str:
  """A tile a sample, its pictures side by side under their titles."""
  if shown is None or not shown.columns:
    return ''
  titles = ''.join(f'<span>{html.escape(t)}</span>' for t in shown.columns)
  tiles = []
  for i, row in enumerate(zip(*shown.columns.values(), strict=True)):
    sheet = pictures.contact_sheet(np.stack(row), len(row), 3)
    image = html.image(pictures.encode(sheet), f'Sample {i + 1}')
    head = f'<div class="columns">{titles}</div>'
    tiles.append(f'<div class="tile">{head}{image}</div>')
  return doc.figure(''.join(tiles), shown.caption, 'medium')


def rollouts(doc: html.Document, episodes: Sequence[Rollout]) -> list[str]:
  """Animated rollouts, a row of tiles an environment, a figure a measure."""
  count = max(1, sum(r.frames_THW3[0].size // 3 for r in episodes))
  most = max(2, min(60, _MAX_PIXELS // count))
  by_measure = {}
  for each in episodes:
    by_measure.setdefault(each.measure.name, []).append(each)
  return [
    doc.figure(
      _animations(alike, most),
      'Rollouts. One episode each at the clip’s own speed, with the '
      f'{alike[0].measure.score} over all seeds and episodes '
      f'({alike[0].measure.scale}) and the number of demonstrations the policy '
      'was trained on.',
      'wide',
    )
    for alike in by_measure.values()
  ]


def _animations(episodes, max_frames) -> str:
  groups = []
  for env in dict.fromkeys(rollout.env for rollout in episodes):
    tiles = [f'<div class="rowhead">{html.escape(env)}</div>']
    for rollout in (r for r in episodes if r.env == env):
      animation = pictures.gif(
        rollout.frames_THW3, rollout.steps_per_second, max_frames
      )
      name = _SHORT.get(rollout.method, rollout.method)
      demos = '' if rollout.demos is None else f'{rollout.demos} demos'
      score = tidy.number(rollout.score)
      under = f'<b>{score}</b> {html.escape(name)}<br>{demos}'
      if rollout.outcome:
        under += f'<br>{html.escape(rollout.outcome)}'
      alt = f'Rollout in {env}, {name} {demos}, score {score}'
      tiles.append(html.tile(animation, alt, under))
    groups.append(f'<div class="rolls">{"".join(tiles)}</div>')
  return ''.join(groups)


def _units(units, clip: Timeline, recipe: str) -> np.ndarray:
  units_TL = np.asarray(units)
  units_TL = units_TL[:, None] if units_TL.ndim == 1 else units_TL
  if units_TL.ndim != 2 or len(units_TL) != len(clip.frames_THW3):
    raise ValueError(
      f'timeline {clip.title!r}: units of {recipe!r} have shape '
      f'{np.shape(units)}, expected [T] or [T, levels] with T = '
      f'{len(clip.frames_THW3)}, one per frame'
    )
  return units_TL
