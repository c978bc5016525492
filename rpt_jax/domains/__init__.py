"""What a run learns from and acts in: named sets of episodes in splits.

A domain is an environment, a task of a simulator or a recorded dataset; what
reads episodes or judges policies need not know which. A file of this room has
`Settings`, of one entry of `config.domains`, and

    domains(name, settings, seed) -> the domains of an entry, in its order

each with the attributes and methods of `Domain`. Those that read what others
recorded may also say how that names things: `number_names` {stream: names of
its numbers} and `as_recorded` (`types.DatasetNames`). Those in which one can
ask for something, and see whether it was done, have what `domains/tabletop.py`
has: `tables` before and after, `own` (what was asked for), `attempt`,
`succeeded`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from rpt_jax import files, settings
from rpt_jax.domains.playing import Played, Scored, SeedWeights
from rpt_jax.episodes import store, windows
from rpt_jax.episodes.scales import Scale
from rpt_jax.results import Measure, Row
from rpt_jax.types import TOKEN, DatasetNames, StreamSpec

TEXTS = 'texts.json'  # Of a split: what each of its episodes was told to do.


class Domain(Protocol):
  """Episodes of one kind; `collected` is the folder of the stage collect."""

  name: str
  entry: str  # Of `config.domains`, which it is of.
  seen: bool  # Pretraining may see it.
  cameras: tuple[str, ...]  # Observations that hold frames.
  splits: tuple[str, ...]  # What there is to encode.
  demos: str  # The split that fine-tuning may see the actions of.
  weight: float  # Share of pretraining windows; 0: by its size.
  discrete: bool  # An action is one of a few.
  vocab: int  # Of discrete actions, the largest of a config; `of` sets it.
  state_dim: int  # Numbers of the true state; 0: nobody knows it.
  visible: tuple[int, ...]  # Which of them a single frame shows.
  measure: Measure  # What a score is.
  together: bool  # All processes play it, or the first alone.
  sequential: bool  # A cell may end early, where it is decided.

  @property
  def content(self) -> str:
    """A hash of what it reads from elsewhere; '' where it makes its own."""

  @property
  def fields(self) -> tuple[str, ...]:
    """Numbers of a step: some of 'state', 'proprio', 'action', 'token'.

    Where 'token' is one of them, `tokens` is its stream.
    """

  @property
  def probed(self) -> tuple[str, ...]:
    """Those of the fields that features are asked for."""

  @property
  def widths(self) -> dict[str, int]:
    """{stream: numbers a step} of what is felt and done, known beforehand."""

  @property
  def longest(self) -> int:
    """Steps of the longest episode that pretraining sees."""

  @property
  def num_actions(self) -> int:
    """How many discrete actions it has itself; 0: they are continuous."""

  @property
  def action_limit(self) -> tuple[float, float] | None:
    """(low, high) that continuous actions are cut to."""

  def frame_sizes(self, collected: Path) -> dict[str, tuple[int, int]]:
    """{camera: (height, width)} of its frames."""

  def check(self, as_stream: bool = False) -> None:
    """Raises ValueError where what it reads is not as its settings say.

    With `as_stream` also where its actions can be no stream of pretraining.
    """

  def collect(self, directory: Path) -> list[Row]:
    """Writes its episodes, or where they lie; rows: how many, how good."""

  def fps(self, collected: Path | None = None) -> float:
    """Steps a second."""

  def source(self, collected: Path, split: str):
    """The episodes of a split, as `episodes.open` gives them."""

  def action(self, collected: Path) -> StreamSpec:
    """What policies give; discrete ones share a config's vocabulary."""

  def action_scale(self, collected: Path) -> Scale:
    """(centre [A], spread [A]) of actions, where no trunk has a scale."""

  def most_demos(self) -> tuple[int, str]:
    """(demonstrations at most, what says so); ValueError where none can be."""

  def describe(self) -> str:
    """In words, for a model card."""

  def table(self) -> list[str]:
    """Lines of a dry run: streams and lengths."""

  def episodes(
    self,
    count: int,
    streams: Callable[[str], windows.Clips],
    mesh: jax.sharding.Mesh,
  ) -> contextlib.AbstractContextManager:
    """What all policies are judged on, opened once and handed to `play`.

    Args:
      count: episodes of a seed, where they are played.
      streams: split -> what policies see of it and what was done, where they
        were recorded.
      mesh: devices that episodes are spread over.
    """

  def play(
    self,
    program,
    weights: SeedWeights,
    episodes: Any,
    condition: Any = None,
    record: bool = False,
    stop: Callable[[np.ndarray], bool] | None = None,
  ) -> Played:
    """The same episodes of every seed, whichever policies are played.

    Args:
      program, weights: `policy.program.Program`, and those of all seeds.
      episodes: as `episodes` opened them.
      condition: what all episodes are to be played under, a goal, a sentence
        or a distractor; None: as they come.
      record: keep a film of the first episode, where there is one.
      stop: success so far [S, n] -> no more is needed; asked after each round
        by those that are `sequential`, and by no other.
    """

  def score(self, played: Played, collected: Path) -> Scored:
    """What was played on the scale of its measure."""


