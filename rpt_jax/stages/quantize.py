"""Latents to hidden units, by every recipe of the config.

A recipe is transforms and a maker of units. It is fitted on the `pretrain`
clips of all domains together and judged on held-out clips, of each domain
apart: which clip, state, velocity and action a unit tells.
From the second iteration on, what is clustered is a layer of the trunk that
the iteration before has trained (HuBERT).
"""

import jax
import numpy as np

from rpt_jax import domains, files, results
from rpt_jax.episodes import stack, store, windows
from rpt_jax.learning import features, labels, streams, texts
from rpt_jax.learning.runs import TRUNK_RECIPE, Runs
from rpt_jax.results import Quantize
from rpt_jax.training import checkpoint, distributed, sharding
from rpt_jax.types import LATENT
from rpt_jax.units import quality, recipes

_SPLITS = ('pretrain', 'heldout')


def run(config, inputs, directory, iteration=1):
  """Write `<recipe>/<split>.npy` units [N, L]; rows: unit quality.

  What a maker clusters in the place of latents is `<recipe>/<split>_code.npy`.
  """
  c, mesh = config.quantize, sharding.make_mesh(config.mesh.sizes)
  places = domains.seen(domains.of(config))
  if iteration > 1:
    runs = Runs(config.pretrain, config.quantize, config.iterations)
    before = runs.of(iteration - 1)[runs.main_name(iteration - 1)]
    clips = _features(before, c.trunk_layer, inputs, places)
    chosen = {TRUNK_RECIPE: runs.recipes[TRUNK_RECIPE]}
  else:
    clips = {s: _latents(places, inputs, s) for s in _SPLITS}
    chosen = c.recipes
  needs = {n for r in chosen.values() for n in recipes.maker(r).NEEDS}
  clips = _with_labels(clips, needs - {LATENT}, places, inputs)
  heldout = {d.name: labels.heldout(d, inputs) for d in places}
  rows = []
  for name, recipe in chosen.items():
    units = _quantize(clips, recipe, c, config.seed, mesh, directory / name)
    vocab, _ = recipes.sizes(recipe, c)
    scores = _score(units['heldout'], heldout, vocab)
    tags = {'recipe': name, 'iteration': iteration}
    rows += [
      results.row(Quantize.STAGE, metric, value, env=env, **tags)
      for env, values in scores.items()
      for metric, value in values.items()
    ]
    shown = ' '.join(
      f'{metric} {value:.3f}'
      for metric, value in scores[results.MEAN].items()
      if metric == Quantize.nmi(Quantize.CLIP) or _is_pnmi(metric)
    )
    print(f'  {name}: {shown}', flush=True)
  return rows


def _latents(places, inputs, split):
  """All domains' latents of a split; nothing else is read."""
  parts = [streams.read(d, inputs, split, (LATENT,)) for d in places]
  return store.concatenate(parts)


def _with_labels(clips, fields, places, inputs):
  """The clips with what makers need of them beside latents."""
  labelled = {}
  for split in clips if fields else ():
    parts = [domains.labels(d, inputs, split, tuple(fields)) for d in places]
    arrays = clips[split].arrays | _side_by_side([p.arrays for p in parts])
    labelled[split] = windows.Clips(arrays, clips[split].lengths)
  return labelled or clips


def _side_by_side(parts):
  """Fields of all domains, end to end.

  Where a field has several forms, as actions have that are discrete and of two
  widths, each has columns of its own, NaN in the rows of all others.
  """
  joined = {}
  for field in parts[0]:
    whole = [np.asarray(part[field]) for part in parts]
    rows = [x.reshape(len(x), -1) for x in whole]
    forms = [(x.dtype.kind, x.shape[1]) for x in rows]
    starts, width = {}, 0
    for form in sorted(set(forms), reverse=True):  # Integers stand first.
      starts[form], width = width, width + form[1]
    if len(starts) == 1:
      joined[field] = np.concatenate(whole)
      continue
    blank = [np.full((len(x), width), np.nan, np.float32) for x in rows]
    for x, wide, form in zip(rows, blank, forms, strict=True):
      wide[:, starts[form] : starts[form] + form[1]] = x
    joined[field] = np.concatenate(blank)
  return joined


def _features(before, layer, inputs, places):
  """A layer of the trunk before, in the place of latents."""
  discrete = domains.discrete(places)
  read = features.reader(before, inputs, discrete, layer=layer)
  instructions = texts.load(inputs['pretrain'], before.shared)
  clips = {}
  for split in _SPLITS:
    parts = [
      streams.read(d, inputs, split, before.streams, instructions)
      for d in places
    ]
    lengths = np.concatenate([part.lengths for part in parts])
    count, stored = int(lengths.sum()), None
    for first in range(0, count, stack.BLOCK):
      rows_M = np.arange(first, min(first + stack.BLOCK, count))
      x_MD = read(parts, rows_M)
      if stored is None:
        stored = stack.Scratch(x_MD.shape[1:], x_MD.dtype)
      stored.append(x_MD)
    clips[split] = windows.Clips({LATENT: stored}, lengths)
  return clips


def _quantize(clips, recipe, c, seed, mesh, directory):
  """Fit on `pretrain`, apply to all splits: {split: units [N, L]}."""
  fit_key, apply_key = jax.random.split(jax.random.key(seed))
  fitted = recipes.fit(recipe, clips['pretrain'], fit_key, c, mesh)
  checkpoint.save_params(directory / 'fitted.safetensors', fitted)
  units = {}
  for split in _SPLITS:
    of_split = recipes.apply(recipe, fitted, clips[split], apply_key, mesh)
    units[split] = np.asarray(of_split.unit_NL)
    if distributed.is_first():
      files.write_array(directory / f'{split}.npy', units[split])
      if of_split.code_ND is not None:
        code_ND = np.asarray(of_split.code_ND)
        files.write_array(directory / f'{split}_code.npy', code_ND)
  return units


def _name(metric):
  """`nmi/clip` of `units.quality` as `nmi_clip` of the results."""
  short = {'dead': 'dead_units', 'mean_segment_length': 'segment_length'}
  return short.get(metric, metric.replace('/', '_'))


def _is_pnmi(metric):
  shuffled = 'chance' in metric or 'threshold' in metric
  return metric.startswith('pnmi_') and not shuffled


def _score(units_NL, heldout, vocab):
  """Metric values per domain, and their mean."""
  scores, start = {}, 0
  for env, (clip_N, label) in heldout.items():
    own_NL = units_NL[start : start + len(clip_N)]
    start += len(clip_N)
    has_unit_N = (own_NL >= 0).all(1)  # Not all makers give all frames a unit.
    label = {k: x[has_unit_N] for k, x in label.items()}
    own_NL, clip_N = own_NL[has_unit_N], clip_N[has_unit_N]
    values = quality.report(own_NL, clip_N, label, vocab=vocab)
    scores[env] = {_name(k): v for k, v in values.items()}
  metrics = dict.fromkeys(m for s in scores.values() for m in s)
  scores[results.MEAN] = {
    m: float(np.mean([s[m] for s in scores.values() if m in s]))
    for m in metrics
  }
  has_unit_N = (units_NL >= 0).all(1)
  scores[results.MEAN]['dead_units'] = sum(
    quality.dead_units(level_N, vocab) for level_N in units_NL[has_unit_N].T
  )
  return scores
