"""Thresholds of monitors and the alarms that they raise."""

import numpy as np

from rpt_jax.domains.playing import Seen
from rpt_jax.learning import watch
from rpt_jax.results import Watching


def successes(count):
  """Episodes of 6 of 8 steps, whose sums then stand still."""
  sums = np.random.default_rng(0).exponential(size=(count, 8)).cumsum(1)
  sums[:, 6:] = sums[:, 5:6]
  return Seen(np.ones(count, bool), np.full(count, 6), {'a': sums}, {})


def test_there_are_thresholds_by_step_where_successes_are_enough():
  name = Watching.by_step('a')
  assert name not in watch.thresholds(successes(37), 0.05)
  limits = watch.thresholds(successes(38), 0.05)
  assert np.isfinite(limits[name]['a'][:6]).all()
  assert (limits[name]['a'][6:] == np.inf).all()
  assert limits['a']['a'] == np.sort(successes(38).sums['a'][:, -1])[37]


def test_what_has_ended_raises_no_alarm():
  seen = successes(4)
  limit_T = np.full(8, np.inf)
  limit_T[6:] = 0.0
  assert not watch.alarms(seen, {'a': limit_T}).any()
  limit_T[5] = 0.0
  alarm_NT = watch.alarms(seen, {'a': limit_T})
  assert alarm_NT[:, 5].all() and alarm_NT.sum() == 4
