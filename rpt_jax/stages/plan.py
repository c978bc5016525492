"""Which stages a config asks for, in what order, and what each depends on."""

import dataclasses
import importlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from rpt_jax import domains, settings
from rpt_jax.episodes import statistics, store
from rpt_jax.learning import encoders
from rpt_jax.learning.encoders import TRAINED
from rpt_jax.learning.runs import PretrainingRun, Runs
from rpt_jax.learning.streams import LABELLED
from rpt_jax.results import Row, See
from rpt_jax.settings import Experiment
from rpt_jax.vision import hub

PIPELINE = 'pipeline_'  # How the folder of one of several begins.
_PROBED = ('pretrain', 'heldout')  # Splits of what no policy looks at.
_SHARED = ('seed', 'mesh', 'precision', 'domains')


class Stage(NamedTuple):
  """One step of the pipeline.

  `verb` names the module `rpt_jax.stages.<verb>`; `name` is the directory, so
  that a verb can run twice (quantize, quantize_2), and in every one of several
  pipelines (pipeline_1/quantize). `config` has the sections that the stage
  reads, all others are None; `inputs` {what the verb calls it: stage};
  `arguments` go to its function; `content` has hashes of what it reads beside
  its inputs.
  """

  name: str
  verb: str
  config: Experiment
  inputs: Mapping[str, str]
  arguments: Mapping[str, Any] = {}
  content: Mapping[str, Any] = {}

  @property
  def settings(self) -> dict[str, Any]:
    """All that its result depends on, its inputs apart; for JSON."""
    chosen = settings.essence(self.config)
    chosen = {k: v for k, v in chosen.items() if v is not None}
    return chosen | dict(self.arguments) | dict(self.content)

  def run(
    self, inputs: Mapping[str, pathlib.Path], directory: pathlib.Path
  ) -> list[Row]:
    """Does the work of the verb."""
    verb = importlib.import_module(f'rpt_jax.stages.{self.verb}')
    return verb.run(self.config, inputs, directory, **self.arguments)


def plan(config: Experiment) -> tuple[Stage, ...]:
  """The stages a config asks for, in order, each with what it depends on.

  A config asks for a stage by having its section; `see` by an encoder that is
  trained. Of several pipelines each has all stages, and the last two are of
  all together.
  """
  stages, first = [], ''
  for i, seed in enumerate(seeds(config)):
    folder = f'{PIPELINE}{i}/' if config.pipelines > 1 else ''
    first = first or folder
    own = dataclasses.replace(config, seed=seed, pipelines=1)
    stages += [_within(folder, stage) for stage in _pipeline(own)]
  everything = {stage.name: stage.name for stage in stages}
  if config.finetune or config.pipelines > 1:
    stages.append(Stage('compare', 'compare', config, everything))
    everything = everything | {'compare': 'compare'}
  own = {'pipeline': first}
  stages.append(Stage('report', 'report', config, everything, own))
  return tuple(stages)


def seeds(config: Experiment) -> list[int]:
  """Of its pipelines; those of other seeds of a config have none of them."""
  if config.pipelines == 1:
    return [config.seed]
  return [1000 * config.seed + i for i in range(config.pipelines)]


def _within(folder, stage):
  """The stage of a pipeline that has a folder of its own."""
  inputs = {verb: f'{folder}{name}' for verb, name in stage.inputs.items()}
  return stage._replace(name=f'{folder}{stage.name}', inputs=inputs)


