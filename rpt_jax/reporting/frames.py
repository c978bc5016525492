"""Parts made of frames: strips, galleries, samples, rollouts."""

import itertools
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.reporting import behind, html, pictures, tidy
from rpt_jax.results import FINETUNE, Measure

_SHORT = {FINETUNE: 'fine-tuned'}
_MAX_PIXELS = 16_000_000  # Of all films; more are thinned in time.
_MAX_FRAMES = 100


class Timeline(NamedTuple):
  """One clip and its units by recipe."""

  title: str
  frames_THW3: np.ndarray  # uint8
  units: dict[str, np.ndarray]  # recipe -> [T] or [T, L] integers
  of: int = 0  # Steps of the clip that these are some of; 0: they are all.


class Gallery(NamedTuple):
  """The frames nearest to some units of one recipe."""

  recipe: str
  units_K: Sequence[int]
  frames_KN: Sequence[Sequence[np.ndarray]]  # uint8 [H, W, 3], nearest first
  counts_K: Sequence[int] | None = None  # Frames assigned to each unit.


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


FUTURES = (
  'Futures that the model draws. The first half of every strip is the prompt, '
  'frames of a held-out clip; the second is what came, and beneath it what '
  'the model drew instead, unit after unit, each shown as the held-out frame '
  'nearest to the mean of its unit, black where none has it. Blocks below are '
  'units.'
)


def futures(doc: html.Document, clips: Sequence[Timeline]) -> str:
  """What a model drew, as strips."""
  if not clips:
    return ''
  return doc.figure(strips(clips), FUTURES, data_html=units_behind(clips))


def strips(clips: Sequence[Timeline]) -> str:
  """Filmstrips with one coloured strip of units a recipe below each."""
  body = ''.join(map(timeline, clips))
  return f'<div class="scroll">{body}</div>'


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


def units_behind(clips: Sequence[Timeline]) -> str:
  """The units of strips, step after step, as a table."""
  body = []
  for clip in clips:
    for recipe, units in clip.units.items():
      for level_T in _units(units, clip, recipe).T:
        texts = clip.title, recipe, ' '.join(map(str, level_T))
        body.append(''.join(map(_text, texts)))
  return behind.table(['clip', 'recipe', 'units'], body, 3)


def tiles(gallery: Gallery) -> str:
  """The units of a recipe under its name."""
  name = f'Frames nearest to units of “{gallery.recipe}”'
  return (
    f'<h3>{html.escape(name)}</h3>'
    f'<div class="grid medium">{units_of(gallery)}</div>'
  )


def units_of(gallery: Gallery) -> str:
  """A tile a unit: frames nearest to it, its number, how many it has."""
  parts = []
  for i, unit in enumerate(gallery.units_K):
    frames = pictures.alike(gallery.frames_KN[i])
    sheet = pictures.contact_sheet(frames, min(len(frames), 4))
    fill, ink = pictures.unit_colour(int(unit))
    under = (
      f'<span class="swatch" style="background:{fill};color:{ink}">'
      f'{int(unit)}</span>'
    )
    if gallery.counts_K is not None:
      under += _frames(int(gallery.counts_K[i]))
    alt = f'Frames nearest to unit {int(unit)} of {gallery.recipe}'
    parts.append(html.tile(pictures.encode(sheet), alt, under))
  return ''.join(parts)


def _frames(count) -> str:
  return f'{count:,} frame{"s" * (count != 1)}'.replace(',', '\u202f')


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
  data = _differences(shown.columns)
  return doc.figure(''.join(tiles), shown.caption, 'medium', data)


def _differences(columns) -> str:
  """How far the pictures of a sample are apart, as a table."""
  pairs = list(itertools.combinations(columns, 2))
  body = []
  for i in range(len(next(iter(columns.values())))):
    for pair in pairs:
      one, other = (np.float64(columns[title][i]) for title in pair)
      apart = tidy.number(np.abs(one - other).mean(), 1)
      cells = [html.cell(str(i + 1)), *(_text(title) for title in pair)]
      body.append(''.join([*cells, html.cell(apart)]))
  head = ['sample', 'picture', 'other picture', 'mean difference, of 255']
  return behind.table(head, body, 3)


