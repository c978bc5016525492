"""What is shared comes back bit for bit, acts the same, or is refused."""

import dataclasses
import fnmatch
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import rpt_jax
from rpt_jax import vision
from rpt_jax.models import sequence
from rpt_jax.models.heads import HeadSpec, cosine
from rpt_jax.models.trunks import transformer
from rpt_jax.policy import Policy
from rpt_jax.pretrained import Pretrained
from rpt_jax.sharing import save_scales
from rpt_jax.types import StreamSpec
from rpt_jax.vision.pretraining import mae
from tests.policy import robots

FRONT = StreamSpec('latent/front', 'continuous', dim=3)
UNIT = StreamSpec('unit', 'discrete', vocab=5, levels=2)
ORIGIN = {'run': 'rpt', 'data': {'drawers': 7}, 'ratio': [0.7, 0.9]}
CARD = '# Drawers\n\nWith an accent: é.\n'


@pytest.fixture(scope='module')
def trunk():
  heads = (HeadSpec(UNIT, cosine.Settings(), reads=('unit',)),)
  model = sequence.SequenceModel(
    (FRONT, UNIT), heads, transformer.Settings(1, 2), 8, 4
  )
  params = jax.device_get(sequence.init(model, jax.random.key(0)))
  rng = np.random.default_rng(0)
  scales = {'latent/front': tuple(rng.uniform(1, 2, (2, 3)).astype('f4'))}
  return Pretrained(model, params, scales, ORIGIN, CARD)


@pytest.fixture(scope='module')
def shared(trunk, tmp_path_factory):
  folder = tmp_path_factory.mktemp('shared') / 'trunk'
  trunk.save_pretrained(folder)
  return folder


def inputs(seed=0):
  rng = np.random.default_rng(seed)
  x_BTD = rng.normal(size=(2, 4, 3)).astype(np.float32)
  unit_BTL = rng.integers(5, size=(2, 4, 2), dtype=np.int32)
  return {'latent/front': x_BTD, 'unit': unit_BTL}


def assert_same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
  jax.tree.map(np.testing.assert_array_equal, one.scales, other.scales)
  assert one.model == other.model and one.origin == other.origin
  assert one.card == other.card


def test_a_trunk_comes_back_bit_for_bit(trunk, shared, tmp_path):
  found = rpt_jax.from_pretrained(shared)
  assert_same(found, trunk)
  for _ in range(2):  # The second time in its place.
    found.save_pretrained(tmp_path / 'again')
  assert [p.name for p in tmp_path.iterdir()] == ['again']
  assert_same(rpt_jax.from_pretrained(tmp_path / 'again'), trunk)
  assert {p.name for p in (tmp_path / 'again').iterdir()} == {
    *('config.json', 'model.safetensors', 'scales.safetensors', 'README.md')
  }
  with pytest.raises(ValueError, match='a model that does not act'):
    found.policy()


def test_features_are_those_of_the_model_on_standardised_inputs(trunk, shared):
  found, seen = rpt_jax.from_pretrained(shared), inputs()
  valid_BT = np.arange(4)[None] < np.array([[4], [2]])
  mean_D, std_D = trunk.scales['latent/front']
  scaled_BTD = (seen['latent/front'] - mean_D) / std_D
  apply = sequence.bind(trunk.model, trunk.params)
  expected = apply(seen | {'latent/front': scaled_BTD}, valid_BT)
  features_BTD = found.features(seen, valid_BT)
  np.testing.assert_allclose(features_BTD, expected['features'], atol=1e-5)
  # A stream left out is absent, whatever would have been in it.
  present_BTM = np.broadcast_to([True, False], (2, 4, 2))
  nothing = {'latent/front': scaled_BTD, 'unit': seen['unit']}
  alone = apply(nothing, valid_BT, None, present_BTM)['features']
  found_BTD = found.features({'latent/front': seen['latent/front']}, valid_BT)
  np.testing.assert_allclose(found_BTD, alone, atol=1e-5)
  assert np.abs(found_BTD - features_BTD).max() > 1e-3
  for wrong in ({}, seen | {'banana': seen['unit']}):
    with pytest.raises(ValueError, match='expected some of the streams'):
      found.features(wrong)


