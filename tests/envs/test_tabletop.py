"""The table: what experts do on it, and that only a sentence tells what to."""

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.envs import tabletop

KEYS = jax.random.split(jax.random.key(0), 200)


def test_experts_do_what_was_asked_for():
  told = jax.jit(jax.vmap(tabletop.told))(KEYS)
  done = jax.vmap(tabletop.succeeded)
  assert done(told['first'], told['last'], told['goal']).mean() > 0.95
  assert not done(told['first'], told['first'], told['goal']).any()
  # All goals come, and of a table many can be asked for.
  assert len(np.unique(told['goal'])) == tabletop.NUM_GOALS == 12
  asked = jax.vmap(tabletop.can_be_asked)(told['first']).sum(1)
  assert asked.mean() > 8 and asked.min() >= 3


def test_a_stroke_takes_along_what_it_holds_and_nothing_else():
  block_B2 = jnp.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.7]])
  hold = 2 * block_B2[1] - 1
  step = jax.jit(tabletop.step)
  after = step(block_B2, jnp.array([*hold, 0.0, 1.0]))
  np.testing.assert_allclose(
    after - block_B2, [[0, 0], [0, tabletop.STROKE], [0, 0]], atol=1e-6
  )
  beside = jnp.array([0.0, -1.0, 1.0, 1.0])
  np.testing.assert_array_equal(step(block_B2, beside), block_B2)
  # A longer stroke than there can be is as long as there can be.
  far = step(block_B2, jnp.array([*hold, 1.0, 1.0]))
  moved = jnp.linalg.norm(far[1] - block_B2[1])
  np.testing.assert_allclose(moved, tabletop.STROKE, atol=1e-6)


def test_play_is_what_its_actions_do():
  episode = jax.jit(lambda key: tabletop.play(key, 12))(KEYS[0])
  after = jax.vmap(tabletop.step)(episode['block'], episode['action'])
  np.testing.assert_allclose(episode['block'][1:], after[:-1], atol=1e-6)
  assert (jnp.abs(episode['block'][-1] - episode['block'][0]) > 0.1).any()


def test_sentences_of_two_goals_are_never_alike():
  said = {
    tabletop.sentence(goal, template)
    for goal in range(tabletop.NUM_GOALS)
    for template in range(len(tabletop.TEMPLATES))
  }
  assert len(said) == tabletop.NUM_GOALS * len(tabletop.TEMPLATES)


def test_blocks_are_drawn_where_they_are():
  block_B2 = jnp.array([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]])
  image = np.asarray(jax.jit(tabletop.render)(block_B2))
  for (x, y), rgb in zip(block_B2, tabletop.COLOURS.values(), strict=True):
    np.testing.assert_array_equal(image[int(64 * y), int(64 * x)], rgb)
