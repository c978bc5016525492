"""A model, its loss and its optimizer on a mesh: what is trained, and where.

The one way a stage gets a state and a step, so that what runs is also what can
be compiled ahead of time for devices that are not there.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from rpt_jax.training import sharding
from rpt_jax.training.optimizer import Optimizer
from rpt_jax.training.step import (
  NO_MEANS,
  Means,
  TrainState,
  init_state,
  step_fn,
)
from rpt_jax.types import Array, PyTree


class Trainer(NamedTuple):
  """How to begin and how to go on; nothing here holds an array.

  `shapes` is the state as `jax.ShapeDtypeStruct` with shardings.
  """

  init: Callable[[Array], TrainState]  # key -> state, made where it lives
  step: Callable  # jitted (state, batch) -> (state, metrics); donates the state
  shapes: TrainState


def make(
  init: Callable[[Array], PyTree],
  loss_fn: Callable,
  tx: Optimizer,
  mesh: jax.sharding.Mesh,
  *,
  rules: sharding.Rules,
  accumulate: int = 1,
  means: Means = NO_MEANS,
) -> Trainer:
  """Builds the trainer of parameters `init(key)` on a mesh.

  Args:
    loss_fn, tx, accumulate, means: as `step.step_fn` takes them.
    mesh: of `sharding.make_mesh`; need not be of devices that are there.
    rules: how parameters are split, see `sharding.state_shardings`; without a
      default, or a model that forgets its own would lie whole everywhere.
  """

  def begin(key):
    init_key, key = jax.random.split(key)
    return init_state(init(init_key), tx, key, means)

  shapes = jax.eval_shape(begin, jax.random.key(0))
  shardings = sharding.state_shardings(shapes, mesh, rules)
  shapes = jax.tree.map(
    lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
    shapes,
    shardings,
  )

  def loss_on_mesh(*arguments):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return loss_fn(*arguments)

  update = step_fn(loss_on_mesh, tx, accumulate=accumulate, means=means)
  return Trainer(
    jax.jit(begin, out_shardings=shardings),
    jax.jit(update, donate_argnums=0, out_shardings=(shardings, None)),
    shapes,
  )