def _text(words) -> str:
  return f'<td class="text">{html.escape(words)}</td>'


DATASETS = (
  'What the data look like. Frames spread evenly over the longest held-out '
  'episode of every dataset, or over a demonstration where none is held out.'
)


def datasets(doc: html.Document, clips: Sequence[Timeline]) -> str:
  """A strip of every dataset of a run."""
  if not clips:
    return ''
  body = [
    (_text(clip.title), html.cell(str(clip.of or len(clip.frames_THW3))))
    for clip in clips
  ]
  data = behind.table(
    ['dataset, episode', 'steps'], [''.join(row) for row in body], 1
  )
  return doc.figure(strips(clips), DATASETS, data_html=data)


def rollouts(doc: html.Document, episodes: Sequence[Rollout]) -> list[str]:
  """Animated rollouts, a row of tiles an environment, a figure a measure."""
  count = max(1, sum(r.frames_THW3[0].size // 3 for r in episodes))
  most = max(2, min(_MAX_FRAMES, _MAX_PIXELS // count))
  by_measure = {}
  for each in episodes:
    by_measure.setdefault(each.measure.name, []).append(each)
  return [
    doc.figure(
      _animations(alike, most),
      'Rollouts. One episode each at the clip’s own speed, side by side and '
      f'from the same initial state, with the {alike[0].measure.score} over '
      f'all seeds and episodes ({alike[0].measure.scale}) and the number of '
      'demonstrations the policy was trained on. On paper all frames, in '
      'reading order.',
      'wide',
      _scores(alike),
    )
    for alike in by_measure.values()
  ]


def _animations(episodes, max_frames) -> str:
  groups = []
  for env in dict.fromkeys(rollout.env for rollout in episodes):
    tiles = [f'<div class="rowhead">{html.escape(env)}</div>']
    for rollout in (r for r in episodes if r.env == env):
      name = _SHORT.get(rollout.method, rollout.method)
      demos = '' if rollout.demos is None else f'{rollout.demos} demos'
      score = tidy.number(rollout.score)
      under = f'<b>{score}</b> {html.escape(name)}<br>{demos}'
      if rollout.outcome:
        under += f'<br>{html.escape(rollout.outcome)}'
      alt = f'Rollout in {env}, {name} {demos}, score {score}'
      tiles.append(_film(rollout, max_frames, alt, under))
    groups.append(f'<div class="rolls">{"".join(tiles)}</div>')
  return ''.join(groups)


def _film(rollout, max_frames, alt, under) -> str:
  """A sheet of frames, which `page.js` plays."""
  frames_THW3 = rollout.frames_THW3
  count = min(len(frames_THW3), max_frames)
  steps = np.linspace(0, len(frames_THW3) - 1, count).round().astype(int)
  sheet, columns = pictures.sprite(frames_THW3[steps])
  about = {
    'count': count,
    'columns': columns,
    'size': [*reversed(frames_THW3.shape[1:3])],
    'seconds': round(len(frames_THW3) / rollout.steps_per_second, 3),
  }
  film = html.escape(json.dumps(about))
  return (
    f'<div class="film" data-film="{film}">{html.tile(sheet, alt, under)}</div>'
  )


def _scores(episodes) -> str:
  """What stands under the films, as a table."""
  body = []
  for rollout in episodes:
    demos = '' if rollout.demos is None else str(rollout.demos)
    texts = rollout.env, rollout.method, demos, rollout.outcome
    body.append(
      ''.join(map(_text, texts)) + html.cell(tidy.number(rollout.score, 3))
    )
  head = ['where', 'policy', 'demonstrations', 'this episode', 'score']
  return behind.table(head, body, 4)


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
