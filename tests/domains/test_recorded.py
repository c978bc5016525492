"""Recorded datasets: what cannot be read, and what cannot be predicted."""

import json

import numpy as np
import pytest

from rpt_jax.domains import recorded
from rpt_jax.episodes import CorruptEpisode, listing
from rpt_jax.learning import sweep


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
  monkeypatch.setattr(listing, 'CACHE', tmp_path / 'cache')
  monkeypatch.setattr(recorded, 'CACHE', tmp_path / 'statistics')


def dataset(folder, change=lambda i, action: action, mapped=True):
  """A domain of 20 episodes of 10 steps; `change` makes their actions."""
  rng = np.random.default_rng(0)
  folder.mkdir(parents=True)
  for i in range(20):
    np.savez(
      folder / f'e{i:02d}.npz',
      state=rng.normal(size=(10, 3)),
      action=change(i, rng.normal(size=(10, 2))),
      image=np.zeros((10, 8, 8, 3), np.uint8),
    )
  names = ('image', 'state', *(('action',) if mapped else ()))
  settings = recorded.Settings(
    path=str(folder), mapping={name: name for name in names}
  )
  return recorded.Recorded('lab', settings)


def with_nan(*episodes):
  return lambda i, action: np.where(i in episodes, np.nan, action)


def test_unreadable_numbers_are_named_and_never_read(tmp_path, capsys):
  domain = dataset(tmp_path / 'd', with_nan(4, 17))
  domain.collect(tmp_path / 'out' / 'lab')
  said = capsys.readouterr().out
  assert 'lab: episode 4 cannot be read' in said and 'episode 17' in said
  assert 'action: step 0 is not finite' in said
  source = domain.source(tmp_path / 'out', 'pretrain')
  assert len(source) == 15 and len(source.read(3, ['image'])['image']) == 10
  with pytest.raises(CorruptEpisode, match='action: step 0 is not finite'):
    source.read(4, ['image'])  # Its frames are sound.


def test_an_index_of_an_older_workdir_is_read(tmp_path):
  domain = dataset(tmp_path / 'd')
  domain.collect(tmp_path / 'out' / 'lab')
  path = tmp_path / 'out/lab/index.json'
  index = json.loads(path.read_text())
  del index[recorded.UNREADABLE]
  path.write_text(json.dumps(index))
  assert len(domain.source(tmp_path / 'out', 'pretrain')) == 15


def test_frames_of_an_episode_count_in_the_budget_of_who_reads_them(tmp_path):
  domain = dataset(tmp_path / 'd', with_nan(4))
  domain.collect(tmp_path / 'out' / 'lab')
  source = domain.source(tmp_path / 'out', 'pretrain')
  view = sweep.View({'image': 'image'}, 'brightness')

  def how(budget):
    return sweep.Sweep((view,), _brightness, 8, 1000, budget)

  with pytest.raises(ValueError, match='1 of 15 episodes cannot be decoded'):
    sweep.split(source, how(0.05), tmp_path / 'lab' / 'pretrain')
  entries = sweep.split(source, how(0.5), tmp_path / 'lab' / 'pretrain')
  assert list(sweep.skipped(entries)) == [4]


def _brightness(seen):
  return seen['image'].mean((1, 2, 3))[:, None].astype(np.float16)


@pytest.mark.parametrize('first, what', [(0, 'training'), (15, 'held-out')])
def test_actions_that_never_change_are_refused(tmp_path, first, what):
  still = range(first, first + 15)
  domain = dataset(tmp_path / 'd', lambda i, a: np.where(i in still, 3.0, a))
  with pytest.raises(
    ValueError, match=rf'mapping.action: .* {what} .*3.0, 3.0'
  ):
    domain.collect(tmp_path / 'out')


def test_actions_that_nobody_asks_for_may_rest(tmp_path):
  domain = dataset(tmp_path / 'd', lambda i, a: 0 * a, mapped=False)
  domain.collect(tmp_path / 'out')


@pytest.mark.parametrize('kind', [np.float64, np.int64])
def test_actions_of_one_number(tmp_path, kind):
  domain = dataset(tmp_path / 'd', lambda i, a: (9 * a[:, 0]).astype(kind))
  domain.check()
  assert domain.widths == {'proprio': 3, 'action': 1}
  domain.collect(tmp_path / 'out')
