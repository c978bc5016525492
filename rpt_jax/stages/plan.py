"""Which stages a config asks for, in what order, and what each depends on."""

import importlib
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_collections

from rpt_jax.episodes import statistics
from rpt_jax.vision import hub

Rows = list[dict[str, Any]]


class Stage(NamedTuple):
  """One step of the pipeline.

  `verb` names the module `rpt_jax.stages.<verb>`; `name` is the directory, so
  that a verb can run twice (quantize, quantize_2). `settings` is everything of
  the config that the stage reads.
  """

  name: str
  verb: str
  settings: dict[str, Any]
  inputs: tuple[str, ...]

  @property
  def run(self) -> Callable[..., Rows]:
    """The verb's function: (config, inputs, directory) -> rows."""
    return importlib.import_module(f'rpt_jax.stages.{self.verb}').run


def plan(config: ml_collections.ConfigDict) -> tuple[Stage, ...]:
  """The stages a config asks for, in order, each with what it depends on.

  A config asks for a stage by having its section; `mae` also by naming it as
  its encoder, `evaluate` by having environments, `control` tasks of
  Meta-World, `openloop` datasets. Pretraining on streams
  (`config.pretrain.streams`) has no frozen features of frames to probe.
  """
  c = config.to_dict()
  shared = ('seed', 'mesh', 'envs', 'metaworld', 'datasets')
  stages = []

  def add(name, sections, inputs, verb=None, **extra):
    settings = {s: c[s] for s in (*shared, *sections) if s in c} | extra
    stages.append(Stage(name, verb or name, settings, inputs))

  contents = {
    name: statistics.content_hash(settings['path'])
    for name, settings in c['datasets'].items()
  }
  add('collect', ('nuisance', 'collect'), (), contents=contents)
  model = ('mae',) if c['encoder'] == 'mae' else ()
  if model:
    add('frames', ('frames',), ('collect',))
    add('mae', ('mae',), ('frames',))
  add('encode', ('encoder', 'encode'), ('collect', *model))
  trunks = _plan_trunks(c, add) if 'pretrain' in c else ()
  data, again = ('collect', 'encode'), {'iterations': c.get('iterations', 0)}
  if 'streams' not in c.get('pretrain', ()):
    add('probe', ('pretrain',), (*data, *trunks), **again)
  if 'finetune' in c:
    policy, inputs = ('pretrain', 'finetune'), (*data, *trunks)
    if c['finetune'].get('tuned', {}).get('modes'):
      policy, inputs = (*policy, 'encoder', 'encode'), (*model, *inputs)
      model = ()
    add('finetune', policy, inputs, **again)
    inputs = (*inputs, 'finetune')
    if c['envs']:
      sections = (*policy, 'nuisance', 'encoder', 'encode', 'evaluate')
      add('evaluate', sections, (*model, *inputs), **again)
    if 'metaworld' in c:
      sections = (*policy, 'encoder', 'encode', 'evaluate')
      add('control', sections, (*model, *inputs), **again)
    if c['datasets']:
      if 'streams' in c['pretrain']:  # It keeps a whole policy.
        policy, inputs = (*policy, 'encoder', 'encode'), (*model, *inputs)
      add('openloop', policy, inputs, **again)
  everything = tuple(s.name for s in stages)
  stages.append(Stage('report', 'report', c, everything))
  return tuple(stages)


def _plan_trunks(c, add):
  """quantize and pretrain, as often as the config iterates."""
  trunks, on_streams = (), 'streams' in c['pretrain']
  for i in range(1, c['iterations'] + 1):
    suffix = '' if i == 1 else f'_{i}'
    inputs = ('collect', 'encode') if on_streams else ('encode',)
    if 'quantize' in c:
      sections = ('quantize', *(('pretrain',) if trunks else ()))
      needed, units = ('collect', 'encode', *trunks[-1:]), f'quantize{suffix}'
      add(units, sections, needed, 'quantize', iteration=i)
      inputs += (units,)
    trunk = f'pretrain{suffix}'
    begun = _begun(c['pretrain']) | {'iteration': i}
    add(trunk, ('quantize', 'pretrain'), inputs, 'pretrain', **begun)
    trunks += (trunk,)
  return trunks


def _begun(settings):
  """Content of the weights that pretraining begins from, if any.

  Raises ValueError for a path that is neither a folder nor an id.
  """
  inits = [s.get('init') for s in (settings, *settings['runs'].values())]
  found = {}
  for path in (init['path'] for init in inits if init):
    file = pathlib.Path(path) / 'model.safetensors'
    if file.exists():
      found[path] = statistics.content_hash(file)
    elif path and not hub.ID.fullmatch(path):
      raise ValueError(
        f'config.pretrain.init.path: {path}: no such folder with '
        f'{file.name}, nor an id of Hugging Face'
      )
  return {'begun': found} if found else {}
