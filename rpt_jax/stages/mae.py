"""A small image model by masked autoencoding on the action-free frames.

Reads the frames of the `pretrain` split alone; writes `model/` (which
`vision.load` takes), reconstructions of held-out frames, and the curve.
"""

import json

import jax
import numpy as np

from rpt_jax import episodes
from rpt_jax.episodes import loader
from rpt_jax.stages import pipeline
from rpt_jax.training import loop, optimizer, sharding, step
from rpt_jax.vision import mae

_PICTURES = 12


def run(config, inputs, directory):
  """Train and save the autoencoder; rows: loss on held-out frames."""
  c = config.mae
  mesh = sharding.make_mesh(config.mesh)
  model = autoencoder(c)
  image_NHWC = _frames(config, inputs, 'pretrain')
  order = loader.Order(len(image_NHWC), c.batch_size, config.seed)
  tx = optimizer.adamw(
    c.learning_rate, c.steps, weight_decay=c.weight_decay, b2=0.95
  )

  def loss_fn(params, image_NHWC, key):
    return model.loss(params, image_NHWC, key)

  init_key, key = jax.random.split(jax.random.key(config.seed))
  state = step.init_state(jax.jit(model.init)(init_key), tx, key)
  shardings = sharding.state_shardings(state, mesh)
  state, history = loop.fit(
    jax.device_put(state, shardings),
    step.make_train_step(loss_fn, tx, shardings),
    lambda i: sharding.shard_batch(image_NHWC[order(i)], mesh),
    c.steps,
    directory=directory,
    log_every=max(c.steps // 20, 1),
    save_every=max(c.steps // 4, 1),
    label='  mae',
  )
  params = jax.device_get(state.params)
  mae.save(model, params, directory / 'model')
  (directory / 'curve.json').write_text(json.dumps(history))
  heldout = _frames(config, inputs, 'heldout')
  at = np.linspace(0, len(heldout) - 1, _PICTURES).astype(int)
  pictures = mae.reconstruct(model, params, heldout[at], key)
  np.savez(directory / 'reconstructions.npz', **pictures)
  loss, _ = jax.jit(loss_fn)(
    params, heldout[:: max(len(heldout) // 512, 1)], key
  )
  return [pipeline.row('mae', 'heldout_loss', loss)]


def autoencoder(settings) -> mae.Autoencoder:
  """The model of `config.mae`."""
  return mae.Autoencoder(
    patch=settings.patch,
    width=settings.width,
    depth=settings.depth,
    num_heads=settings.num_heads,
    mask_ratio=settings.mask_ratio,
  )


def _frames(config, inputs, split):
  """uint8 frames of all environments; nothing else is read."""
  sources = [
    episodes.open(inputs['collect'] / env, split=split) for env in config.envs
  ]
  return np.concatenate(
    [source.read_all(('image',)).arrays['image'] for source in sources]
  )
