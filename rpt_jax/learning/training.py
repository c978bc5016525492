"""Policies trained: any cell of a domain, as long and as fast as one says."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax import domains
from rpt_jax.domains import Domain
from rpt_jax.learning import cells, cloning, demonstrations, looks, tuning
from rpt_jax.learning.encoders import FrameEncoder
from rpt_jax.learning.looks import Looks
from rpt_jax.learning.policies import Policies
from rpt_jax.results import HEAD_FIRST, PROBE, TUNED, Cell
from rpt_jax.training import sharding
from rpt_jax.types import PyTree


class Lesson(NamedTuple):
  """What the seeds of a cell learn from, and how.

  Lanes are seeds, or one seed learning at several rates.
  """

  data: dict  # The arrays of all demonstrations of a domain.
  picks: np.ndarray  # Windows of each lane [S, N].
  count: np.ndarray  # How many of them are its own [S].
  keys: jax.Array  # [S]
  steps: int
  rates: np.ndarray  # [S]
  held: np.ndarray | None = None  # Windows that are looked at [S, W].


class Learned(NamedTuple):
  """Parameters [S, ...], last losses [S], and what was seen by looking."""

  params: PyTree
  losses: np.ndarray
  looks: Looks | None = None


@dataclasses.dataclass(frozen=True)
class Learner:
  """What the cells of all domains share: demonstrations, keys, the mesh.

  `encoder` is what frames are seen through where the image model trains, too;
  `mesh_sizes` {axis: size}.
  """

  policies: Policies
  places: tuple[Domain, ...]
  encoder: FrameEncoder | None
  mesh_sizes: Mapping[str, int]
  seed: int

  def fit(self, domain: Domain, cell: Cell) -> Learned:
    """What a domain's cell came to."""
    c = self.policies.finetune
    if cell.method == TUNED:
      return Learned(*self._tuned(domain, cell))
    steps, rate = cells.learning(c, cell)
    rates_S = np.full(c.seeds, rate, np.float32)
    lesson = self.lesson(domain, cell, steps, rates_S)
    return self.train(domain, cell, lesson)

  def lesson(
    self, domain: Domain, cell: Cell, steps: int, rates_S: np.ndarray
  ) -> Lesson:
    """That of all seeds of a cell."""
    demos = self._demos[cell.eyes][domain.name]
    size, who = len(demos.data['action']), (self.seed, len(rates_S))
    held = looks.count(cell.demos, self.policies.finetune.heldout)
    picks_SN, count_S = demonstrations.picks(
      demos, cell.demos - held, size, *who
    )
    lesson = demos.data, picks_SN, count_S, self._keys_S, steps, rates_S
    if not held:
      return Lesson(*lesson)
    return Lesson(*lesson, looks.windows(demos, cell.demos, held, *who))

  def train(self, domain: Domain, cell: Cell, lesson: Lesson) -> Learned:
    """What all lanes came to, which begin as the cell says."""
    c, policies = self.policies.finetune, self._seeing[cell.eyes]
    model = policies.model(domain, cell)
    if cell.method == HEAD_FIRST:
      first = cell._replace(method=PROBE)
      steps, rate = cells.learning(c, first)
      rates_S = np.full_like(lesson.rates, rate)
      first_S = self.train(
        domain, first, lesson._replace(steps=steps, rates=rates_S)
      )
      params_S = tuning.split_policy(first_S.params).model
    else:
      pretrained = policies.pretrained(cell, model)
      params_S = cloning.initial(model)(lesson.keys) | jax.tree.map(
        lambda x: np.broadcast_to(x, (len(lesson.rates), *x.shape)), pretrained
      )
    names = [s.name for s in model.streams]
    data = {
      k: x for k, x in lesson.data.items() if k in (*names, 'table', 'action')
    }
    scales = policies.scales(domain)
    scales = {k: scales[k] for k in (*names, 'action') if k in scales}
    constants_S = cloning.constants(
      model.heads[0], data, scales, lesson.picks, lesson.count
    )
    how = model, c, cell.method == PROBE, self._mesh
    own = params_S, constants_S, data, scales, *lesson[1:-1]
    if lesson.held is None:
      params_S, *seen = cloning.trainer(*how)(*own)
    else:
      params_S, *seen = looks.trainer(*how)(lesson.held, *own)
    kept = {tuning.CONSTANTS: constants_S} if constants_S else {}
    return Learned(params_S | kept, *seen)

  def _tuned(self, domain, cell):
    policies, c = self.policies, self.policies.finetune
    demos = self._demos[''][domain.name]
    picks_SN, count_S = demonstrations.picks(
      demos, cell.demos, len(demos.data['action']), self.seed, c.seeds
    )
    frames, picks_SN = tuning.data(domain, policies.inputs, demos, picks_SN)
    params_S = policies.params(domain, cell.untuned)
    return tuning.train(
      c,
      cell.encoder,
      self.encoder,
      policies.model(domain, cell),
      domain.cameras,
      frames,
      policies.scales(domain),
      tuning.Seeds(params_S, picks_SN, count_S, self._keys_S),
    )

  @functools.cached_property
  def _mesh(self):
    return sharding.make_mesh(self.mesh_sizes)

  @functools.cached_property
  def _keys_S(self):
    return cloning.seed_keys(self.seed, self.policies.finetune.seeds)

  @functools.cached_property
  def _seeing(self):
    """{eyes: policies with those}."""
    seen = domains.seen(self.places)
    every = ('', *self.policies.finetune.eyes)
    return {eyes: self.policies.with_eyes(eyes, seen) for eyes in every}

  @functools.cached_property
  def _demos(self):
    """{eyes: what policies with those learn from, of all domains}."""
    acting, c = domains.acting(self.places), self.policies.finetune
    about = max(c.demos), self.seed, c.seeds
    return {
      eyes: demonstrations.load(
        acting, each.inputs, each.streams, *about, texts=each.texts
      )
      for eyes, each in self._seeing.items()
    }
