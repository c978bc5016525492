"""How long stages took: for those who wait, and never a fault."""

import json

import pytest

from rpt_jax.training import durations


@pytest.fixture
def folder(tmp_path, monkeypatch):
  folder = tmp_path / 'compiled'
  folder.mkdir(mode=0o700)
  monkeypatch.setenv('RPT_JAX_COMPILED', str(folder))
  return folder


def test_the_last_time_is_kept_by_config_and_stage(folder):
  for config, stage, seconds in (
    ('a', 'see', 1.0), ('a', 'probe', 2.0), ('b', 'see', 3.0), ('a', 'see', 9.0)
  ):  # fmt: skip
    durations.keep(config, stage, seconds)
  assert durations.read('a') == {'see': 9.0, 'probe': 2.0}
  assert durations.read('b') == {'see': 3.0}
  assert durations.read('c') == {}
  durations.keep('', 'see', 1.0)  # Of no config's name nothing is kept.
  for i in range(2 * durations._MOST):
    durations.keep(f'many {i}', 'see', 1.0)
  (file,) = folder.iterdir()
  assert len(json.loads(file.read_text())) == durations._MOST


@pytest.mark.parametrize(
  'text', ['', '[]', '{"a": [1]}', '{"a": {"see": "<b>"}}', 'no JSON']
)
def test_what_is_broken_is_not_there(folder, text):
  (folder / 'durations.json').write_text(text)
  assert durations.read('a') == {}
  durations.keep('a', 'see', 1.0)
  assert durations.read('a') == {'see': 1.0}


def test_a_folder_of_others_is_left_alone(folder, monkeypatch):
  folder.chmod(0o777)
  durations.keep('a', 'see', 1.0)
  assert not list(folder.iterdir()) and durations.read('a') == {}
  monkeypatch.setenv('RPT_JAX_COMPILED', '')
  durations.keep('a', 'see', 1.0)
  assert durations.read('a') == {}
