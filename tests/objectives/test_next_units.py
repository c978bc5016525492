"""Future targets counted one by one, and futures sampled step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.objectives import next_units
from rpt_jax.types import StreamSpec

B, T, K, L, V, D = 3, 5, 2, 2, 4, 3
CONFIG = {'steps': K, 'latent_weight': 0.5}
RNG = np.random.default_rng(0)
OUTPUT = {
  'unit': jnp.asarray(RNG.normal(size=(B, T, K, L, V)), jnp.float32),
  'latent': jnp.asarray(RNG.normal(size=(B, T, K, D)), jnp.float32),
}


def _batch(size, lengths, garbage=False):
  there = np.arange(size)[None] < np.asarray(lengths)[:, None]
  rng = np.random.default_rng(1)
  unit = rng.integers(0, V, (B, size, L)).astype(np.int32)
  latent = rng.normal(size=(B, size, D)).astype(np.float32)
  if garbage:
    unit[~there], latent[~there] = 10**6, np.nan
  batch = {
    'inputs': {'latent': latent[:, :T]},
    'targets': {'unit': unit, 'latent': latent},
    'valid': there[:, :T],
  }
  if size > T:
    batch['target_valid'] = there
  return batch


def _loss(batch):
  apply = lambda inputs, valid, corrupt: {'heads': OUTPUT}  # noqa: E731
  return next_units.loss(apply, batch, None, CONFIG)


def _reference(batch):
  nats, errors, right, same = [], [], [], []
  there = batch.get('target_valid', batch['valid'])
  unit, latent = batch['targets']['unit'], batch['targets']['latent']
  for b in range(B):
    for t in range(T):
      for j in range(K):
        at = t + 1 + j
        if at >= there.shape[1] or not (there[b, t] and there[b, at]):
          continue
        x = np.asarray(OUTPUT['unit'][b, t, j], np.float64)
        picked = x[range(L), unit[b, at]]
        nats.append((np.log(np.exp(x).sum(-1)) - picked).sum())
        right.append((x.argmax(-1) == unit[b, at]).mean())
        same.append((unit[b, t] == unit[b, at]).mean())
        error = np.asarray(OUTPUT['latent'][b, t, j]) - latent[b, at]
        errors.append((error**2).mean())
  return np.mean(nats) + 0.5 * np.mean(errors), right, same


@pytest.mark.parametrize('size', [T, T + K])
def test_loss_equals_the_reference(size):
  batch = _batch(size, [size, T, 3])
  loss, metrics = _loss(batch)
  expected, right, same = _reference(batch)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  for name, values in (('accuracy', right), ('copy_accuracy', same)):
    total, count = metrics[name]
    assert count == len(values)
    np.testing.assert_allclose(total, np.sum(values), rtol=1e-6)


def test_padding_holds_garbage():
  clean, dirty = (_batch(T + K, [T + K, T, 3], g) for g in (False, True))
  for a, b in zip(
    jax.tree.leaves(_loss(clean)), jax.tree.leaves(_loss(dirty)), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_long_targets_need_their_mask():
  batch = _batch(T + K, [T] * 3)
  del batch['target_valid']
  with pytest.raises(ValueError, match='need target_valid'):
    _loss(batch)


def test_heads():
  unit = StreamSpec('unit', 'discrete', vocab=V, levels=L)
  latent = StreamSpec('latent', 'continuous', dim=D)
  heads = next_units.heads(CONFIG, (), (unit, latent))
  assert [(h.name, h.kind, h.steps) for h in heads] == [
    ('unit', 'cosine', K),
    ('latent', 'linear', K),
  ]
  assert len(next_units.heads(CONFIG, (), (unit,))) == 1


def _counting(inputs, valid_BT, corrupt_BTM):
  """A model that says: the next latent is this one + 1, unit 0 or 1 likely."""
  latent = inputs['latent'][:, :, None] + 1.0
  logits = jnp.zeros((*valid_BT.shape, 1, L, V)).at[..., :2].set(3.0)
  return {'heads': {'latent': latent, 'unit': logits}}


def test_futures_feed_on_themselves():
  inputs = {'latent': jnp.zeros((B, T, D))}
  valid_BT = np.ones((B, T), bool)

  def sample(seed, temperature=1.0):
    return next_units.sample_futures(
      _counting, inputs, valid_BT, jax.random.key(seed), 6, temperature
    )

  futures = sample(0)
  assert futures['unit'].shape == (B, 6, L)
  expected = np.broadcast_to(np.arange(1, 7)[None, :, None], (B, 6, D))
  np.testing.assert_array_equal(futures['latent'], expected)
  np.testing.assert_array_equal(futures['unit'], sample(0)['unit'])
  assert (futures['unit'] != sample(1)['unit']).any()
  assert set(np.unique(futures['unit'])) >= {0, 1}
  assert not sample(0, 0.0)['unit'].any()


def test_futures_need_every_input():
  inputs = {'state': jnp.zeros((B, T, D)), 'latent': jnp.zeros((B, T, D))}
  with pytest.raises(ValueError, match=r"does not predict \['state'\]"):
    next_units.sample_futures(
      _counting, inputs, np.ones((B, T), bool), jax.random.key(0), 2
    )
