"""Meta-World played in rounds: each episode as if all were played at once."""

import types

import jax
import numpy as np
import pytest

from rpt_jax.domains import metaworld, playing
from rpt_jax.domains.playing import SeedWeights
from rpt_jax.envs.metaworld import scene
from rpt_jax.policy import program

MISSING = scene.missing()
COUNT = 4


def draws(monkeypatch, batch, first=0):
  """What the episodes of a batch draw at a step."""
  monkeypatch.setattr(program, 'start', lambda played, batch: None)
  monkeypatch.setattr(
    program,
    'step',
    lambda played, weights, memory, seen, keys_B: (
      None,
      jax.vmap(jax.random.uniform)(keys_B),
    ),
  )
  model = types.SimpleNamespace(streams=())
  played = types.SimpleNamespace(cameras=(), model=model)
  return playing.on_host(played, None, batch, 3, first)({})


def test_an_episode_draws_by_its_place(monkeypatch):
  whole = draws(monkeypatch, 6)
  assert len(np.unique(whole)) == 6
  rounds = [draws(monkeypatch, 2, first) for first in (0, 2, 4)]
  np.testing.assert_array_equal(np.concatenate(rounds), whole)
  keys_B = program.episode_keys(3, 6)  # As ever, where there is one round.
  drawn = jax.vmap(jax.random.uniform)(keys_B)
  np.testing.assert_array_equal(whole, drawn)


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_simulator_plays_in_rounds_what_it_plays_at_once(monkeypatch):
  """The expert of every lane, but of episodes whose place is odd, nothing."""
  lanes = None

  def on_host(played, weights, batch, seed, first):
    idle_N = np.arange(first, first + batch) % 2 == 1
    return lambda observation: np.where(idle_N[:, None], 0, lanes.experts())

  monkeypatch.setattr(playing, 'on_host', on_host)
  monkeypatch.setattr(SeedWeights, 'of', lambda self, seed: seed)
  weights = SeedWeights(None, np.zeros((2, 1)), lambda split: {})
  results = []
  for look_every in (0, 3):
    settings = metaworld.Settings(
      tasks=('button-press-topdown-v3',),
      cameras=('corner2',),
      size=16,
      look_every=look_every,
      workers=1,
    )
    (task,) = metaworld.domains('m', settings, 0)
    with task.episodes(COUNT, None, None) as episodes:
      lanes = episodes[0]
      assert lanes.num == (2 if look_every else COUNT)
      results.append(task.play(None, weights, episodes, record=True))
      if look_every:
        short = task.play(None, weights, episodes, stop=lambda success_SN: True)
  whole, rounds = results
  assert whole.outcome.tolist() == [[True, False] * 2] * 2
  assert len(np.unique(whole.steps)) > 2
  for name in ('outcome', 'steps', 'film'):
    one, other = (getattr(x, name) for x in (whole, rounds))
    np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(short.steps, whole.steps[:, :2])
