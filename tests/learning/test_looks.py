"""What a policy does not learn from says which of its parameters are kept."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.episodes import windows
from rpt_jax.learning import cloning, demonstrations, looks
from rpt_jax.learning.looks import Looks
from rpt_jax.results import NO_RUN, Cell
from rpt_jax.training import sharding
from tests.learning import test_cloning, tiny

LENGTHS = test_cloning.LENGTHS
STEPS = 40


@pytest.mark.parametrize(
  'demos, share, held', [(1, 0.2, 0), (2, 0.2, 1), (10, 0.2, 2), (10, 0.0, 0)]
)
def test_how_many_are_held_out(demos, share, held):
  assert looks.count(demos, share) == held


def trained(change=lambda look_SW, data: data):
  """(params, losses, looks) of two seeds, and their held-out windows."""
  finetune, model = test_cloning.policy()
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1, 'tensor': 1})
  keys_S, size = cloning.seed_keys(0, 2), int(LENGTHS.sum())
  table = windows.windows(LENGTHS, 1)
  data = test_cloning.demos(size) | {'table': jax.tree.map(jnp.asarray, table)}
  few = tiny.demos(LENGTHS)._replace(data=data)
  look_SW = looks.windows(few, 3, 1, 0, 2)
  picks_SN, count_S = demonstrations.picks(few, 2, size, 0, 2)
  for look_W, picks_N in zip(look_SW, picks_SN, strict=True):
    assert not {*table.clip[look_W]} & {*table.clip[picks_N]}
  data = change(look_SW, data)
  run = looks.trainer(model, finetune, True, mesh)
  before = cloning.initial(model)(keys_S)
  rates_S = np.full(2, 3e-2, np.float32)
  scales = {'latent': test_cloning.SCALE}
  own = before, {}, data, scales, picks_SN, count_S, keys_S, STEPS, rates_S
  loop = cloning.loop(
    model, finetune, True, mesh, *jax.tree.map(lambda x: x[0], own[:2]),
    data, scales, picks_SN[0], count_S[0], keys_S[0], STEPS, rates_S[0],
  )  # fmt: skip
  return *run(look_SW, *own), loop, look_SW


def test_the_parameters_kept_are_the_best_of_the_looks():
  params_S, loss_S, seen, loop, look_SW = trained()
  assert (seen.loss < seen.last).all()  # Random labels: it learns by heart.
  assert (seen.step > 0).all() and (seen.step < STEPS).all()
  assert (seen.step % (STEPS // 10) == 0).all()
  first = jax.tree.map(lambda x: x[0], params_S)
  judged = jax.jit(loop.judge)(first, look_SW[0])
  np.testing.assert_allclose(judged, seen.loss[0], rtol=1e-5)
  assert np.isfinite(loss_S).all()


def test_what_is_held_out_teaches_nothing():
  *_, loss_S, seen, _, _ = trained()

  def relabelled(look_SW, data):
    action = np.asarray(data['action']).copy()
    clip_N = np.asarray(data['table'].clip)
    both = np.isin(clip_N, clip_N[look_SW[0]])
    action[both] = (action[both] + 1) % 3
    return data | {'action': jnp.asarray(action)}

  *_, same_S, other, _, _ = trained(relabelled)
  assert loss_S[0] == same_S[0] and seen.last[0] != other.last[0]


def test_the_best_cell_is_kept_and_the_card_says_against_what():
  config = tiny.experiment(finetune__demos=(1, 4), finetune__run_demos=(4,))
  finetune = dataclasses.replace(config.finetune, heldout=0.25)
  runs = tiny.runs(config)
  main = runs.shared.main
  usual = looks.kept(finetune, runs, {})
  assert usual.cell == Cell(main, 'finetune', 4)
  assert 'no score chose it' in usual.why

  def seen(loss):
    return Looks([30.0, 9.0], [loss, 0.0], [0.9, 0.9])

  best = looks.kept(
    finetune,
    runs,
    {
      Cell(NO_RUN, 'scratch', 4): seen(0.3),
      Cell(main, 'probe', 4): seen(0.2),
      Cell(main, 'finetune', 4): seen(0.25),
      Cell(main, 'finetune', 1): seen(0.1),
      Cell(NO_RUN, 'scratch', 4, eyes='edges'): seen(0.1),
    },
  )
  assert best.cell == Cell(main, 'probe', 4)
  assert 'after step 30 of' in best.why and 'on 1 of its 4' in best.why
  assert f'scratch 0.3, probe ({main}) 0.2, finetune ({main}) 0.25' in best.why
