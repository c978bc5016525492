"""Policies trained: any cell of a domain, as long and as fast as one says."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax import domains
from rpt_jax.domains import Domain
from rpt_jax.learning import cells, cloning, demonstrations, tuning
from rpt_jax.learning.encoders import FrameEncoder
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

  def fit(self, domain: Domain, cell: Cell) -> tuple[PyTree, np.ndarray]:
    """(parameters [S, ...], last losses [S]) of a domain's cell."""
    c = self.policies.finetune
    if cell.method == TUNED:
      return self._tuned(domain, cell)
    steps, rate = cells.learning(c, cell)
    rates_S = np.full(c.seeds, rate, np.float32)
    lesson = self.lesson(domain, cell, steps, rates_S)
    return self.train(domain, cell, lesson)

  def lesson(
    self, domain: Domain, cell: Cell, steps: int, rates_S: np.ndarray
  ) -> Lesson:
    """That of all seeds of a cell."""
    demos = self._demos[cell.eyes][domain.name]
    size = len(demos.data['action'])
    picks_SN, count_S = demonstrations.picks(
      demos, cell.demos, size, self.seed, len(rates_S)
    )
    return Lesson(demos.data, picks_SN, count_S, self._keys_S, steps, rates_S)

  def train(
    self, domain: Domain, cell: Cell, lesson: Lesson
  ) -> tuple[PyTree, np.ndarray]:
    """(parameters, last losses) of all lanes, which begin as the cell says."""
    c, policies = self.policies.finetune, self._seeing[cell.eyes]
    model = policies.model(domain, cell)
    if cell.method == HEAD_FIRST:
      first = cell._replace(method=PROBE)
      steps, rate = cells.learning(c, first)
      rates_S = np.full_like(lesson.rates, rate)
      params_S, _ = self.train(
        domain, first, lesson._replace(steps=steps, rates=rates_S)
      )
      params_S = tuning.split_policy(params_S).model
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
    train = cloning.trainer(model, c, cell.method == PROBE, self._mesh)
    params_S, loss_S = train(params_S, constants_S, data, scales, *lesson[1:])
    kept = {tuning.CONSTANTS: constants_S} if constants_S else {}
    return params_S | kept, loss_S

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