def test_a_card_is_written_for_what_has_none(trunk, tmp_path):
  dataclasses.replace(trunk, card='').save_pretrained(tmp_path / 'bare')
  card = (tmp_path / 'bare' / 'README.md').read_text()
  for said in ('library_name: rpt_jax', 'from_pretrained', 'width 8 (depth 1'):
    assert said in card
  assert '| latent/front | continuous | 3 |' in card
  assert '| unit | discrete | 2 x 5 units |' in card


@pytest.fixture(scope='module')
def policy(tmp_path_factory):
  """A saved policy whose image model is a folder."""
  folder = tmp_path_factory.mktemp('policy')
  settings = {'output': 'mean_patch'}
  model = mae.Autoencoder(16, 8, 8, 1, 2, decoder_width=8, decoder_num_heads=2)
  mae.save(model, model.init(jax.random.key(3)), folder / 'mae')
  parts = robots.parts(('latent/front', 'action'))
  image = vision.load(folder / 'mae', **settings)
  parts |= {'image': image, 'image_from': (folder / 'mae', settings)}
  Policy(**parts).save(folder / 'policy', origin=ORIGIN, card=CARD)
  return folder / 'policy'


def acted(policy):
  seen, _ = robots.episode(3, streams=('latent/front', 'action'))
  policy.reset()
  return np.stack([policy.act(now) for now in seen])


def test_a_policy_acts_as_it_was_loaded(policy, tmp_path):
  expected = acted(Policy.load(policy))
  model = rpt_jax.from_pretrained(policy)
  np.testing.assert_array_equal(acted(model.policy()), expected)
  model.save_pretrained(tmp_path / 'again')
  again = rpt_jax.from_pretrained(tmp_path / 'again')
  assert_same(again, model)
  assert again.card == CARD and again.origin == ORIGIN
  assert (tmp_path / 'again' / 'encoder' / 'model.safetensors').exists()
  np.testing.assert_array_equal(acted(again.policy()), expected)
  other = dataclasses.replace(
    model, params=jax.tree.map(lambda x: 2 * x, model.params)
  )
  assert (acted(other.policy()) != expected).any()


def test_an_id_is_fetched_with_all_it_takes_to_act(
  policy, tmp_path, monkeypatch
):
  hub = pytest.importorskip('huggingface_hub')
  asked = []

  def download(repository, allow_patterns):
    """What the hub does, without a network."""
    asked.append(repository)
    for path in policy.rglob('*'):
      name = path.relative_to(policy).as_posix()
      if any(fnmatch.fnmatch(name, p) for p in allow_patterns):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / name)
    return str(tmp_path)

  monkeypatch.setattr(hub, 'snapshot_download', download)
  model = rpt_jax.from_pretrained('some-lab/drawers')
  assert asked == ['some-lab/drawers'] and model.card == CARD
  np.testing.assert_array_equal(
    acted(model.policy()), acted(Policy.load(policy))
  )
  with pytest.raises(ValueError, match='nowhere: no such folder'):
    rpt_jax.from_pretrained(tmp_path / 'nowhere')


def edited(name, change):
  """Damage to a JSON file."""

  def damage(folder):
    found = json.loads((folder / name).read_text())
    change(found)
    (folder / name).write_text(json.dumps(found))

  return damage


def written(name, content):
  return lambda folder: (folder / name).write_bytes(content)


def cut(name):
  def damage(folder):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])

  return damage


