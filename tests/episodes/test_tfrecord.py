"""TFRecord to ArrayRecord: the same bytes, verified, or a named error."""

import json
import pathlib
import struct

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import crc32c, tfrecord

BRIDGE = (
  pathlib.Path(__file__).parents[2].parent / 'shared/data/bridge_rlds/1.0.0'
)
needs_bridge = pytest.mark.skipif(not BRIDGE.exists(), reason=f'no {BRIDGE}')


def slow_crc(data):
  """Bit by bit, as the polynomial is written down."""
  crc = 0xFFFFFFFF
  for byte in data:
    crc ^= byte
    for _ in range(8):
      crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
  return crc ^ 0xFFFFFFFF


def frame(data):
  size = struct.pack('<Q', len(data))
  return b''.join(
    part + struct.pack('<I', crc32c.masked(part)) for part in (size, data)
  )


@pytest.mark.parametrize(
  'data, expected',
  [  # RFC 3720, B.4, and the check value of the catalogue of CRCs.
    (bytes(32), 0x8A9136AA),
    (b'\xff' * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (b'123456789', 0xE3069283),
    (b'', 0),
  ],
)
def test_crc32c_of_published_vectors(data, expected):
  assert crc32c.crc32c(data) == expected


@pytest.mark.parametrize('size', [2047, 2048, 2049, 3001, 4099, 30_011])
def test_crc32c_of_lanes_is_that_of_bits(size):
  data = np.random.default_rng(size).bytes(size)
  assert crc32c.crc32c(data) == slow_crc(data)


def test_crc32c_goes_on_from_block_to_block(monkeypatch):
  data = np.random.default_rng(0).bytes(10_007)
  whole = crc32c.crc32c(data)
  monkeypatch.setattr(crc32c, '_BLOCK', 4096)
  assert crc32c.crc32c(data) == whole


def test_records_come_back(tmp_path):
  expected = [b'', b'one', bytes(range(256)) * 40]
  path = tmp_path / 'x.tfrecord'
  path.write_bytes(b''.join(map(frame, expected)))
  assert list(tfrecord.records(path)) == expected


@pytest.mark.parametrize('cut', [1, 8, 13, 30, 59])
def test_a_truncated_file_is_named_with_its_record(tmp_path, cut):
  path = tmp_path / 'x.tfrecord'
  path.write_bytes((frame(b'a' * 40) + frame(b'b' * 44))[:-cut])
  with pytest.raises(ValueError, match='x.tfrecord: record 1 is cut off'):
    list(tfrecord.records(path))


@pytest.mark.parametrize('at', [0, 7, 9, 12, 30, 53])
def test_every_flipped_bit_is_seen(tmp_path, at):
  content = bytearray(frame(b'a' * 40))
  content[at] ^= 4
  path = tmp_path / 'x.tfrecord'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='record 0 is'):
    list(tfrecord.records(path))


@needs_bridge
def test_real_bridge_episodes(tmp_path):
  with pytest.raises(ValueError, match=f'--convert={BRIDGE}'):
    episodes.open(BRIDGE)
  folder = tfrecord.convert(BRIDGE, tmp_path / 'bridge')
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
  told = [source.metadata(i)['instruction'] for i in range(25)]
  assert len(set(told)) == 4 and all(told)


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
    tfrecord.convert(source, tmp_path / 'new')
  assert [p.name for p in tmp_path.iterdir()] == ['source']


@needs_bridge
def test_what_is_converted_is_not_converted_again(tmp_path):
  folder = tfrecord.convert(BRIDGE, tmp_path / 'bridge')
  with pytest.raises(ValueError, match="expected 'tfrecord'"):
    tfrecord.convert(folder)
  with pytest.raises(ValueError, match='dataset_info.json'):
    tfrecord.convert(tmp_path)
  info = json.loads((folder / 'dataset_info.json').read_text())
  assert info['fileFormat'] == 'array_record'
