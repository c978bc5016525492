"""Objects on a table: what is held out, and what is said of where they are."""

import numpy as np

from rpt_jax.domains import arrangements
from rpt_jax.envs.arrangements import DRAWER, Placed, Thing
from rpt_jax.vision import relations


def test_two_colours_and_a_size_are_held_out():
  old, new = arrangements.things(False), arrangements.things(True)
  assert len(old) == 6 * 2 * 2 and len(old) + len(new) == 8 * 3 * 2
  assert not {t.colour for t in old} & {'orange', 'cyan'}
  assert {t.size for t in old} == {'small', 'large'}
  assert all(t.colour in ('orange', 'cyan') or t.size == 'medium' for t in new)


def test_what_is_said_is_so():
  cube, ball = Thing('large', 'red', 'cube'), Thing('small', 'blue', 'cylinder')
  held, stored = (
    Thing('small', 'green', 'cube'),
    Thing('small', 'white', 'cube'),
  )
  above = cube.half * 2 + ball.half
  gripper = np.array([-0.1, -0.05, 0.18])
  placed = [
    Placed(cube, np.array([0.0, 0.05, cube.half]), 0),
    Placed(ball, np.array([0.0, 0.05, above]), 0),
    Placed(held, gripper, 0),
    Placed(stored, np.array([*DRAWER, stored.half]), 0),
  ]
  said = relations.write(arrangements.told('scene', placed, gripper))
  statements = said.partition('. ')[2].split('; ')
  assert set(statements) == {
    'small green cube is in the gripper',
    'small white cube is in the drawer',
    'small blue cylinder is on large red cube',
    'large red cube is near small blue cylinder',
    'small blue cylinder is near large red cube',
    'small green cube is left of large red cube',
    'small green cube is left of small blue cylinder',
    'small green cube is left of small white cube',
    'large red cube is left of small white cube',
    'small blue cylinder is left of small white cube',
    'small green cube is in front of large red cube',
    'small green cube is in front of small blue cylinder',
    'small green cube is in front of small white cube',
    'large red cube is in front of small white cube',
    'small blue cylinder is in front of small white cube',
  }
  read = relations.read(said)
  assert read.names == tuple(p.thing.name for p in placed)


def test_scenes_are_a_function_of_their_seed_and_nothing_stands_in_another():
  for seed in range(20):
    kinds = arrangements.things(bool(seed % 2))
    placed, gripper = arrangements.arranged(
      np.random.default_rng(seed), kinds, 5
    )
    again, _ = arrangements.arranged(np.random.default_rng(seed), kinds, 5)
    assert [p.thing for p in placed] == [p.thing for p in again]
    assert len({p.thing for p in placed}) == 5
    told = arrangements.told('scene', placed, gripper)
    on_NN = told.two_NNR[..., 0]
    assert (on_NN.sum(0) <= 1).all() and not (on_NN & on_NN.T).any()
    for i, one in enumerate(placed):
      for j, other in enumerate(placed[:i]):
        apart = np.abs(one.centre - other.centre)
        reach = one.thing.half + other.thing.half - 1e-6
        assert (apart >= reach).any() or apart[:2].max() > 0.05, (seed, i, j)


def test_the_film_ends_in_the_drawer():
  scenes = list(arrangements.film(np.random.default_rng(0)))
  told = [arrangements.told('film', *scene).one_NU[0] for scene in scenes]
  assert told[-1].tolist() == [False, True]
  assert any(held for held, _ in told) and not told[0].any()
