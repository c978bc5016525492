"""Which demonstrations a seed gets, which cells there are, what is frozen."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rpt_jax.episodes import windows
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import demonstrations, finetune, trunk
from rpt_jax.training import sharding
from rpt_jax.types import StreamSpec
from tests.stages.test_pretrain import tiny_config

LENGTHS = np.array([5, 8, 6, 7])


def config(**changes):
  c = tiny_config()
  c.finetune.update(changes)
  return ml_collections.FrozenConfigDict(c.to_dict())


def test_fewer_demonstrations_are_a_part_of_more():
  table = windows.windows(LENGTHS, 1)
  size = 40
  chosen = {
    n: demonstrations.picks(table, n, size, config(seeds=3)) for n in (1, 2, 4)
  }
  for seed in range(3):
    clips = {
      n: set(table.clip[picks[seed][: count[seed]]])
      for n, (picks, count) in chosen.items()
    }
    assert [len(clips[n]) for n in (1, 2, 4)] == [1, 2, 4]
    assert clips[1] < clips[2] < clips[4]
  picks, count = chosen[1]
  assert len({tuple(p[:c]) for p, c in zip(picks, count, strict=True)}) > 1
  picks, count = chosen[4]
  assert (count == LENGTHS.sum()).all() and picks.shape == (3, size)


def test_every_run_has_a_cell_and_scratch_beside_it():
  c = config(demos=(1, 4), run_demos=(4,))
  cells = finetune.cells(c)
  assert len(set(cells)) == len(cells)
  runs = {cell.run for cell in cells}
  assert runs == {'none', 'next', 'masked_raw', 'next_2'}
  for cell in cells:
    assert finetune.Cell('none', 'scratch', cell.demos) in cells


def test_runs_without_scratch_are_refused():
  with pytest.raises(ValueError, match='run_demos'):
    finetune.cells(config(demos=(1,), run_demos=(4,)))


@pytest.mark.parametrize(
  'frozen, freeze, still',
  [
    (True, '', {'trunk', 'stem_latent', 'mask_latent', 'norm', 'time'}),
    (False, '', {'mask_latent'}),  # Nothing is hidden from it.
    (False, '^(trunk|stem)', {'trunk', 'stem_latent', 'mask_latent'}),
  ],
)
def test_what_is_frozen_stays(frozen, freeze, still):
  c = config(seeds=2, steps=3, batch_size=4)
  spec = StreamSpec('action', 'discrete', vocab=3)
  heads = behaviour_cloning.heads(c.finetune, (), (spec,))
  model = trunk.model(c, trunk.latent_stream(6), heads, 'causal')
  keys_S = finetune.seed_keys(c)
  before = jax.device_get(finetune.initial(model)(keys_S))
  table = windows.windows(LENGTHS, 1)
  size = LENGTHS.sum()
  rng = np.random.default_rng(0)
  data = {
    'latent': jnp.asarray(rng.normal(size=(size, 6)), jnp.float32),
    'action': jnp.asarray(rng.integers(3, size=size)),
    'table': jax.tree.map(jnp.asarray, table),
  }
  picks_SN, count_S = demonstrations.picks(table, 2, size, c)
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1, 'tensor': 1})
  train = finetune.trainer(model, lambda x: x, c.finetune, frozen, freeze, mesh)
  after, _ = train(before, data, picks_SN, count_S, keys_S)
  found = {
    name
    for name in before
    if all(
      jax.tree.leaves(jax.tree.map(np.array_equal, before[name], after[name]))
    )
  }
  assert found == still
  assert sequence.parameter_count(after) == sequence.parameter_count(before)
