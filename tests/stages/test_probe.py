"""What features are asked for: what a frame shows, and the whole state."""

import numpy as np

from rpt_jax.domains import gymnax, metaworld
from rpt_jax.episodes import windows
from rpt_jax.results import Probe
from rpt_jax.stages import probe

RNG = np.random.default_rng(0)


def labels(domain, **widths):
  arrays = {k: RNG.normal(size=(9, n)) for k, n in widths.items()}
  clips = windows.Clips(arrays, np.array([5, 4]))
  return arrays, probe._labels(clips, domain, np.arange(9))


def test_of_a_simulator_what_a_single_frame_shows_is_a_label():
  settings = gymnax.Settings(envs=('CartPole-v1',))
  (cartpole,) = gymnax.domains('gymnax', settings, 0)
  arrays, named = labels(cartpole, state=5, action=1)
  assert set(named) == {'state', 'visible', 'velocity'}
  np.testing.assert_array_equal(named['visible'], arrays['state'][:, [0, 2, 3]])
  assert Probe.r2('visible') == Probe.VISIBLE_R2


def test_where_nobody_knows_the_state_there_is_none():
  settings = metaworld.Settings(tasks=('reach-v3',))
  (task,) = metaworld.domains('metaworld', settings, 0)
  _, named = labels(task, proprio=4, action=4)
  assert set(named) == {'proprio', 'action', 'velocity'}


def test_of_many_frames_some_are_asked():
  clips = windows.Clips({'state': RNG.normal(size=(90, 5))}, np.full(9, 10))
  settings = gymnax.Settings(envs=('CartPole-v1',))
  (cartpole,) = gymnax.domains('gymnax', settings, 0)
  rows = windows.spread(90, 20)
  every = probe._labels(clips, cartpole, np.arange(90))
  some = probe._labels(clips, cartpole, rows)
  for name, y_NP in every.items():
    np.testing.assert_array_equal(some[name], y_NP[rows])


def test_rows_are_named_after_labels():
  seen = {s: RNG.normal(size=(60, 3)) for s in ('pretrain', 'heldout')}
  shown = {s: {'visible': x[:, :2] @ np.ones((2, 1))} for s, x in seen.items()}
  (row,) = probe._probe('latent', 'here', np.arange(60) // 10, seen, shown)
  assert row['name'] == 'visible_r2' and row['value'] > 0.99
  assert row['tags'] == {'features': 'latent', 'env': 'here'}
