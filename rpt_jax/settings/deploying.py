"""The section of policies that are deployed and learn from it."""

import dataclasses
from typing import Any

from rpt_jax.settings.declare import key, refuse


@dataclasses.dataclass(frozen=True)
class Deploy:
  """Rounds of deployment in which an expert helps: `learning/deploying.py`.

  In gymnax environments whose rewards are above 0 at a goal alone, whatever the
  domains are; policies see the true state.
  """

  envs: tuple[str, ...] = key(
    ('Gate-v0',),
    'by their ids in gymnax',
    length=1,
    distinct=True,
  )
  seeds: int = key(
    3, 'repetitions, each with demonstrations of its own', low=2, high=1000
  )
  demos: int = key(2, 'of the expert', low=1, high=100_000)
  rounds: int = key(3, 'of deploying and learning', low=1, high=1000)
  episodes: int = key(8, 'of a round', low=1, high=100_000)
  patience: int = key(
    3, 'decisions of a policy over which progress is judged', low=1, high=1000
  )
  progress: float = key(
    0.5, "least share of the expert's own progress", low=0, high=1
  )
  hold: int = key(
    3, 'decisions of the expert before it hands back', low=1, high=1000
  )
  before: int = key(
    3, 'decisions that led to it and are told apart', low=0, high=1000
  )
  intervention: float = key(
    0.5, 'share of what is learned from that interventions are to have',
    low=0, high=1,
  )  # fmt: skip
  mistaken: float = key(
    0.002, 'likewise of what was just before them', low=0, high=1
  )
  memory: float = key(
    0.5, 'share of all deployed episodes that small memories hold',
    above=0, high=1,
  )  # fmt: skip
  width: int = key(32, 'numbers of a token', low=1, high=65_536)
  trunk: Any = key(
    None, 'what mixes tokens', plugins='models/trunks', kind='transformer'
  )
  head: Any = key(
    None, 'what gives actions', plugins='models/heads', kind='mixture'
  )
  updates: int = key(400, 'of every training', low=1, high=1_000_000_000)
  batch_size: int = key(64, 'steps', low=1, high=1_000_000)
  learning_rate: tuple[float, ...] = key(
    (1e-3, 3e-3, 1e-2),
    'the peak, of demonstrations alone, all steps alike, and weighed by class',
    above=0,
    high=1,
    length=3,
  )
  weight_decay: float = key(0.01, 'of kernels', low=0, high=10)
  judged: int = key(
    128, 'episodes without the expert, of every policy', low=1, high=1_000_000
  )

  def check(self, where: str) -> None:
    """Raises ValueError for shares of more than all, and for other rates."""
    if len(self.learning_rate) != 3:
      refuse(f'{where}.learning_rate', self.learning_rate, 'three numbers')
    if self.intervention + self.mistaken > 1:
      refuse(
        f'{where}.mistaken',
        self.mistaken,
        f'at most 1 - intervention={self.intervention}',
      )
