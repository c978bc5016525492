"""Sections of what learns: pretraining and policies."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rpt_jax.settings.declare import key, ordered, refuse
from rpt_jax.settings.deploying import Deploy


@dataclasses.dataclass(frozen=True)
class Init:
  """The saved model a training begins from, as `sharing.Surgery` has it."""

  path: str = key('', 'folder or id of Hugging Face; empty: begin untrained')
  new: tuple[str, ...] = key((), 'patterns of what starts untrained')
  skip: tuple[str, ...] = key((), 'patterns of what is left out')
  rename: tuple[tuple[str, str], ...] = key((), '(pattern, replacement)')


@dataclasses.dataclass(frozen=True)
class Run:
  """One pretraining: an objective, on streams, for targets."""

  objective: Any = key(None, 'how it learns', plugins='objectives')
  recipe: str = key('', 'of its units; empty: none')
  streams: tuple[str, ...] = key(
    (), 'what it reads; empty: config.pretrain.streams'
  )
  targets: tuple[str, ...] = key((), 'what it predicts; empty: what it reads')
  context: int = key(
    0, 'steps of a window; 0: config.pretrain.context', low=0, high=10_000
  )
  labelled: float = key(
    1.0, 'share of clips with proprioception and actions', low=0, high=1
  )
  instructed: float = key(
    1.0, 'share of clips with their instruction', low=0, high=1, absent=1.0
  )
  failures: bool = key(False, 'deliberate failures are learned from, too')
  init: Init = key(Init(), 'instead of config.pretrain.init')
  head: Any = key(
    None,
    'of the policies on it; None: config.finetune.head',
    plugins='models/heads',
    optional=True,
    absent=None,
  )


@dataclasses.dataclass(frozen=True)
class Pretrain:
  """The sequence model and its training."""

  width: int = key(64, 'numbers of a token', low=1, high=65_536)
  trunk: Any = key(
    None, 'what mixes tokens', plugins='models/trunks', kind='transformer'
  )
  streams: tuple[str, ...] = key(
    ('latent',),
    "'latent', 'latent/<camera>', 'proprio', 'unit', 'action'; 'token' of "
    "documents; before all steps 'text', the instruction of an episode",
    match=r'latent(/.+)?|proprio|unit|action|text|token',
    length=1,
    distinct=True,
  )
  vocab: int = key(
    512,
    "tokens of 'text' at most; every byte is one",
    low=256,
    high=1_000_000,
    absent=512,
  )
  text_length: int = key(
    16,
    "tokens of 'text' that are read, the first ones",
    low=1,
    high=10_000,
    absent=16,
  )
  motion: tuple[str, ...] = key(
    ('latent',),
    'streams read with their change since the step before, by trunk and '
    "policy; 'latent': those of all cameras, too",
    match=r'latent(/.+)?|proprio|action',
    distinct=True,
    absent=(),
  )
  text_encoder: str = key(
    '',
    "a saved CLIP or SigLIP that reads 'text' in place of tokens; it stays as "
    'it is',
    absent='',
  )
  context: int = key(8, 'steps of a window', low=1, high=10_000)
  batch_size: int = key(128, 'windows', low=1, high=1_000_000)
  steps: int = key(1200, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = key(1e-3, 'the peak', above=0, high=1)
  warmup: float = key(0.05, 'share of the steps', low=0, high=0.99)
  weight_decay: float = key(0.01, 'of kernels', low=0, high=10)
  ema: float = key(
    0.0, 'decay of a running mean, kept instead', low=0, high=0.99999
  )
  accumulate: int = key(1, 'micro-batches of a batch', low=1, high=100_000)
  freeze: str = key('', 'pattern of parameters that stay as they are')
  init: Init = key(Init(), 'what all runs begin from')
  runs: Mapping[str, Run] = key({}, 'by name', length=1)
  main: str = key('', 'the run that gets the whole demo curve')

  def check(self, where: str) -> None:
    """Raises ValueError for a batch that cannot be cut so."""
    if self.batch_size % self.accumulate:
      refuse(
        f'{where}.accumulate',
        self.accumulate,
        f'a divisor of batch_size={self.batch_size}',
      )


@dataclasses.dataclass(frozen=True)
class Augment:
  """How the look of frames changes, see `vision.augment.Augmentation`."""

  shift: int = key(0, 'pixels either way', low=0, high=4096)
  crop_scale: tuple[float, float] = key(
    (1.0, 1.0), 'share of the area kept', above=0, high=1
  )
  crop_ratio: tuple[float, float] = key(
    (3 / 4, 4 / 3), 'width over height', above=0, high=100
  )
  brightness: float = key(0.0, 'largest step', low=0, high=1)
  contrast: float = key(
    0.0, 'largest distance of a factor from 1', low=0, high=1
  )
  saturation: float = key(0.0, 'likewise', low=0, high=1)
  hue: float = key(0.0, 'largest step; 1 is once round', low=0, high=0.5)
  flip: bool = key(False, 'half of the frames')
  same_over_time: bool = key(True, 'all frames of a window alike')

  def check(self, where: str) -> None:
    """Raises ValueError for ranges whose ends are the wrong way round."""
    ordered(self.crop_scale, f'{where}.crop_scale')
    ordered(self.crop_ratio, f'{where}.crop_ratio')


@dataclasses.dataclass(frozen=True)
class Tuned:
  """Policies that train on through the image model; no modes: none do."""

  modes: tuple[str, ...] = key(
    (),
    "what trains of it: 'frozen' (the control), 'full', 'last:n', 'lora:n'",
    match=r'frozen|full|(last|lora):[1-9]\d*',
    distinct=True,
  )
  demos: tuple[int, ...] = key(
    (), 'some of config.finetune.demos', low=1, high=1_000_000, distinct=True
  )
  steps: int = key(100, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = key(5e-4, 'the peak', above=0, high=1)
  batch_size: int = key(8, 'windows', low=1, high=1_000_000)
  augment: Augment = key(Augment(), 'of frames')


@dataclasses.dataclass(frozen=True)
class Method:
  """How long and how fast a policy learns: one number, or one for each of
  `config.finetune.demos`; `demos` are those of them that it is used at, all
  where it is empty."""

  demos: tuple[int, ...] = key(
    (), 'where it is used', low=1, high=1_000_000, distinct=True
  )
  steps: tuple[int, ...] = key(
    (100,), 'updates', low=1, high=1_000_000_000, length=1
  )
  learning_rate: tuple[float, ...] = key(
    (1e-3,), 'the peak', above=0, high=1, length=1
  )


_PROBE = Method(learning_rate=(1e-2,))


@dataclasses.dataclass(frozen=True)
class Critic:
  """Values by CQL and Cal-QL, offline and then online; `objectives/cal_ql.py`.

  On gymnax environments with continuous actions, whatever the domains are; both
  see the true state.
  """

  envs: tuple[str, ...] = key(
    ('Pendulum-v1',), 'by their ids in gymnax', length=1, distinct=True
  )
  seeds: int = key(3, 'trainings of each method', low=2, high=1000)
  width: int = key(64, 'of hidden layers', low=1, high=65_536)
  depth: int = key(2, 'hidden layers', low=1, high=100)
  actions: int = key(4, 'drawn of each kind for R', low=1, high=1000)
  weight: float = key(1.0, 'of R', low=0, high=1000)
  discount: float = key(0.95, 'of rewards', low=0, high=0.9999)
  tau: float = key(5e-3, 'of the running mean', above=0, high=1)
  reward_scale: float = key(0.1, 'of rewards', above=0, high=1000)
  learning_rate: float = key(1e-3, 'the peak', above=0, high=1)
  batch_size: int = key(128, 'steps', low=2, high=1_000_000)
  recorded: int = key(256, 'episodes to begin with', low=1, high=1_000_000)
  offline: int = key(2000, 'updates on them', low=1, high=1_000_000_000)
  rounds: int = key(30, 'of playing and learning', low=1, high=1_000_000)
  episodes: int = key(8, 'of a round', low=1, high=1_000_000)
  updates: int = key(32, 'of a round', low=1, high=1_000_000)
  switch: int = key(5, 'rounds in which it may drop', low=1, high=1000)

  def check(self, where: str) -> None:
    """Raises ValueError for a switch that is longer than the rounds."""
    if self.switch > self.rounds:
      refuse(f'{where}.switch', self.switch, f'at most rounds={self.rounds}')


@dataclasses.dataclass(frozen=True)
class Finetune:
  """Behaviour cloning on few demonstrations.

  Methods have steps and rates of their own, so that each can be given those
  that suit it (`config.tune`). `head_first` is a probe, and then all of it
  (LP-FT, Kumar et al. 2022, arXiv 2202.10054).
  """

  seeds: int = key(5, 'policies of a cell', low=1, high=1000)
  demos: tuple[int, ...] = key(
    (1, 4, 16, 64), 'the curve', low=1, high=1_000_000, length=1, distinct=True
  )
  methods: tuple[str, ...] = key(
    ('probe', 'finetune'),
    'what the main run is given over the whole curve, beside scratch',
    match='probe|finetune|head_first',
    distinct=True,
  )
  run_demos: tuple[int, ...] = key(
    (4,),
    'where all runs are compared',
    low=1,
    high=1_000_000,
    length=1,
    distinct=True,
  )
  run_methods: tuple[str, ...] = key(
    ('finetune',),
    'by which methods',
    match='probe|finetune|head_first',
    length=1,
    distinct=True,
  )
  scratch: Method = key(Method(), 'of the same model, untrained')
  probe: Method = key(_PROBE, 'of a head on the frozen trunk')
  finetune: Method = key(Method(), 'of all but the image model')
  head_first: Method = key(Method(), 'of all but the image model, after probe')
  eyes: Mapping[str, Method] = key(
    {},
    "controls that learn from scratch on another encoder's latents, by its "
    "name: 'state', 'positions', 'edges', ...",
  )
  chunk: int = key(4, 'actions predicted at once', low=1, high=1000)
  head: Any = key(
    None, 'how they are given', plugins='models/heads', kind='linear'
  )
  batch_size: int = key(32, 'windows', low=1, high=1_000_000)
  weight_decay: float = key(0.01, 'of kernels', low=0, high=10)
  freeze: str = key('', 'pattern of parameters that stay as they are')
  heldout: float = key(
    0.0,
    'share of its demonstrations that a policy is looked at by and does not '
    'learn from: the parameters that do best there are kept; 0: the last',
    low=0,
    high=0.5,
    absent=0.0,
  )
  tuned: Tuned = key(Tuned(), 'through the image model')
  critic: Critic | None = key(None, 'values, beside policies', absent=None)
  deploy: Deploy | None = key(
    None, 'policies that learn from being deployed, beside others', absent=None
  )

  def check(self, where: str) -> None:
    """Raises ValueError for methods and numbers that do not go together."""
    methods = {m: getattr(self, m) for m in METHODS}
    methods |= {f'eyes.{name}': each for name, each in self.eyes.items()}
    for name, method in methods.items():
      for field in ('steps', 'learning_rate'):
        values = getattr(method, field)
        if len(values) not in (1, len(self.demos)):
          refuse(
            f'{where}.{name}.{field}',
            values,
            f'one number, or one for each of demos={self.demos}',
          )
      if self.heldout and self.tuned.modes:
        refuse(
          f'{where}.heldout',
          self.heldout,
          '0, as policies that are tuned go on with all demonstrations',
        )
      if not set(method.demos) <= set(self.demos):
        some = f'some of demos={self.demos}'
        refuse(f'{where}.{name}.demos', method.demos, some)


METHODS = ('scratch', 'probe', 'finetune', 'head_first')


@dataclasses.dataclass(frozen=True)
class Tune:
  """A grid that says which steps and rates suit each method.

  A config with this section judges the grid alone, on its own seeds, and
  trains no other policies: what it says goes into another config.
  """

  steps: tuple[int, ...] = key(
    (100, 250, 600),
    'updates',
    low=1,
    high=1_000_000_000,
    length=1,
    distinct=True,
  )
  learning_rate: tuple[float, ...] = key(
    (1e-3, 3e-3, 1e-2), 'the peak', above=0, high=1, length=1, distinct=True
  )
  probe_learning_rate: tuple[float, ...] = key(
    (3e-3, 1e-2, 3e-2),
    'of a head alone',
    above=0,
    high=1,
    length=1,
    distinct=True,
  )
