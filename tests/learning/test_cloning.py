"""What behaviour cloning trains, and what it leaves as it is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.episodes import windows
from rpt_jax.learning import cloning, demonstrations, policies
from rpt_jax.training import sharding
from rpt_jax.types import StreamSpec
from tests.learning import tiny

LENGTHS, DIM = np.array([5, 8, 6, 7]), 6
ACTION = StreamSpec('action', 'discrete', vocab=3)
SCALE = (np.full(DIM, 0.5, np.float32), np.full(DIM, 2, np.float32))


def _count(params):
  return sum(x.size for x in jax.tree.leaves(params))


def policy(finetune__freeze=''):
  """(settings of fine-tuning, the model of a policy on latents)."""
  c = tiny.experiment(finetune__freeze=finetune__freeze)
  finetune = dataclasses.replace(c.finetune, batch_size=8)
  specs = {'latent': StreamSpec('latent', 'continuous', dim=DIM)}
  return finetune, policies.model(tiny.runs(c).main, specs, ACTION, finetune)


def demos(size, stretch=1.0):
  rng = np.random.default_rng(0)
  latent_ND = stretch * rng.normal(size=(size, DIM))
  return {
    'latent': jnp.asarray(latent_ND, jnp.float32),
    'action': jnp.asarray(rng.integers(3, size=(size, 1))),
  }


def train(
  finetune, model, frozen=False, stretch=1.0, scale=SCALE, steps=3, rate=1e-3
):
  """(parameters before, after, losses) of two seeds."""
  keys_S = cloning.seed_keys(0, 2)
  before = jax.device_get(cloning.initial(model)(keys_S))
  table = windows.windows(LENGTHS, 1)
  size = LENGTHS.sum()
  data = demos(size, stretch) | {'table': jax.tree.map(jnp.asarray, table)}
  picks_SN, count_S = demonstrations.picks(tiny.demos(LENGTHS), 2, size, 0, 2)
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1, 'tensor': 1})
  run = cloning.trainer(model, finetune, frozen, mesh)
  lanes = picks_SN, count_S, keys_S
  rates_S = np.full(2, rate, np.float32)
  after, loss_S = run(
    before, {}, data, {'latent': scale}, *lanes, steps, rates_S
  )
  return before, after, np.asarray(loss_S)


@pytest.mark.parametrize(
  'frozen, freeze, still',
  [
    (True, '', {'trunk', 'stem_latent', 'mask_latent', 'norm'}),
    (False, '', {'mask_latent'}),  # Nothing is hidden from it.
    (False, '^(trunk|stem)', {'trunk', 'stem_latent', 'mask_latent'}),
  ],
)
def test_what_is_frozen_stays(frozen, freeze, still):
  before, after, _ = train(*policy(freeze), frozen)
  unmoved = {
    name
    for name in before
    if all(
      jax.tree.leaves(jax.tree.map(np.array_equal, before[name], after[name]))
    )
  }
  assert unmoved == still
  assert _count(after) == _count(before)


def test_demonstrations_are_scaled_as_they_are_read():
  """Four times the numbers on four times the scale: the same training."""
  mean_D, std_D = SCALE
  *_, loss_S = train(*policy())
  *_, same_S = train(*policy(), stretch=4.0, scale=(4 * mean_D, 4 * std_D))
  *_, other_S = train(*policy(), stretch=4.0)
  np.testing.assert_allclose(loss_S, same_S, rtol=1e-6)
  assert (np.abs(loss_S - other_S) > 1e-4).all()


def test_steps_and_rates_share_a_compile_and_are_each_as_if_alone():
  finetune, model = policy()
  run = cloning.trainer(
    model,
    finetune,
    False,
    sharding.make_mesh({'data': -1, 'fsdp': 1, 'tensor': 1}),
  )
  compiled = run._cache_size()
  longer = [train(finetune, model, steps=n)[2] for n in (3, 6, 12)]
  assert run._cache_size() <= compiled + 1
  # All start alike, and lose the more the longer they learn.
  assert (longer[0] > longer[1]).all() and (longer[1] > longer[2]).all()
  still, moved, _ = train(finetune, model, rate=1e-12)
  close = jax.tree.map(lambda x, y: np.abs(x - y).max() < 1e-9, still, moved)
  assert all(jax.tree.leaves(close))
