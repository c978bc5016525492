"""An image model of one's own, as `config.image_model` asks for it."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np

from rpt_jax import settings
from rpt_jax.episodes.frames import Frames, blank
from rpt_jax.training import optimizer, sharding, trainer


def objective(c: Any) -> ModuleType:
  """The file of `rpt_jax/vision/pretraining` whose settings `c` are."""
  return settings.module('vision/pretraining', settings.kind(c))


def make_trainer(c: Any, size: int, mesh: jax.sharding.Mesh) -> trainer.Trainer:
  """The trainer of the image model of frames of `size` pixels."""
  room = objective(c)
  model = room.model(c, size)
  tx = optimizer.adamw(
    c.learning_rate, c.steps, weight_decay=c.weight_decay, b2=0.95
  )

  def loss_fn(params, batch, key):
    return room.loss(c, model, params, batch, key)

  return trainer.make(model.init, loss_fn, tx, mesh, rules=room.SHARDING)


def batches(
  c: Any, frames: Frames, mesh: jax.sharding.Mesh, seed: int
) -> Callable[[int], dict]:
  """step -> batch on the mesh; a process reads what its devices hold."""
  rows = sharding.local_rows(c.batch_size, mesh)
  batch_at = objective(c).batch_at(c, frames, seed, rows)
  return lambda i: sharding.shard_batch(batch_at(i), mesh, c.batch_size)


def example(c: Any, size: int) -> dict[str, np.ndarray]:
  """One row of a batch, of nothing, as the objective makes it."""
  return objective(c).batch_at(c, blank(size), 0, np.arange(1))(0)
