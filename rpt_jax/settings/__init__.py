"""Every key of a config: its default, unit, range and meaning.

A section is a frozen dataclass. A config file is made of `base`, `section` and
`plugin`, which hold every key at its default, so that a config says only what
differs and every key can be set by a flag. `read` turns it into the dataclasses
that the code works with, and alone refuses what cannot be meant.

A float of a plug-in's settings is a leaf that may be traced (`floats`). A key
marked `how` changes how a result is made, not the result; one with `absent` was
added later, and without it a config meant that. Neither then enters the hash
that tells whether a stage is done (`essence`).
"""

from rpt_jax.settings.data import (
  Encode,
  Frames,
  Mesh,
  Quantize,
  Recipe,
  Saving,
)
from rpt_jax.settings.declare import Named, divides, key, ordered, refuse
from rpt_jax.settings.deploying import Deploy
from rpt_jax.settings.essence import essence, floats, leaves, plain, plugged
from rpt_jax.settings.experiment import Experiment
from rpt_jax.settings.imagining import Imagine, Reach
from rpt_jax.settings.judging import Evaluate, Guide, Watch
from rpt_jax.settings.learning import (
  Augment,
  Critic,
  Finetune,
  Init,
  Method,
  Pretrain,
  Run,
  Tune,
  Tuned,
)
from rpt_jax.settings.making import (
  all_methods,
  argument,
  base,
  defaults,
  keep,
  plugin,
  recipes,
  rekind,
  section,
)
from rpt_jax.settings.plugins import kind, kinds, module
from rpt_jax.settings.reading import read, saved, unplugged

__all__ = [
  'Augment',
  'Critic',
  'Deploy',
  'Encode',
  'Evaluate',
  'Experiment',
  'Finetune',
  'Frames',
  'Guide',
  'Imagine',
  'Init',
  'Mesh',
  'Method',
  'Named',
  'Pretrain',
  'Quantize',
  'Reach',
  'Recipe',
  'Run',
  'Saving',
  'Tune',
  'Tuned',
  'Watch',
  'all_methods',
  'argument',
  'base',
  'defaults',
  'divides',
  'essence',
  'floats',
  'keep',
  'key',
  'kind',
  'kinds',
  'leaves',
  'module',
  'ordered',
  'plain',
  'plugged',
  'plugin',
  'read',
  'recipes',
  'refuse',
  'rekind',
  'saved',
  'section',
  'unplugged',
]
