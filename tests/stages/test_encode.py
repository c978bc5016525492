"""Encoding at scale: equal however it is cut, killed, shared out; faults."""

import json
import pathlib
import re
import signal
import threading
import time

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from rpt_jax import domains, episodes, settings, vision
from rpt_jax.episodes import store, windows
from rpt_jax.learning import checks
from rpt_jax.learning import streams as learned
from tests.stages import encoding


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return encoding.write_episodes(tmp_path_factory.mktemp('encode') / 'toy')


@pytest.fixture(scope='module')
def uninterrupted(data, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('uninterrupted')
  encoding.run(encoding.experiment(data), workdir)
  return workdir


def plain_loop(data, cameras, name, **how):
  """The latents of the first six episodes, a frame a call."""
  model = vision.load(name, **how)
  encode_one = jax.jit(lambda frame: model.encode(frame[None])[0])
  found = []
  for episode in list(episodes.open(data, **{c: c for c in cameras}))[:6]:
    for frames in zip(*(episode.observation[c] for c in cameras), strict=True):
      found.append(np.concatenate([encode_one(frame) for frame in frames]))
  return np.stack(found).astype(np.float16)


@pytest.mark.parametrize(
  'encoder, output, cameras',
  [
    ('pixels', 'grid2', ('image',)),
    ('pixels', 'grid2', ('wrist', 'image')),
    ('random', 'mean_patch', ('image', 'wrist')),
  ],
)
def test_latents_are_those_of_a_plain_loop(
  data, tmp_path, cameras, encoder, output
):
  config = encoding.experiment(
    data, encoder=encoder, cameras=cameras, output=output
  )
  rows = encoding.run(config, tmp_path)
  latent_ND, lengths = encoding.latents(tmp_path)
  expected_ND = plain_loop(data, cameras, encoder, output=output)
  assert latent_ND.dtype == np.float16
  assert lengths == list(encoding.LENGTHS[:6])
  np.testing.assert_allclose(
    latent_ND.astype('f4'), expected_ND.astype('f4'), atol=0.02, rtol=0.01
  )
  if encoder == 'pixels':
    np.testing.assert_allclose(latent_ND, expected_ND, atol=1e-3)
  values = {(r['name'], r['tags'].get('split')): r['value'] for r in rows}
  assert values == {
    ('latent_dim', None): expected_ND.shape[1],
    ('frames', 'pretrain'): 50,
    ('frames', 'heldout'): 18,
    ('skipped_episodes', 'pretrain'): 0,
    ('skipped_episodes', 'heldout'): 0,
  }


@pytest.mark.parametrize(
  'changes',
  [
    {'batch_size': 8},
    {'batch_size': 500},
    {'shard_frames': 1},
    {'shard_frames': 10_000},
    {'ahead': 0},
    {'workers': 1, 'ahead': 1},
  ],
  ids=str,
)
def test_however_it_is_cut(data, uninterrupted, tmp_path, changes):
  encoding.run(encoding.experiment(data, **changes), tmp_path)
  # Products of another batch may be summed in another order: on some CPUs a
  # latent is the next number of float16.
  np.testing.assert_array_max_ulp(
    encoding.latents(tmp_path)[0], encoding.latents(uninterrupted)[0], maxulp=1
  )
  assert encoding.latents(tmp_path)[1] == encoding.latents(uninterrupted)[1]


def test_one_device_of_eight(data, uninterrupted, tmp_path, monkeypatch):
  assert jax.local_device_count() == 8
  first = jax.devices()[:1]
  monkeypatch.setattr(jax, 'local_devices', lambda: first)
  monkeypatch.setattr(jax, 'local_device_count', lambda: 1)
  encoding.run(encoding.experiment(data, batch_size=5), tmp_path)
  np.testing.assert_array_equal(
    encoding.latents(tmp_path)[0], encoding.latents(uninterrupted)[0]
  )


def test_the_scale_is_that_of_all_pretraining_frames(data, uninterrupted):
  (toy,) = domains.of(encoding.experiment(data))
  inputs = {'encode': uninterrupted / 'encode'}
  clips = learned.read(toy, inputs, 'pretrain', ('latent',))
  mean_D, std_D = learned.measure([clips])['latent']
  latent_ND = encoding.latents(uninterrupted)[0].astype(np.float64)
  np.testing.assert_allclose(mean_D, latent_ND.mean(0), rtol=1e-6)
  np.testing.assert_allclose(std_D, latent_ND.std(0), rtol=1e-6)
  assert mean_D.dtype == std_D.dtype == np.float32


def test_latents_of_different_widths_are_refused(data):
  """Before any work where cameras tell, else where they are measured."""
  config = encoding.config(data, cameras=('image', 'wrist'))
  config.domains.one = encoding.config(data).domains.toy
  config.quantize = settings.section(settings.Quantize)
  config.quantize.recipes = settings.recipes(raw=())
  with pytest.raises(ValueError, match='config.quantize: .*as many cameras'):
    checks.experiment(config)
  clips = [
    windows.Clips({'latent': np.ones((5, n), np.float16)}, np.array([2, 3]))
    for n in (3, 4)
  ]
  with pytest.raises(ValueError, match="'latent': 4 numbers a step here, 3"):
    learned.measure(clips)


def is_alive(process_id):
  try:
    stat = pathlib.Path(f'/proc/{process_id}/stat').read_text()
  except OSError:
    return False
  return stat.rsplit(')', 1)[1].split()[0] != 'Z'


@pytest.mark.parametrize('workers, moment', [(0, 'between'), (1, 'before')])
def test_killed_and_resumed(data, uninterrupted, tmp_path, workers, moment):
  killed = encoding.start('kill', data, tmp_path, workers, moment)
  assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
  workers = json.loads(killed.stdout.splitlines()[-1])
  folder = tmp_path / 'encode/toy/pretrain'
  first, second = sorted(folder.glob('*.npy')) + [None] * (moment == 'before')
  assert not (folder / store.MANIFEST).exists()
  written = first.stat().st_mtime_ns
  unfinished = second and second.stat().st_mtime_ns
  encoding.run(encoding.experiment(data), tmp_path)  # On eight devices.
  assert first.stat().st_mtime_ns == written
  assert second is None or second.stat().st_mtime_ns > unfinished
  assert encoding.contents(tmp_path / 'encode') == encoding.contents(
    uninterrupted / 'encode'
  )
  deadline = time.monotonic() + 60
  while any(map(is_alive, workers)) and time.monotonic() < deadline:
    time.sleep(0.1)
  assert not any(map(is_alive, workers))


def test_killed_before_it_was_sealed(
  data, uninterrupted, tmp_path, monkeypatch
):
  def killed(*arguments):
    raise KeyboardInterrupt

  config = encoding.experiment(data)
  with monkeypatch.context() as patched:
    patched.setattr(store, 'seal', killed)
    with pytest.raises(KeyboardInterrupt):
      encoding.run(config, tmp_path)
  shards = list((tmp_path / 'encode/toy/pretrain').glob('*.npy'))
  times = [path.stat().st_mtime_ns for path in shards]
  encoding.run(config, tmp_path)
  assert times == [path.stat().st_mtime_ns for path in shards]
  assert encoding.contents(tmp_path / 'encode') == encoding.contents(
    uninterrupted / 'encode'
  )


def test_killed_while_it_was_sealed(data, uninterrupted, tmp_path):
  """What seals removes entries after the manifest is there."""
  config = encoding.experiment(data)
  encoding.run(config, tmp_path)
  entry = store.manifest(tmp_path / 'encode/toy/heldout')['shards'][0]
  left = tmp_path / 'encode/toy/heldout' / f'{entry["shard"]}.json'
  left.write_text(json.dumps(entry))
  encoding.run(config, tmp_path)
  assert encoding.contents(tmp_path / 'encode') == encoding.contents(
    uninterrupted / 'encode'
  )


def test_progress_counts_frames_and_images(tmp_path, capsys):
  data = encoding.write_episodes(tmp_path / 'toy')
  cameras = ('image', 'wrist')
  encoding.run(encoding.experiment(data, cameras=cameras), tmp_path)
  lines = capsys.readouterr().out.splitlines()
  (line,) = (x for x in lines if x.startswith('  toy/pretrain'))
  assert re.fullmatch(
    r'  toy/pretrain 50/50 frames \d+ images/s wait \d+% ETA 0s', line
  )


def test_cameras_of_different_sizes_in_one_dataset(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  with np.load(data / '002.npz') as found:
    arrays = dict(found)
  arrays['image'] = arrays['image'][:, :20]
  np.savez(data / '002.npz', **arrays)
  encoding.run(encoding.experiment(data), tmp_path)
  expected_ND = plain_loop(data, ('image',), 'pixels', output='grid2')
  np.testing.assert_allclose(
    encoding.latents(tmp_path)[0], expected_ND, atol=1e-3
  )


def test_two_processes_share_the_shards(
  data, uninterrupted, tmp_path, monkeypatch
):
  """Threads that believe to be processes; both see the same files."""
  local, barrier = threading.local(), threading.Barrier(2, timeout=120)
  written, sealed, failed = {0: [], 1: []}, [], []
  write_shard, seal = store.write_shard, store.seal

  def writing(directory, shard, *arguments):
    written[local.index].append((directory.name, shard.index))
    write_shard(directory, shard, *arguments)

  def sealing(directory, entries):
    sealed.append(local.index)
    seal(directory, entries)

  def process(index):
    local.index = index
    try:
      encoding.run(encoding.experiment(data), tmp_path)
    except BaseException as error:
      failed.append(error)
      barrier.abort()

  encoding.collect.run(encoding.experiment(data), {}, tmp_path / 'collect')
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: local.index)
  monkeypatch.setattr(
    multihost_utils, 'sync_global_devices', lambda name: barrier.wait()
  )
  monkeypatch.setattr(store, 'write_shard', writing)
  monkeypatch.setattr(store, 'seal', sealing)
  threads = [threading.Thread(target=process, args=(i,)) for i in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not failed, failed
  assert written[0] and written[1] and not set(written[0]) & set(written[1])
  assert sealed == [0, 0]
  assert encoding.contents(tmp_path / 'encode') == encoding.contents(
    uninterrupted / 'encode'
  )


def is_flat(found, label):
  """The second half of a run needs no more memory than the first."""
  assert found.returncode == 0, found.stderr[-2000:]
  sizes = json.loads(found.stdout.splitlines()[-1])
  half = len(sizes) // 2
  before, after = max(sizes[:half]), max(sizes[half:])
  print(f'{label}: {len(sizes)} shards, {before:.0f} then {after:.0f} MiB')
  return after < 1.1 * before


def test_memory_is_flat(tmp_path):
  found = encoding.start('soak', tmp_path, 0, 60)
  assert is_flat(found, '60 episodes')


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_memory_is_flat_over_many_episodes(tmp_path, workers):
  found = encoding.start('soak', tmp_path, workers, 400)
  assert is_flat(found, f'400 episodes, {workers} workers')
