"""Statistics: merged as computed at once, cached by content."""

import json

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import statistics


def write(folder, count=6, constant=3.5, first=0):
  folder.mkdir(exist_ok=True)
  for i in range(first, first + count):
    rng = np.random.default_rng(i)
    x = 1e3 + rng.normal(size=(20 + i, 4)) * [1, 10, 0.1, 1]
    x[:, 3] = constant
    np.savez(folder / f'{i}.npz', state=x, action=x[:, :2] / 1e3)
  return folder


def test_merged_moments_are_those_of_all_rows(tmp_path):
  source = episodes.open(write(tmp_path / 'd'))
  table = statistics.compute(source)
  x = source.read_all(['state']).arrays['state'].astype(np.float64)
  found = table.streams['state']
  assert found.count == len(x) == sum(20 + i for i in range(6))
  for name in ('mean', 'std', 'min', 'max'):
    expected = getattr(x, name)(0)
    np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9)
  np.testing.assert_allclose(found.q01, np.quantile(x, 0.01, 0))
  np.testing.assert_allclose(found.q99, np.quantile(x, 0.99, 0))
  assert table.provenance['episodes'] == 6
  assert (found.min[:3] < found.mean[:3]).all()


def test_only_the_given_episodes_count(tmp_path):
  source = episodes.open(write(tmp_path / 'd'))
  found = statistics.compute(source, ['state'], [0, 2]).streams['state']
  rows = np.concatenate([source.read(i)['state'] for i in (0, 2)])
  np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-6)


def test_quantiles_of_more_rows_than_are_kept(tmp_path, monkeypatch):
  source = episodes.open(write(tmp_path / 'd', 20))
  whole = statistics.compute(source).streams['state']
  monkeypatch.setattr(statistics, '_SAMPLE', 300)
  sampled = statistics.compute(source).streams['state']
  assert np.abs((sampled.q99 - whole.q99) / whole.std.clip(1e-3)).max() < 0.8
  np.testing.assert_array_equal(sampled.mean, whole.mean)


def test_kept_rows_are_evenly_spaced(monkeypatch):
  monkeypatch.setattr(statistics, '_SAMPLE', 30)
  reservoir, rows = statistics.Reservoir(), np.arange(1000)[:, None]
  for start in range(0, 1000, 7):
    reservoir.add(rows[start : start + 7])
  np.testing.assert_array_equal(reservoir.rows()[:, 0], np.arange(0, 1000, 64))


def test_the_cache_is_by_content(tmp_path):
  folder = write(tmp_path / 'd')
  cache = tmp_path / 'cache'

  def get(**arguments):
    return statistics.cached(cache, episodes.open(folder), **arguments)

  table = get()
  (path,) = cache.iterdir()
  np.testing.assert_array_equal(
    statistics.load(path).streams['action'].std, table.streams['action'].std
  )
  edited = json.loads(path.read_text())
  edited['streams']['action']['count'] = -1
  path.write_text(json.dumps(edited))
  assert get().streams['action'].count == -1  # It was read, not computed.
  assert get(episodes=[0]).streams['action'].count == 20
  write(folder, 1, first=9)
  assert get().streams['action'].count > 0
  assert len(list(cache.iterdir())) == 3
  path.write_text('{}')
  with pytest.raises(ValueError, match='no table of statistics'):
    statistics.load(path)


def test_unreadable_episodes_are_left_out_and_named(tmp_path):
  folder = write(tmp_path / 'd', 3)
  bad = folder / '1.npz'
  bad.write_bytes(bad.read_bytes()[:200])
  table = statistics.compute(episodes.open(folder))
  assert table.provenance['episodes'] == 2
  assert '1.npz' in table.provenance['skipped']['1']
  assert table.streams['state'].count == 20 + 22
