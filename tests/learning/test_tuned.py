"""Fine-tuning through the image model: what moves, and that nothing else does.

The frozen mode without augmentation must be the training on cached latents,
which knows nothing of frames.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import vision
from rpt_jax.episodes import windows
from rpt_jax.learning import (
  cloning,
  demonstrations,
  policies,
  tuning,
)
from rpt_jax.learning.encoders import FrameEncoder
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.settings import Augment
from rpt_jax.training import sharding, step
from rpt_jax.types import CAMERA, LATENT, StreamSpec
from rpt_jax.vision import tuning as parts
from tests.learning import tiny

LENGTHS = np.array([5, 8, 6, 7])
CAMERAS = tuple(tiny.SIZES)  # 'right', 'left': not as the alphabet has them.
DIM, STEPS, WINDOWS, RATE = 16, 3, 2, 1e-3
MODES = ('frozen', 'last:1', 'lora:2', 'full')
ONE, PLAIN = (LATENT,), Augment()
# What policies see of two cameras: side by side, or with all else apart.
VIEWS = {
  'side by side': (LATENT,),
  'apart': (*(f'{CAMERA}{c}' for c in CAMERAS), 'proprio', 'action'),
}


def finetune(augment=PLAIN):
  """The settings, with as many steps and windows through the image model."""
  c = tiny.experiment().finetune
  c = dataclasses.replace(c, seeds=2, batch_size=WINDOWS, chunk=3)
  tuned = dataclasses.replace(
    c.tuned,
    steps=STEPS,
    batch_size=WINDOWS,
    learning_rate=RATE,
    augment=augment,
  )
  return dataclasses.replace(c, tuned=tuned)


@functools.cache
def encoder():
  model = vision.load(
    'random',
    output='mean_patch',
    image_size=16,
    patch=8,
    width=DIM,
    depth=2,
    num_heads=2,
    dtype='float32',
  )

  def apply(params, seen):
    return model.apply(params, model.preprocess(seen['image']))

  return FrameEncoder(apply, model.params, model.dim)


@functools.cache
def recording():
  """Frames of both cameras, their latents, and what was felt and done."""
  rng = np.random.default_rng(0)
  size = int(LENGTHS.sum())
  frames = {
    camera: rng.integers(256, size=(size, *hw, 3)).astype(np.uint8)
    for camera, hw in tiny.SIZES.items()
  }
  see = jax.jit(encoder().apply)
  latents = {c: see(encoder().params, {'image': x}) for c, x in frames.items()}
  felt = {
    'proprio': rng.normal(size=(size, 4)).astype(np.float32),
    'action': rng.normal(size=(size, 2)).astype(np.float32),
  }
  return frames, latents, felt


@dataclasses.dataclass(frozen=True)
class Problem:
  """Policies before training, with the same windows as frames and latents."""

  model: sequence.SequenceModel
  cameras: tuple
  frames: dict
  cached: dict
  scales: dict
  seeds: tuning.Seeds


@functools.cache
def problem(streams=ONE, cameras=CAMERAS[:1], order=None):
  """`order` of cameras in the latents that are cached, if another."""
  frames, latents, felt = recording()
  side_by_side = np.concatenate([latents[c] for c in order or cameras], -1)
  stored = {LATENT: side_by_side} | felt
  stored |= {f'{CAMERA}{c}': x for c, x in latents.items()}
  scales = {
    name: (x.mean(0) + np.float32(0.1), 2 * x.std(0))
    for name, x in stored.items()
  }
  specs = {
    name: StreamSpec(name, 'continuous', dim=stored[name].shape[1])
    for name in streams
  }
  c = tiny.experiment(pretrain__streams=('latent',))
  run = tiny.runs(c).main
  run = dataclasses.replace(
    run, settings=dataclasses.replace(run.settings, streams=streams)
  )
  action = StreamSpec('action', 'continuous', dim=2)
  model = policies.model(run, specs, action, finetune())
  table = windows.windows(LENGTHS, 1)
  about = tiny.demos(LENGTHS), 2, LENGTHS.sum()
  picks_SN, count_S = demonstrations.picks(*about, 0, 2)
  keys_S = cloning.seed_keys(0, 2)
  params_S = jax.device_get(cloning.initial(model)(keys_S))
  data = felt | {'table': table}
  return Problem(
    model,
    cameras,
    data | {'image': tuple(frames[c] for c in cameras)},
    stored | data,
    {k: scales[k] for k in {*streams, 'action'}},
    tuning.Seeds(params_S, picks_SN, count_S, keys_S),
  )


def train(mode, p=None, augment=PLAIN):
  p = p or problem()
  how = mode, encoder(), p.model, p.cameras
  return tuning.train(finetune(augment), *how, p.frames, p.scales, p.seeds)


def on_latents(p):
  """What training on cached latents gives: (parameters, losses) [S]."""
  cached = jax.tree.map(jnp.asarray, p.cached)
  alone = dict.fromkeys(sharding.AXES, 1)
  mesh = sharding.make_mesh(alone, jax.devices()[:1])
  run = cloning.trainer(p.model, finetune(), False, mesh)
  params, picks, count, key = p.seeds
  rates_S = np.full(len(count), RATE, np.float32)
  lanes = picks, count, key, STEPS, rates_S
  return jax.device_get(run(params, {}, cached, p.scales, *lanes))


def close(one, other, **tolerance):
  same = functools.partial(np.testing.assert_allclose, **tolerance)
  jax.tree.map(same, one, other)


@pytest.mark.parametrize('view', VIEWS)
def test_frozen_and_unchanged_is_the_training_on_cached_latents(view):
  p = problem(VIEWS[view], CAMERAS)
  params_S, loss_S = train('frozen', p)
  own_S, image_S, _ = tuning.split_policy(params_S)
  assert not image_S
  # Where a gradient is nothing but rounding, Adam makes a step of RATE out of
  # it, in another direction here than there.
  close((own_S, loss_S), on_latents(p), rtol=1e-3, atol=RATE / 2)


@pytest.mark.parametrize('view', VIEWS)
def test_cameras_in_another_order_are_another_training(view):
  """That of the alphabet, say, in which a dictionary comes out of jit."""
  p = problem(VIEWS[view], CAMERAS)
  _, loss_S = train('frozen', p)
  swapped = dataclasses.replace(p, cameras=CAMERAS[::-1])
  if view == 'side by side':  # There it is the latents whose order counts.
    swapped = problem(VIEWS[view], CAMERAS, CAMERAS[::-1])
    _, other_S = on_latents(swapped)
  else:
    _, other_S = train('frozen', swapped)
  assert (np.abs(other_S - loss_S) > 1e-3).all()


def first_step(p, mode):
  """Loss of the first update of the first seed, and that on cached latents."""
  c = finetune()
  params, picks_N, *_, key = jax.tree.map(lambda x: x[0], p.seeds)
  felt = [s.name for s in p.model.streams if not s.name.startswith(LATENT)]
  shape = p.model.context, c.chunk
  picks_B = picks_N[:WINDOWS]
  batch = demonstrations.batch(p.frames, picks_B, ('image', *felt), *shape)
  trained, fixed = parts.split(encoder().params, mode, key)
  state = step.init_state(
    params | {tuning.PART: trained}, tuning._optimizer(c), key
  )
  update = tuning._update(p.model, encoder().apply, c, p.cameras)
  rest = {'fixed': fixed, 'measured': p.scales, tuning.CONSTANTS: {}}
  _, metrics = update(state, batch | rest)
  names = [s.name for s in p.model.streams]
  batch = demonstrations.batch(p.cached, picks_B, names, *shape)
  expected, _ = behaviour_cloning.loss(
    sequence.bind(p.model, params), cloning.scaled(batch, p.scales), key
  )
  return metrics['loss'], expected


@pytest.mark.parametrize(
  'mode, view',
  [
    ('full', 'apart'),
    ('last:1', 'apart'),
    pytest.param('lora:2', 'apart', marks=pytest.mark.slow),
    pytest.param('last:1', 'side by side', marks=pytest.mark.slow),
  ],
)
def test_at_first_no_mode_changes_anything(mode, view):
  """The first loss is that of the cached latents."""
  loss, expected = first_step(problem(VIEWS[view], CAMERAS), mode)
  np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize('mode', MODES[1:])
def test_what_trains_moves_and_the_rest_does_not(mode):
  before, fixed = parts.split(encoder().params, mode)
  p = problem(VIEWS['apart'], CAMERAS)
  params_S, _ = train(mode, p)
  own_S, image_S, _ = tuning.split_policy(params_S)
  assert jax.tree.structure(image_S) == jax.tree.structure(before)
  for seed in range(2):
    trained = jax.tree.map(lambda x, i=seed: x[i], image_S)
    after = parts.merge(trained, fixed)
    moved = jax.tree.map(
      lambda a, b: np.abs(a - b).reshape(len(a), -1).max(1) > 0,
      after['transformer']['blocks'],
      encoder().params['transformer']['blocks'],
    )
    for kernel in ('qkv', 'out', 'up', 'down'):
      expected = [mode != 'last:1', True]
      assert moved[kernel]['kernel'].tolist() == expected
    untouched = mode != 'full'
    same = np.array_equal(
      after['embed']['kernel'], encoder().params['embed']['kernel']
    )
    assert same == untouched
  assert not np.array_equal(
    own_S['head_action']['project']['kernel'],
    p.seeds.params['head_action']['project']['kernel'],
  )


def test_augmented_views_differ_and_repeat():
  changes = Augment(shift=4, brightness=0.3)
  plain, one, again = (
    train('last:1', augment=a)[1] for a in (Augment(), changes, changes)
  )
  assert (one != plain).all()
  np.testing.assert_array_equal(one, again)


def test_a_model_is_given_the_cameras_it_reads():
  latents = {c: np.full((2, 3), i) for i, c in enumerate(CAMERAS)}
  for view, names in VIEWS.items():
    model = problem(names, CAMERAS).model
    streams = tuning.camera_streams(model, latents)
    assert set(streams) == {n for n in names if n.startswith(LATENT)}, view
  np.testing.assert_array_equal(streams['latent/left'], latents['left'])
  both = tuning.camera_streams(problem(ONE, CAMERAS).model, latents)[LATENT]
  assert both.tolist() == [[0, 0, 0, 1, 1, 1]] * 2
  reverse = dict(reversed(latents.items()))
  both = tuning.camera_streams(problem(ONE, CAMERAS).model, reverse)[LATENT]
  assert both.tolist() == [[1, 1, 1, 0, 0, 0]] * 2
