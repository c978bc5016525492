"""Small policies, and the episodes they are shown."""

import dataclasses
import functools

import jax
import numpy as np

from rpt_jax.models import sequence
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.types import StreamSpec

CONTEXT, CHUNK, A, P = 4, 3, 2, 3
FRAMES = {'front': (16, 16), 'corner2': (12, 20)}
SPECS = {
  'latent/front': StreamSpec('latent/front', 'continuous', dim=8),
  'latent/corner2': StreamSpec('latent/corner2', 'continuous', dim=8),
  'proprio': StreamSpec('proprio', 'continuous', dim=P),
  'action': StreamSpec('action', 'continuous', dim=A),
  'latent': StreamSpec('latent', 'continuous', dim=16),
}
ALL = tuple(name for name in SPECS if name != 'latent')
VOCAB, NUM_ACTIONS = 7, 3  # Discrete actions of all robots, and of one.
CHOICE = StreamSpec('action', 'discrete', vocab=VOCAB)
LABELS = {'proprio': ('x (m)', 'y (m)', 'gripper')}


@dataclasses.dataclass(frozen=True)
class Corner:
  """The least of image models: the first pixel, mixed."""

  params: dict
  dim: int = 8

  @staticmethod
  def preprocess(image_NHWC):
    return image_NHWC.astype(np.float32) / 128 - 1

  @staticmethod
  def apply(params, image_NHWC):
    return image_NHWC[:, 0, 0] @ params['mix']


@functools.cache
def image_model():
  mix = np.random.default_rng(0).normal(size=(3, 8))
  return Corner({'mix': mix.astype(np.float32)})


@functools.cache
def initial(model):
  return sequence.init(model, jax.random.key(0))


def scales(seed=0):
  rng = np.random.default_rng([1, seed])
  return {
    name: (rng.normal(size=spec.dim), rng.uniform(0.5, 2, spec.dim))
    for name, spec in SPECS.items()
  }


def parts(
  streams=ALL,
  visibility='bidirectional',
  seed=0,
  chunk=CHUNK,
  cameras=(),
  num_actions=0,
  motion=False,
):
  """Arguments of a policy that sees `streams`; 'latent' is of `cameras`."""
  specs = SPECS | ({'action': CHOICE} if num_actions else {})
  seen = tuple(specs[name] for name in streams)
  heads = behaviour_cloning.heads(
    linear.Settings(), chunk, seen, specs['action']
  )
  if motion:
    seen = tuple(dataclasses.replace(s, motion=True) for s in seen)
  model = sequence.SequenceModel(
    seen, heads, transformer.Settings(1, 2), 16, CONTEXT, visibility=visibility
  )
  cameras = cameras or [c for c in FRAMES if f'latent/{c}' in streams]
  arguments = {
    'model': model,
    'params': jax.tree.map(lambda x: x * (1 + seed / 10), initial(model)),
    'scales': scales(seed),
    'frames': {c: FRAMES[c] for c in cameras},
    'num_actions': num_actions,
  }
  if num_actions:
    del arguments['scales']['action']
  if cameras:
    arguments['image'] = image_model()
  return arguments


def episode(steps, batch=1, streams=ALL, seed=0, cameras=()):
  """([{name: [B, ...]}] as a robot gives them, actions [T, B, A])."""
  rng = np.random.default_rng([2, seed])
  seen = []
  for _ in range(steps):
    now = {
      c: rng.integers(256, size=(batch, *size, 3), dtype=np.uint8)
      for c, size in FRAMES.items()
      if f'latent/{c}' in streams or c in cameras
    }
    for name in ('proprio', 'latent'):
      if name in streams and not (name == 'latent' and cameras):
        shape = batch, SPECS[name].dim
        now[name] = rng.normal(size=shape).astype(np.float32)
    seen.append(now)
  return seen, rng.normal(size=(steps, batch, A)).astype(np.float32)