def _pipeline(config):
  """The stages of one pipeline."""
  stages = []

  def add(name, sections, inputs, verb='', content=None, **arguments):
    named, only = {each: each for each in inputs}, _only(config, sections)
    stages.append(
      Stage(name, verb or name, only, named, arguments, content or {})
    )

  stored = {'format': store.FORMAT}
  contents = {d.name: d.content for d in domains.of(config)}
  add('collect', (), (), content={'contents': contents})
  model = (See.STAGE,) if config.encoder == TRAINED else ()
  if model:
    add('frames', ('frames',), ('collect',), content=stored)
    add(See.STAGE, ('image_model', 'saving'), ('frames',))
  add('encode', ('encoder', 'encode'), ('collect', *model), content=stored)
  add('label', (), ('collect', 'encode'), content=stored)
  controls = _controls(config)
  stages += controls.values()
  data, trunks = ('label', 'encode'), ()
  if config.pretrain or config.quantize:
    trunks = _add_trunks(config, add)
  probed = tuple(controls[eyes].name for eyes in config.eyes)
  read = ('eyes', 'pretrain', 'quantize', 'iterations')
  add('probe', read, (*data, *probed, *trunks))
  if config.imagine:
    inputs = ('collect', 'frames', *model)
    add('imagine', ('imagine', 'saving'), inputs)
  if config.finetune:
    seen = tuple(controls[eyes].name for eyes in config.finetune.eyes)
    _add_policies(config, add, model, ('collect', *data, *seen, *trunks))
  return stages


def _only(config, sections):
  """The config with these sections, and those that all stages read, alone."""
  kept = {*_SHARED, *sections}
  names = [f.name for f in dataclasses.fields(config) if f.name not in kept]
  return dataclasses.replace(config, **dict.fromkeys(names))


def _controls(config):
  """{eyes: the stage that encodes frames with them}."""
  stages = {}
  for eyes in encoders.beside(config.eyes, config.finetune):
    encode = encoders.encode_of(config.encode, eyes)
    own = dataclasses.replace(config, encoder=eyes, encode=encode)
    own = _only(own, ('encoder', 'encode'))
    name, inputs = encoders.stage(eyes), {'collect': 'collect'}
    acts = config.finetune and eyes in config.finetune.eyes
    only = {} if acts else {'splits': _PROBED}
    stored = {'format': store.FORMAT}
    stages[eyes] = Stage(name, 'encode', own, inputs, only, stored)
  return stages


def _add_trunks(config, add):
  """quantize and pretrain, as often as the config iterates."""
  trunks = ()
  runs = Runs(config.pretrain, config.quantize) if config.pretrain else None
  for i in range(1, config.iterations + 1):
    suffix, inputs = '' if i == 1 else f'_{i}', ('encode',)
    if config.quantize:
      sections = ('quantize', *(('pretrain',) if trunks else ()))
      units = f'quantize{suffix}'
      needed = ('label', 'encode', *trunks)
      add(units, sections, needed, 'quantize', iteration=i)
      inputs += (units,)
    if not runs:
      return trunks
    if any(_felt(run) for run in runs.of(i).values()):
      inputs = ('label', *inputs)
    trunk = f'pretrain{suffix}'
    sections = ('quantize', 'pretrain', 'saving')
    begun = _begun(runs.of(i))
    add(trunk, sections, inputs, 'pretrain', begun, iteration=i)
    trunks += (trunk,)
  return trunks


def _felt(run):
  """Whether a run is given the folder of what was felt, done and said."""
  return bool({*run.streams, *run.targets} & {*LABELLED})


def _add_policies(config, add, model, inputs):
  """finetune, and what judges its policies; or a grid of how they learn."""
  image = ('encoder', 'encode')
  sections = ('pretrain', 'quantize', 'finetune', 'iterations')
  if config.tune:
    add('tune', (*sections, *image, 'evaluate', 'tune'), (*model, *inputs))
    return
  tuned = bool(config.finetune.tuned.modes)
  add(
    'finetune',
    (*sections, *(image if tuned else ())),
    (*(model if tuned else ()), *inputs),
  )
  inputs = (*model, *inputs, 'finetune')
  add('evaluate', (*sections, *image, 'evaluate'), inputs)


def _begun(runs: Mapping[str, PretrainingRun]):
  """Content of the weights that pretraining begins from, if any.

  Raises ValueError for a path that is neither a folder nor an id.
  """
  content = {}
  for path in (run.init.path for run in runs.values()):
    file = pathlib.Path(path) / 'model.safetensors'
    if path and file.exists():
      content[path] = statistics.content_hash(file)
    elif path and not hub.ID.fullmatch(path):
      raise ValueError(
        f'config.pretrain.init.path: {path}: no such folder with '
        f'{file.name}, nor an id of Hugging Face'
      )
  return {'begun': content} if content else {}