def of(experiment: settings.Experiment) -> tuple[Domain, ...]:
  """All domains of a config; discrete actions share the largest vocabulary.

  Raises ValueError where two entries give a domain of the same name.
  """
  domains = {}
  for name, entry in experiment.domains.items():
    file = settings.module('domains', settings.kind(entry))
    for domain in file.domains(name, entry, experiment.seed):
      if domain.name in domains:
        settings.refuse(
          f'config.domains.{name}',
          domain.name,
          'each domain once, but config.domains.'
          f'{domains[domain.name].entry} has one of that name',
        )
      domains[domain.name] = domain
  vocab = max((d.num_actions for d in domains.values()), default=0)
  return tuple(
    dataclasses.replace(d, vocab=vocab) if d.discrete else d
    for d in domains.values()
  )


def seen(domains: Sequence[Domain]) -> tuple[Domain, ...]:
  """Those whose episodes pretraining may see."""
  return tuple(d for d in domains if d.seen)


def acting(domains: Sequence[Domain]) -> tuple[Domain, ...]:
  """Those that have actions to learn."""
  return tuple(d for d in domains if 'action' in d.fields)


def say_left_out(domains: Sequence[Domain]) -> None:
  """A line on each domain that no policy can be of: a video, say."""
  for domain in domains:
    if 'action' not in domain.fields:
      print(f'  {domain.name}: left out, as it has no actions', flush=True)


def discrete_action(domains: Sequence[Domain]) -> StreamSpec | None:
  """What discrete actions of these domains are, which share a vocabulary."""
  return next((d.action(None) for d in domains if d.discrete), None)


def discrete(domains: Sequence[Domain]) -> tuple[StreamSpec, ...]:
  """What is discrete of that of these domains: actions, tokens of documents."""
  tokens = (d.tokens for d in domains if TOKEN in d.fields)
  specs = discrete_action(domains), next(tokens, None)
  return tuple(spec for spec in specs if spec is not None)


def felt(domain: Domain) -> dict[str, str]:
  """{stream: field} of what is felt, done and, in documents, read.

  Proprioception is 'proprio' or, as recorded datasets call it, 'state'.
  """
  fields = domain.fields
  proprio = 'proprio' if 'proprio' in fields else 'state'
  chosen = {'proprio': proprio, TOKEN: TOKEN, 'action': 'action'}
  return {s: field for s, field in chosen.items() if field in fields}


def number_names(domain: Domain) -> dict[str, tuple[str, ...]]:
  """{stream: what its numbers are called}, of those that are known."""
  return getattr(domain, 'number_names', {})


def as_recorded(domain: Domain) -> DatasetNames:
  """How what a policy sees is called, and how large, where it was recorded."""
  return getattr(domain, 'as_recorded', DatasetNames())


def labels(
  domain: Domain,
  inputs: Mapping[str, Path],
  split: str,
  fields: Sequence[str],
) -> windows.Clips:
  """Streams of the episodes themselves, row for row beside their latents.

  What no action-free stage may ask for: some of the domain's fields. Episodes
  that could not be encoded are left out here, too.
  """
  return store.load(inputs['label'] / domain.name / split, fields)


def instructions(
  domain: Domain, inputs: Mapping[str, Path], split: str
) -> np.ndarray:
  """Which instruction each frame's episode follows: [N] integers."""
  folder = inputs['label'] / domain.name / split
  texts = files.read_json(folder / TEXTS, kind=list, most=files.MANIFEST)
  _, ids = np.unique(texts, return_inverse=True)
  return np.repeat(ids, store.load(folder, ()).lengths)
