"""A whole config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rpt_jax.settings.data import (
  Encode,
  Frames,
  Mesh,
  Quantize,
  Saving,
)
from rpt_jax.settings.declare import key
from rpt_jax.settings.imagining import Imagine
from rpt_jax.settings.judging import Evaluate
from rpt_jax.settings.learning import Finetune, Pretrain, Tune


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A whole config. A section that is None is not asked for."""

  title: str = key('', 'of the page')
  question: str = key('', 'that it answers')
  origin: str = key(
    '', 'where its data come from, told where they are missing', how=True
  )
  seed: int = key(0, 'of all that is drawn', low=0, high=2_000_000)
  pipelines: int = key(
    1,
    'repetitions of everything, collecting and the image model included, each '
    'with a seed of its own: 1000 * seed, and those after it',
    low=1,
    high=1000,
  )
  domains: Mapping[str, Any] = key(
    {}, 'sets of what is learned from and acted in, by name', plugins='domains'
  )
  mesh: Mesh = key(Mesh(), 'devices')
  precision: str = key(
    'auto',
    'operands of products; auto: bfloat16 on accelerators and on CPUs with '
    'AMX, float32 on other CPUs',
    choices=('auto', 'bfloat16', 'float32'),
    absent='auto',
  )
  saving: Saving = key(Saving(), 'of trainings', how=True)
  encoder: str = key(
    'trained',
    "'trained', 'random', 'pixels', 'edges', 'state', or a saved image model",
    match='.+',
  )
  encode: Encode = key(Encode(), 'frames to latents')
  eyes: tuple[str, ...] = key(
    (),
    "controls beside it, asked what they show of the state: 'random', "
    "'pixels', 'edges', 'state', 'positions'",
    match=r'[\w-]+',
    distinct=True,
  )
  frames: Frames = key(Frames(), 'what an image model trains on')
  image_model: Any = key(
    None,
    "what is trained where the encoder is 'trained'",
    plugins='vision/pretraining',
    optional=True,
  )
  iterations: int = key(1, '2: cluster the trunk and go again', low=1, high=100)
  quantize: Quantize | None = key(None, 'latents to units')
  pretrain: Pretrain | None = key(None, 'the sequence model')
  finetune: Finetune | None = key(None, 'policies')
  tune: Tune | None = key(None, 'instead of them: a grid of how they learn')
  imagine: Imagine | None = key(
    None, 'goals from a frame and a sentence', absent=None
  )
  evaluate: Evaluate = key(Evaluate(), 'how they are judged')
