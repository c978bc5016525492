"""The policies of a config: the model, parameters and scales of every cell."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from rpt_jax import settings, sharing
from rpt_jax.domains import Domain
from rpt_jax.episodes.scales import Scale
from rpt_jax.learning import encoders, streams, texts
from rpt_jax.learning import runs as runs_lib
from rpt_jax.learning.runs import PretrainingRun, Runs
from rpt_jax.learning.streams import FELT
from rpt_jax.models import sequence
from rpt_jax.models.words import Words
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.results import NO_RUN, Cell
from rpt_jax.training import checkpoint
from rpt_jax.types import (
  ACTION,
  CAMERA,
  LATENT,
  TEXT,
  PyTree,
  StreamSpec,
)


def model(
  run: PretrainingRun,
  specs: Mapping[str, StreamSpec],
  action: StreamSpec,
  finetune: settings.Finetune,
) -> sequence.SequenceModel:
  """The model of a policy on the trunk of a run.

  It sees the run's streams that its robot has, but never units, hears what it
  is told where its trunk did, and sees all else that it feels and does, so far
  as some run was pretrained on it. One that sees
  actions looks about as its trunk does; one that does not is causal, so that
  every step of a window teaches: a trunk pretrained in both directions adapts.

  Args:
    specs: of all streams with a scale that its domain has.
    action: what it gives.
    finetune: how.
  """
  seen = [s for s in run.streams if s.startswith(LATENT)]
  heard = [TEXT] if run.hears else []
  inputs = [specs[s] for s in (*heard, *seen, *FELT) if s in specs]
  head = run.settings.head or finetune.head
  heads = behaviour_cloning.heads(head, finetune.chunk, inputs, action)
  acts = any(spec.name == ACTION for spec in inputs)
  visibility = (
    run.objective.VISIBILITY if acts else behaviour_cloning.VISIBILITY
  )
  return run.body(inputs, heads, visibility)


@dataclasses.dataclass(frozen=True)
class Policies:
  """What fine-tuning makes, and what judges it reads."""

  finetune: settings.Finetune
  runs: Runs
  inputs: Mapping[str, Path]
  eyes: str = ''
  places: tuple[Domain, ...] = ()  # Of all that pretraining sees.

  def with_eyes(self, eyes: str, places: Sequence[Domain]) -> 'Policies':
    """Those that see the latents of another encoder; '': these."""
    if not eyes:
      return self
    encoded = {'encode': self.inputs[encoders.stage(eyes)]}
    return dataclasses.replace(
      self, inputs=self.inputs | encoded, eyes=eyes, places=tuple(places)
    )

  @functools.cached_property
  def pretrained_scales(self) -> dict[str, Scale]:
    """Of all streams that pretraining has seen, through these eyes."""
    scales = sharing.load_scales(self.inputs['pretrain'] / runs_lib.SCALES)
    if not self.eyes:
      return scales
    names = [name for name in scales if name.startswith(LATENT)]
    parts = [
      streams.read(d, self.inputs, 'pretrain', names) for d in self.places
    ]
    return scales | streams.measure(parts)

  @functools.cached_property
  def texts(self) -> texts.Texts | None:
    """How instructions are read; None where no run reads any."""
    if not any(run.hears for run in self.runs.all().values()):
      return None
    return texts.load(self.inputs['pretrain'], self.runs.shared)

  def words(self, cell: Cell) -> Words | None:
    """The vocabulary of a cell that reads instructions, else None."""
    return self.texts.words if self.run(cell).hears else None

  def run(self, cell: Cell) -> PretrainingRun:
    """Whose trunk a cell has; scratch has the main run's, untrained."""
    name = self.runs.shared.main if cell.run == NO_RUN else cell.run
    return self.runs.all()[name]

  def scales(self, domain: Domain) -> dict[str, Scale]:
    """Of all that a policy sees, and of actions that are numbers."""
    scales = dict(self.pretrained_scales)
    if not domain.discrete and ACTION not in scales:
      scales[ACTION] = domain.action_scale(self.inputs['collect'])
    return scales

  def model(self, domain: Domain, cell: Cell) -> sequence.SequenceModel:
    """The model of a domain's cell."""
    action = domain.action(self.inputs['collect'])
    discrete = [action] if self._acted and action.kind == 'discrete' else []
    specs = streams.specs(self.pretrained_scales, discrete, self.texts)
    own = (TEXT, *streams.of(domain))
    own = {name: specs[name] for name in own if name in specs}
    return model(self.run(cell), own, action, self.finetune)

  @property
  def _acted(self):
    """Whether pretraining has seen actions."""
    names = [s for run in self.runs.all().values() for s in run.streams]
    return ACTION in names

  @property
  def streams(self) -> tuple[str, ...]:
    """All that some policy sees, but for actions."""
    names = [s for run in self.runs.all().values() for s in run.streams]
    names = [s for s in names if s.startswith(LATENT)]
    felt = [s for s in FELT if s in self.pretrained_scales and s != ACTION]
    heard = [TEXT] if self.texts else []
    return tuple(dict.fromkeys((*heard, *names, *felt)))

  def pretrained(self, cell: Cell, model: sequence.SequenceModel) -> PyTree:
    """What of a model was pretrained; nothing from scratch."""
    if cell.run == NO_RUN:
      return {}
    init = functools.partial(sequence.init, model)
    own = jax.eval_shape(init, jax.random.key(0))
    params, _ = runs_lib.split_heads(runs_lib.params(self.inputs, cell.run))
    return {k: v for k, v in params.items() if k in own}

  def params(self, domain: Domain, cell: Cell) -> PyTree:
    """The parameters of a domain's cell, all seeds: [S, ...]."""
    return checkpoint.load_params(
      path(self.inputs['finetune'], domain.name, cell)
    )

  def cameras(
    self, domain: Domain, model: sequence.SequenceModel
  ) -> tuple[str, ...]:
    """The cameras that a model sees, in the order of its latents."""
    names = [stream.name for stream in model.streams]
    if LATENT in names:
      return domain.cameras
    return tuple(c for c in domain.cameras if f'{CAMERA}{c}' in names)


def path(directory: Path, name: str, cell: Cell) -> Path:
  """Where the parameters of a domain's cell lie."""
  return directory / name / f'{cell.name}.safetensors'


def of_seed(params_S: PyTree, seed: int) -> PyTree:
  """One seed's parameters of all."""
  return jax.tree.map(lambda x: np.asarray(x[seed]), params_S)
