"""The pretraining runs of a config: what each reads, predicts and is."""

import dataclasses
import pathlib
from collections.abc import Mapping
from types import ModuleType

from rpt_jax import settings
from rpt_jax.models import heads as heads_lib
from rpt_jax.models import sequence
from rpt_jax.sharing import folder
from rpt_jax.training import checkpoint
from rpt_jax.types import CAMERA, LATENT, TEXT, UNIT, PyTree, StreamSpec
from rpt_jax.units import recipes as recipes_lib

PRETRAINED = 'pretrained'  # Folder of a run, for `rpt_jax.from_pretrained`.
SCALES = 'scales.safetensors'
FUTURES = 'futures.npz'  # Of a run that generates units.
TRUNK_RECIPE = 'trunk'  # Units of the features of the iteration before.
Specs = Mapping[str, StreamSpec]


@dataclasses.dataclass(frozen=True)
class PretrainingRun:
  """A run with all that it shares with the others; `levels` of its units."""

  name: str
  settings: settings.Run
  shared: settings.Pretrain
  vocab: int = 0
  levels: int = 1

  @property
  def objective(self) -> ModuleType:
    """The file of `rpt_jax/objectives` that it learns by."""
    kind = settings.kind(self.settings.objective)
    return settings.module('objectives', kind)

  @property
  def streams(self) -> tuple[str, ...]:
    """What it reads, in the order of M."""
    return self.settings.streams or self.shared.streams

  @property
  def targets(self) -> tuple[str, ...]:
    """What it predicts."""
    return self.settings.targets or self.streams

  @property
  def hears(self) -> bool:
    """Whether it reads instructions."""
    return TEXT in self.streams

  @property
  def context(self) -> int:
    """Steps of a window."""
    return self.settings.context or self.shared.context

  @property
  def reach(self) -> int:
    """Steps of targets beyond the window."""
    reach = getattr(self.objective, 'reach', None)
    return reach(self.settings.objective) if reach else 0

  @property
  def teacher(self) -> float:
    """Decay of the running mean that its objective learns from; 0: none."""
    teacher = getattr(self.objective, 'teacher', None)
    return teacher(self.settings.objective) if teacher else 0.0

  @property
  def rates(self) -> Mapping[str, float]:
    """{path pattern: factor of the learning rate} that its objective asks."""
    rates = getattr(self.objective, 'rates', None)
    return rates(self.settings.objective) if rates else {}

  @property
  def init(self) -> settings.Init:
    """The saved model it begins from."""
    own = self.settings.init
    return own if own.path else self.shared.init

  def spec(self, stream: str, specs: Specs) -> StreamSpec:
    """What the model is told of a stream; `specs` of all but units."""
    if stream == UNIT:
      return StreamSpec(UNIT, 'discrete', vocab=self.vocab, levels=self.levels)
    return specs[stream]

  def model(self, specs: Specs) -> sequence.SequenceModel:
    """The sequence model with the heads of its objective."""
    inputs = tuple(self.spec(s, specs) for s in self.streams)
    targets = tuple(self.spec(s, specs) for s in self.targets)
    heads = self.objective.heads(self.settings.objective, inputs, targets)
    sized = [heads_lib.sized(spec, self.shared.width) for spec in heads]
    return self.body(inputs, sized, self.objective.VISIBILITY)

  def body(self, streams, heads, visibility) -> sequence.SequenceModel:
    """A model on the trunk of this run, whatever it reads and says.

    Trunk and policy agree here on what is read with its motion, so that stems
    fit both.
    """
    c = self.shared
    return sequence.SequenceModel(
      streams=tuple(_moving(s, c.motion) for s in streams),
      heads=tuple(heads),
      trunk=c.trunk,
      width=c.width,
      context=self.context,
      visibility=visibility,
    )


@dataclasses.dataclass(frozen=True)
class Runs:
  """All runs of all iterations.

  The first iteration has those of `config.pretrain.runs`; later ones repeat the
  main run on units of the trunk before them: `next`, then `next_2`.
  """

  shared: settings.Pretrain
  quantize: settings.Quantize | None
  iterations: int = 1

  def of(self, iteration: int) -> dict[str, PretrainingRun]:
    """{name: run} of one iteration."""
    if iteration == 1:
      return {k: self._run(k, run) for k, run in self.shared.runs.items()}
    name = self.main_name(iteration)
    again = self.shared.runs[self.shared.main]
    return {
      name: self._run(name, dataclasses.replace(again, recipe=TRUNK_RECIPE))
    }

  def main_name(self, iteration: int = 1) -> str:
    """What the main run is called."""
    main = self.shared.main
    return main if iteration == 1 else f'{main}_{iteration}'

  def all(self) -> dict[str, PretrainingRun]:
    """{name: run} of all iterations."""
    runs = {}
    for iteration in range(1, self.iterations + 1):
      runs |= self.of(iteration)
    return runs

  @property
  def recipes(self) -> dict[str, settings.Recipe]:
    """All recipes: later iterations make units as the main run's are made."""
    named = dict(self.quantize.recipes) if self.quantize else {}
    main = self.shared.runs[self.shared.main].recipe
    if main in named:
      named[TRUNK_RECIPE] = dataclasses.replace(named[main], transforms=())
    return named

  @property
  def main(self) -> PretrainingRun:
    """The one that gets the whole demo curve."""
    return self.of(1)[self.shared.main]

  def _run(self, name, run):
    recipes = self.recipes
    if run.recipe not in recipes:
      return PretrainingRun(name, run, self.shared)
    sizes = recipes_lib.sizes(recipes[run.recipe], self.quantize)
    return PretrainingRun(name, run, self.shared, *sizes)


def _moving(spec, motion):
  """A stream as a model reads it: 'latent' stands for all cameras, too."""
  named = spec.name in motion
  named |= LATENT in motion and spec.name.startswith(CAMERA)
  moves = named and spec.kind == 'continuous'
  return dataclasses.replace(spec, motion=moves)


def folder_of(inputs: Mapping[str, pathlib.Path], name: str) -> pathlib.Path:
  """The folder of a run, whichever pretraining stage made it.

  Raises ValueError where none did.
  """
  for stage, directory in inputs.items():
    path = directory / name / PRETRAINED
    if stage.startswith('pretrain') and (path / folder.MODEL).exists():
      return path
  raise ValueError(
    f'pretraining run {name!r}: no parameters among {sorted(inputs)}; run the '
    'stage pretrain first'
  )


def params(inputs: Mapping[str, pathlib.Path], name: str) -> PyTree:
  """The parameters of a run; ValueError as `folder_of`."""
  return checkpoint.load_params(folder_of(inputs, name) / folder.MODEL)


def split_heads(params: PyTree) -> tuple[PyTree, PyTree]:
  """(everything but the heads, the heads): what transfers, and what not."""
  heads = {k: v for k, v in params.items() if k.startswith('head_')}
  return {k: v for k, v in params.items() if k not in heads}, heads
