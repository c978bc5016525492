"""Sections of imagined goals: how they are drawn, and acted on."""

import dataclasses
from typing import Any

from rpt_jax.settings.declare import key


@dataclasses.dataclass(frozen=True)
class Reach:
  """The policy that is shown a goal, learned from play by hindsight."""

  width: int = key(128, 'numbers of a token', low=1, high=65_536)
  trunk: Any = key(
    None, 'what mixes tokens', plugins='models/trunks', kind='transformer'
  )
  head: Any = key(
    None, 'what gives actions', plugins='models/heads', kind='mixture'
  )
  horizon: int = key(
    8, 'steps that a goal lies ahead at most, any as often', low=1, high=10_000
  )
  steps: int = key(600, 'updates', low=1, high=1_000_000_000)
  batch_size: int = key(128, 'steps of play', low=1, high=1_000_000)
  learning_rate: float = key(1e-3, 'the peak', above=0, high=1)
  weight_decay: float = key(0.01, 'of kernels', low=0, high=10)


@dataclasses.dataclass(frozen=True)
class Imagine:
  """Goals imagined from a frame and a sentence, by codes of a discrete VAE."""

  score: Any = key(
    None,
    'the model that goals are chosen by, and whose latents are drawn',
    plugins='vision/pretraining',
    kind='clip',
  )
  width: int = key(128, 'numbers of a token', low=1, high=65_536)
  trunk: Any = key(
    None, 'what mixes tokens', plugins='models/trunks', kind='transformer'
  )
  latent_head: Any = key(
    None, 'what draws latents', plugins='models/heads', kind='flow'
  )
  vocab: int = key(300, 'tokens of sentences at most', low=256, high=1_000_000)
  text_length: int = key(
    16, 'tokens of a sentence that are read', low=1, high=10_000
  )
  steps: int = key(2000, 'updates', low=1, high=1_000_000_000)
  latent_steps: int = key(
    600, 'updates, where latents are drawn', low=1, high=1_000_000_000
  )
  batch_size: int = key(16, 'goals', low=1, high=1_000_000)
  learning_rate: float = key(1e-3, 'the peak', above=0, high=1)
  weight_decay: float = key(0.01, 'of kernels', low=0, high=10)
  samples: int = key(
    16, 'drawn of each goal, of which the best is chosen', low=1, high=10_000
  )
  scenes: int = key(96, 'held-out ones', low=2, high=1_000_000)
  seeds: int = key(
    5, 'draws and policies, of which intervals are', low=1, high=1000
  )
  reach: Reach = key(Reach, 'what acts on goals')
