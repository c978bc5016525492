"""Faults 31 to 35: files of others, made to lead away or to do harm."""

import json
import os
import resource
import struct
import zipfile
import zlib

import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax import episodes, files, vision
from rpt_jax.episodes import decode
from rpt_jax.episodes.rlds import png, writer
from tests.faults.test_broken_data import make_episode

AWAY = ('/etc/hostname', '../../away', 'a/../../away', 'link/hostname', 'out')
MOST = 1 << 30  # bytes of memory that a refusal may take.


@pytest.fixture(autouse=True)
def frugal():
  """No refusal of this file takes a GiB."""
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  yield
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert (after - before) * 1024 < MOST


def refused(call, *words):
  """A ValueError of one line that has all words."""
  with pytest.raises(ValueError) as error:
    call()
  message = str(error.value)
  assert '\n' not in message and all(w in message for w in words), message


def lerobot(root, write=None, **info):
  """A LeRobot dataset of two episodes in one table each; `info` changes it."""
  pa = pytest.importorskip('pyarrow')
  from pyarrow import parquet

  from tests.episodes.formats import test_lerobot

  (write or test_lerobot.write_v2)(root)
  path = root / 'meta/info.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | info))
  return pa, parquet


def links(folder):
  """A link to a folder elsewhere, and one to a file elsewhere."""
  (folder / 'link').symlink_to('/etc')
  (folder / 'out').symlink_to('/etc/hostname')


@pytest.mark.parametrize('name', AWAY)
def test_31_names_that_lead_away(name, tmp_path):
  """a dataset, an index of weights or a policy that names a file out of its
  folder, by '..', absolutely or through a link -> refused by name"""
  folder = tmp_path / 'data' / 'toy'
  _, _ = lerobot(folder, data_path=name)
  links(folder)
  refused(lambda: episodes.open(folder)[0], 'leads out', name)
  lerobot(tmp_path / 'video', video_path=name)
  links(tmp_path / 'video')
  refused(lambda: episodes.open(tmp_path / 'video').read(0, ['image']), name)

  model = tmp_path / 'model'
  model.mkdir()
  links(model)
  (model / 'config.json').write_text('{"model_type": "vit"}')
  index = {'weight_map': {'a': name}}
  (model / 'model.safetensors.index.json').write_text(json.dumps(index))
  refused(lambda: vision.load(model), 'leads out', name)

  refused(lambda: files.inside(model, name), 'leads out', name)
  assert files.inside(model, './config.json').exists()


def test_images_of_a_table(tmp_path):
  """Frames may lie beside the table, and nowhere else."""
  pa, parquet = lerobot(tmp_path)
  info = json.loads((tmp_path / 'meta/info.json').read_text())
  info['features']['observation.images.front']['dtype'] = 'image'
  (tmp_path / 'meta/info.json').write_text(json.dumps(info))
  path = tmp_path / 'data/chunk-000/episode_000001.parquet'
  table, frame = (
    parquet.read_table(path),
    png.encode(np.zeros((1, 8, 9, 3), np.uint8)),
  )
  (tmp_path / 'frame.png').write_bytes(frame[0])
  for name, allowed in (('frame.png', True), ('/etc/hostname', False)):
    cells = pa.array([{'bytes': None, 'path': name}] * len(table))
    parquet.write_table(
      table.append_column('observation.images.front', cells), path
    )
    read = lambda: episodes.open(tmp_path).read(1, ['image'])  # noqa: E731
    if allowed:
      assert read()['image'].shape == (14, 8, 9, 3)
    else:
      refused(read, 'leads out', name)


def test_templates_of_protobuf_are_looked_at_too(tmp_path):
  for name in ('toy', 'away'):
    writer.write(tmp_path / name, 'toy', {'train': [make_episode(0, 3)]})
  path = tmp_path / 'toy/dataset_info.json'
  info = json.loads(path.read_text())
  template = info['splits'][0].pop('filepathTemplate')
  info['splits'][0]['filepath_template'] = f'../away/{template}'
  path.write_text(json.dumps(info))
  refused(lambda: episodes.open(tmp_path / 'toy'), '../away')


@pytest.mark.parametrize(
  'name', ('../../x', '/tmp/x', 'a/b', '{SPLIT:>9999999}')
)
def test_shards_have_names_of_files(name, tmp_path):
  """What `filepathTemplate` makes of them lies in the folder."""
  writer.write(tmp_path / 'toy', 'toy', {'train': [make_episode(0, 3)]})
  path = tmp_path / 'toy/dataset_info.json'
  info = json.loads(path.read_text())
  info['splits'][0]['filepathTemplate'] = name
  path.write_text(json.dumps(info))
  refused(lambda: episodes.open(tmp_path / 'toy'), 'dataset_info.json', name)


