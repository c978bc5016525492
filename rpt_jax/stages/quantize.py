"""Latents to hidden units, by every recipe of the config.

A recipe is transforms, a codebook and an assignment. It is fitted on the
`pretrain` clips of all domains together and judged on held-out clips, of each
domain apart: which clip, state, velocity and action a unit tells.
From the second iteration on, what is clustered is a layer of the trunk that
the iteration before has trained (HuBERT).
"""

import jax
import numpy as np

from rpt_jax.stages import domains, labels, pipeline, trunk
from rpt_jax.training import checkpoint, distributed, sharding
from rpt_jax.units import codebook, quality, transforms

_SPLITS = ('pretrain', 'heldout')


def run(config, inputs, directory):
  """Write `<recipe>/<split>.npy` units [N, L]; rows: unit quality."""
  mesh = sharding.make_mesh(config.mesh)
  clips = {s: trunk.latents(config, inputs['encode'], s) for s in _SPLITS}
  recipes = config.quantize.recipes
  if config.iteration > 1:
    run_name = trunk.main_run(config, config.iteration - 1)
    layer = config.quantize.trunk_layer
    features = trunk.feature_fn(config, inputs, run_name, layer)
    clips = {split: features(clips[split]) for split in _SPLITS}
    plain = {'transforms': (), 'codebook': 'single', 'temperature': 0.0}
    recipes = {trunk.TRUNK_RECIPE: trunk.ConfigDict(plain)}
  known = {
    name: labels.heldout(config, inputs, name)
    for name in domains.pretraining(config)
  }
  rows = []
  for name, recipe in recipes.items():
    units = _quantize(clips, recipe, config, mesh, directory / name)
    scores = _score(units['heldout'], known, config)
    for env, values in scores.items():
      rows += [
        pipeline.row(
          'quantize',
          metric,
          value,
          recipe=name,
          env=env,
          iteration=config.iteration,
        )
        for metric, value in values.items()
      ]
    shown = ' '.join(
      f'{metric} {value:.3f}'
      for metric, value in scores['mean'].items()
      if metric == 'nmi_clip' or _is_pnmi(metric)
    )
    print(f'  {name}: {shown}', flush=True)
  return rows


def _quantize(clips, recipe, config, mesh, directory):
  """Fit on `pretrain`, assign all splits: {split: units [N, L]}."""
  c = config.quantize
  latent = {s: clips[s].arrays['latent'] for s in _SPLITS}
  clip = {s: clips[s].clip_N for s in _SPLITS}
  fitted, x_ND = transforms.fit_transform(
    recipe.transforms, latent['pretrain'], clip['pretrain']
  )
  fit_key, assign_key = jax.random.split(jax.random.key(config.seed))
  quantizer = codebook.fit(
    recipe.codebook,
    x_ND,
    c.num_clusters,
    fit_key,
    levels=1 if recipe.codebook == 'single' else c.levels,
    restarts=c.restarts,
    max_iterations=c.max_iterations,
    batch_size=c.batch_size,
    max_no_improvement=c.max_no_improvement,
    mesh=mesh,
  )
  # Relative to the mean squared distance of a frame to its centroid.
  distance = float(quantizer.levels[0].inertia) / len(x_ND)
  directory.mkdir(parents=True, exist_ok=True)
  units = {}
  for split in _SPLITS:
    x_ND = transforms.apply(
      recipe.transforms, fitted, latent[split], clip[split]
    )
    n_NL = codebook.assign(
      quantizer, x_ND, assign_key, recipe.temperature * distance
    )
    units[split] = np.asarray(n_NL)
    if distributed.is_first():
      np.save(directory / f'{split}.npy', units[split])
  arrays = codebook.to_arrays(quantizer)
  checkpoint.save_params(directory / 'codebook.safetensors', arrays)
  if fitted:
    checkpoint.save_params(directory / 'transforms.safetensors', fitted)
  return units


def _name(metric):
  """`nmi/clip` of `units.quality` as `nmi_clip` of the results."""
  short = {'dead': 'dead_units', 'mean_segment_length': 'segment_length'}
  return short.get(metric, metric.replace('/', '_'))


def _is_pnmi(metric):
  return metric.startswith('pnmi_') and 'chance' not in metric


def _score(units_NL, known, config):
  """Metric values per domain, and their mean."""
  scores, start = {}, 0
  for env, (clip_N, label) in known.items():
    mine = units_NL[start : start + len(clip_N)]
    start += len(clip_N)
    values = quality.report(
      mine, clip_N, label, vocab=config.quantize.num_clusters
    )
    scores[env] = {_name(k): v for k, v in values.items()}
  metrics = dict.fromkeys(m for s in scores.values() for m in s)
  scores['mean'] = {
    m: float(np.mean([s[m] for s in scores.values() if m in s]))
    for m in metrics
  }
  vocab = config.quantize.num_clusters
  scores['mean']['dead_units'] = sum(
    quality.dead_units(level_N, vocab) for level_N in units_NL.T
  )
  return scores
