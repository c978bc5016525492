"""What every head promises, whatever its kind; faults at the door."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.models import heads, sequence
from rpt_jax.models.heads import cosine
from rpt_jax.models.trunks import transformer
from rpt_jax.types import StreamSpec

B, T, C, D = 2, 3, 4, 16
VALUES = StreamSpec('action', 'continuous', dim=2)
UNITS = StreamSpec('action', 'discrete', vocab=5, levels=2)
CASES = [
  (kind, target)
  for kind in settings.kinds('models/heads')
  for target in (VALUES, UNITS)
  if target.kind in settings.module('models/heads', kind).KINDS
]
every_case = pytest.mark.parametrize('kind, target', CASES)


@functools.cache
def reader(kind, target):
  """(a head with its parameters and constants, targets [B, T, C, ...])."""
  chosen = settings.module('models/heads', kind).Settings()
  spec = heads.HeadSpec(target, chosen, C)
  rng = np.random.default_rng(0)
  size = target.dim or target.levels
  if target.kind == 'discrete':
    x_ND = rng.integers(target.vocab, size=(B * T * C, size))
  else:
    x_ND = rng.normal(size=(B * T * C, size)).astype('f4')
  model = sequence.SequenceModel(
    (StreamSpec('latent', 'continuous', dim=3),),
    (spec,),
    transformer.Settings(1, 2),
    D,
    T,
  )
  params = sequence.init(model, jax.random.key(0))
  constants = {spec.name: heads.fit(spec, x_ND)}
  bound = sequence.bind(model, params, constants)
  return bound.head(spec.name), jnp.asarray(x_ND.reshape(B, T, C, size))


@every_case
def test_shapes_of_loss_and_samples(kind, target):
  head, target_BTCD = reader(kind, target)
  read_BTD = jax.random.normal(jax.random.key(1), (B, T, D))
  valid_BTC = jnp.ones((B, T, C), bool)
  key = jax.random.key(2)
  loss = jax.jit(head.loss)
  each, measures = loss(read_BTD, target_BTCD, valid_BTC, key)
  assert each.shape == (B, T, C) and np.isfinite(each).all()
  assert {x.shape for x in measures.values()} == {(B, T, C)}
  drawn = jax.jit(head.sample, static_argnums=2)(read_BTD, key, 3)
  assert drawn.shape == (3, *target_BTCD.shape)
  assert drawn.dtype == target_BTCD.dtype
  if target.kind == 'discrete':
    logits = head.logits(read_BTD)
    assert logits.shape == (*target_BTCD.shape, target.vocab)


@every_case
def test_what_is_not_valid_changes_no_other_loss(kind, target):
  head, target_BTCD = reader(kind, target)
  read_BTD = jax.random.normal(jax.random.key(1), (B, T, D))
  valid_BTC = jnp.ones((B, T, C), bool).at[0, 1, 2:].set(False)
  loss = jax.jit(lambda x: head.loss(read_BTD, x, valid_BTC, jax.random.key(2)))
  garbage = jnp.where(valid_BTC[..., None], target_BTCD, 3)
  clean, dirty = loss(target_BTCD), loss(garbage)
  for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
    np.testing.assert_array_equal(a[valid_BTC], b[valid_BTC])


def test_a_head_is_refused_for_a_stream_it_cannot_give():
  spec = heads.HeadSpec(VALUES, cosine.Settings())
  with pytest.raises(
    ValueError, match="found 'cosine' for a continuous stream"
  ):
    heads.make(spec)


def test_the_temperature_divides_the_cosine():
  head, _ = reader('cosine', UNITS)
  spec = dataclasses.replace(head.spec, settings=cosine.Settings(0.2))
  warm = dataclasses.replace(head, spec=spec)
  read_BTD = jax.random.normal(jax.random.key(1), (B, T, D))
  np.testing.assert_allclose(
    warm.logits(read_BTD), head.logits(read_BTD) / 2, rtol=1e-5
  )
