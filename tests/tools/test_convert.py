"""TFRecord to ArrayRecord: the same bytes, verified, or a named error."""

import json
import shutil
import struct

import pytest

from rpt_jax import episodes
from rpt_jax.episodes.rlds import tfrecord
from rpt_jax.tools import convert
from tests.episodes.rlds.test_tfrecord import BRIDGE, needs_bridge


@needs_bridge
def test_real_bridge_episodes(tmp_path):
  with pytest.raises(ValueError, match=f'--convert={BRIDGE}'):
    episodes.open(BRIDGE)
  folder = convert.run(BRIDGE, tmp_path / 'bridge')
  shard = next(BRIDGE.glob('*.tfrecord*'))
  source = episodes.open(folder, split='train')
  assert len(source) == 25
  assert source.lengths.tolist() == [10] * 25
  before = list(tfrecord.records(shard))
  after = [source.store._records[0][i] for i in range(25)]
  assert [bytes(record) for record in after] == before
  episode = source[3]
  assert episode.observation['image_0'].shape == (10, 64, 64, 3)
  assert episode.observation['image_0'].std() > 20
  assert not episode.observation['image_3'].any()
  assert episode.observation['state'].shape == (10, 7)
  assert episode.action.shape == (10, 7)
  assert episode.is_last.tolist() == [False] * 9 + [True]
  instructions = [source.metadata(i)['instruction'] for i in range(25)]
  assert len(set(instructions)) == 4 and all(instructions)


@needs_bridge
@pytest.mark.parametrize('fault', ['truncate', 'flip', 'record', 'missing'])
def test_a_conversion_is_whole_or_nothing(tmp_path, fault):
  source = tmp_path / 'source'
  source.mkdir()
  for path in BRIDGE.iterdir():
    (source / path.name).write_bytes(path.read_bytes())
  shard = next(source.glob('*.tfrecord*'))
  content = bytearray(shard.read_bytes())
  (first,) = struct.unpack('<Q', content[:8])
  if fault == 'truncate':
    shard.write_bytes(content[: len(content) // 2])
  elif fault == 'flip':
    content[first // 2] ^= 1
    shard.write_bytes(content)
  elif fault == 'record':  # Cut at the edge of a record: only counts can tell.
    shard.write_bytes(content[: first + 16])
  else:
    shard.unlink()
  with pytest.raises(ValueError, match=shard.name):
    convert.run(source, tmp_path / 'new')
  assert [p.name for p in tmp_path.iterdir()] == ['source']


@needs_bridge
def test_what_is_converted_is_not_converted_again(tmp_path):
  folder = convert.run(BRIDGE, tmp_path / 'bridge')
  words = "expected 'tfrecord'.*it can be read as it is"
  with pytest.raises(ValueError, match=words):
    convert.run(folder)
  with pytest.raises(ValueError, match='in place; give another folder with'):
    convert.run(BRIDGE, BRIDGE)
  with pytest.raises(ValueError, match='dataset_info.json'):
    convert.run(tmp_path)
  info = json.loads((folder / 'dataset_info.json').read_text())
  assert info['fileFormat'] == 'array_record'


@needs_bridge
def test_a_split_may_be_empty(tmp_path):
  source = tmp_path / 'source'
  shutil.copytree(BRIDGE, source)
  path = source / 'dataset_info.json'
  info = json.loads(path.read_text())
  info['splits'].append({'name': 'empty', 'numBytes': '0'})
  path.write_text(json.dumps(info))
  assert len(episodes.open(convert.run(source, tmp_path / 'new'))) == 25


@needs_bridge
@pytest.mark.parametrize('name', ['out', 'out/thesis.tex'])
def test_what_is_no_dataset_is_not_replaced(tmp_path, name):
  path = tmp_path / 'out' / 'thesis.tex'
  path.parent.mkdir()
  path.write_text('years of work')
  with pytest.raises(ValueError, match=f'{name}: found something that is no'):
    convert.run(BRIDGE, tmp_path / name)
  assert [p for p in tmp_path.rglob('*') if p.is_file()] == [path]
  path.unlink()
  for _ in range(2):  # Into an empty folder, and in place of a dataset.
    convert.run(BRIDGE, tmp_path / 'out')
  assert len(episodes.open(tmp_path / 'out')) == 25
