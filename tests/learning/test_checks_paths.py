"""What a config needs and is not there: all of it in one error."""

import pytest

from rpt_jax import experiments, settings
from rpt_jax.learning import checks
from tests.settings import variants


def refused(config):
  with pytest.raises(ValueError) as error:
    checks.experiment(config)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_all_missing_paths_stand_in_one_error(tmp_path, monkeypatch):
  """And where the data of a shipped config come from."""
  monkeypatch.chdir(tmp_path)  # Beside it there is no ../shared/data.
  config = experiments.load('robot_video')
  config.pretrain.init.path = 'runs/one/pretrained/of/before'
  config.domains.other = settings.plugin(
    'domains', 'recorded', path='not/there'
  )
  said = refused(config)
  for words in (
    'config.domains.g1: ../shared/data/g1_lerobot_v21: no such file or folder',
    'config.domains.other: not/there: no such file or folder',
    'config.encoder: ../shared/data/weights/mobilenet_v1_1.0_224.safetensors: '
    'no such file or folder',
    'config.pretrain.init.path: runs/one/pretrained/of/before: no such file',
  ):
    assert said.count(words) == 1, said
  assert 'YifanTian07/G1-policy-train of Hugging Face' in said


@pytest.mark.parametrize(
  'spec', ['robot_video', 'robot_video:bridge', 'robot_video:video', 'mae',
           'rpt:g1'],
)  # fmt: skip
def test_a_shipped_config_says_where_its_data_come_from(
  spec, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  config = experiments.load(spec)
  said = refused(config)
  assert said.endswith(config.origin) and len(config.origin) > 40
  assert all(f'config.domains.{name}: ' in said for name in config.domains)


@pytest.mark.parametrize('spec', ['rpt:g1_blind', 'hubert_units', 'study'])
def test_a_kind_of_image_objective_is_no_image_model(spec):
  """But the flag --config.encoder of that name has it trained."""
  config = experiments.load(spec)
  config.encoder = 'mae'
  words = "config.encoder: found 'mae', a kind of image objective, expected an"
  assert words in refused(config)


@pytest.mark.parametrize(
  'spec, flags, trained',
  [
    ('hubert_units', ['encoder=mae'], {'kind': 'mae', 'patch': 16}),
    ('hubert_units', ['encoder=mae', 'image_model.steps=7'], {'steps': 7}),
    ('hubert_units', ['encoder=foreground'], {'patch': 4}),
    ('robot_video', ['encoder=mae'], {'kind': 'mae'}),
    ('rpt:g1_blind', ['encoder=mae'], {'kind': 'mae'}),
    ('r3m', ['encoder=mae'], {'patch': 14}),  # Of 84 pixels.
    ('r3m', ['encoder=mae', 'image_model.patch=7'], {'patch': 7}),
    ('clip:quicktest', ['encoder=mae'], {'patch': 4}),  # Of 16.
  ],
)
def test_the_flag_encoder_takes_a_kind_to_train(spec, flags, trained):
  config = variants.parsed(spec, *(f'--config.{flag}' for flag in flags))
  read = settings.plain(settings.read(settings.Experiment, config))
  assert read['encoder'] == 'trained'
  assert {k: read['image_model'][k] for k in trained} == trained
