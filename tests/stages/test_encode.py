"""Encoding at scale: equal however it is cut, killed, shared out; faults."""

import hashlib
import json
import multiprocessing
import pathlib
import re
import signal
import threading
import time

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from rpt_jax import episodes, vision
from rpt_jax.episodes import streams, windows
from rpt_jax.stages import domains, encode
from rpt_jax.training import checkpoint
from tests.episodes.test_video import write_video
from tests.stages import encoding
from tests.test_main import command


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return encoding.write_episodes(tmp_path_factory.mktemp('encode') / 'toy')


@pytest.fixture(scope='module')
def uninterrupted(data, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('uninterrupted')
  encoding.run(encoding.settings(data), workdir)
  return workdir


def latents(workdir, split='pretrain'):
  clips = streams.load(workdir / 'encode/toy' / split, ('latent',))
  return clips.arrays['latent'], clips.lengths.tolist()


def contents(directory):
  return {
    path.relative_to(directory).as_posix(): hashlib.sha256(
      path.read_bytes()
    ).hexdigest()
    for path in directory.rglob('*')
    if path.is_file()
  }


def plain_loop(data, cameras, name, **settings):
  """The latents of the first six episodes, a frame a call."""
  model = vision.load(name, **settings)
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
  config = encoding.settings(
    data, encoder=encoder, cameras=cameras, output=output
  )
  rows = encoding.run(config, tmp_path)
  latent_ND, lengths = latents(tmp_path)
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
  encoding.run(encoding.settings(data, **changes), tmp_path)
  np.testing.assert_array_equal(latents(tmp_path)[0], latents(uninterrupted)[0])
  assert latents(tmp_path)[1] == latents(uninterrupted)[1]
  statistics = 'encode/statistics.safetensors'
  assert (tmp_path / statistics).read_bytes() == (
    uninterrupted / statistics
  ).read_bytes()


def test_one_device_of_eight(data, uninterrupted, tmp_path, monkeypatch):
  assert jax.local_device_count() == 8
  first = jax.devices()[:1]
  monkeypatch.setattr(jax, 'local_devices', lambda: first)
  monkeypatch.setattr(jax, 'local_device_count', lambda: 1)
  encoding.run(encoding.settings(data, batch_size=5), tmp_path)
  np.testing.assert_array_equal(latents(tmp_path)[0], latents(uninterrupted)[0])


def test_moments_are_those_of_all_pretraining_frames(uninterrupted):
  latent_ND = latents(uninterrupted)[0].astype(np.float64)
  found = checkpoint.load_params(
    uninterrupted / 'encode/statistics.safetensors'
  )
  np.testing.assert_allclose(found['mean'], latent_ND.mean(0), rtol=1e-6)
  np.testing.assert_allclose(found['std'], latent_ND.std(0), rtol=1e-6)
  assert found['mean'].dtype == found['std'].dtype == np.float32


def test_moments_of_different_widths_are_refused(tmp_path):
  for name, width in (('a', 3), ('b', 4)):
    clips = windows.Clips({'latent': np.ones((5, width))}, np.array([2, 3]))
    streams.save(tmp_path / name / 'pretrain', clips)
  folders = [tmp_path / name / 'pretrain' for name in 'ab']
  with pytest.raises(ValueError, match='b/pretrain: latents of width 4.* 3'):
    encode._moments(folders)


def test_not_one_frame_is_an_error(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  for path in data.iterdir():
    encoding.spoil(path)
  with pytest.raises(ValueError, match='encode: no frame could be encoded'):
    encoding.run(encoding.settings(data, error_budget=1.0), tmp_path)


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
  first, second = sorted(folder.glob('*.array_record')) + [None] * (
    moment == 'before'
  )
  assert not (folder / streams.MANIFEST).exists()
  written = first.stat().st_mtime_ns
  unfinished = second and second.stat().st_mtime_ns
  encoding.run(encoding.settings(data), tmp_path)  # On eight devices.
  assert first.stat().st_mtime_ns == written
  assert second is None or second.stat().st_mtime_ns > unfinished
  assert contents(tmp_path / 'encode') == contents(uninterrupted / 'encode')
  deadline = time.monotonic() + 60
  while any(map(is_alive, workers)) and time.monotonic() < deadline:
    time.sleep(0.1)
  assert not any(map(is_alive, workers))


def test_killed_before_it_was_sealed(
  data, uninterrupted, tmp_path, monkeypatch
):
  def killed(*arguments):
    raise KeyboardInterrupt

  config = encoding.settings(data)
  with monkeypatch.context() as patched:
    patched.setattr(streams, 'seal', killed)
    with pytest.raises(KeyboardInterrupt):
      encoding.run(config, tmp_path)
  shards = list((tmp_path / 'encode/toy/pretrain').glob('*.array_record'))
  times = [path.stat().st_mtime_ns for path in shards]
  encoding.run(config, tmp_path)
  assert times == [path.stat().st_mtime_ns for path in shards]
  assert contents(tmp_path / 'encode') == contents(uninterrupted / 'encode')


def test_killed_while_it_was_sealed(data, uninterrupted, tmp_path):
  """What seals removes entries after the manifest is there."""
  config = encoding.settings(data)
  encoding.run(config, tmp_path)
  entry = streams.manifest(tmp_path / 'encode/toy/heldout')['shards'][0]
  left = tmp_path / 'encode/toy/heldout' / f'{entry["file"]}.json'
  left.write_text(json.dumps(entry))
  encoding.run(config, tmp_path)
  assert contents(tmp_path / 'encode') == contents(uninterrupted / 'encode')


def test_an_undecodable_episode_is_skipped_and_named(tmp_path, capsys):
  data = encoding.write_episodes(tmp_path / 'toy')
  encoding.spoil(data / '001.npz')
  encoding.spoil(data / '006.npz')
  config = encoding.settings(data, error_budget=0.5)
  rows = encoding.run(config, tmp_path)
  said = capsys.readouterr().out
  assert 'toy/pretrain: episode 1 skipped' in said and '001.npz' in said
  skipped = [r['value'] for r in rows if r['name'] == 'skipped_episodes']
  assert skipped == [1, 1]
  folder = tmp_path / 'encode/toy/pretrain'
  entries = streams.manifest(folder)['shards']
  assert '001.npz' in entries[0]['skipped']['1']
  assert streams.kept(folder) == [0, 2, 3, 4, 5]
  assert latents(tmp_path, 'heldout')[1] == [10]
  inputs = {name: tmp_path / name for name in ('collect', 'encode')}
  labels = domains.labels(config, inputs, 'toy', 'pretrain', ('action',))
  assert labels.lengths.tolist() == latents(tmp_path)[1]
  with np.load(data / '002.npz') as second:
    np.testing.assert_allclose(labels.arrays['action'][7:12], second['action'])
  told = domains.instructions(config, inputs, 'toy', 'pretrain')
  assert len(told) == len(latents(tmp_path)[0])


def test_a_truncated_video_is_skipped(tmp_path):
  folder = tmp_path / 'videos'
  folder.mkdir()
  for i in range(4):
    write_video(folder / f'{i}.mp4', 9, first=9 * i)
  content = (folder / '1.mp4').read_bytes()
  (folder / '1.mp4').write_bytes(content[: len(content) // 2])
  config = encoding.settings(folder, action_column=None)
  rows = encoding.run(config, tmp_path)
  assert latents(tmp_path)[1] == [9, 9]
  assert streams.kept(tmp_path / 'encode/toy/pretrain') == [0, 2]
  assert [r['value'] for r in rows if r['name'] == 'skipped_episodes'] == [1, 0]


def test_over_the_budget_also_across_a_resume(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  for name in ('000', '003', '005'):
    encoding.spoil(data / f'{name}.npz')
  config = encoding.settings(data)  # Bears two of six.
  for _ in range(2):
    with pytest.raises(ValueError, match='3 of 6 episodes.*budget of 40.*005'):
      encoding.run(config, tmp_path)
    folder = tmp_path / 'encode/toy/pretrain'
    assert not (folder / streams.MANIFEST).exists()
  assert len(list(folder.glob('*.array_record'))) == 2  # Those before it.


def test_a_run_that_stops_ends_its_workers(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy', 40 * (3,))
  encoding.spoil(data / '000.npz')
  config = encoding.settings(data, error_budget=0.0, workers=1)
  with pytest.raises(ValueError, match='1 of 30') as refused:
    encoding.run(config, tmp_path)
  ends_by = time.monotonic() + 60
  while multiprocessing.active_children() and time.monotonic() < ends_by:
    time.sleep(0.05)
  assert not multiprocessing.active_children(), refused


def test_progress_counts_frames_and_images(tmp_path, capsys):
  data = encoding.write_episodes(tmp_path / 'toy')
  cameras = ('image', 'wrist')
  encoding.run(encoding.settings(data, cameras=cameras), tmp_path)
  lines = capsys.readouterr().out.splitlines()
  (line,) = (x for x in lines if x.startswith('  toy/pretrain'))
  assert re.fullmatch(
    r'  toy/pretrain 50/50 frames \d+ images/s wait \d+% ETA 0s', line
  )


def test_all_of_a_shard_can_be_missing(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  encoding.spoil(data / '002.npz')
  encoding.run(encoding.settings(data, shard_frames=1), tmp_path)
  assert latents(tmp_path)[1] == [7, 12, 9, 11, 6]


def test_frames_without_their_actions_are_skipped(tmp_path):
  """Else the latents of later episodes would lie beside others' actions."""
  data = encoding.write_episodes(tmp_path / 'toy')
  with np.load(data / '001.npz') as found:
    arrays = dict(found)
  arrays['image'] = arrays['image'][:-1]
  np.savez(data / '001.npz', **arrays)
  encoding.run(encoding.settings(data), tmp_path)
  entries = streams.manifest(tmp_path / 'encode/toy/pretrain')['shards']
  assert entries[0]['skipped']['1'] == (
    "read {'image': 11} steps, its dataset says 12"
  )


def test_cameras_of_different_sizes_in_one_dataset(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  with np.load(data / '002.npz') as found:
    arrays = dict(found)
  arrays['image'] = arrays['image'][:, :20]
  np.savez(data / '002.npz', **arrays)
  encoding.run(encoding.settings(data), tmp_path)
  expected_ND = plain_loop(data, ('image',), 'pixels', output='grid2')
  np.testing.assert_allclose(latents(tmp_path)[0], expected_ND, atol=1e-3)


def test_latents_that_are_not_finite_are_refused(data, tmp_path, monkeypatch):
  def diverging(config, inputs):
    def apply(params, seen):
      mean = seen['image'].astype('f4').mean((1, 2))
      return mean * params

    return encode.FrameEncoder(apply, np.float32(1e6), 3)

  monkeypatch.setattr(encode, 'load_encoder', diverging)
  with pytest.raises(ValueError, match='toy/pretrain: episode 0: latents'):
    encoding.run(encoding.settings(data), tmp_path)
  assert not list((tmp_path / 'encode').rglob('*.array_record'))


def test_two_processes_share_the_shards(
  data, uninterrupted, tmp_path, monkeypatch
):
  """Threads that believe to be processes; both see the same files."""
  local, barrier = threading.local(), threading.Barrier(2, timeout=120)
  written, sealed, failed = {0: [], 1: []}, [], []
  write_shard, seal = streams.write_shard, streams.seal

  def writing(directory, shard, *arguments):
    written[local.index].append((directory.name, shard.index))
    write_shard(directory, shard, *arguments)

  def sealing(directory, entries):
    sealed.append(local.index)
    seal(directory, entries)

  def process(index):
    local.index = index
    try:
      encoding.run(encoding.settings(data), tmp_path)
    except BaseException as error:
      failed.append(error)
      barrier.abort()

  encoding.collect.run(encoding.settings(data), {}, tmp_path / 'collect')
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: local.index)
  monkeypatch.setattr(
    multihost_utils, 'sync_global_devices', lambda name: barrier.wait()
  )
  monkeypatch.setattr(streams, 'write_shard', writing)
  monkeypatch.setattr(streams, 'seal', sealing)
  threads = [threading.Thread(target=process, args=(i,)) for i in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not failed, failed
  assert written[0] and written[1] and not set(written[0]) & set(written[1])
  assert sealed == [0, 0]
  assert contents(tmp_path / 'encode') == contents(uninterrupted / 'encode')


CONFIG = """
from tests.stages import encoding
import ml_collections

def get_config():
  settings = encoding.settings({path!r}, error_budget=0.0)
  return ml_collections.ConfigDict(settings.to_dict())
"""


def test_the_command_line_answers_in_one_line(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  encoding.spoil(data / '001.npz')
  file = tmp_path / 'toy.py'
  workdir = tmp_path / 'work'
  for path, words in (
    (data, 'toy/pretrain: 1 of 6 episodes cannot be decoded'),
    (tmp_path / 'nowhere', 'nowhere'),
  ):
    file.write_text(CONFIG.format(path=str(path)))
    result = command(
      f'--config={file}', '--stages=collect,encode', workdir=workdir
    )
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith('rpt_jax: error:') and words in line


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