LONG_HEADER = (2**62).to_bytes(8, 'little') + b'{}'
WIDE = {'latent/front': (np.zeros(4), np.ones(4))}
PICKLE = b'\x80\x04\x95'  # How torch and pickle files begin.
MALICIOUS = {
  'truncated weights': (cut('model.safetensors'), 'not a whole safetensors'),
  'truncated scales': (cut('scales.safetensors'), 'not a whole safetensors'),
  'an endless header': (
    written('model.safetensors', LONG_HEADER),
    'not a whole safetensors',
  ),
  'a pickle': (
    written('model.safetensors', PICKLE * 99),
    'not a whole safetensors',
  ),
  'no weights': (
    lambda folder: (folder / 'model.safetensors').unlink(),
    'model.safetensors: no such file',
  ),
  'no JSON': (written('config.json', b'{"format": '), 'config.json: no JSON'),
  'not text': (written('config.json', b'\xff\xfe\x00'), 'config.json: no JSON'),
  'JSON of a list': (written('config.json', b'[]'), 'found a list'),
  'an image model of the hub': (
    written('config.json', b'{"model_type": "vit"}'),
    r"format \(None, None\), expected \('rpt_jax', 2\)",
  ),
  'a later version': (
    edited('config.json', lambda c: c.update(version=3)),
    r"format \('rpt_jax', 3\)",
  ),
  'a width that fills all memory': (
    edited('config.json', lambda c: c['model'].update(width=10**9)),
    'width is 1000000000, but the largest axis',
  ),
  'a depth without end': (
    edited('config.json', lambda c: c['trunk'].update(depth=10**12)),
    'models/trunks.depth: found 1000000000000, expected an integer at least 1',
  ),
  'no heads of attention': (
    edited('config.json', lambda c: c['trunk'].update(num_heads=0)),
    'models/trunks.num_heads: found 0, expected an integer at least 1',
  ),
  'a trunk that there is not': (
    edited('config.json', lambda c: c['trunk'].update(kind='lstm')),
    "models/trunks.kind: found 'lstm', expected one of ",
  ),
  'a trunk with a setting that there is not': (
    edited('config.json', lambda c: c['trunk'].update(banana=1)),
    'models/trunks.banana: no such key',
  ),
  'another depth': (
    edited('config.json', lambda c: c['trunk'].update(depth=2)),
    r'misshaped trunk/.* \[1, .*the model has \[2, ',
  ),
  'scales of another width': (
    lambda folder: save_scales(folder / 'scales.safetensors', WIDE),
    r"stream 'latent/front' has shapes \[\(4,\), \(4,\)\], expected",
  ),
  'JSON without end': (
    written('config.json', b'[' * 100_000),
    'config.json: no JSON',
  ),
}


@pytest.mark.parametrize('fault', MALICIOUS)
def test_what_is_damaged_or_malicious_is_refused(shared, tmp_path, fault):
  damage, message = MALICIOUS[fault]
  shutil.copytree(shared, tmp_path / 'bad')
  damage(tmp_path / 'bad')
  with pytest.raises(ValueError, match=message):
    rpt_jax.from_pretrained(tmp_path / 'bad')


def test_what_is_read_imports_nothing(shared, tmp_path, monkeypatch):
  """A kind of another package is one that somebody has imported before."""
  (tmp_path / 'others.py').write_text('raise SystemExit("it ran")\n')
  monkeypatch.syspath_prepend(tmp_path)
  for part in ('trunk', 'heads'):
    shutil.copytree(shared, tmp_path / part)

    def damage(config, part=part):
      entry = (
        config['heads'][0]['settings'] if part == 'heads' else config[part]
      )
      entry['kind'] = 'others.trunk'

    edited('config.json', damage)(tmp_path / part)
    with pytest.raises(ValueError, match="import 'others.trunk' before"):
      rpt_jax.from_pretrained(tmp_path / part)
  assert 'others' not in sys.modules


def test_nobody_elses_folder_is_replaced(trunk, tmp_path):
  """Not even one with a config.json, such as an image model's."""
  (tmp_path / 'config.json').write_text('{"model_type": "vit"}')
  with pytest.raises(ValueError, match='is no saved model'):
    trunk.save_pretrained(tmp_path)
  assert [p.name for p in tmp_path.iterdir()] == ['config.json']


def test_the_package_alone_imports_nothing():
  code = "import rpt_jax, sys; assert 'jax' not in sys.modules; rpt_jax.banana"
  root = pathlib.Path(rpt_jax.__file__).parents[1]
  command = [sys.executable, '-c', code]
  done = subprocess.run(command, cwd=root, capture_output=True, text=True)
  assert "has no attribute 'banana'" in done.stderr
