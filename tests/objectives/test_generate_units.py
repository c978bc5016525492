"""A prompt of latents, then units: what is read when, and what is foreseen."""

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import generate_units
from rpt_jax.types import Batch, StreamSpec

B, T, V, AHEAD = 64, 4, 5, 8
LATENT = StreamSpec('latent', 'continuous', dim=V)
UNIT = StreamSpec('unit', 'discrete', vocab=V)
STREAMS = LATENT, UNIT
SETTINGS = generate_units.Settings(ahead=AHEAD)


def batch(seed=0):
  """Units that count up, the latent of a step its unit, one of V."""
  start_B = np.random.default_rng(seed).integers(0, V, B)
  unit_BS = (start_B[:, None] + np.arange(T + AHEAD)[None]) % V
  real_BS = np.ones((B, T + AHEAD), bool)
  latent_BTD = np.eye(V, dtype=np.float32)[unit_BS[:, :T]]
  return Batch(
    inputs={'latent': latent_BTD, 'unit': unit_BS[:, :T, None]},
    targets={'unit': unit_BS[..., None]},
    valid=real_BS[:, :T],
    target_valid=real_BS,
    present=np.ones((B, T, 2), bool),
  )


def model():
  heads = generate_units.heads(SETTINGS, STREAMS, (UNIT,))
  visibility = generate_units.VISIBILITY
  trunk = transformer.Settings(2, 2)
  return sequence.SequenceModel(STREAMS, heads, trunk, 32, T, visibility)


@pytest.fixture(scope='module')
def trained():
  """A model that has seen many starts, and its parameters."""
  net = model()
  params, tx = sequence.init(net, jax.random.key(0)), optax.adam(3e-3)

  @jax.jit
  def step(params, state, data, key):
    def loss(params):
      apply = sequence.bind(net, params)
      return generate_units.loss(apply, data, key, SETTINGS)[0]

    updates, state = tx.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state

  state = tx.init(params)
  for i in range(150):
    params, state = step(params, state, batch(i), jax.random.key(i))
  return net, params


def test_every_step_is_read_once():
  """As the latent up to a step, which differs; as the unit after it."""
  read = []

  def call(inputs, valid_BT, corrupt_BTM, present_BTM):
    read.append(np.asarray(present_BTM))
    assert corrupt_BTM is None
    return {'reads': {'unit': jnp.zeros((B, T, 1, 1, V))}}

  apply = fakes.Apply(call, STREAMS, 'causal', (UNIT,))
  _, metrics = generate_units.loss(apply, batch(), jax.random.key(0), SETTINGS)
  (read_BTM,) = read
  latent_BT, unit_BT = read_BTM[..., 0], read_BTM[..., 1]
  np.testing.assert_array_equal(latent_BT, ~unit_BT)
  assert (np.diff(latent_BT.astype(int), axis=1) <= 0).all()
  assert set(latent_BT.sum(1)) == set(range(1, T + 1))
  assert metrics['accuracy'][1] == B * T
  assert metrics['prompt_accuracy'][1] == latent_BT.sum()


def test_copying_is_judged_by_the_level():
  """Of two levels, the second of which stays, half is right."""
  data = batch()
  count_BS1 = data['targets']['unit']
  unit_BS2 = np.concatenate([count_BS1, 0 * count_BS1], -1)
  data['targets'], data['inputs']['unit'] = {'unit': unit_BS2}, unit_BS2[:, :T]
  pairs = StreamSpec('unit', 'discrete', vocab=V, levels=2)
  reads = {'unit': jnp.zeros((B, T, 1, 2, V))}
  apply = fakes.Apply(
    lambda *_: {'reads': reads}, (LATENT, pairs), 'causal', (pairs,)
  )
  _, metrics = generate_units.loss(apply, data, jax.random.key(0), SETTINGS)
  assert metrics['copy_accuracy'] == (B * T / 2, B * T)


def test_what_is_not_read_changes_nothing(trained):
  """Latents after the prompt, units within it, actions anywhere."""
  net, params = trained
  data, key = batch(), jax.random.key(3)
  latent_BT = np.zeros((B, T), bool)

  def call(inputs, valid_BT, corrupt_BTM, present_BTM):
    latent_BT[:] = present_BTM[..., 0]
    return {'reads': {'unit': jnp.zeros((B, T, 1, 1, V))}}

  fake = fakes.Apply(call, STREAMS, 'causal', (UNIT,))
  generate_units.loss(fake, data, key, SETTINGS)
  other = {
    'latent': np.where(latent_BT[..., None], data['inputs']['latent'], np.nan),
    'unit': np.where(latent_BT[..., None], 10**6, data['inputs']['unit']),
    'action': np.full((B, T), np.nan),
  }
  apply = sequence.bind(net, params)
  losses = [
    generate_units.loss(apply, data | {'inputs': x}, key, SETTINGS)[0]
    for x in (data['inputs'], other)
  ]
  np.testing.assert_array_equal(*losses)


def test_futures_go_on_as_the_world_does(trained):
  """Beyond the window, where the model reads nothing but its own draws."""
  net, params = trained
  metrics = generate_units.heldout(
    sequence.bind(net, params), batch(999), jax.random.key(0), SETTINGS
  )
  rate = {
    name: float(total / count) for name, (total, count) in metrics.items()
  }
  for k in (1, 4, 8):
    assert rate[f'accuracy_{k}'] == 1.0
    assert rate[f'drawn_accuracy_{k}'] > 0.9
    assert rate[f'copy_accuracy_{k}'] == 0.0


def test_draws_differ_where_the_future_is_open():
  net = model()
  apply = sequence.bind(net, sequence.init(net, jax.random.key(0)))
  drawn = [
    generate_units.futures(apply, batch(), jax.random.key(i), AHEAD)
    for i in (0, 0, 1)
  ]
  assert drawn[0].shape == (B, AHEAD, 1)
  np.testing.assert_array_equal(drawn[0], drawn[1])
  assert (np.asarray(drawn[0] != drawn[2])).mean() > 0.3


def test_an_absent_future_is_not_judged():
  data, net = batch(), model()
  data['target_valid'][:, T + 3 :] = False
  data['targets']['unit'][0, T] = -1
  apply = sequence.bind(net, sequence.init(net, jax.random.key(0)))
  metrics = generate_units.heldout(apply, data, jax.random.key(0), SETTINGS)
  counts = [metrics[f'accuracy_{k}'][1] for k in (1, 4, 8)]
  assert counts == [B - 1, 0, 0]


@pytest.mark.parametrize('streams', [(LATENT,), (UNIT,), (UNIT, LATENT)])
def test_units_are_read_after_what_a_prompt_is_of(streams):
  with pytest.raises(ValueError, match="expected 'unit' last, after"):
    generate_units.heads(SETTINGS, streams, (UNIT,))
