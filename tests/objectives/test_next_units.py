"""Future targets counted one by one."""

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models.heads import cosine, linear
from rpt_jax.objectives import next_units
from rpt_jax.types import StreamSpec

B, T, K, L, V, D = 3, 5, 2, 2, 4, 3
TARGETS = (
  StreamSpec('unit', 'discrete', vocab=V, levels=L),
  StreamSpec('latent', 'continuous', dim=D),
)
SETTINGS = next_units.Settings(horizon=K, latent_weight=0.5)
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
  apply = fakes.Apply(lambda *_: {'reads': OUTPUT}, targets=TARGETS, steps=K)
  return next_units.loss(apply, batch, None, SETTINGS)


def _reference(batch):
  nats, errors, right, same, copied = [], [], [], [], []
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
        copied.append(((latent[b, t] - latent[b, at]) ** 2).mean())
  loss = np.mean(nats) + 0.5 * np.mean(errors)
  return loss, {
    'accuracy': right,
    'copy_accuracy': same,
    'latent_error': errors,
    'copy_latent_error': copied,
  }


@pytest.mark.parametrize('size', [T, T + K])
def test_loss_equals_the_reference(size):
  batch = _batch(size, [size, T, 3])
  loss, metrics = _loss(batch)
  expected, measures = _reference(batch)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  for name, values in measures.items():
    total, count = metrics[name]
    assert count == len(values)
    np.testing.assert_allclose(total, np.sum(values), rtol=1e-5)


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
  heads = next_units.heads(SETTINGS, (), TARGETS)
  assert [(h.name, h.settings, h.steps) for h in heads] == [
    ('unit', cosine.Settings(), K),
    ('latent', linear.Settings(), K),
  ]
  assert len(next_units.heads(SETTINGS, (), TARGETS[:1])) == 1
