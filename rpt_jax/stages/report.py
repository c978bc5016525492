"""One self-contained page from the artifacts of all stages before."""

import json

import jax.numpy as jnp
import numpy as np

from rpt_jax import episodes
from rpt_jax.reporting import frames, page
from rpt_jax.stages import evaluate, pipeline, trunk
from rpt_jax.training import checkpoint
from rpt_jax.units import codebook, transforms

_TIMELINE_STEPS = 32
_GALLERY_UNITS = 12
_GALLERY_FRAMES = 8


def run(config, inputs, directory):
  """Write `report.html`; no rows of its own."""
  artifacts = {
    name: json.loads((path / 'artifact.json').read_text())
    for name, path in inputs.items()
  }
  done = artifacts.values()
  rows = [row for a in done for row in a['rows'] + a['costs']]
  provenance = pipeline.provenance()
  content = page.Content(
    title='Hidden units from action-free clips',
    subtitle='Do they help a policy learn from few demonstrations?',
    rows=rows,
    losses=_losses(config, inputs),
    runs=_runs(config),
    main_run=config.pretrain.main,
    base_recipe='raw' if 'raw' in config.quantize.recipes else None,
    timelines=_timelines(config, inputs),
    galleries=_galleries(config, inputs),
    reconstructions=_reconstructions(inputs),
    rollouts=_rollouts(config, inputs, rows),
    config=config.to_dict(),
    versions=provenance['versions']
    | {k: provenance[k] for k in ('revision', 'python', 'machine')},
    command=provenance['command'],
  )
  size = page.write(directory / 'report.html', content)
  print(f'  report.html: {size / 1e6:.1f} MB', flush=True)
  return []


def _all_runs(config):
  """{run: (stage, settings)} over all iterations."""
  found = {}
  for iteration in range(1, config.iterations + 1):
    stage = 'pretrain' if iteration == 1 else f'pretrain_{iteration}'
    for name, settings in trunk.runs(config, iteration).items():
      found[name] = stage, settings
  return found


def _runs(config):
  runs = {}
  for name, (_, settings) in _all_runs(config).items():
    runs[name] = {
      'label': name.replace('_', ' '),
      'recipe': settings.recipe,
      'objective': settings.objective,
    }
    if 'alpha' in settings:
      runs[name]['alpha'] = settings.alpha
  return runs


def _losses(config, inputs):
  curves = {}
  if 'mae' in inputs:
    curves['mae'] = json.loads((inputs['mae'] / 'curve.json').read_text())
  for name, (stage, _) in _all_runs(config).items():
    path = inputs[stage] / name / 'curve.json'
    curves[f'pretrain/{name}'] = json.loads(path.read_text())
  return curves


def _heldout_frames(inputs, env):
  source = episodes.open(inputs['collect'] / env, split='heldout')
  return source.read_all(('image',))


def _timelines(config, inputs):
  """Each environment's longest held-out clip with the units of all recipes."""
  recipes = list(config.quantize.recipes)
  units = {r: np.load(inputs['quantize'] / r / 'heldout.npy') for r in recipes}
  timelines, start = [], 0
  for env in config.envs:
    clips = _heldout_frames(inputs, env)
    clip = int(clips.lengths.argmax())
    low = clips.offsets[clip]
    steps = slice(low, low + min(clips.lengths[clip], _TIMELINE_STEPS))
    shifted = slice(start + steps.start, start + steps.stop)
    timelines.append(
      frames.Timeline(
        f'{env}, one held-out clip',
        clips.arrays['image'][steps],
        {r: units[r][shifted] for r in recipes},
      )
    )
    start += clips.lengths.sum()
  return timelines


def _galleries(config, inputs):
  """Frames nearest to the commonest units of the main run's recipe."""
  name = config.pretrain.runs[config.pretrain.main].recipe
  recipe = config.quantize.recipes[name]
  folder = inputs['quantize'] / name
  arrays = checkpoint.load_params(folder / 'codebook.safetensors')
  flat = {
    f'{i}/{f}': x for i, level in arrays.items() for f, x in level.items()
  }
  level = codebook.from_arrays(recipe.codebook, flat).levels[0]
  fitted = folder / 'transforms.safetensors'
  fitted = checkpoint.load_params(fitted) if fitted.exists() else {}
  clips = trunk.latents(config, inputs['encode'], 'heldout')
  x_ND = transforms.apply(
    recipe.transforms, fitted, clips.arrays['latent'], clips.clip_N
  )
  image = np.concatenate(
    [_heldout_frames(inputs, env).arrays['image'] for env in config.envs]
  )
  unit_N = np.load(folder / 'heldout.npy')[:, 0]
  units, counts = np.unique(unit_N, return_counts=True)
  common = np.argsort(-counts, kind='stable')[:_GALLERY_UNITS]
  nearest = []
  for unit in units[common]:
    centroid_D = level.c_KD[unit, : x_ND.shape[1]]
    distance_N = jnp.square(x_ND - centroid_D[None]).sum(1)
    nearest.append(np.argsort(distance_N)[:_GALLERY_FRAMES])
  return [
    frames.Gallery(
      name, units[common].tolist(), image[nearest], counts[common].tolist()
    )
  ]


def _reconstructions(inputs):
  if 'mae' not in inputs:
    return None
  with np.load(inputs['mae'] / 'reconstructions.npz') as pictures:
    return frames.Reconstructions(
      pictures['image'], pictures['masked'], pictures['pasted']
    )


def _rollouts(config, inputs, rows):
  scores = {
    (r['tags']['env'], r['tags']['method'], r['tags']['demos']): r['value']
    for r in rows
    if r['name'] == 'score'
    and r['tags']['run'] in ('none', config.pretrain.main)
  }
  with np.load(inputs['evaluate'] / 'films.npz') as films:
    return [
      frames.Rollout(
        films[f'{env}/{cell.name}'],
        env,
        cell.method,
        cell.demos,
        scores[env, cell.method, cell.demos],
      )
      for env in config.envs
      for cell in evaluate.filmed(config)
    ]
