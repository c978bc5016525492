"""The stages of a step apart and together, and what a stream is made of."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import robots

from rpt_jax.policy import Execution, Policy, program
from rpt_jax.types import StreamSpec

VIEWS = tuple(robots.FRAMES)


def acted(policy, seen, batch=1):
  policy.reset(batch)
  return np.stack([policy.act(now) for now in seen])


def latents(seen, cameras):
  """What the image model makes of frames, side by side, as 'latent'."""
  image = robots.image_model()
  return [
    {
      'latent': np.concatenate(
        [image.apply(image.params, image.preprocess(x[c])) for c in cameras],
        axis=-1,
      )
    }
    for x in seen
  ]


@pytest.mark.parametrize('cameras', [VIEWS, VIEWS[::-1]])
def test_latent_is_that_of_all_cameras_in_their_order(cameras):
  """And, without cameras, a vector: the two policies are one model."""
  streams = ('latent', 'action')
  seen, _ = robots.episode(6, batch=2, streams=streams, cameras=VIEWS)
  policy = Policy(**robots.parts(streams, cameras=cameras))
  assert policy.observed == cameras
  vector = Policy(**robots.parts(streams))
  assert vector.observed == ('latent',)
  given = acted(policy, seen, 2)
  np.testing.assert_allclose(
    given, acted(vector, latents(seen, cameras), 2), atol=1e-5
  )
  swapped = acted(vector, latents(seen, cameras[::-1]), 2)
  assert np.abs(given - swapped).max() > 0.05


def test_one_camera_is_one_stream_and_part_of_all():
  streams = ('latent/front', 'latent')
  parts = robots.parts(streams, cameras=VIEWS)
  policy = Policy(**parts)
  (now,), _ = robots.episode(1, streams=(), cameras=VIEWS)
  assert policy.observed == VIEWS
  seen = program.see(policy.program, policy.weights, now)
  assert {k: x.shape for k, x in seen.items()} == {
    'latent/front': (1, 8),
    'latent': (1, 16),
  }
  (both,) = latents([now], VIEWS)
  np.testing.assert_allclose(seen['latent'], both['latent'], atol=1e-6)
  np.testing.assert_array_equal(seen['latent'][:, :8], seen['latent/front'])


def test_frames_of_one_size_are_one_batch():
  batches = []

  def apply(params, image_NHWC):
    batches.append(image_NHWC.shape)
    return image_NHWC[:, 0, 0]

  cameras = ('a', 'wide', 'b')
  streams = tuple(
    StreamSpec(f'latent/{c}', 'continuous', dim=3) for c in cameras
  )
  acting = program.Program(
    robots.parts()['model'].clone(streams=streams),
    apply,
    lambda x: x,
    cameras=cameras,
  )
  rng = np.random.default_rng(0)
  shapes = {'a': (2, 4, 4, 3), 'wide': (2, 4, 6, 3), 'b': (2, 4, 4, 3)}
  now = {c: rng.normal(size=shape) for c, shape in shapes.items()}
  weights = program.Weights({}, {}, {}, {}, jnp.zeros(0), jnp.zeros(0))
  seen = program.see(acting, weights, now)
  assert sorted(batches) == [(2, 4, 6, 3), (4, 4, 4, 3)]
  for c in cameras:
    np.testing.assert_allclose(seen[f'latent/{c}'], now[c][:, 0, 0], rtol=1e-6)


@pytest.mark.parametrize('num_actions', [0, robots.NUM_ACTIONS])
def test_in_jit_scan_and_vmap_it_is_the_policy_step_by_step(num_actions):
  """Seeds side by side, steps in a scan, as a rollout runs it."""
  steps, batch, seeds = 6, 3, 2
  streams = ('latent/front', 'proprio', 'action')
  execution = Execution(2, temperature=0.5 if num_actions else 0.0)
  policies = [
    Policy(
      **robots.parts(streams, seed=seed, num_actions=num_actions),
      execution=execution,
    )
    for seed in range(seeds)
  ]
  seen, _ = robots.episode(steps, batch, streams)
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *seen)
  (acting,) = {policy.program for policy in policies}
  weights_S = jax.tree.map(
    lambda *x: jnp.stack(x), *[policy.weights for policy in policies]
  )
  policies[0].reset(batch)
  lane_B = policies[0]._keys

  @jax.jit
  def rollout(weights_S):
    def one(weights):
      def step(memory, now):
        keys = jax.vmap(jax.random.fold_in, (0, None))(lane_B, memory.count)
        return program.advance(acting, weights, memory, now, keys)

      return jax.lax.scan(step, program.start(acting, batch), stacked)[1]

    return jax.vmap(one)(weights_S)

  action_STB = np.asarray(rollout(weights_S))
  for policy, action_TB in zip(policies, action_STB, strict=True):
    expected = acted(policy, seen, batch)
    if num_actions:
      assert (action_TB == expected).mean() > 0.9  # Near ties are rounded.
    else:
      np.testing.assert_allclose(action_TB, expected, atol=2e-2)
  assert (action_STB[0] != action_STB[1]).any()


@pytest.mark.parametrize('num_actions', [0, robots.NUM_ACTIONS])
def test_open_loop_is_its_own_stages(num_actions):
  """Stored latents in place of `see`, recorded actions in place of `play`."""
  steps, batch = 6, 2
  streams = ('latent/front', 'action')
  parts = robots.parts(streams, num_actions=num_actions)
  policy = Policy(**parts)
  acting, weights = policy.program, policy.weights
  seen, actions = robots.episode(steps, batch, streams)
  if num_actions:
    rng = np.random.default_rng(0)
    actions = rng.integers(num_actions, size=(steps, batch))
  stored = jax.tree.map(
    lambda *x: jnp.stack(x), *[program.see(acting, weights, x) for x in seen]
  )

  keys = jax.random.split(jax.random.key(0), batch)

  @jax.jit
  def chunks(stored, actions):
    def step(memory, now):
      latents, action = now
      memory = program.remember(acting, weights, memory, latents)
      chunk_BCA = program.predict(acting, weights, memory, keys)
      return program.record(acting, memory, weights, action), chunk_BCA

    memory = program.start(acting, batch)
    return jax.lax.scan(step, memory, (stored, actions))[1]

  chunk_TBCA = np.asarray(chunks(stored, jnp.asarray(actions)))
  width = num_actions or robots.A
  assert chunk_TBCA.shape == (steps, batch, robots.CHUNK, width)
  policy.reset(batch)
  for now, action, chunk_BCA in zip(seen, actions, chunk_TBCA, strict=True):
    given = policy.act(now)
    if num_actions:
      assert (given == chunk_BCA[:, 0].argmax(-1)).all()
    else:
      mean_A, std_A = parts['scales']['action']
      expected = chunk_BCA[:, 0] * std_A[None] + mean_A[None]
      np.testing.assert_allclose(given, expected, atol=2e-2)
    policy.executed(action)
  other = chunks(stored, jnp.asarray(actions[::-1]))
  assert np.abs(other[1:] - chunk_TBCA[1:]).max() > 1e-2


def test_keys_change_nothing_where_nothing_is_drawn():
  parts = robots.parts(('proprio', 'action'))
  policy = Policy(**parts)
  seen, _ = robots.episode(4, batch=2, streams=('proprio',))
  first = acted(policy, seen, 2)
  policy.reset(2, seed=1)
  again = np.stack([policy.act(now) for now in seen])
  np.testing.assert_array_equal(first, again)
  traced = jax.make_jaxpr(program.advance, static_argnums=0)(
    policy.program,
    policy.weights,
    program.start(policy.program, 2),
    seen[0],
    jax.random.split(jax.random.key(0), 2),
  )
  assert 'random' not in str(traced).partition('let')[2]


def test_windows_are_float32_and_of_steps_that_were():
  parts = robots.parts(('proprio', 'action'))
  policy = Policy(**parts)
  acting, weights = policy.program, policy.weights
  keys = jax.random.split(jax.random.key(0), 2)
  memory = program.start(acting, 2)
  half = {'proprio': jnp.ones((2, robots.P), jnp.float16)}
  memory = program.remember(acting, weights, memory, half)
  assert {x.dtype for x in memory.windows.values()} == {jnp.dtype('float32')}
  np.testing.assert_array_equal(memory.valid_BT, [[0, 0, 0, 1]] * 2)
  # What is before the first step does not matter, whatever it is.
  dirty = {k: x.at[:, :-1].set(jnp.nan) for k, x in memory.windows.items()}
  np.testing.assert_array_equal(
    program.predict(acting, weights, memory._replace(windows=dirty), keys),
    program.predict(acting, weights, memory, keys),
  )


FAULTS = {
  'a camera of no stream': (
    lambda: robots.parts(('latent/front',), cameras=VIEWS),
    r"sizes of \['corner2', 'front'\].*\['front'\]",
  ),
  'another number of cameras': (
    lambda: robots.parts(('latent',), cameras=VIEWS[:1]),
    r"latents of width 8, but .* \{'latent': \(16, 1\)\}",
  ),
  'no image model': (
    lambda: robots.parts(('latent',), cameras=VIEWS) | {'image': None},
    'latents of width None',
  ),
  'an image model of vectors': (
    lambda: robots.parts(('latent',)) | {'image': robots.image_model()},
    'latents of width 8, but',
  ),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_views_that_do_not_fit_are_refused(fault):
  parts, message = FAULTS[fault]
  with pytest.raises(ValueError, match=message):
    Policy(**parts())


def test_programs_differ_by_the_order_of_cameras():
  orders = [
    Policy(**robots.parts(('latent',), cameras=c)).program
    for c in (VIEWS, VIEWS[::-1])
  ]
  assert orders[0] != orders[1]
  assert dataclasses.replace(orders[1], cameras=VIEWS) == orders[0]
