"""How long `Policy.act` takes, against a robot that wants an action at 10 Hz.

RPT's trunk (192 x 4, 16 steps of 5 streams, chunks of 16) on three cameras of
96 x 96 and an image model of width 128, depth 4, patch 16; beside it the image
model alone, the same trunk on vectors in place of images, a flow of 10 Euler
steps in place of the linear head, and a
"""

import functools
import statistics
import time

import jax
import numpy as np

from rpt_jax import vision
from rpt_jax.models import sequence
from rpt_jax.models.heads import flow, linear
from rpt_jax.models.presets import SIZES
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Execution, Policy
from rpt_jax.types import StreamSpec

CAMERAS = ('corner2', 'corner3', 'gripper')
SIDE, WIDTH, TURNS, PERIOD = 96, 128, 30, 0.1
BATCHES = (1, 50)
LINEAR = linear.Settings()


def run() -> list[dict]:
  """Seconds a call, medians: whole, without images, image model, open loop."""
  image = vision.load(
    'random',
    image_size=SIDE,
    patch=16,
    width=WIDTH,
    depth=4,
    num_heads=4,
    output='mean_patch',
  )
  blind = build([f'feature/{c}' for c in CAMERAS])
  names = [f'latent/{c}' for c in CAMERAS]
  whole = build(names, image=image)
  resting = build(names, image=image, execution=Execution(16))
  flowing = build(names, flow.Settings(), image=image)
  encode = jax.jit(lambda params, x: image.apply(params, image.preprocess(x)))
  rows = []
  for batch in BATCHES:
    frames, features, vectors = _observations(batch)
    stacked_NHWC = np.concatenate([*frames.values()])
    cases = {
      'act': functools.partial(whole.act, frames | vectors),
      'act by a flow': functools.partial(flowing.act, frames | vectors),
      'act within a chunk': functools.partial(resting.act, frames | vectors),
      'act without images': functools.partial(blind.act, features | vectors),
      'image model': functools.partial(encode, image.params, stacked_NHWC),
    }
    for policy in (whole, resting, flowing, blind):
      policy.reset(batch)
    rows += [
      {
        'name': f'{name}, batch {batch}, seconds (peer: 10 Hz)',
        'ours': seconds,
        'peer': PERIOD,
        'ratio': PERIOD / seconds,
      }
      for name, seconds in _medians(cases).items()
    ]
  return rows


def _observations(batch):
  """Frames, vectors as wide as their latents, proprioception."""
  rng = np.random.default_rng(0)
  frame_NHWC = rng.integers(256, size=(batch, SIDE, SIDE, 3), dtype=np.uint8)
  return (
    dict.fromkeys(CAMERAS, frame_NHWC),
    {f'feature/{c}': np.zeros((batch, WIDTH), np.float32) for c in CAMERAS},
    {'proprio': np.zeros((batch, 4), np.float32)},
  )


def build(views, head=LINEAR, **settings):
  streams = (
    *(StreamSpec(name, 'continuous', dim=WIDTH) for name in views),
    StreamSpec('proprio', 'continuous', dim=4),
    StreamSpec('action', 'continuous', dim=4),
  )
  heads = behaviour_cloning.heads(head, 16, streams, streams[-1])
  width, trunk = SIZES['paper'].values()
  trunk = transformer.Settings(**trunk)
  model = sequence.SequenceModel(
    streams, heads, trunk, width, 16, visibility='bidirectional'
  )
  if 'image' in settings:
    settings['frames'] = dict.fromkeys(CAMERAS, (SIDE, SIDE))
  return Policy(
    model,
    sequence.init(model, jax.random.key(0)),
    {s.name: (np.zeros(s.dim), np.ones(s.dim)) for s in streams},
    **settings,
  )


def _medians(cases):
  """Seconds of each case, turns taken; the first are to compile."""
  seconds = {name: [] for name in cases}
  for turn in range(TURNS + 2):
    for name, case in cases.items():
      began = time.perf_counter()
      jax.block_until_ready(case())
      if turn > 1:
        seconds[name].append(time.perf_counter() - began)
  return {name: statistics.median(found) for name, found in seconds.items()}
