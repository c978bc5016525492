"""An image model by masked autoencoding on the action-free frames.

Reads the frames of the `pretrain` split alone; writes `model/` (which
`vision.load` takes), reconstructions of held-out frames, and the curve.
"""

import jax
import numpy as np

from rpt_jax.episodes import loader
from rpt_jax.stages import frames, pipeline
from rpt_jax.training import (
  costs,
  distributed,
  loop,
  optimizer,
  progress,
  sharding,
  trainer,
)
from rpt_jax.vision import augment, mae

_PICTURES = 12


def run(config, inputs, directory):
  """Train and save the autoencoder; rows: loss on held-out frames."""
  c = config.mae
  mesh = sharding.make_mesh(config.mesh)
  found = frames.load(config, inputs['frames'], 'pretrain')
  model = autoencoder(c, found[0].shape[1])
  rows = sharding.local_rows(c.batch_size, mesh)
  order = loader.Order(sum(map(len, found)), c.batch_size, config.seed, rows)

  def batch_at(i):
    return sharding.shard_batch(_gather(found, order(i)), mesh, c.batch_size)

  key = jax.random.key(config.seed)
  trained = make_trainer(c, model, mesh)
  state, history = loop.fit(
    lambda: trained.init(key),
    trained.shapes,
    trained.step,
    batch_at,
    c.steps,
    directory=directory,
    log_every=max(c.steps // 20, 1),
    save_every=max(c.steps // 4, 1),
    label='  mae',
    cost=_cost(c, trained, batch_at(0)),
  )
  params = sharding.gather(state.params)
  if distributed.is_first():
    mae.save(model, params, directory / 'model')
  pipeline.write_json(directory / 'curve.json', history)
  heldout = frames.load(config, inputs['frames'], 'heldout')
  pictures = mae.reconstruct(model, params, _spread(heldout, _PICTURES), key)
  if distributed.is_first():
    np.savez(directory / 'reconstructions.npz', **pictures)
  loss, _ = jax.jit(model.loss)(params, _spread(heldout, 512), key)
  return [pipeline.row('mae', 'heldout_loss', loss)]


def make_trainer(c, model: mae.Autoencoder, mesh) -> trainer.Trainer:
  """The trainer of an autoencoder with the settings `c` of `config.mae`."""
  tx = optimizer.adamw(
    c.learning_rate, c.steps, weight_decay=c.weight_decay, b2=0.95
  )
  change = augment.Augmentation(
    crop_scale=tuple(c.crop_scale), crop_ratio=(1.0, 1.0), flip=c.flip
  )

  def loss_fn(params, image_NHWC, key):
    key, draw = jax.random.split(key)
    if change != augment.Augmentation(crop_ratio=(1.0, 1.0)):
      image_NHWC = augment.augment(draw, image_NHWC, change)
    return model.loss(params, image_NHWC, key)

  return trainer.make(model.init, loss_fn, tx, mesh)


def autoencoder(settings, image_size: int) -> mae.Autoencoder:
  """The model of `config.mae` for frames of a size."""
  return mae.Autoencoder(
    image_size=image_size,
    patch=settings.patch,
    width=settings.width,
    depth=settings.depth,
    num_heads=settings.num_heads,
    decoder_width=settings.decoder_width,
    decoder_depth=settings.decoder_depth,
    decoder_num_heads=settings.decoder_num_heads,
    mask_ratio=settings.mask_ratio,
  )


def _cost(c, trained, image_NHWC):
  """Of a step; its tokens are all patches, those that are masked too."""
  rows, side = image_NHWC.shape[:2]
  flops = costs.flops(trained.step, trained.shapes, image_NHWC)
  return progress.Cost(flops, rows * (side // c.patch) ** 2)


def _gather(arrays, picks):
  """Rows `picks` of arrays that lie end to end."""
  starts = np.cumsum([0, *map(len, arrays)])
  which = np.searchsorted(starts, picks, side='right') - 1
  rows = np.empty((len(picks), *arrays[0].shape[1:]), arrays[0].dtype)
  for i in np.unique(which):
    mine = which == i
    rows[mine] = arrays[i][picks[mine] - starts[i]]
  return rows


def _spread(arrays, count):
  """At most `count` rows, evenly over arrays that lie end to end."""
  total = sum(map(len, arrays))
  places = np.linspace(0, total - 1, min(count, total)).astype(int)
  return _gather(arrays, places)
