"""Sections made of frames: timelines, galleries, reconstructions, rollouts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.reporting import html, pictures, tidy

_SHORT = {'finetune': 'fine-tuned'}
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


class Reconstructions(NamedTuple):
  """Masked-autoencoder samples, uint8 [N, H, W, 3] each."""

  original: np.ndarray
  masked: np.ndarray
  output: np.ndarray


class Rollout(NamedTuple):
  """One episode of a policy."""

  frames_THW3: np.ndarray  # uint8
  env: str
  method: str  # 'expert' | 'random' | 'scratch' | 'probe' | 'finetune' | ...
  demos: int | None
  score: float  # of all the policies' episodes, as tables give it
  steps_per_second: float = 15.0
  outcome: str = ''  # 'succeeded' or 'failed', of this episode


def timelines(doc: html.Document, clips: Sequence[Timeline]) -> str:
  """Filmstrips with one coloured strip of units a recipe below each."""
  if not clips:
    return ''
  body = []
  for clip in clips:
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
    body.append(f'<div class="clip">{"".join(lines)}</div>')
  return doc.figure(
    f'<div class="scroll">{"".join(body)}</div>',
    'Units along held-out clips. Time runs to the right; every block is a run '
    'of one unit, with its number where there is room, and a unit keeps its '
    'colour from clip to clip within a recipe. One colour for a whole clip is '
    'the collapse onto clip identity (“dog, dog, dog”); blocks that change '
    'with the motion are what is wanted.',
  )


def galleries(doc: html.Document, found: Sequence[Gallery]) -> list[str]:
  """For each recipe a tile a unit: the held-out frames nearest to it."""
  parts = []
  for gallery in found:
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
    if tiles:
      parts.append(
        doc.figure(
          ''.join(tiles),
          f'Frames nearest to units of “{gallery.recipe}”. Held-out frames, '
          'nearest first, with the number of frames the unit was given. A '
          'unit that means something for acting shows one pose or motion over '
          'many backgrounds; a unit that means a clip shows one background.',
          'medium',
        )
      )
  return parts


def reconstructions(doc: html.Document, found: Reconstructions | None) -> str:
  """Original, masked, reconstructed: three pictures a sample."""
  if found is None:
    return ''
  head = (
    '<div class="columns"><span>original</span><span>masked</span>'
    '<span>output</span></div>'
  )
  tiles = []
  for i, sample in enumerate(zip(*found, strict=True)):
    sheet = pictures.encode(pictures.reconstruction(*sample))
    image = html.image(sheet, f'Masked-autoencoder sample {i + 1}')
    tiles.append(f'<div class="tile">{head}{image}</div>')
  return doc.figure(
    ''.join(tiles),
    'Masked autoencoding of held-out frames. The encoder sees only the '
    'patches left in the middle picture; the right one is what the decoder '
    'makes of them.',
    'medium',
  )


def rollouts(doc: html.Document, found: Sequence[Rollout]) -> list[str]:
  """Animated rollouts, a row of tiles an environment.

  Those with an outcome are success rates and have a figure of their own.
  """
  count = max(1, sum(r.frames_THW3[0].size // 3 for r in found))
  most = max(2, min(60, _MAX_PIXELS // count))
  normalised = [r for r in found if not r.outcome]
  played = [r for r in found if r.outcome]
  start = 'Rollouts. One episode each at the clip’s own speed, with'
  end = 'and the number of demonstrations the policy was trained on.'
  parts = []
  if played:
    parts.append(
      doc.figure(
        _animations(played, most),
        f'{start} how it ended, the success rate over all seeds and episodes, '
        f'{end}',
        'wide',
      )
    )
  if normalised:
    parts.append(
      doc.figure(
        _animations(normalised, most),
        f'{start} the normalised score over all seeds and episodes (random 0, '
        f'expert 1) {end}',
        'wide',
      )
    )
  return parts


def _animations(found, max_frames) -> str:
  groups = []
  for env in dict.fromkeys(rollout.env for rollout in found):
    tiles = [f'<div class="rowhead">{html.escape(env)}</div>']
    for rollout in (r for r in found if r.env == env):
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
