"""Files of every format, damaged at random, opened and read.

What is damaged may still be read, or is refused by a ValueError or OSError with
its path; anything else is wrong, as is more than a GiB or a minute.
"""

import collections
import dataclasses
import json
import pathlib
import random
import resource
import shutil
import signal
import zipfile

import jax
import numpy as np
from PIL import Image

from rpt_jax import episodes, files, vision
from rpt_jax.episodes import store
from rpt_jax.episodes.rlds import writer
from rpt_jax.training import checkpoint
from rpt_jax.vision.pretraining import mae
from tests.episodes.formats import test_lerobot
from tests.faults.test_broken_data import make_episode

MOST, SECONDS = 1 << 30, 60
STORED = pathlib.Path(__file__).parents[1] / 'episodes/formats/data'
TEXTS = (
  '../../etc/hostname',
  '/etc/passwd',
  '{episode_index:>3000000000}',
  '\0',
  'x' * 10_000,
  '',
)
NUMBERS = (-1, 0, 10**9, 10**18, 1e308, float('nan'))


def _npz(folder):
  for i in range(3):
    state = np.random.default_rng(i).normal(size=(5 + i, 3))
    np.savez_compressed(folder / f'{i}.npz', state=state, action=state[:, :2])


def _hdf5(folder):
  import h5py

  with h5py.File(folder / 'demo.hdf5', 'w') as file:
    for i in range(2):
      group = file.create_group(f'data/demo_{i}')
      group['obs/state'], group['actions'] = np.ones((4, 3)), np.ones((4, 2))


def _model(folder):
  model = mae.Autoencoder(16, 8, 8, 1, 2, decoder_width=8, decoder_num_heads=2)
  mae.save(model, model.init(jax.random.key(3)), folder)


def _shards(folder):
  shard = store.Shard(0, 1, 0, 2)
  arrays = {i: {'latent': np.ones((3, 2), np.float16)} for i in range(2)}
  store.write_shard(folder, shard, arrays, {})
  store.seal(folder, [store.read_entry(folder, shard)])


def _parameters(folder):
  checkpoint.save_params(folder / 'a.safetensors', {'a': {'b': np.ones(5)}})
  files.write_json(folder / 'artifact.json', {'rows': [], 'costs': []})


def _toy_rlds(folder):
  writer.write(folder / 'toy', 'toy', {'train': [make_episode(0, 4)] * 2})


def _animations(folder):
  frames = np.random.default_rng(0).integers(0, 255, (4, 8, 9, 3), np.uint8)
  first, *rest = (Image.fromarray(frame) for frame in frames)
  how = {'save_all': True, 'append_images': rest, 'duration': 40}
  for name, more in (('a.gif', {}), ('b.webp', {'lossless': True})):
    first.save(folder / name, **how, **more)


def _copied(name):
  """A dataset that its own library wrote, as tests of its reader have it."""
  return lambda folder: shutil.copytree(
    STORED / name, folder, dirs_exist_ok=True
  )


def _minari(folder):
  with zipfile.ZipFile(STORED / 'minari.zip') as archive:
    archive.extractall(folder)


def _read_all(path):
  source = episodes.open(path)
  for index in range(min(len(source), 4)):
    source.metadata(index)
    source.read(index)


FORMATS = {
  'npz': (_npz, _read_all),
  'hdf5': (_hdf5, lambda folder: _read_all(folder / 'demo.hdf5')),
  'lerobot v2': (test_lerobot.write_v2, _read_all),
  'lerobot v3': (test_lerobot.write_v3, _read_all),
  'rlds': (_toy_rlds, lambda folder: _read_all(folder / 'toy')),
  'animations': (_animations, _read_all),
  'minari': (
    _minari,
    lambda f: [
      _read_all(f / 'nested' / f'{kind}-v0')
      for kind in ('hdf5', 'arrow', 'parquet')
    ],
  ),
  'streams': (_copied('huggingface/saved/train'), _read_all),
  'tables': (_copied('huggingface/hub'), _read_all),
  'mcap': (_copied('mcap/episode_1'), _read_all),
  'sqlite': (_copied('mcap/episode_0'), _read_all),
  'zarr': (_copied('replay_zarr/pusht.zarr'), _read_all),
  'image model': (_model, lambda f: vision.load(f, output='patches')),
  'latents': (_shards, lambda f: store.load(f, ('latent',))),
  'artifacts': (
    _parameters,
    lambda f: (
      checkpoint.load_params(f / 'a.safetensors'),
      files.read_json(f / 'artifact.json', 'rows', 'costs'),
    ),
  ),
}


