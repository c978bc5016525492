"""One self-contained page from the artifacts of all stages before."""

import json

import jax.numpy as jnp
import numpy as np

from rpt_jax.episodes import streams
from rpt_jax.reporting import frames, page
from rpt_jax.stages import domains, evaluate, finetune, pipeline, trunk
from rpt_jax.training import checkpoint
from rpt_jax.units import codebook, transforms
from rpt_jax.vision import preprocessing

_TIMELINE_STEPS = 32
_GALLERY_UNITS = 12
_GALLERY_FRAMES = 8
_HERTZ = 80  # Simulator steps a second in Meta-World.


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
    title=config.title,
    subtitle=config.question,
    rows=rows,
    losses=_losses(config, inputs),
    runs=_runs(config),
    reconstructions=_reconstructions(inputs),
    rollouts=[
      *_rollouts(config, inputs, rows),
      *_played(config, inputs, rows),
    ],
    **_trunks(config, inputs),
    notes=_notes(config, inputs),
    **_scale(inputs),
    config=config.to_dict(),
    versions=provenance['versions']
    | {k: provenance[k] for k in ('revision', 'python', 'machine')},
    command=provenance['command'],
  )
  size = page.write(directory / 'report.html', content)
  print(f'  report.html: {size / 1e6:.1f} MB', flush=True)
  return []


def _trunks(config, inputs):
  """What the page shows of trunks and units, where a config has them."""
  if 'pretrain' not in config:
    return {}
  unseen = config.metaworld.unseen if 'metaworld' in config else ()
  known = {'main_run': config.pretrain.main, 'unseen': tuple(unseen)}
  if 'quantize' not in config:
    return known
  return known | {
    'base_recipe': 'raw' if 'raw' in config.quantize.recipes else None,
    'timelines': _timelines(config, inputs),
    'galleries': _galleries(config, inputs),
  }


def _in_open_loop(inputs):
  return 'openloop' in inputs and 'evaluate' not in inputs


def _scale(inputs):
  """What scores mean where no environment has an expert to compare with."""
  if not _in_open_loop(inputs):
    return {}
  scale = 'always giving the mean action is 0 and a perfect prediction 1'
  return {'scale': scale}


def _notes(config, inputs):
  """Which policies were rolled out, and in which tasks."""
  notes = []
  if 'control' in inputs:
    unseen = ', '.join(config.metaworld.unseen) or 'none'
    notes.append(
      f'Tasks of pretraining: {", ".join(config.metaworld.tasks)}. Never seen '
      f'in pretraining: {unseen}.'
    )
  if _in_open_loop(inputs):
    which = 'Policies of recorded data' if notes else 'Policies'
    notes.append(
      f'{which} were scored in open loop: they see the recorded frames of '
      'held-out episodes and predict the next actions; nothing was executed.'
    )
  return notes


def _all_runs(config):
  """{run: (stage, settings)} over all iterations."""
  found = {}
  if 'pretrain' not in config:
    return found
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


class _Heldout:
  """Frames of a domain's held-out episodes, decoded when they are shown."""

  _SIDE = 96  # Pixels of a picture at most.

  def __init__(self, config, inputs, name):
    self._source = domains.source(config, inputs['collect'], name, 'heldout')
    self._camera = domains.cameras(config, name)[0]
    self.episodes = streams.kept(inputs['encode'] / name / 'heldout')
    self.lengths = self._source.lengths[self.episodes]

  def clip(self, i, steps):
    """The first `steps` frames [T, h, w, 3] of kept episode `i`."""
    found = self._source.read(self.episodes[i], (self._camera,))
    return self._small(found[self._camera][:steps])

  def frames(self, rows_N):
    """The frames at rows of all episodes end to end: [N, h, w, 3]."""
    starts = np.concatenate([[0], np.cumsum(self.lengths)])
    clip_N = np.searchsorted(starts, rows_N, side='right') - 1
    shown = {}
    for clip in np.unique(clip_N):
      mine = np.flatnonzero(clip_N == clip)
      found = self._source.read(self.episodes[clip], (self._camera,))
      picked = found[self._camera][rows_N[mine] - starts[clip]]
      shown |= dict(zip(mine, self._small(picked), strict=True))
    return np.stack([shown[i] for i in range(len(rows_N))])

  def _small(self, image_NHWC):
    height, width = image_NHWC.shape[1:3]
    scale = min(1.0, self._SIDE / max(height, width))
    size = (round(height * scale), round(width * scale))
    return np.asarray(preprocessing.resize(image_NHWC, size, 'bilinear'))


