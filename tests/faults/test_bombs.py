"""Fault 41: small files that unpack to far more than they are."""

import io
import resource
import struct

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes.rlds import chunks, records, writer
from tests.faults.test_broken_data import make_episode


def gif(width, height, count):
  """A GIF of so many frames, each of which changes one pixel."""
  head = struct.pack('<HHBBB', width, height, 0x80, 0, 0)
  frame = b'\x2c' + struct.pack('<HHHHB', 0, 0, 1, 1, 0) + b'\2\2\x44\1\0'
  return b'GIF89a' + head + b'\0\0\0\xff\xff\xff' + frame * count + b'\x3b'


def webp(width, height, count):
  """A WebP of so many frames, each of which changes one pixel."""

  def chunk(kind, data):
    return kind + struct.pack('<I', len(data)) + data + b'\0' * (len(data) % 2)

  def three(number):
    return struct.pack('<I', number)[:3]

  pixel = io.BytesIO()
  Image.new('RGB', (1, 1)).save(pixel, 'WEBP', lossless=True)
  canvas = b'\2\0\0\0' + three(width - 1) + three(height - 1)
  place = three(0) * 4 + three(40) + b'\0'
  frame = chunk(b'ANMF', place + pixel.getvalue()[12:])
  body = chunk(b'VP8X', canvas) + chunk(b'ANIM', bytes(6)) + frame * count
  return b'RIFF' + struct.pack('<I', len(body) + 4) + b'WEBP' + body


@pytest.mark.parametrize(
  ('make', 'size', 'words'),
  (
    ((gif, 65535, 65535, 2), 'canvas.gif', 'DecompressionBomb'),
    ((gif, 9000, 9000, 2), 'wide.gif', 'declares'),
    ((gif, 4700, 4700, 1000), 'long.gif', 'declares'),
    ((gif, 8, 8, 140_000), 'longer.gif', 'found 140000 frames'),
    ((webp, 16384, 16384, 2), 'canvas.webp', 'DecompressionBomb'),
    ((webp, 9000, 9000, 2), 'wide.webp', 'declares'),
    ((webp, 4700, 4700, 1000), 'long.webp', 'declares'),
    ((webp, 8, 8, 140_000), 'longer.webp', 'found 140000 frames'),
  ),
)
def test_animations(make, size, words, tmp_path):
  path = tmp_path / size
  kind, *how = make
  path.write_bytes(kind(*how))
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with pytest.raises(ValueError) as error:
    episodes.open(path)
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert size in str(error.value) and words in str(error.value)
  assert (after - before) << 10 < 1 << 28


@pytest.mark.parametrize('make', (gif, webp))
def test_animations_that_are_none(make, tmp_path):
  """A long one of small frames is read."""
  (tmp_path / f'a.{make.__name__}').write_bytes(make(8, 8, 500))
  source = episodes.open(tmp_path / f'a.{make.__name__}')
  assert source.read(0, ['image'])['image'].shape == (500, 8, 8, 3)


def test_41_records_that_unpack_to_far_more(tmp_path):
  """records, GIF and WebP that declare far more than they hold, or a million
  frames -> refused by name, before memory is taken for them"""
  writer.write(tmp_path / 'toy', 'toy', {'train': [make_episode(0, 3)]})
  (shard,) = (tmp_path / 'toy').glob('*.array_record*')
  with records.Writer(shard) as file:
    file.write(bytes(chunks._FREE + 1))
  assert shard.stat().st_size < 1 << 18
  with pytest.raises(ValueError, match=f'{shard.name}: a record declares'):
    episodes.open(tmp_path / 'toy')[0]


def test_every_chunk_is_walked(tmp_path):
  """Those that blocks interrupt, too: what is packed adds up to the file."""
  rng, path = np.random.default_rng(0), tmp_path / 'a'
  sizes = [int(n) for n in rng.integers(1, 150_000, 40)]
  with records.Writer(path) as file:
    for size in sizes:
      file.write(rng.bytes(size))
  with open(path, 'rb') as file:
    walked = list(chunks._chunks(file, path.stat().st_size))
  declared = [declared for _, declared in walked if declared]
  assert declared[: len(sizes)] == sizes and len(declared) == len(sizes) + 2
  chunks.check_index(path)
  content = bytearray(path.read_bytes())
  # 'r', and how many it holds: of each chunk where it lies, and one for all.
  index = content.rindex(struct.pack('<Q', ord('r') | (len(sizes) + 1) << 8))
  index -= 24
  content[index + 32 : index + 40] = struct.pack('<Q', 1 << 60)
  path.write_bytes(content)
  with pytest.raises(
    ValueError, match='its index declares 1152921504606846976'
  ):
    records.count(path)


@pytest.mark.parametrize('damage', (bytes(40), b'\xff' * 40))
def test_a_damaged_chunk_hides_few_others(damage, tmp_path):
  """The walk goes on where the next block says that a chunk begins."""
  rng, path = np.random.default_rng(1), tmp_path / 'a'
  with records.Writer(path) as file:
    for _ in range(20):
      file.write(rng.bytes(50_000))
  size = path.stat().st_size
  with open(path, 'r+b') as file:
    before = [n for _, n in chunks._chunks(file, size) if n]
    file.seek(64)
    file.write(damage)
    after = [n for _, n in chunks._chunks(file, size) if n]
  assert after == before[-len(after) :] and len(before) - len(after) <= 2
  path.write_bytes(bytes(1 << 24))  # No more than one look at every block.
  with open(path, 'rb') as file:
    assert not list(chunks._chunks(file, 1 << 24)) and file.tell() > 1 << 23
