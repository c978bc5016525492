"""Frames for the image model: all of them, at one size, in order; faults."""

import shutil

import jax
import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import frames as stored
from rpt_jax.episodes import reading
from rpt_jax.learning import checks
from rpt_jax.stages import collect, frames
from rpt_jax.training import distributed
from rpt_jax.vision import preprocessing
from tests.stages import encoding

SIZE = 16
FILES = [
  f'{s}.{e}' for s in ('heldout', 'pretrain') for e in ('clips.npz', 'npy')
]


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
  return stored.load([workdir / 'frames/toy/pretrain.npy']).parts[0]


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
  views = [x for i in chosen for x in source.read(i, cameras).values()]
  return np.stack([scale(x) for x_THWC in views for x in x_THWC]).astype('u1')


@pytest.mark.parametrize('cameras', [('image',), ('wrist', 'image')])
@pytest.mark.parametrize('workers', [0, 1])
def test_every_frame_once_in_order(data, tmp_path, cameras, workers):
  config = experiment(data, cameras, workers=workers)
  rows = run(config, tmp_path)
  found = written(tmp_path)
  assert found.shape == (50 * len(cameras), SIZE, SIZE, 3)
  assert isinstance(found, np.memmap) and found.dtype == np.uint8
  wanted = expected(data, cameras, range(6))
  assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
  assert [r['value'] for r in rows] == [n * len(cameras) for n in (50, 18)]
  names = sorted(p.name for p in (tmp_path / 'frames/toy').iterdir())
  assert names == FILES


def test_clips_have_their_bounds_rates_and_texts(data, tmp_path):
  """A camera of an episode is a clip; what cannot be decoded is none."""
  encoding.spoil(data / '001.npz')
  run(experiment(data, ('wrist', 'image')), tmp_path)
  splits = [tmp_path / f'frames/toy/{s}.npy' for s in ('pretrain', 'heldout')]
  found = stored.load(splits)
  kept = [n for i, n in enumerate(encoding.LENGTHS) if i != 1]
  np.testing.assert_array_equal(found.lengths, np.repeat(kept, 2))
  assert len(found) == found.lengths.sum() and found.size == SIZE
  assert set(found.texts) == {''} and set(found.rates) == {0.0}
  rows = np.array([[0, 5], [len(found) - 1, 3]])
  everything = np.concatenate(found.parts)
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
  names = sorted(p.name for p in (tmp_path / 'frames/toy').iterdir())
  assert names == FILES


def test_over_the_budget_nothing_appears(data, tmp_path):
  encoding.spoil(data / '001.npz')
  with pytest.raises(ValueError, match='toy/pretrain: 1 of 6'):
    run(experiment(data, error_budget=0.1), tmp_path)
  assert not (tmp_path / 'frames/toy/pretrain.npy').exists()


def test_a_finished_split_is_not_decoded_again(data, tmp_path):
  config = experiment(data)
  first = run(config, tmp_path)
  path = tmp_path / 'frames/toy/heldout.npy'
  path.unlink()
  before = (tmp_path / 'frames/toy/pretrain.npy').stat().st_mtime_ns
  assert run(config, tmp_path) == first
  assert path.exists()
  after = (tmp_path / 'frames/toy/pretrain.npy').stat().st_mtime_ns
  assert after == before


def test_only_the_first_process_writes(data, tmp_path, monkeypatch):
  config = experiment(data)
  first = run(config, tmp_path)
  made = (tmp_path / 'frames').rename(tmp_path / 'made')
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  monkeypatch.setattr(
    distributed,
    'wait',
    lambda name: shutil.copytree(made, tmp_path / 'frames', dirs_exist_ok=True),
  )
  monkeypatch.setattr(reading, 'read_ahead', None)
  assert run(config, tmp_path) == first
