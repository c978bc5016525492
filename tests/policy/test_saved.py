"""A saved policy is the same policy, or it is refused."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import robots
from safetensors import numpy as safetensors

from rpt_jax import vision
from rpt_jax.policy import Execution, Policy, program
from rpt_jax.sharing import load_scales, save_scales
from rpt_jax.vision.pretraining import mae

LIMIT = (-0.5, np.array([0.5, 0.1]))


def acted(policy, steps=4):
  """Actions [T, B, A] of two robots."""
  streams = tuple(s.name for s in policy.model.streams)
  seen, _ = robots.episode(steps, batch=2, streams=streams)
  policy.reset(2)
  return np.stack([policy.act(now) for now in seen])


def assert_same(policy, other):
  np.testing.assert_array_equal(acted(policy), acted(other))


@pytest.fixture(scope='module')
def encoder(tmp_path_factory):
  """A folder with an image model as the mae stage leaves it, and more."""
  folder = tmp_path_factory.mktemp('mae')
  model = mae.Autoencoder(16, 8, 8, 1, 2, decoder_width=8, decoder_num_heads=2)
  mae.save(model, model.init(jax.random.key(3)), folder)
  (folder / 'notes.bin').write_bytes(b'large')
  return folder


def on_folder(encoder, seed=0):
  settings = {'output': 'mean_patch'}
  parts = robots.parts(('latent/front', 'action'), seed=seed)
  image = vision.load(encoder, **settings)
  return parts | {'image': image, 'image_from': (encoder, settings)}


def saved_small(folder):
  policy = Policy(
    **robots.parts(('proprio', 'action')),
    execution=Execution(2),
    action_limit=LIMIT,
    labels=robots.LABELS,
  )
  policy.save(folder)
  return policy


def test_a_loaded_policy_acts_bit_for_bit(tmp_path):
  policy = saved_small(tmp_path / 'deep' / 'policy')
  loaded = Policy.load(tmp_path / 'deep' / 'policy')
  assert_same(policy, loaded)
  assert loaded.model == policy.model and loaded.labels == robots.LABELS
  assert loaded.execution == Execution(2) and loaded.frames == {}
  otherwise = Policy.load(tmp_path / 'deep' / 'policy', Execution(1, 0.1))
  assert otherwise.execution == Execution(1, 0.1)
  loaded.save(tmp_path / 'deep' / 'policy')  # In place of the first.
  assert_same(policy, Policy.load(tmp_path / 'deep' / 'policy'))
  assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['policy']


def test_an_image_model_that_is_a_folder_goes_along(tmp_path, encoder):
  own = tmp_path / 'encoder'
  shutil.copytree(encoder, own)
  policies = []
  for seed in range(2):
    policies.append(Policy(**on_folder(own, seed)))
    policies[-1].save(tmp_path / f'{seed}')
  shutil.rmtree(own)
  copied = {p.name for p in (tmp_path / '0' / 'encoder').iterdir()}
  assert 'notes.bin' not in copied and 'model.safetensors' in copied
  (tmp_path / 'moved').mkdir()
  shutil.move(tmp_path / '0', tmp_path / 'moved' / '0')
  loaded = [Policy.load(tmp_path / name) for name in ('moved/0', '1')]
  program.step.clear_cache()
  actions = [acted(policy) for policy in loaded]
  assert program.step._cache_size() == 1  # Both are one program.
  np.testing.assert_array_equal(actions[0], acted(policies[0]))
  np.testing.assert_array_equal(actions[1], acted(policies[1]))


def test_parameters_of_a_tuned_image_model_are_kept(tmp_path, encoder):
  parts = on_folder(encoder)
  tuned = jax.tree.map(lambda x: x * 0.5, parts['image'].params)
  image = dataclasses.replace(parts['image'], params=tuned)
  policy = Policy(**parts | {'image': image})
  policy.save(tmp_path / 'tuned')
  loaded = Policy.load(tmp_path / 'tuned')
  assert_same(policy, loaded)
  loaded.save(tmp_path / 'again')
  assert_same(policy, Policy.load(tmp_path / 'again'))


def test_an_image_model_by_name_stays_a_reference_and_is_checked(tmp_path):
  settings = dict(image_size=16, patch=8, width=8, depth=1, num_heads=2)
  settings['output'] = 'mean_patch'
  image = vision.load('random', **settings)
  parts = robots.parts() | {'image': image, 'image_from': ('random', settings)}
  Policy(**parts).save(tmp_path / 'policy')
  assert not (tmp_path / 'policy' / 'encoder').exists()
  loaded = Policy.load(tmp_path / 'policy')
  assert loaded.image_from == ('random', settings)
  assert loaded.frames == robots.FRAMES
  assert loaded.observed == ('front', 'corner2', 'proprio')
  edit(
    tmp_path / 'policy',
    lambda c: c['acting']['image']['settings'].update(seed=1),
  )
  with pytest.raises(ValueError, match='random: not the weights'):
    Policy.load(tmp_path / 'policy')


def test_a_discrete_policy_keeps_its_actions_and_the_order_of_cameras(tmp_path):
  settings = dict(image_size=16, patch=8, width=8, depth=1, num_heads=2)
  settings['output'] = 'mean_patch'
  image = vision.load('random', **settings)
  cameras = ('front', 'corner2')  # Not as they would be sorted.
  parts = robots.parts(
    ('latent', 'action'), cameras=cameras, num_actions=robots.NUM_ACTIONS
  )
  parts |= {'image': image, 'image_from': ('random', settings)}
  policy = Policy(**parts, execution=Execution(2, temperature=0.5))
  policy.save(tmp_path / 'policy')
  loaded = Policy.load(tmp_path / 'policy')
  assert loaded.num_actions == robots.NUM_ACTIONS and loaded.action_dim == 0
  assert loaded.execution == Execution(2, temperature=0.5)
  assert loaded.observed == cameras and loaded.scales.keys() == {'latent'}
  seen, _ = robots.episode(4, batch=8, streams=(), cameras=cameras)
  given = []
  for each in (policy, loaded):
    each.reset(8)
    given.append(np.stack([each.act(now) for now in seen]))
  assert given[0].dtype == np.int32 and len(np.unique(given[0])) > 1
  np.testing.assert_array_equal(*given)


def test_folders_of_before_discrete_actions_are_read(tmp_path):
  settings = dict(image_size=16, patch=8, width=8, depth=1, num_heads=2)
  settings['output'] = 'mean_patch'
  image = vision.load('random', **settings)
  parts = robots.parts() | {'image': image, 'image_from': ('random', settings)}
  policy = Policy(**parts)
  policy.save(tmp_path / 'policy')

  def old(config):
    entry = config['acting']
    del entry['num_actions'], entry['execution']['temperature']
    entry['frames'] = dict(entry['frames'])

  edit(tmp_path / 'policy', old)
  loaded = Policy.load(tmp_path / 'policy')
  assert loaded.num_actions == 0 and loaded.frames == robots.FRAMES
  assert_same(policy, loaded)


def test_only_what_can_be_read_again_is_saved(tmp_path, encoder):
  parts = on_folder(encoder)
  for image_from, message in (
    (None, 'give Policy image_from'),
    ((encoder, {'output': 'cls'}), 'is not the image model'),
    (('pixels', {}), 'is not the image model'),
  ):
    policy = Policy(**parts | {'image_from': image_from})
    with pytest.raises(ValueError, match=message):
      policy.save(tmp_path / 'policy')
  (tmp_path / 'notes').mkdir()
  with pytest.raises(ValueError, match='is no saved model'):
    Policy(**parts).save(tmp_path / 'notes')
  assert [p.name for p in tmp_path.iterdir()] == ['notes']  # Nothing half done.


def edit(folder, change):
  path = folder / 'config.json'
  config = json.loads(path.read_text())
  change(config)
  path.write_text(json.dumps(config))


def tensors(folder, change):
  path = folder / 'model.safetensors'
  safetensors.save_file(change(safetensors.load_file(path)), path)


def cut(folder, name):
  path = folder / name
  path.write_bytes(path.read_bytes()[:-9])


TIME = 'trunk/time/embedding'
ELSEWHERE = {
  'load': '/etc/hostname',
  'settings': {},
  'sha256': '',
  'own_params': False,
}
FAULTS = {
  'no JSON': (lambda f: cut(f, 'config.json'), 'config.json: no JSON'),
  'no policy': (
    lambda f: (f / 'config.json').unlink(),
    'config.json: no such file',
  ),
  'another version': (
    lambda f: edit(f, lambda c: c.update(version=3)),
    r"format \('rpt_jax', 3\), expected \('rpt_jax', 2\)",
  ),
  'another format': (
    lambda f: edit(f, lambda c: c.pop('format')),
    r'format \(None, 2\)',
  ),
  'an image model elsewhere': (
    lambda f: edit(f, lambda c: c['acting'].update(image=ELSEWHERE)),
    "its image model is '/etc/hostname', expected 'encoder'",
  ),
  'a field less': (
    lambda f: edit(f, lambda c: c.pop('streams')),
    "not as a model is saved .KeyError: 'streams'",
  ),
  'an unknown field': (
    lambda f: edit(f, lambda c: c['model'].update(banana=1)),
    'not as a model is saved .TypeError.*banana',
  ),
  'a tensor less': (
    lambda f: tensors(f, lambda t: {k: t[k] for k in t if k != TIME}),
    'model.safetensors: does not fit the model: missing trunk/time/embedding',
  ),
  'a tensor more': (
    lambda f: tensors(f, lambda t: t | {'banana': np.zeros(2)}),
    'model.safetensors: does not fit the model: extra banana',
  ),
  'a tensor of another shape': (
    lambda f: tensors(f, lambda t: t | {TIME: t[TIME][:-1]}),
    r'misshaped trunk/time/embedding \[3, 16\] .the model has \[4',
  ),
  'half a file': (
    lambda f: cut(f, 'model.safetensors'),
    'model.safetensors: not a whole safetensors file',
  ),
  'no scales': (
    lambda f: (f / 'scales.safetensors').unlink(),
    'scales.safetensors: no such file',
  ),
  'half the scales': (
    lambda f: safetensors.save_file(
      {'mean/action': np.zeros(2)}, f / 'scales.safetensors'
    ),
    r"found \['mean/action'\], expected mean/<stream>",
  ),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('saved') / 'policy'
  saved_small(path)
  return path


@pytest.mark.parametrize('fault', FAULTS)
def test_what_is_damaged_is_refused(tmp_path, folder, fault):
  shutil.copytree(folder, tmp_path / 'policy')
  damage, message = FAULTS[fault]
  damage(tmp_path / 'policy')
  with pytest.raises(ValueError, match=message):
    Policy.load(tmp_path / 'policy')


def test_scales_are_read_as_written(tmp_path):
  scales = jax.tree.map(np.float32, robots.scales())
  save_scales(tmp_path / 'scales.safetensors', scales)
  loaded = load_scales(tmp_path / 'scales.safetensors')
  assert loaded.keys() == scales.keys()
  for name, pair in scales.items():
    np.testing.assert_array_equal(loaded[name], pair)
