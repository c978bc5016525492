"""What stages hand on for others to use, and what they begin from.

Pretraining leaves `<run>/pretrained`, evaluation `<domain>/policy`: folders of
`rpt_jax.from_pretrained`, each with a model card. What differs between two
equal runs (command, revision) is said in the card alone.

`config.pretrain.init` (or that of a run) begins pretraining from such a folder:
`path`, and `new`, `skip`, `rename` as in `sharing.Surgery` where the models
differ.
"""

import pathlib

import jax
import jax.numpy as jnp

from rpt_jax import sharing
from rpt_jax.sharing import card, folder
from rpt_jax.stages import domains, pipeline
from rpt_jax.vision import hub

FOLDER = 'pretrained'
_HOW = ('steps', 'batch_size', 'learning_rate', 'weight_decay', 'ema', 'freeze')


def begin(config, settings, state, label: str):
  """The state at step 0, its parameters those of `init` where there is one.

  Prints what was loaded, what is new and what was left out. Raises ValueError
  where that is not as the config says.
  """
  init = _init(config, settings)
  if not init:
    return state
  path = init.pop('path')
  try:
    surgery = sharing.Surgery(**init)
  except TypeError as error:
    raise ValueError(f'config.pretrain.init: {error}') from error
  found = hub.find(path, folder.FILES)
  params, plan = sharing.load(found, state.params, surgery)
  print(f'{label}: from {path}: {plan}', flush=True)
  mean = None if state.ema is None else jax.tree.map(jnp.copy, params)
  return state._replace(params=params, ema=mean)


def keep(
  directory: pathlib.Path, config, name, settings, parts, trained, rows
) -> None:
  """Writes a pretraining run as a folder to share; all processes call it.

  Args:
    directory: of the run.
    parts: {domain: episodes}.
    trained: (model, parameters, scales).
    rows: of results; those with interval null are shown without.
  """
  model, params, scales = trained
  origin = {
    'run': name,
    'settings': settings.to_dict(),
    'data': {domain: int(count) for domain, count in parts.items()},
    'init': _init(config, settings),
    **_how(config.pretrain),
    'seed': config.seed,
  }
  text = card.text(
    model,
    f'{name}: {settings.objective} on {len(model.streams)} streams',
    data=[f'{_described(config, n)}, {x} episodes' for n, x in parts.items()],
    made=_made() | origin,
    results=rows,
  )
  with folder.replacing(directory / FOLDER) as partial:
    folder.write(partial, model, params, scales, origin=origin, card=text)


def policy(config, model, name: str, cell, rows) -> dict:
  """`origin` and `card` of a domain's policy, as `Policy.save` takes them."""
  origin = {
    'domain': name,
    **cell._asdict(),
    'chunk': config.finetune.chunk,
    **_how(config.finetune),
    'seed': config.seed,
  }
  text = card.text(
    model,
    f'A policy for {name}',
    data=[f'{_described(config, name)}, {cell.demos} demonstrations']
    + [
      f'pretrained on {_described(config, n)}'
      for n in domains.pretraining(config)
    ],  # fmt: skip
    made=_made() | origin,
    results=rows,
    acts=True,
  )
  return {'origin': origin, 'card': text}


def _init(config, settings) -> dict:
  found = settings.get('init', config.pretrain.get('init'))
  return found.to_dict() if found and found.path else {}


def _how(settings):
  return {k: settings[k] for k in _HOW if k in settings}


def _made():
  """Of this run, for people: versions in one line."""
  run = pipeline.provenance()
  versions = ', '.join(f'{k} {v}' for k, v in run['versions'].items())
  root = pathlib.Path(__file__).parents[2]  # No reader's business.
  command = run['command'].replace(f'{root}/', '')
  return run | {'command': command, 'versions': versions}


def _described(config, name):
  """A domain in words."""
  if name in config.datasets:
    c = config.datasets[name]
    return f'{name}: recorded ({pathlib.Path(c.path).name}, {c.split})'
  if name in config.envs:
    return f'{name}: simulated'
  c = config.metaworld
  cameras = ', '.join(c.cameras)
  return f'{name}: Meta-World, scripted, {c.size} px frames of {cameras}'
