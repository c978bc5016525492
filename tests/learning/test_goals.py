"""Goals drawn and acted on: who learns from what, and what is told of it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import results, settings
from rpt_jax.learning import checks, goals, imagining, reaching
from rpt_jax.models import sequence
from rpt_jax.results import Imagine
from rpt_jax.types import ACTION, LATENT, TEXT, UNIT
from rpt_jax.vision import dvae
from tests.settings import variants

SIZES = dvae.Sizes(8, 4, 8, 1, 6, 5)
KEY, PLACES = jax.random.key(0), SIZES.side**2


def section():
  values = settings.section(settings.Imagine, width=16, text_length=3)
  values.trunk.update(depth=1, num_heads=2)
  return settings.read(settings.Imagine, values)


def sequences(goal):
  code_BK = np.arange(2 * PLACES).reshape(2, PLACES) % SIZES.vocab
  unit_BN = np.concatenate([code_BK, np.asarray(goal)], 1)[..., None]
  return {'inputs': {TEXT: jnp.array([[0, 1, -1]] * 2), UNIT: unit_BN}}


def test_a_code_of_a_goal_is_named_from_what_comes_before_it():
  """The loss is the mean over the codes of the goal, each read where the code
  before it is; no code of the frame before is named."""
  own = imagining.lessons(section(), SIZES, 2, 3)[UNIT].model
  goal_BK = np.array([[5, 0, 3, 3], [1, 2, 2, 4]])
  inputs = sequences(goal_BK)['inputs']

  @jax.jit
  def both(key):
    apply = sequence.bind(own, sequence.init(own, key))
    loss, _ = imagining.drawing_loss(apply, {'inputs': inputs}, key)
    seen = inputs | {UNIT: inputs[UNIT][:, :-1]}
    valid_BN = jnp.ones(seen[UNIT].shape[:2], bool)
    logits = apply.head(UNIT).logits(apply(seen, valid_BN)['reads'][UNIT])
    return loss, jax.nn.log_softmax(logits[:, :, 0, 0])

  loss, said_BNV = both(KEY)
  nats = [
    -said_BNV[b, PLACES - 1 + k, goal_BK[b, k]]
    for b in range(2)
    for k in range(PLACES)
  ]
  np.testing.assert_allclose(loss, np.mean(nats), rtol=1e-5)


def test_what_is_drawn_of_a_scene_is_a_grid_of_codes():
  own = imagining.lessons(section(), SIZES, 2, 3)[UNIT].model
  params = sequence.init(own, KEY)
  inputs = sequences(np.zeros((2, PLACES), int))['inputs']
  code_NK = np.asarray(inputs[UNIT])[:, :PLACES, 0]
  drawn = imagining.draw(own, params, code_NK, inputs[TEXT], 3, KEY)
  assert drawn.shape == (2, 3, PLACES) and drawn.max() < SIZES.vocab
  again = imagining.draw(own, params, code_NK, inputs[TEXT], 3, KEY)
  np.testing.assert_array_equal(drawn, again)
  assert (drawn[:, 0] != drawn[:, 1]).any()  # Draws differ.


def test_goals_of_play_come_later_in_the_same_episode():
  episodes, steps, horizon = 5, 7, 3
  number_ET1 = np.arange(episodes * steps).reshape(episodes, steps, 1)
  play = reaching.Play(number_ET1, number_ET1, number_ET1)
  values = settings.section(settings.Reach, batch_size=400, horizon=horizon)
  c = settings.read(settings.Reach, values)
  batch = reaching.batches(c, play, 0)(3)
  now, goal = batch['inputs'][LATENT][:, 0].T
  np.testing.assert_array_equal(batch['targets'][ACTION][:, 0, 0], now)
  assert (now // steps == goal // steps).all()
  assert {*(goal - now)} == {1, 2, 3} and len({*now}) == episodes * (steps - 1)


def test_another_sentence_asks_for_something_else():
  goal_N = np.array([0, 0, 3, 3, 3, 7])
  other_N = goals.others(goal_N, np.random.default_rng(0))
  assert (goal_N[other_N] != goal_N).all()
  alike = goals.others(np.zeros(4, int), np.random.default_rng(0))
  assert (alike != np.arange(4)).all()


def test_differences_are_paired_by_seed():
  """Of two goals whose seeds go up and down alike it is sure."""
  base = np.array([0.2, 0.8, 0.5])
  values = {Imagine.SUCCESS: {Imagine.BEST: base + 0.1, Imagine.ONE: base}}
  rows = goals.rows(values)
  over = results.latest(
    rows,
    Imagine.over(Imagine.SUCCESS),
    goal=Imagine.BEST,
    other_goal=Imagine.ONE,
  )
  np.testing.assert_allclose([over['value'], *over['interval']], 0.1)
  own = results.latest(rows, Imagine.SUCCESS, goal=Imagine.ONE, other_goal=None)
  assert own['seeds'] == 3 and own['interval'][0] < 0.2


@pytest.mark.parametrize(
  'flag, words',
  [
    ('image_model.kind=mae', "config.image_model.kind: found 'mae'"),
    ('encoder=pixels', 'config.image_model.kind'),
    ('imagine.score.kind=mae', "config.imagine.score.kind: found 'mae'"),
    ('imagine.score.patch=7', 'config.imagine.score.patch: found 7'),
    ('imagine.trunk.kind=mingru', "config.imagine.trunk.kind: found 'mingru'"),
    ('imagine.width=17', 'config.imagine.trunk.num_heads'),
    ('domains.tabletop.kind=drawings', 'config.domains: found'),
    ('frames.size=64', 'config.frames.size: found 64, expected 32'),
  ],
)
def test_what_cannot_be_meant_is_told(flag, words):
  config = variants.parsed('goals:quicktest', f'--config.{flag}')
  with pytest.raises(ValueError) as refused:
    checks.experiment(config)
  assert words in str(refused.value) and '\n' not in str(refused.value)


def test_a_package_that_reads_sentences_is_missed_before_any_work(monkeypatch):
  monkeypatch.setitem(sys.modules, 'tokenizers', None)
  with pytest.raises(ValueError, match='^config.imagine: .*tokenizers.*hub'):
    checks.experiment(variants.parsed('goals:quicktest'))
