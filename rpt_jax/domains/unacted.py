"""What domains share where things are seen or read, and nothing is done."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from rpt_jax import episodes, results
from rpt_jax.domains import measures
from rpt_jax.domains.playing import Played, Scored
from rpt_jax.types import Episode, StreamSpec


def episode(observation: dict[str, np.ndarray], steps: int) -> Episode:
  """An episode in which nothing is done, and nothing earned."""
  first_T, last_T = (np.arange(steps) == i for i in (0, steps - 1))
  return Episode(
    observation,
    np.zeros(steps, np.int32),
    np.zeros(steps, np.float32),
    np.ones(steps, np.float32),
    first_T,
    last_T,
    last_T,
  )


@dataclasses.dataclass(frozen=True)
class Unacted:
  """A domain that the stage collect writes; there are no policies of it."""

  name: str
  settings: Any
  seen = True
  splits = ('pretrain', 'heldout')
  demos = 'pretrain'
  weight = 0.0
  discrete = False
  num_actions = vocab = 0
  visible = ()
  action_limit = None
  measure = measures.PREDICTION
  together = sequential = False
  content = ''

  @property
  def entry(self) -> str:
    return self.name

  @property
  def widths(self) -> dict[str, int]:
    return {}

  def fps(self, collected: Path | None = None) -> float:
    del collected  # As many steps a second as one likes.
    return 1.0

  def check(self, as_stream: bool = False) -> None:
    """Nothing is read from elsewhere."""

  def source(self, collected: Path, split: str):
    return episodes.open(collected / self.name, split=split)

  def action(self, collected: Path | None = None) -> StreamSpec:
    self._refuse()

  def action_scale(self, collected: Path | None = None):
    self._refuse()

  def most_demos(self) -> tuple[int, str]:
    self._refuse()

  def episodes(self, count, streams, mesh):
    return contextlib.nullcontext()

  def play(
    self, program, weights, episodes, condition=None, record=False, stop=None
  ) -> Played:
    self._refuse()

  def score(self, played: Played, collected: Path) -> Scored:
    self._refuse()

  def _refuse(self):
    raise ValueError(
      f'config.domains.{self.name}: nothing is done there, so that there is '
      'nothing to play'
    )


@dataclasses.dataclass(frozen=True)
class Drawn(Unacted):
  """One whose square frames, `settings.size` wide, are drawn with a state."""

  cameras = ('image',)
  fields = ('state',)

  @property
  def widths(self) -> dict[str, int]:
    """The state is what is felt."""
    return {'proprio': self.state_dim}

  def frame_sizes(self, collected: Path | None = None) -> dict:
    """{camera: (height, width)}, known before anything is drawn."""
    size = self.settings.size
    return {'image': (size, size)}

  def written(
    self, directory: Path, splits: dict[str, list], metadata: dict[str, list]
  ) -> list[results.Row]:
    """Writes episodes and what is said of each; rows: episodes and frames."""
    from rpt_jax.episodes.rlds import writer

    writer.write(directory, self.name, splits, metadata=metadata)
    names = results.Collect
    return [
      results.row(names.STAGE, name, count, env=self.name, split=split)
      for split, each in splits.items()
      for name, count in (
        (names.EPISODES, len(each)),
        (names.FRAMES, sum(episode.length for episode in each)),
      )
    ]
