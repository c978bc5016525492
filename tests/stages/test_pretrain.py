"""Pretraining sees latents and units, never what was done or earned."""

import numpy as np
import pytest

from configs import hubert_units
from rpt_jax import domains
from rpt_jax.episodes import clips, windows
from rpt_jax.episodes.rlds import writer
from rpt_jax.learning import checks, features, pretraining, streams
from rpt_jax.learning.pretraining import Part
from rpt_jax.learning.runs import Runs
from rpt_jax.stages import label, pretrain, quantize
from rpt_jax.stages.plan import plan
from tests.episodes import stored

ENVS = ('CartPole-v1', 'MountainCar-v0')
SPLITS = 'pretrain', 'heldout', 'demos'
DIM, LENGTHS = 12, np.array([9, 14, 11, 3])


def tiny_config():
  """Two environments and two runs on units, of a trunk of one block."""
  config = hubert_units.get_config('quicktest')
  config.domains.gymnax.envs = ENVS
  config.pipelines, config.finetune.seeds = 1, 2
  config.pretrain.width = 16
  config.saving.save_steps = config.pretrain.steps
  return config


def experiment(**changes):
  """What `tiny_config` with other keys of `pretrain` means."""
  config = tiny_config()
  config.pretrain.update(changes)
  return checks.experiment(config)


def write_encoded(directory):
  """Latents of two environments, always the same."""
  rng = np.random.default_rng(0)
  for env in ENVS:
    for split in SPLITS:
      latent_ND = rng.normal(size=(LENGTHS.sum(), DIM)).astype(np.float16)
      arrays = {'latent': latent_ND}
      stored.save(directory / env / split, windows.Clips(arrays, LENGTHS))


def write_collected(directory, seed):
  """What those environments' episodes say beside frames; `seed` moves it."""
  rng = np.random.default_rng(seed)
  shape = (len(LENGTHS), LENGTHS.max())
  for env in ENVS:
    record = {
      'action': rng.integers(3, size=shape).astype(np.int32),
      'reward': rng.normal(size=shape).astype(np.float32),
      'state': rng.normal(size=(*shape, 2)).astype(np.float32),
      'valid': np.arange(shape[1]) < LENGTHS[:, None],
      'terminated': np.zeros(shape, bool),
    }
    episodes = clips.from_rollout(record)
    splits = dict.fromkeys(SPLITS, episodes)
    writer.write(directory / env, env, splits)


def write_inputs(folder, seed):
  """{stage: folder} of what pretraining is given, and more."""
  inputs = {n: folder / n for n in ('collect', 'encode', 'label', 'quantize')}
  for path in inputs.values():
    path.mkdir(parents=True)
  write_encoded(inputs['encode'])
  write_collected(inputs['collect'], seed)
  label.run(experiment(), inputs, inputs['label'])
  quantize.run(experiment(), inputs, inputs['quantize'])
  return inputs


def pretrained(folder, seed):
  """{run: bytes of its parameters}."""
  config, out = experiment(), folder / 'pretrain'
  inputs = write_inputs(folder, seed)
  out.mkdir()
  pretrain.run(config, inputs, out)
  return {
    name: (out / name / 'pretrained' / 'model.safetensors').read_bytes()
    for name in config.pretrain.runs
  }


def test_other_actions_rewards_and_states_change_no_bit(tmp_path):
  one, other = (pretrained(tmp_path / str(seed), seed) for seed in (1, 2))
  assert one.keys() == {'next', 'masked_raw'}
  assert one == other


def read(inputs, split, config=None):
  """The clips of all environments, of the streams that runs ask for."""
  config = config or experiment()
  runs = Runs(config.pretrain, config.quantize)
  names = pretraining.needed(runs.of(1))
  return [streams.read(d, inputs, split, names) for d in domains.of(config)]


def test_latents_are_all_that_is_read(tmp_path):
  """No folder that holds anything else is given, or asked for."""
  (stage,) = [s for s in plan(experiment()) if s.name == 'pretrain']
  assert tuple(stage.inputs) == ('encode', 'quantize')
  write_encoded(tmp_path)
  for part in read({'encode': tmp_path}, 'pretrain'):
    assert set(part.arrays) == {'latent'}
    assert part.arrays['latent'].shape == (LENGTHS.sum(), DIM)


def test_features_of_a_frame_see_nothing_later(tmp_path):
  """Also of a trunk that attends in both directions."""
  pretrained(tmp_path, 1)
  config = experiment()
  runs = Runs(config.pretrain, config.quantize).of(1)
  inputs = {n: tmp_path / n for n in ('encode', 'pretrain')}
  before = read(inputs, 'heldout')
  changed = before[0].arrays['latent'][:]
  changed[5:9] += 1  # The end of the first clip.
  after = [windows.Clips({'latent': changed}, LENGTHS), before[1]]
  for name, untrained in (('next', None), ('masked_raw', None), ('next', 0)):
    action = domains.of(config)[0].action()
    reader = features.reader(runs[name], inputs, (action,), untrained=untrained)
    before_ND, after_ND = reader(before), reader(after)
    assert before_ND.shape == (2 * LENGTHS.sum(), 16)
    np.testing.assert_array_equal(before_ND[:5], after_ND[:5])
    np.testing.assert_array_equal(before_ND[9:], after_ND[9:])
    assert (before_ND[5:9] != after_ND[5:9]).any(axis=1).all()


def test_a_shard_that_is_missing_is_named(tmp_path):
  write_encoded(tmp_path)
  shard = f'{ENVS[1]}/heldout/00000-of-00001.latent.npy'
  (tmp_path / shard).unlink()
  with pytest.raises(ValueError, match=shard):
    read({'encode': tmp_path}, 'heldout')


def test_domains_come_in_the_shares_of_their_weights():
  """Ten times the clips, a third of the windows."""
  table = windows.Table(np.full(11, 6), 4, lead=3)
  parts = [
    Part(windows.Clips({}, np.full(count, 6)), weight)
    for count, weight in ((1, 2.0), (10, 1.0))
  ]
  order = pretraining._weighted(table, parts, 30, 0, np.arange(30))
  clip = np.concatenate([table.take(order(i)).clip for i in range(20)])
  assert np.mean(clip == 0) == pytest.approx(2 / 3, abs=0.01)
  assert set(clip) == set(range(11))


def test_heldout_loss_of_every_domain_has_a_row(tmp_path):
  config = experiment()
  inputs = write_inputs(tmp_path, 1)
  rows = pretrain.run(config, inputs, tmp_path / 'pretrain')
  losses = [r['tags'].get('env') for r in rows if r['name'] == 'loss']
  assert losses == [None, *ENVS] * len(config.pretrain.runs)
