"""Frames for the image model: all of them, at one size, in order; faults."""

import jax
import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import frames as stored
from rpt_jax.episodes import store
from rpt_jax.learning import checks
from rpt_jax.stages import collect, frames
from rpt_jax.training import distributed
from rpt_jax.vision import preprocessing
from tests.stages import encoding

SIZE = 16
SPLITS = 'pretrain', 'heldout'


@pytest.fixture
def data(tmp_path):
  return encoding.write_episodes(tmp_path / 'toy')


def experiment(data, cameras=('image',), **changes):
  config = encoding.config(data, cameras=cameras)
  config.frames.update(size=SIZE, error_budget=0.2)
  config.frames.update(changes)
  return checks.experiment(config)


def written(workdir):
  """Frames of the split `pretrain`, as the image model reads them."""
  return stored.load([workdir / 'frames/toy/pretrain']).parts[0][:]


def files_of(workdir):
  """{split: names of its files}."""
  folder = workdir / 'frames/toy'
  return {s: sorted(p.name for p in (folder / s).iterdir()) for s in SPLITS}


def run(config, workdir):
  inputs = {'collect': workdir / 'collect'}
  if not inputs['collect'].exists():
    collect.run(config, {}, inputs['collect'])
  return frames.run(config, inputs, workdir / 'frames')


def expected(data, cameras, chosen):
  """Frames of the chosen episodes, scaled one by one."""
  scale = jax.jit(
    lambda x: preprocessing.resize(x[None], (SIZE, SIZE), 'bilinear')[0]
  )
  source = episodes.open(data, **{c: c for c in cameras})
  views = [source.read(i, (c,))[c] for c in cameras for i in chosen]
  return np.stack([scale(x) for x_THWC in views for x in x_THWC]).astype('u1')


@pytest.mark.parametrize('cameras', [('image',), ('wrist', 'image')])
@pytest.mark.parametrize('workers', [0, 1])
def test_every_frame_once_in_order(data, tmp_path, cameras, workers):
  config = experiment(data, cameras, workers=workers)
  rows = run(config, tmp_path)
  found = written(tmp_path)
  assert found.shape == (50 * len(cameras), SIZE, SIZE, 3)
  assert found.dtype == np.uint8
  wanted = expected(data, sorted(cameras), range(6))
  assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
  assert [r['value'] for r in rows] == [n * len(cameras) for n in (50, 18)]
  shards = [f'00000-of-00001.image.{camera}.npy' for camera in sorted(cameras)]
  expected_files = sorted([*shards, 'clips.npz', 'manifest.json'])
  assert files_of(tmp_path) == dict.fromkeys(SPLITS, expected_files)


def test_clips_have_their_bounds_rates_and_texts(data, tmp_path):
  """A camera of an episode is a clip; what cannot be decoded is none."""
  encoding.spoil(data / '001.npz')
  run(experiment(data, ('wrist', 'image')), tmp_path)
  splits = [tmp_path / 'frames/toy' / split for split in SPLITS]
  found = stored.load(splits)
  kept = [n for i, n in enumerate(encoding.LENGTHS) if i != 1]
  np.testing.assert_array_equal(
    found.lengths, [*kept[:5], *kept[:5], *kept[5:], *kept[5:]]
  )
  assert len(found) == found.lengths.sum() and found.size == SIZE
  assert set(found.texts) == {''} and set(found.rates) == {0.0}
  rows = np.array([[0, 5], [len(found) - 1, 3]])
  everything = np.concatenate([part[:] for part in found.parts])
  np.testing.assert_array_equal(found.take(rows), everything[rows])
  assert found.spread(3).tolist() == [0, (len(found) - 1) // 2, len(found) - 1]


def test_an_undecodable_episode_is_left_out(data, tmp_path, capsys):
  encoding.spoil(data / '001.npz')
  config = experiment(data)
  rows = run(config, tmp_path)
  assert 'toy/pretrain: episode 1 skipped' in capsys.readouterr().out
  found = written(tmp_path)
  wanted = expected(data, ('image',), (0, 2, 3, 4, 5))
  assert found.shape == wanted.shape and rows[0]['value'] == 38
  assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1


def test_over_the_budget_nothing_appears(data, tmp_path):
  encoding.spoil(data / '001.npz')
  with pytest.raises(ValueError, match='toy/pretrain: 1 of 6'):
    run(experiment(data, error_budget=0.1), tmp_path)
  assert not list((tmp_path / 'frames').rglob('*.npy'))


def test_a_finished_shard_is_not_decoded_again(data, tmp_path, monkeypatch):
  """Killed between two shards, it goes on with the second."""
  config = experiment(data)
  monkeypatch.setattr(frames, '_SHARD', 15)
  expected = run(config, tmp_path / 'whole')
  encoding.killed_at_the_second(
    monkeypatch, 'write_shard', lambda: run(config, tmp_path)
  )
  (first,) = (tmp_path / 'frames').rglob('*.npy')
  before = first.stat().st_mtime_ns
  assert run(config, tmp_path) == expected
  assert first.stat().st_mtime_ns == before
  np.testing.assert_array_equal(written(tmp_path), written(tmp_path / 'whole'))


def test_each_process_writes_shards_of_its_own(data, tmp_path, monkeypatch):
  """The second of two writes every other one, and no manifest."""
  config = experiment(data)
  monkeypatch.setattr(frames, '_SHARD', 15)
  run(config, tmp_path / 'whole')
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(distributed, 'wait', lambda name: None)
  with pytest.raises(ValueError, match='00000-of.*never finished'):
    run(config, tmp_path)
  folder = tmp_path / 'frames/toy/pretrain'
  names = {path.name for path in folder.glob('*.npy')}
  every = (tmp_path / 'whole/frames/toy/pretrain').glob('*.npy')
  assert names == {p.name for p in every if int(p.name[:5]) % 2}
  assert not (folder / store.MANIFEST).exists()
