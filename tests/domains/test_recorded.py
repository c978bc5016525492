"""Recorded datasets: what cannot be read, and what cannot be predicted."""

import json

import numpy as np
import pytest

from rpt_jax.domains import recorded
from rpt_jax.episodes import listing


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


def test_unreadable_numbers_leave_an_episode_out_by_name(tmp_path, capsys):
  domain = dataset(tmp_path / 'd', with_nan(4, 17))
  domain.collect(tmp_path / 'out', error_budget=0.1)
  index = json.loads((tmp_path / 'out/index.json').read_text())
  assert index['pretrain'] == [i for i in range(15) if i != 4]
  assert index['heldout'] == [15, 16, 18, 19]
  said = capsys.readouterr().out
  assert 'lab: episode 4 skipped' in said and 'lab: episode 17' in said
  assert 'action: step 0 is not finite' in said


def test_more_of_them_than_the_budget_stop_at_once(tmp_path):
  domain = dataset(tmp_path / 'd', with_nan(4, 17))
  with pytest.raises(ValueError, match='lab: 2 of 20 episodes.*raise error_b'):
    domain.collect(tmp_path / 'out', error_budget=0.05)
  assert not (tmp_path / 'out').exists()


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
