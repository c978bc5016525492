"""Files for rerun hold what they were given; without it one line says so."""

import collections
import sys

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.reporting.explorer import Clip, Explorer
from rpt_jax.tools import rrd
from tests.episodes.test_survey import clean


def rows(path):
  """{entity: rows} of a file; static ones are a row."""
  chunk = pytest.importorskip('rerun.chunk')
  counts = collections.Counter()
  for each in chunk.RrdReader(path).stream().to_chunks():
    counts[each.entity_path.replace('\\', '')] += each.num_rows
  return counts


def test_episodes_of_a_dataset(tmp_path):
  pytest.importorskip('rerun')
  for i in range(2):
    part = clean(i) | {'instruction': np.array('push <b>')}
    np.savez(tmp_path / f'{i}.npz', **part)
  source = episodes.open(tmp_path)
  path = rrd.of_dataset(source, tmp_path / 'out' / 'a.rrd')
  held = rows(path)
  steps = int(source.lengths[1])
  for name in ('front', 'wrist', 'state', 'action'):
    assert held[f'/episode 1/{name}'] == steps, held
  assert held['/episode 0/instruction'] == 1
  assert [p.name for p in path.parent.iterdir()] == ['a.rrd']


def test_clips_have_frames_lanes_and_curves(tmp_path):
  pytest.importorskip('rerun')
  frames = np.zeros((3, 8, 8, 3), np.uint8)
  unit_T = np.array([4, -1, 2])
  shown = [
    Clip('robot', 7, range(3), frames, {'raw': unit_T}, {'action': np.eye(3)}),
    Clip('robot', 8, range(3), frames, {}, {}),  # It cannot be chosen.
  ]
  path = tmp_path / 'a.rrd'
  with rrd._recording(path, 'a') as log:
    rrd._clips(log, Explorer(shown, {}))
  held = rows(path)
  assert held['/robot, clip 7/frames'] == held['/robot, clip 7/action'] == 3
  assert held['/robot, clip 7/units/raw'] == 1
  assert held['/robot, clip 7, units/raw'] == 3
  assert not any('clip 8' in name for name in held)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'rerun', None)
  np.savez(tmp_path / '0.npz', **clean(0))
  with pytest.raises(ValueError, match=r"--rrd needs rerun: .*'\.\[rerun\]'"):
    rrd.of_dataset(episodes.open(tmp_path), tmp_path / 'a.rrd')
  assert not (tmp_path / 'a.rrd').exists()