def test_links_of_the_cache_of_hugging_face(tmp_path):
  """Its snapshots are links to its blobs, which stay what they are."""
  blob = tmp_path / 'blobs/abc'
  blob.parent.mkdir()
  blob.write_text('{}')
  folder = tmp_path / 'snapshots/main'
  folder.mkdir(parents=True)
  (folder / 'config.json').symlink_to('../../blobs/abc')
  assert files.read_json(files.inside(folder, 'config.json')) == {}
  blob.unlink()
  blob.parent.rmdir()
  blob.parent.symlink_to('/etc')
  (folder / 'x').symlink_to('../../blobs/hostname')
  refused(lambda: files.inside(folder, 'x'), 'leads out')


def hdf5(path, **change):
  """A demonstration of robomimic; `change` {dataset: call(group, name)}."""
  h5py = pytest.importorskip('h5py')
  with h5py.File(path, 'w') as file:
    group = file.create_group('data/demo_0')
    for name in ('actions', 'obs'):
      if name in change:
        change[name](group, name)
      else:
        group[f'{name}/state' if name == 'obs' else name] = np.zeros((4, 3))
  return path


def test_32_hdf5_that_lies_elsewhere(tmp_path):
  """an HDF5 file that keeps its data in another file, by a link, external or
  virtual -> refused before that file is opened"""
  h5py = pytest.importorskip('h5py')
  secret = tmp_path / 'secret'
  secret.write_bytes(np.arange(12.0).tobytes())
  other = hdf5(tmp_path / 'other.hdf5')

  def external(group, name):
    where = [(str(secret), 0, h5py.h5f.UNLIMITED)]
    group.create_dataset(name, (4, 3), 'f8', external=where)

  def link(group, name):
    group[name] = h5py.ExternalLink(str(other), f'/data/demo_0/{name}')

  def virtual(group, name):
    layout = h5py.VirtualLayout((4, 3), 'f8')
    layout[:] = h5py.VirtualSource(str(other), 'data/demo_0/actions', (4, 3))
    group.create_virtual_dataset(name, layout)

  def soft(group, name):
    group.file['ext'] = h5py.ExternalLink(str(other), '/')
    group[name] = h5py.SoftLink(f'/ext/data/demo_0/{name}')

  makers = external, link, virtual, soft
  for make, words in zip(
    makers, ['another file'] * 3 + ['is a link'], strict=True
  ):
    path = hdf5(tmp_path / f'{make.__name__}.hdf5', actions=make)
    refused(lambda p=path: episodes.open(p)[0], path.name, words)
  path = tmp_path / 'whole.hdf5'
  with h5py.File(path, 'w') as file:
    file['data'] = h5py.ExternalLink(str(other), '/data')
  refused(lambda: episodes.open(path), path.name, 'is a link')


def declared_png(size):
  """A PNG that says it is that large and holds next to nothing."""

  def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', crc)

  head = struct.pack('>IIBBBBB', size, size, 8, 2, 0, 0, 0)
  body = chunk(b'IDAT', zlib.compress(b'\0' * 1000))
  return (
    b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + body + chunk(b'IEND', b'')
  )


def declared_npz(path, shape):
  """An episode whose state says it has that shape and holds next to nothing."""
  header = {'descr': '<f8', 'fortran_order': False, 'shape': shape}
  with zipfile.ZipFile(path, 'w') as archive:
    with archive.open('state.npy', 'w') as file:
      np.lib.format.write_array_header_1_0(file, header)
      file.write(bytes(64))


@pytest.mark.parametrize('size', (8000, 50_000, 2_000_000_000))
def test_33_bombs(size, tmp_path):
  """templates, images, arrays and models that declare more than they hold ->
  refused before memory is taken for them"""
  for read in (decode.image, lambda data: png.decode([data])):
    with pytest.raises((OSError, ValueError)):
      read(declared_png(size))
  declared_npz(tmp_path / 'a.npz', (size, size))
  refused(lambda: episodes.open(tmp_path), 'a.npz')

  def sparse(group, name):
    group.create_dataset(name, (size, 8000), 'f8', chunks=(1, 8000))

  path = hdf5(tmp_path / 'a.hdf5', actions=sparse)
  refused(lambda: episodes.open(path)[0], 'a.hdf5', 'declares')


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n'


