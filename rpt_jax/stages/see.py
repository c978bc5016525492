"""An image model trained on the action-free frames, by any image objective.

Reads the frames of the `pretrain` split alone; writes `model/` (which
`vision.load` takes), pictures of held-out frames, and the curve.
"""

import jax

from rpt_jax import domains, files, results
from rpt_jax.episodes import frames
from rpt_jax.learning import seeing
from rpt_jax.results import See
from rpt_jax.training import costs, distributed, loop, progress, sharding
from rpt_jax.vision import pretraining


def run(config, inputs, directory):
  """Train and save the image model; rows: its measures on held-out frames."""
  c, mesh = config.image_model, sharding.make_mesh(config.mesh.sizes)
  places = domains.seen(domains.of(config))
  stored, heldout = (
    frames.load([inputs['frames'] / d.name / split for d in places])
    for split in ('pretrain', 'heldout')
  )
  objective = seeing.objective(c)
  for split in stored, heldout:  # It is judged on those that it needs, too.
    pretraining.check(objective.NEEDS, split)
  batch_at = seeing.batches(c, stored, mesh, config.seed)
  key = jax.random.key(config.seed)
  model = objective.model(c, stored.size)
  trained = seeing.make_trainer(c, stored.size, mesh)
  flops = costs.flops(trained.step, trained.shapes, batch_at(0))
  state, history = loop.fit(
    lambda: trained.init(key),
    trained.shapes,
    trained.step,
    batch_at,
    c.steps,
    directory=directory,
    saving=config.saving,
    label=f'  {See.STAGE}',
    cost=progress.Cost(flops, c.batch_size * model.tokens),
  )
  params = sharding.gather(state.params)
  shown = objective.pictures(model, params, heldout, key)
  measured = objective.judge(model, params, heldout, key)
  if distributed.is_first():
    objective.save(model, params, directory / 'model')
    files.write_json(directory / 'curve.json', history)
    files.write_arrays(directory / 'pictures.npz', shown)
  return [
    results.row(See.STAGE, See.heldout(name), value)
    for name, value in measured.items()
  ]
