"""A dataset is data: opening one never imports what it names."""

import ast
import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rpt_jax import episodes, settings
from rpt_jax.episodes.rlds import allowed, reader, writer
from rpt_jax.learning import checks
from rpt_jax.tools import convert, inspect
from tests.faults.test_broken_data import make_episode

PACKAGE = pathlib.Path(writer.__file__).parents[2]
MODULE = 'canary_of_a_dataset'
CORE = 'tensorflow_datasets.core.features.'
EVIL = {'pythonClassName': f'{MODULE}.Feature', 'jsonFeature': {'json': '{}'}}


@pytest.fixture
def canary(tmp_path, monkeypatch):
  """The file that appears once the module has been imported."""
  file, folder = tmp_path / 'canary', tmp_path / 'modules'
  folder.mkdir()
  code = f'open({str(file)!r}, "w").close()\n'
  (folder / f'{MODULE}.py').write_text(code)
  monkeypatch.syspath_prepend(folder)
  yield file
  sys.modules.pop(MODULE, None)


@pytest.fixture
def folder(tmp_path):
  path = tmp_path / 'data' / 'toy' / '1.0.0'
  writer.write(path, 'toy', {'train': [make_episode(0, 5)]})
  return path


def steps_of(features):
  return features['featuresDict']['features']['steps']['sequence']['feature']


def at_the_top(features):
  return EVIL


def as_protobuf_also_reads_it(features):
  return {'python_class_name': f'{MODULE}.Feature', 'json_feature': {}}


def in_a_dictionary(features):
  features['featuresDict']['features']['extra'] = EVIL
  return features


def as_the_feature_of_a_dataset(features):
  steps = features['featuresDict']['features']['steps']
  steps['sequence']['feature'] = EVIL
  return features


def below_a_dataset(features):
  steps_of(features)['featuresDict']['features']['action'] = EVIL
  return features


def in_a_sequence(features):
  steps_of(features)['featuresDict']['features']['extra'] = {
    'pythonClassName': f'{CORE}sequence_feature.Sequence',
    'sequence': {'feature': EVIL, 'length': '-1'},
  }
  return features


def in_the_old_form(features):
  evil = {'type': f'{MODULE}.Feature', 'content': {}}
  return {
    'type': f'{CORE}features_dict.FeaturesDict',
    'content': {'type': evil, 'steps': evil},
  }


def in_a_protobuf_as_text(features):
  content = {'features': {'steps': EVIL}}
  return {
    'type': f'{CORE}features_dict.FeaturesDict',
    'proto_cls': 'tensorflow_datasets.FeaturesDict',
    'content': json.dumps(content),
  }


def in_json_as_text(features):
  evil = {'type': f'{MODULE}.Feature', 'content': {}}
  return {
    'pythonClassName': f'{CORE}features_dict.FeaturesDict',
    'jsonFeature': {'json': json.dumps({'steps': evil})},
  }


SHAPES = (
  at_the_top,
  as_protobuf_also_reads_it,
  in_a_dictionary,
  as_the_feature_of_a_dataset,
  below_a_dataset,
  in_a_sequence,
  in_the_old_form,
  in_a_protobuf_as_text,
  in_json_as_text,
)


def change(path, edit):
  content = edit(json.loads(path.read_text()))
  path.write_text(json.dumps(content))


def named(folder, monkeypatch):
  """By name and version, where TFDS keeps its datasets."""
  root = str(folder.parents[1])
  monkeypatch.setattr(tfds.core.constants, 'DATA_DIR', root)
  return reader.RldsStore('toy:1.0.0')


OPENERS = {
  'open': lambda folder, _: episodes.open(folder),
  'above': lambda folder, _: episodes.open(folder.parent),
  'named': named,
  'inspect': lambda folder, _: inspect.run(str(folder), folder.parent / 'out'),
  'convert': lambda folder, _: convert.run(folder, folder.parent / 'out'),
}


def as_tfrecord(info):
  return info | {'fileFormat': 'tfrecord'}


@pytest.mark.parametrize('opener', OPENERS)
@pytest.mark.parametrize('shape', SHAPES, ids=lambda f: f.__name__)
def test_a_class_of_another_is_refused(
  shape, opener, folder, canary, monkeypatch
):
  change(folder / 'features.json', shape)
  if opener == 'convert':
    change(folder / 'dataset_info.json', as_tfrecord)
  with pytest.raises(ValueError) as error:
    OPENERS[opener](folder, monkeypatch)
  assert not canary.exists()
  text = str(error.value)
  assert str(folder / 'features.json') in text and '\n' not in text
  assert f"'{MODULE}.Feature'" in text and f'expected one of {CORE}' in text


