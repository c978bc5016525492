"""Pretraining sees latents and units, never what was done or earned."""

import importlib.util
import pathlib

import ml_collections
import numpy as np
import pytest

from rpt_jax.episodes import clips, rlds, streams, windows
from rpt_jax.stages import pretrain, quantize, trunk
from rpt_jax.training import checkpoint

ROOT = pathlib.Path(__file__).parents[2]
DIM, LENGTHS = 12, np.array([9, 14, 11, 3])


def tiny_config():
  path = ROOT / 'configs' / 'hubert_units.py'
  spec = importlib.util.spec_from_file_location('hubert_units', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config('quicktest')
  config.envs = ('one', 'two')
  config.pretrain.width, config.pretrain.depth = 16, 1
  return config


def write_encoded(directory):
  """Latents of two environments, always the same."""
  rng = np.random.default_rng(0)
  for env in ('one', 'two'):
    for split in ('pretrain', 'heldout'):
      latent_ND = rng.normal(size=(LENGTHS.sum(), DIM)).astype(np.float16)
      arrays = {'latent': latent_ND}
      streams.save(directory / env / split, windows.Clips(arrays, LENGTHS))
  statistics = {'mean': np.zeros(DIM, np.float32), 'std': np.ones(DIM, 'f4')}
  checkpoint.save_params(directory / 'statistics.safetensors', statistics)


def write_collected(directory, seed):
  """What those environments' episodes say beside frames; `seed` moves it."""
  rng = np.random.default_rng(seed)
  shape = (len(LENGTHS), LENGTHS.max())
  for env in ('one', 'two'):
    record = {
      'action': rng.integers(3, size=shape).astype(np.int32),
      'reward': rng.normal(size=shape).astype(np.float32),
      'state': rng.normal(size=(*shape, 2)).astype(np.float32),
      'valid': np.arange(shape[1]) < LENGTHS[:, None],
      'terminated': np.zeros(shape, bool),
    }
    episodes = clips.from_rollout(record)
    splits = {'pretrain': episodes, 'heldout': episodes}
    rlds.write(directory / env, env, splits)


def settings_of(config, iteration=1):
  changed = config.to_dict() | {'iteration': iteration, 'seed': 0}
  return ml_collections.FrozenConfigDict(changed)


def pretrained(tmp_path, seed):
  config = settings_of(tiny_config())
  stages = ('collect', 'encode', 'quantize')
  paths = {n: tmp_path / str(seed) / n for n in stages}
  out = tmp_path / str(seed) / 'pretrain'
  for path in (*paths.values(), out):
    path.mkdir(parents=True)
  write_encoded(paths['encode'])
  write_collected(paths['collect'], seed)
  quantize.run(config, paths, paths['quantize'])
  pretrain.run(config, paths, out)
  return {
    name: (out / name / 'pretrained' / 'model.safetensors').read_bytes()
    for name in config.pretrain.runs
  }


def test_other_actions_rewards_and_states_change_no_bit(tmp_path):
  one, other = pretrained(tmp_path, 1), pretrained(tmp_path, 2)
  assert one.keys() == {'next', 'masked_raw'}
  assert one == other


def test_latents_are_all_that_is_read(tmp_path):
  config = settings_of(tiny_config())
  write_encoded(tmp_path)
  clips = trunk.latents(config, tmp_path, 'pretrain')
  assert set(clips.arrays) == {'latent'}
  assert clips.arrays['latent'].shape == (2 * LENGTHS.sum(), DIM)


def test_features_of_a_frame_see_nothing_later(tmp_path):
  """Also of a trunk that attends in both directions."""
  pretrained(tmp_path, 1)
  folder = tmp_path / '1'
  config = settings_of(tiny_config(), iteration=1)
  inputs = {n: folder / n for n in ('encode', 'pretrain')}
  clips = trunk.latents(config, inputs['encode'], 'heldout')
  changed = clips.arrays['latent'].copy()
  changed[5:9] += 1  # The end of the first clip.
  for name in ('next', 'masked_raw', 'random'):
    features = trunk.feature_fn(config, inputs, name)
    before = features(clips).arrays['latent']
    after = features(windows.Clips({'latent': changed}, clips.lengths))
    after = after.arrays['latent']
    np.testing.assert_array_equal(before[:5], after[:5])
    np.testing.assert_array_equal(before[9:], after[9:])
    assert (before[5:9] != after[5:9]).any(axis=1).all()


def test_a_shard_that_is_missing_is_named(tmp_path):
  config = settings_of(tiny_config())
  write_encoded(tmp_path)
  (tmp_path / 'two' / 'heldout' / '00000-of-00001.array_record').unlink()
  with pytest.raises(ValueError, match='two/heldout/00000-of-00001'):
    trunk.latents(config, tmp_path, 'heldout')


def test_domains_come_in_the_shares_of_their_weights():
  """Ten times the clips, a third of the windows."""
  lengths = np.full(11, 6)
  table = windows.windows(lengths, 4, lead=3)
  parts = {'few': 1, 'many': 10}
  order = pretrain._weighted(table, parts, [2.0, 1.0], 30, 0, np.arange(30))
  clip = np.concatenate([table.clip[order(i)] for i in range(20)])
  assert np.mean(clip == 0) == pytest.approx(2 / 3, abs=0.01)
  assert set(clip) == set(range(11))


def test_heldout_loss_of_every_domain_has_a_row(tmp_path):
  config = settings_of(tiny_config())
  paths = {n: tmp_path / n for n in ('collect', 'encode', 'quantize')}
  write_encoded(paths['encode'])
  write_collected(paths['collect'], 1)
  quantize.run(config, paths, paths['quantize'])
  rows = pretrain.run(config, paths, tmp_path / 'pretrain')
  losses = [r['tags'].get('env') for r in rows if r['name'] == 'loss']
  assert losses == [None, 'one', 'two'] * len(config.pretrain.runs)