@dataclasses.dataclass
class Outcome:
  """{(format, how it ended): how often}, and what went wrong."""

  ends: collections.Counter
  wrong: list
  peak: int = 0  # Bytes above the start.

  @property
  def count(self) -> int:
    return self.ends.total()

  def summary(self) -> str:
    """The counts, and all that went wrong."""
    how = collections.Counter()
    for (_, end), count in self.ends.items():
      how[end] += count
    lines = [
      f'files: {self.count} damaged, {how["named"]} refused by name, '
      f'{how["read"]} read all the same, {len(self.wrong)} wrong, '
      f'{self.peak / 2**20:.0f} MiB above the start'
    ]
    return '\n'.join(lines + [f'  WRONG {each}' for each in self.wrong])


def run(count: int, seed: int, folder) -> Outcome:
  """Damages and reads `count` times, formats in turn, by a seed."""
  rng, outcome = random.Random(seed), Outcome(collections.Counter(), [])
  originals = {}
  for name, (write, read) in FORMATS.items():
    originals[name] = folder / name.replace(' ', '_')
    originals[name].mkdir(parents=True)
    write(originals[name])
    read(originals[name])
  begin = _peak()
  for index in range(count):
    name = list(FORMATS)[index % len(FORMATS)]
    place = folder / 'damaged'
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(originals[name], place)
    what = _damage(rng, place)
    outcome.ends[name, _end(FORMATS[name][1], place, name, what, outcome)] += 1
  outcome.peak = _peak() - begin
  if outcome.peak > MOST:
    outcome.wrong.append(f'{outcome.peak / 2**30:.1f} GiB above the start')
  return outcome


def _end(read, place, name, what, outcome):
  """How reading ends."""

  def late(*_):
    raise TimeoutError

  before = signal.signal(signal.SIGALRM, late)
  signal.alarm(SECONDS)
  try:
    read(place)
    return 'read'
  except (ValueError, OSError) as error:
    message = str(error)
    if isinstance(error, TimeoutError) or str(place) not in message:
      outcome.wrong.append((name, what, type(error).__name__, message[:300]))
      return 'wrong'
    return 'named'
  except BaseException as error:
    outcome.wrong.append((name, what, type(error).__name__, str(error)[:300]))
    return 'wrong'
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _damage(rng, folder):
  """Changes one file; says which, and how."""
  path = rng.choice(sorted(p for p in folder.rglob('*') if p.is_file()))
  content = bytearray(path.read_bytes())
  kinds = ['flip', 'cut', 'zero', 'noise', 'empty', 'gone', 'link', 'folder']
  is_json = path.suffix in ('.json', '.jsonl') or path.name == '.zarray'
  kinds += ['json'] * 8 * is_json
  kinds += ['header'] * 4 * (path.suffix == '.safetensors')
  kind = rng.choice(kinds)
  if kind == 'flip':
    for _ in range(rng.choice((1, 8, 64))):
      content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  elif kind == 'cut':
    content = content[: rng.randrange(len(content))]
  elif kind == 'zero':
    start = rng.randrange(len(content))
    content[start : start + 64] = bytes(len(content[start : start + 64]))
  elif kind == 'noise':
    content = rng.randbytes(rng.randrange(1, 4096))
  elif kind == 'empty':
    content = b''
  elif kind == 'json':
    content = _changed_json(rng, bytes(content)).encode('utf-8', 'replace')
  elif kind == 'header':
    size = int.from_bytes(content[:8], 'little')
    header = _changed_json(rng, bytes(content[8 : 8 + size])).encode()
    content = len(header).to_bytes(8, 'little') + header + content[8 + size :]
  path.unlink()
  if kind == 'link':
    path.symlink_to('/dev/zero')
  elif kind == 'folder':
    path.mkdir()
  elif kind != 'gone':
    path.write_bytes(bytes(content))
  return f'{path.relative_to(folder)} {kind}'


def _changed_json(rng, content):
  """The JSON with one value changed, dropped or of another type."""
  lines = content.decode().splitlines()
  whole = not (len(lines) > 1 and lines[0].endswith('}'))
  line = 0 if whole else rng.randrange(len(lines))
  tree = json.loads(content if whole else lines[line])
  spots = list(_spots(tree))
  if not spots:
    return 'null'
  parent, key = rng.choice(spots)
  change = rng.choice(('drop', 'text', 'number', 'none', 'list', 'object'))
  if change == 'drop':
    del parent[key]
  else:
    parent[key] = {
      'text': rng.choice(TEXTS),
      'number': rng.choice(NUMBERS),
      'none': None,
      'list': [],
      'object': {},
    }[change]
  text = json.dumps(tree)
  return text if whole else '\n'.join([*lines[:line], text, *lines[line + 1 :]])


def _spots(tree):
  """(parent, key) of all values in it."""
  pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
  for key, value in list(pairs):
    yield tree, key
    if isinstance(value, (dict, list)):
      yield from _spots(value)


def _peak():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