@pytest.mark.parametrize('shape', SHAPES, ids=lambda f: f.__name__)
def test_tfds_itself_imports_it(shape, folder, canary):
  """The other test would pass for a shape that TFDS does not understand."""
  change(folder / 'features.json', shape)
  with pytest.raises(ValueError, match='Unrecognized FeatureConnector'):
    tfds.builder_from_directory(str(folder))
  assert canary.exists()


@pytest.mark.parametrize('opener', OPENERS)
def test_features_in_the_info_are_refused(opener, folder, canary, monkeypatch):
  def add(info):
    info = as_tfrecord(info) if opener == 'convert' else info
    return info | {'features': EVIL}

  change(folder / 'dataset_info.json', add)
  with pytest.raises(ValueError, match=f'dataset_info.*{MODULE}.Feature'):
    OPENERS[opener](folder, monkeypatch)
  assert not canary.exists()


def test_a_dataset_in_a_config_is_refused(folder, canary):
  change(folder / 'features.json', in_a_sequence)
  config = settings.base()
  config.domains.toy = settings.plugin('domains', 'recorded', path=str(folder))
  with pytest.raises(ValueError, match=f'{MODULE}.Feature'):
    checks.experiment(config)
  assert not canary.exists()


def test_names_of_modules_and_code_beside_data_stay_as_they_are(
  folder, canary, monkeypatch
):
  """Of every dataset that TFDS writes: the module that it was made by."""
  change(
    folder / 'dataset_info.json', lambda info: info | {'moduleName': MODULE}
  )
  code = f'open({str(canary)!r}, "w").close()\n'
  for path in (folder / 'toy.py', folder / '__init__.py'):
    path.write_text(code)
    (folder.parent / path.name).write_text(code)
  for opener in ('open', 'above', 'named', 'inspect'):
    OPENERS[opener](folder, monkeypatch)
  assert not canary.exists()


@pytest.mark.parametrize('text', ['{', '[]', '{"a":' * 100_000, '\xff'])
@pytest.mark.parametrize('file', ['features.json', 'dataset_info.json'])
def test_a_file_that_is_no_json_is_named(file, text, folder):
  (folder / file).write_bytes(text.encode('latin-1'))
  with pytest.raises(ValueError, match=f'1.0.0(/{file})?: .*write or copy'):
    episodes.open(folder)


def test_the_newest_version_of_a_name(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds.core.constants, 'DATA_DIR', str(tmp_path))
  for version in ('1.9.0', '1.10.0', '1.11.0.incomplete7'):
    writer.write(
      tmp_path / 'toy' / version, 'toy', {'train': [make_episode(0, 5)]}
    )
  assert reader.RldsStore('toy').path.endswith('toy/1.10.0')
  assert reader.RldsStore('toy:1.9.0').path.endswith('toy/1.9.0')
  for name in ('mnist', 'huggingface:mnist', 'kaggle:toy', 'toy:2.0.0'):
    with pytest.raises(ValueError, match=f'{name}: no such file or folder'):
      episodes.open(name)


def test_every_class_of_tfds_passes():
  """Those that it has registered, so that no name of ours is imported."""
  registered = {
    name
    for name in tfds.features.FeatureConnector._registered_features
    if name.startswith(CORE) and not name.endswith('.TopLevelFeature')
  }
  assert registered == allowed.CLASSES


def test_one_place_opens_folders():
  """Nobody goes around the check."""
  callers = set()
  for path in PACKAGE.rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Attribute) and (
        node.attr.startswith('builder_from_')
        or ast.unparse(node) in ('tfds.builder', 'tfds.load')
      ):
        callers.add((path.name, node.attr))
  assert callers == {('reader.py', 'builder_from_directory')}


def test_features_of_most_kinds_pass_as_tfds_writes_them(tmp_path):
  f = tfds.features
  steps = {
    'boxes': f.Sequence({'box': f.BBoxFeature(), 'label': np.int64}),
    'grasp': f.ClassLabel(names=['open', 'shut']),
    'inner': f.Dataset({'x': f.Tensor(shape=(3,), dtype=np.float32)}),
    'label': f.LabeledImage(labels=3, shape=(4, 4, 1)),
    'reward': f.Scalar(np.float32),
    'rgb': f.Image(shape=(4, 4, 3)),
    'words': f.Translation(languages=['en', 'fr']),
    'more': f.TranslationVariableLanguages(languages=['en']),
    'text': f.Text(doc='{"type": 1} is no class'),
  }
  features = f.FeaturesDict({'steps': f.Dataset(steps)})
  features.save_config(str(tmp_path))
  allowed.check(tmp_path)
  (tmp_path / 'features.json').write_text(json.dumps(features.to_json()))
  allowed.check(tmp_path)  # The old form.
