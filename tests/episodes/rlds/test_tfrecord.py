"""TFRecord files: records come back verified, or a named error."""

import pathlib
import struct

import numpy as np
import pytest

from rpt_jax.episodes.rlds import crc32c, tfrecord

BRIDGE = (
  pathlib.Path(__file__).parents[3].parent / 'shared/data/bridge_rlds/1.0.0'
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
