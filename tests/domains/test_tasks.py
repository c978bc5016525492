"""Which episodes of a Meta-World task are kept."""

import itertools

import numpy as np
import pytest

from configs import rpt
from rpt_jax import domains, settings
from rpt_jax.domains import metaworld
from rpt_jax.episodes.rlds import writer
from rpt_jax.settings import Experiment
from rpt_jax.stages import collect
from rpt_jax.types import Episode


def task(**changes):
  """The first task of the quicktest of a config, its numbers changed."""
  config = rpt.get_config('quicktest')
  config.domains.metaworld.update(changes)
  return domains.of(settings.read(Experiment, config))[0]


def clumsy(task, settings, seeds, behaviour, workers, label):
  """An expert that fails with every third seed."""
  del task, settings, workers, label
  for seed in seeds:
    steps = np.zeros(2, np.float32)
    fails = behaviour.failure or seed % 3 == 0
    yield Episode({}, *[steps] * 6), {'success': int(not fails), 'seed': seed}


@pytest.fixture
def tried(monkeypatch):
  """The seeds that were tried, of an expert that is clumsy."""
  seeds = []

  def record(task, settings, tried, *how):
    seeds.extend(tried)
    return clumsy(task, settings, tried, *how)

  monkeypatch.setattr(metaworld.simulators, 'record', record)
  return seeds


@pytest.fixture
def written(monkeypatch):
  """{split: metadata of its episodes}, in the place of a dataset."""
  splits = {}

  def write(directory, name, episodes, metadata):
    assert {k: len(v) for k, v in episodes.items()} == {
      k: len(v) for k, v in metadata.items()
    }
    splits.update(metadata)

  monkeypatch.setattr(writer, 'write', write)
  return splits


def test_successes_are_kept_until_there_are_enough(tried, written, tmp_path):
  rows = task(demos=7).collect(tmp_path / 'task')
  kept = [about['seed'] for about in written['demos']]
  first = task().first_seed('demos')
  tries = [seed for seed in tried if first <= seed < first + metaworld.SEEDS]
  assert tries == list(range(first, first + len(tries)))
  assert kept == [seed for seed in tries if seed % 3]
  assert len(kept) == 7
  (row,) = [
    r for r in rows if (r['name'], r['tags']['split']) == ('kept', 'demos')
  ]
  assert row['value'] == pytest.approx(7 / len(tries))


def test_failures_are_kept_where_they_are_asked_for(tried, written, tmp_path):
  place = task()
  place.collect(tmp_path / 'task')
  assert len(written['failures']) == place.settings.failures
  assert not any(about['success'] for about in written['failures'])
  assert all(
    about['success']
    for split in ('pretrain', 'heldout', 'demos')
    for about in written[split]
  )
  first = place.first_seed('failures')
  tries = [seed for seed in tried if seed >= first]
  assert len(tries) == place.settings.failures  # None was in vain.


def test_too_few_successes_say_so(monkeypatch, tmp_path):
  def failing(*arguments):
    for episode, about in clumsy(*arguments):
      yield episode, about | {'success': 0}

  monkeypatch.setattr(metaworld.simulators, 'record', failing)
  place = domains.of(settings.read(Experiment, rpt.get_config('quicktest')))[
    1
  ]  # Of a task that is not seen in pretraining there are demos alone.
  with pytest.raises(ValueError, match='demos: 0 episodes of 6 .* expected 2'):
    place.collect(tmp_path / 'task')


def test_a_task_that_was_written_is_not_recorded_again(
  tried, written, tmp_path
):
  config = settings.read(Experiment, rpt.get_config('quicktest'))
  rows = collect.run(config, {}, tmp_path)
  assert {row['tags']['env'] for row in rows} == {
    domain.name for domain in domains.of(config)
  }
  tried.clear()
  assert collect.run(config, {}, tmp_path) == rows
  assert tried == []
  lost = tmp_path / 'plate-slide-v3.json'
  lost.unlink()
  assert collect.run(config, {}, tmp_path) == rows
  first = domains.of(config)[1].first_seed('demos')
  assert tried and min(tried) >= first


def test_a_lone_camera_keeps_its_name(tmp_path):
  place, steps = task(cameras=('topview',)), np.zeros(2, np.float32)
  seen = {
    'topview': np.zeros((2, 8, 8, 3), np.uint8),
    'proprio': np.zeros((2, 4), np.float32),
  }
  mark_T = np.zeros(2, bool)
  shown = Episode(seen, np.zeros((2, 4), 'f4'), steps, steps, *[mark_T] * 3)
  writer.write(tmp_path / place.name, place.name, {'demos': [shown]})
  streams = place.source(tmp_path, 'demos').streams
  assert {'topview', 'proprio', 'action'} <= {
    *streams
  } and 'image' not in streams


def test_no_two_parts_share_a_seed():
  """Nor do two configs of other seeds."""
  parts = ('pretrain', 'heldout', 'demos', 'failures', 'evaluation')
  config = rpt.get_config('quicktest')
  firsts = []
  for seed in range(3):
    config.seed = seed
    place = domains.of(settings.read(Experiment, config))[0]
    firsts += [place.first_seed(part) for part in parts]
  apart = [b - a for a, b in itertools.pairwise(firsts)]
  assert min(apart) >= metaworld.SEEDS