def _timelines(config, inputs):
  """Each domain's longest held-out clip with the units of all recipes."""
  recipes = list(config.quantize.recipes)
  units = {r: np.load(inputs['quantize'] / r / 'heldout.npy') for r in recipes}
  timelines, start = [], 0
  for name in domains.pretraining(config):
    heldout = _Heldout(config, inputs, name)
    clip = int(heldout.lengths.argmax())
    first = start + heldout.lengths[:clip].sum()
    shown = heldout.clip(clip, _TIMELINE_STEPS)
    steps = slice(first, first + len(shown))
    timelines.append(
      frames.Timeline(
        f'{name}, one held-out clip',
        shown,
        {r: units[r][steps] for r in recipes},
      )
    )
    start += heldout.lengths.sum()
  return timelines


def _galleries(config, inputs):
  """Frames nearest to the commonest units of one recipe."""
  name = _shown_recipe(config)
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
  unit_N = np.load(folder / 'heldout.npy')[:, 0]
  units, counts = np.unique(unit_N, return_counts=True)
  common = np.argsort(-counts, kind='stable')[:_GALLERY_UNITS]
  nearest = []
  for unit in units[common]:
    centroid_D = level.c_KD[unit, : x_ND.shape[1]]
    distance_N = jnp.square(x_ND - centroid_D[None]).sum(1)
    nearest.append(np.argsort(distance_N)[:_GALLERY_FRAMES])
  pictures = _pictures(config, inputs, np.concatenate(nearest))
  shape = (len(common), -1, *pictures.shape[1:])
  return [
    frames.Gallery(
      name,
      units[common].tolist(),
      pictures.reshape(shape),
      counts[common].tolist(),
    )
  ]


def _shown_recipe(config):
  """The main run's, or the first one where that run has no units."""
  main = config.pretrain.runs[config.pretrain.main].recipe
  return main or next(iter(config.quantize.recipes))


def _pictures(config, inputs, rows_N):
  """Held-out frames at rows counted over all domains, brought to one size."""
  start, shown = 0, {}
  for name in domains.pretraining(config):
    heldout = _Heldout(config, inputs, name)
    stop = start + heldout.lengths.sum()
    mine = np.flatnonzero((rows_N >= start) & (rows_N < stop))
    if len(mine):
      found = heldout.frames(rows_N[mine] - start)
      shown |= dict(zip(mine, found, strict=True))
    start = stop
  size = shown[0].shape[:2]
  return np.stack(
    [
      np.asarray(preprocessing.resize(shown[i][None], size, 'bilinear'))[0]
      for i in range(len(rows_N))
    ]
  )


def _reconstructions(inputs):
  if 'mae' not in inputs:
    return None
  with np.load(inputs['mae'] / 'reconstructions.npz') as pictures:
    return frames.Reconstructions(
      pictures['image'], pictures['masked'], pictures['pasted']
    )


def _rollouts(config, inputs, rows):
  if 'evaluate' not in inputs:
    return ()
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


def _played(config, inputs, rows):
  """An episode of every task: scratch, probe, fine-tuned, on fewest demos."""
  if 'control' not in inputs:
    return ()
  rates = {
    tuple(r['tags'][k] for k in ('env', 'run', 'method', 'demos')): r['value']
    for r in rows
    if r['name'] == 'success'
  }
  few, main = min(config.finetune.demos), config.pretrain.main
  shown = (('none', 'scratch'), (main, 'probe'), (main, 'finetune'))
  found = []
  for name in domains.tasks(config):
    for cell in (finetune.Cell(*method, few) for method in shown):
      with np.load(inputs['control'] / name / f'{cell.name}.npz') as played:
        film, success = played['film'], played['success'][0, 0]
      found.append(
        frames.Rollout(
          film,
          name,
          cell.method,
          cell.demos,
          rates[name, cell.run, cell.method, cell.demos],
          _HERTZ / config.metaworld.action_repeat,
          'succeeded' if success else 'failed',
        )
      )
  return found
