"""Fault 42: small files in which little stands for more than memory holds."""

import json
import resource
import struct

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import decode, hdf5, parquet
from rpt_jax.episodes.ros import cdr
from tests.episodes.formats import test_lerobot

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')
STEPS = 100


@pytest.fixture(autouse=True)
def frugal():
  """No refusal of this file takes half a GiB, with what it is of."""
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  yield
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert (after - before) << 10 < 1 << 29


def vectors(width, steps=STEPS):
  """Zeros [steps, width] as lists of one length, laid flat."""
  return pa.FixedSizeListArray.from_arrays(np.zeros(width * steps, 'f4'), width)


def rows(path, **columns):
  """A Parquet file of one episode, packed as far as it goes."""
  path.parent.mkdir(parents=True, exist_ok=True)
  steps = len(next(iter(columns.values())))
  number = np.zeros(steps, np.int64)
  action = vectors(2, steps)
  table = pa.table({'episode_index': number, 'action': action, **columns})
  pq.write_table(table, path, compression='zstd', store_schema=False)
  assert path.stat().st_size < 1 << 16
  return path


def repeated(text, count):
  """A column in which every row is the same text, which is kept once."""
  index = pa.array(np.zeros(count, np.int32))
  return pa.DictionaryArray.from_arrays(index, [text])


def test_42_little_that_stands_for_much(tmp_path):
  """a table of long lists, one text in every row or packed batches; one frame
  shown all the time; a message of a million others -> refused by name, before
  memory is taken for them"""
  path = rows(tmp_path / 'a' / 'x.parquet', state=vectors(200_000))
  with pytest.raises(ValueError, match='x.parquet: .*row group declares'):
    episodes.open(path)[0]
  text = repeated('a' * 100_000, 5000)
  path = rows(tmp_path / 'b' / 'x.parquet', state=vectors(2, 5000), text=text)
  with pytest.raises(ValueError, match='x.parquet: text of a row .*declares'):
    episodes.open(path)[0]
  with pytest.raises(ValueError, match='part-0.arrow: its batches are packed'):
    episodes.open(packed(tmp_path / 'c'))
  frame = np.broadcast_to(np.uint8(0), (15_000, 15_000, 3))
  with pytest.raises(ValueError, match='step 1: frames: all declares'):
    decode.stack([b'a', b'a'], lambda data: frame)
  many = b'\0\1\0\0' + struct.pack('<I', 1 << 21) + bytes(1 << 21)
  types = cdr.definition('p/A', 'ros2msg', 'B[] a\n===\nMSG: p/B')
  with pytest.raises(ValueError, match='more than 1048576 messages'):
    cdr.decode(types, 'p/A', many)


def test_messages_of_nothing_at_all():
  """Two in each other forty times would be read 2^40 times, of no byte."""
  inner = (f'A{i} a\nA{i} b\n===\nMSG: p/A{i}\n' for i in range(40))
  text = ''.join(inner) + 'uint8[0] nothing'
  with pytest.raises(ValueError, match=r"'uint8\[0\] nothing'.*above 0"):
    cdr.definition('p/A', 'ros2msg', text)


def test_tables_of_lerobot_that_repeat(tmp_path):
  """So do those of what is to be done, and of where episodes lie."""
  test_lerobot.write_v3(tmp_path)
  for name, column in (('tasks', 'task'), ('episodes/x', 'tasks')):
    path = tmp_path / f'meta/{name}.parquet'
    before = path.read_bytes() if path.exists() else None
    texts = {column: repeated('a' * 100_000, 5000)}
    rows(path, length=pa.array(np.ones(5000, np.int64)), **texts)
    with pytest.raises(ValueError, match=f'{path.name}: .*{column} of a row'):
      episodes.open(tmp_path).metadata(0)
    path.unlink() if before is None else path.write_bytes(before)


def test_what_is_shared_is_read_as_it_is(tmp_path):
  """Texts of a table that repeats them, beside lists and frames of any size."""
  texts = [['push', 'pull', None, 'a' * 70_000][i % 4] for i in range(1000)]
  kinds = {'text': texts, 'b.text': texts, 'size': np.arange(1000)}
  kinds['many'] = [texts[i : i + 2] for i in range(1000)]
  path = tmp_path / 'x.parquet'
  table = pa.table(kinds)
  pq.write_table(table, path, row_group_size=300)
  for names in (['text'], ['b.text', 'size'], ['many', 'text', 'size']):
    own = parquet.Tables().rows(path, names, 100, 700)
    assert own.to_pylist() == table.select(names).slice(100, 700).to_pylist()
  assert parquet.whole(path).to_pylist() == table.to_pylist()


def test_values_that_are_one_in_an_hdf5_file(tmp_path):
  """A place of 16 bytes for each says that it is the same frame."""
  h5py = pytest.importorskip('h5py')
  path, steps = tmp_path / 'demo.hdf5', 3000
  frame = np.random.default_rng(0).bytes(200_000)
  with h5py.File(path, 'w') as file:
    group = file.create_group('data/demo_0')
    group['actions'], group['obs/state'] = np.zeros((2, steps, 2))
    kind = h5py.vlen_dtype(np.uint8)
    frames = group.create_dataset('obs/image', (steps,), dtype=kind)
    frames[0] = np.frombuffer(frame, np.uint8)
    begin = frames.id.get_offset()
  content = bytearray(path.read_bytes())
  content[begin : begin + 16 * steps] = content[begin : begin + 16] * steps
  path.write_bytes(content)
  with hdf5.opened(path) as file, pytest.raises(ValueError, match='declares'):
    hdf5.values(file['data/demo_0/obs'], 'image')
  with hdf5.opened(path) as file:
    (first,) = hdf5.values(file['data/demo_0/obs'], 'image', slice(7, 8))
  assert first.tobytes() == frame


def test_tables_of_minari_lie_in_its_folder(tmp_path):
  place = packed(tmp_path, None) / 'data/0/part-0.arrow'
  assert len(episodes.open(tmp_path)) == 1
  place.rename(tmp_path / 'away.arrow')
  place.symlink_to(tmp_path / 'away.arrow')
  with pytest.raises(ValueError, match='part-0.arrow.*leads out|leads out.*0/'):
    episodes.open(tmp_path)


def packed(root, compression='zstd'):
  """A dataset of Minari's with one table, which none of it would pack."""
  place, count = root / 'data/0', STEPS + 1
  place.mkdir(parents=True)
  about = {'total_episodes': 1, 'data_format': 'arrow', 'total_steps': STEPS}
  for folder in (place.parent, place):
    (folder / 'metadata.json').write_text(json.dumps(about))
  wide = 1 << 19 if compression else 3
  columns = {'observations': vectors(wide, count), 'actions': vectors(2, count)}
  columns |= {'rewards': np.zeros(count), 'terminations': np.zeros(count, bool)}
  table = pa.table(columns)
  how = pa.ipc.IpcWriteOptions(compression=compression)
  with pa.ipc.new_file(place / 'part-0.arrow', table.schema, options=how) as f:
    f.write_table(table)
  return root