def test_images_that_run_programs_are_none(tmp_path, monkeypatch):
  """Pillow would give EPS to Ghostscript."""
  program = tmp_path / 'gs'
  program.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\n')
  program.chmod(0o755)
  monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
  for read in (decode.image, lambda data: png.decode([data])):
    with pytest.raises((OSError, ValueError), match='begin with 25215053'):
      read(EPS)
  assert not (tmp_path / 'ran').exists()


def test_videos_that_name_other_files_are_none(tmp_path):
  pytest.importorskip('av')
  os.mkfifo(tmp_path / 'pipe')
  (tmp_path / 'x.mp4').write_text('ffconcat version 1.0\nfile pipe\n')
  refused(lambda: episodes.open(tmp_path / 'x.mp4'), 'x.mp4')


def test_what_is_not_of_a_dataset_is_not_deleted_with_it(tmp_path):
  data = {'train': [make_episode(0, 3)]}
  writer.write(tmp_path / 'toy', 'toy', data)
  writer.write(tmp_path / 'toy', 'toy', data)
  (tmp_path / 'toy/notes.txt').write_text('a week of work')
  refused(lambda: writer.write(tmp_path / 'toy', 'toy', data), 'notes.txt')
  assert (tmp_path / 'toy/notes.txt').read_text() == 'a week of work'
  assert len(episodes.open(tmp_path / 'toy')) == 1
  assert [p.name for p in tmp_path.iterdir()] == ['toy']


@pytest.mark.parametrize(
  'template',
  (
    '{episode_index:>3000000000}',
    '{episode_index.__class__}',
    '{video_key!r:>999999999}',
    '{nobody}',
    '{episode_index:999d}',
    '{',
  ),
)
def test_templates_have_fields_alone(template, tmp_path):
  lerobot(tmp_path / 'toy', data_path=template, video_path=template)
  refused(lambda: episodes.open(tmp_path / 'toy')[0], 'info.json', 'name')


def test_a_model_of_too_many_layers(tmp_path):
  """A model of a thousand million layers has not that many tensors."""
  config = {
    'model_type': 'vit', 'hidden_size': 8, 'num_hidden_layers': 10**9,
    'num_attention_heads': 2, 'hidden_act': 'gelu', 'layer_norm_eps': 1e-6,
    'patch_size': 8, 'image_size': 16, 'intermediate_size': 8,
  }  # fmt: skip
  (tmp_path / 'config.json').write_text(json.dumps(config))
  safetensors.save_file(
    {'vit.a': np.zeros(2, np.float32)}, tmp_path / 'model.safetensors'
  )
  refused(lambda: vision.load(tmp_path), 'num_hidden_layers')


@pytest.mark.parametrize('kind', ('pipe', 'device', 'folder'))
def test_34_what_is_no_file(kind, tmp_path):
  """a pipe, a device or a folder where a file should be -> refused, and nothing
  waits for it"""

  def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == 'pipe':
      os.mkfifo(path)
    elif kind == 'device':
      path.symlink_to('/dev/zero')
    else:
      path.mkdir()

  for name in ('model/config.json', 'toy/meta/info.json', 'toy/a.npz'):
    put(tmp_path / name)
  (tmp_path / 'toy/meta/info.json').rename(tmp_path / 'info.json')
  put(tmp_path / 'other/model.safetensors')
  for call in (
    lambda: vision.load(tmp_path / 'model'),
    lambda: episodes.open(tmp_path / 'toy'),
    lambda: files.read_json(tmp_path / 'info.json'),
    lambda: vision.weights.open_tensors(tmp_path / 'other'),
  ):
    refused(call, str(tmp_path))


@pytest.mark.parametrize(
  ('content', 'words'),
  (
    (b'', 'it is empty'),
    (b'{"rows": [', 'no JSON'),
    (b'\xff\xfe', 'no JSON'),
    (b'[' * 100_000, 'no JSON'),
    (b'[]', 'expected an object'),
    (b'{"rows": []}', "found no 'costs'"),
  ),
)
def test_35_json_that_is_none(content, words, tmp_path):
  """JSON that is empty, cut off, of another form or lacks a key -> its file is
  named, with what is missing"""
  path = tmp_path / 'artifact.json'
  path.write_bytes(content)
  refused(
    lambda: files.read_json(path, 'rows', 'costs'), 'artifact.json', words
  )
