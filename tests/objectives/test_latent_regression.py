"""Latents to come against a loop; a teacher that moves and learns nothing."""

import dataclasses
import functools

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import latent_regression
from rpt_jax.training import optimizer, step
from rpt_jax.types import StreamSpec

B, T, K, D, W = 4, 5, 2, 3, 8
STREAMS = (
  StreamSpec('latent/a', 'continuous', dim=D),
  StreamSpec('proprio', 'continuous', dim=2),
  StreamSpec('latent/b', 'continuous', dim=D),
)
TARGETS = STREAMS[::2]
PLAIN = latent_regression.Settings(horizon=K)
TAUGHT = latent_regression.Settings(horizon=K, teacher=0.9)
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SAID = {s.name: np.float32(RNG.normal(size=(B, T, K, D))) for s in TARGETS}
SAID_W = {s.name: np.float32(RNG.normal(size=(B, T, K, W))) for s in TARGETS}
TOKENS = np.float32(RNG.normal(size=(B, T, 3, W)) * 3 + 1)


def _batch(dirty=False, size=T + K):
  """Clips that end early or begin late; one without a camera."""
  rng = np.random.default_rng(1)
  first, end = np.array([[0, 7], [0, 4], [2, 6], [0, 7]]).T
  at = np.arange(size)[None]
  real_BS = (at >= first[:, None]) & (at < end[:, None])
  present = np.ones((B, T, 3), bool)
  present[3, :, 2] = False
  present[0, 2, 0] = False  # And one step of the other.
  targets = {
    s.name: np.float32(rng.normal(size=(B, size, s.dim))) for s in STREAMS
  }
  if dirty:
    for m, x in enumerate(targets.values()):
      x[~real_BS] = np.nan
      x[:, :T][~present[..., m]] = np.nan
      x[3] = np.nan if m == 2 else x[3]
  inputs = {k: x[:, :T] for k, x in targets.items()}
  batch = {'inputs': inputs, 'targets': targets, 'present': present}
  return batch | {'valid': real_BS[:, :T], 'target_valid': real_BS}


def _reference(batch, said, values, size):
  """metric -> errors, one target at a time."""
  errors = {}
  there, present = batch['target_valid'], batch['present']
  for m, stream in ((0, 'latent/a'), (2, 'latent/b')):
    x = values[stream]
    for b, t, k in np.ndindex(B, T, K):
      at = t + 1 + k
      if at >= size or not (there[b, t] and there[b, at] and present[b, t, m]):
        continue
      if at < T and not present[b, at, m]:
        continue
      for what, guess in (('error', said[stream][b, t, k]),
                          ('copy_last', x[b, t])):  # fmt: skip
        each = np.mean((guess - x[b, at]) ** 2)
        errors.setdefault(f'{what}/{stream}', []).append(each)
  return errors


def _check(loss, metrics, errors):
  assert set(metrics) == set(errors)
  for name, each in errors.items():
    total, count = metrics[name]
    assert count == len(each), name
    np.testing.assert_allclose(total, np.sum(each), rtol=1e-5, err_msg=name)
  means = [np.mean(x) for name, x in errors.items() if 'error' in name]
  np.testing.assert_allclose(loss, np.mean(means), rtol=1e-5)


def test_plain_it_equals_the_loop():
  batch = _batch()
  apply = fakes.Apply(
    lambda *_: {'reads': SAID}, STREAMS, targets=TARGETS, steps=K
  )
  loss, metrics = latent_regression.loss(apply, batch, KEY, PLAIN)
  _check(loss, metrics, _reference(batch, SAID, batch['targets'], T + K))


def test_with_a_teacher_it_equals_the_loop():
  batch = _batch()
  specs = [dataclasses.replace(s, dim=W) for s in TARGETS]
  apply = fakes.Apply(
    lambda *_: {'reads': SAID_W}, STREAMS, targets=specs, steps=K
  )
  teacher = fakes.Apply(lambda *_: {'tokens': TOKENS}, STREAMS)
  loss, metrics = latent_regression.loss(apply, batch, KEY, TAUGHT, teacher)
  mean, std = TOKENS.mean(-1, keepdims=True), TOKENS.std(-1, keepdims=True)
  normed = (TOKENS - mean) / std
  values = {'latent/a': normed[:, :, 0], 'latent/b': normed[:, :, 2]}
  _check(loss, metrics, _reference(batch, SAID_W, values, T))


@functools.cache
def _model(objective):
  shared = settings.Pretrain(
    width=W, context=T, trunk=transformer.Settings(1, 2)
  )
  run = settings.Run(
    objective=objective,
    streams=tuple(s.name for s in STREAMS),
    targets=tuple(s.name for s in TARGETS),
  )
  run = PretrainingRun('next', run, shared)
  assert run.teacher == objective.teacher
  assert run.reach == (0 if objective.teacher else K)
  model = run.model({s.name: s for s in STREAMS})
  return model, sequence.init(model, jax.random.key(1))


def _loss(objective, params, batch, key, teacher=None):
  model, _ = _model(objective)
  if teacher is not None:
    teacher = sequence.bind(model, teacher)
  apply = sequence.bind(model, params)
  return latent_regression.loss(apply, batch, key, objective, teacher)


def test_heads_are_as_wide_as_what_they_predict():
  for objective, dim in ((PLAIN, D), (TAUGHT, W)):
    model, _ = _model(objective)
    assert [(h.name, h.target.dim, h.steps) for h in model.heads] == [
      ('latent/a', dim, K),
      ('latent/b', dim, K),
    ]


def test_a_teacher_is_a_running_mean_and_gets_no_gradient():
  _, params = _model(TAUGHT)
  batch, tx, means = _batch(), optimizer.adamw(1e-1, 9), step.Means(0.9)
  loss = functools.partial(_loss, TAUGHT)
  train = jax.jit(step.step_fn(loss, tx, means=means))
  before = step.init_state(params, tx, KEY, means)
  after, _ = train(before, batch)
  jax.tree.map(
    lambda m, new, old: np.testing.assert_allclose(
      m, 0.9 * old + 0.1 * new, atol=1e-6
    ),
    after.teacher,
    after.params,
    before.params,
  )
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.teacher, params)
  assert max(jax.tree.leaves(moved)) > 1e-3
  grads = jax.jit(
    lambda p, t: jax.grad(lambda *x: loss(*x)[0], (0, 3))(p, batch, KEY, t)
  )(params, after.teacher)
  assert not any(x.any() for x in jax.tree.leaves(grads[1]))
  assert grads[0]['trunk']['blocks']['qkv']['kernel'].any()


@pytest.mark.parametrize('objective', [PLAIN, TAUGHT], ids=['plain', 'taught'])
def test_absent_and_padded_change_no_bit_of_loss_and_gradients(objective):
  _, params = _model(objective)
  taught = params if objective.teacher else None

  @jax.jit
  def gradient(batch):
    return jax.value_and_grad(
      lambda p: _loss(objective, p, batch, KEY, taught), has_aux=True
    )(params)

  clean, dirty = gradient(_batch()), gradient(_batch(True))
  for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)


def test_what_is_said_of_a_step_sees_nothing_after_it():
  model, params = _model(PLAIN)

  @jax.jit
  @jax.jacobian
  def said(inputs):
    apply = sequence.bind(model, params)
    reads = apply(inputs, np.ones((1, T), bool))['reads']
    return {k: apply.head(k)(x)[0].sum((-1, -2)) for k, x in reads.items()}

  inputs = {k: jnp.asarray(x[:1]) for k, x in _batch()['inputs'].items()}
  for head, jacobian in said(inputs).items():
    for name, x in jacobian.items():
      influence = np.abs(x[:, 0]).max(-1) > 0
      upto = np.tril(np.ones((T, T), bool))
      np.testing.assert_array_equal(influence, upto, f'{head} of {name}')


def test_faults_are_named():
  heads = latent_regression.heads
  with pytest.raises(ValueError, match=r"\['latent/a', 'proprio'\].* alone"):
    heads(PLAIN, STREAMS, STREAMS[:2])
  with pytest.raises(ValueError, match=r'found targets \[\]'):
    heads(PLAIN, STREAMS, ())
  assert heads(PLAIN, STREAMS[1:2], TARGETS)  # It need not read them.
  with pytest.raises(ValueError, match=r"\['latent/b'\] that are not read"):
    heads(TAUGHT, STREAMS[:2], TARGETS)
  latent_regression.check_window(PLAIN, K)
  latent_regression.check_window(TAUGHT, K + 1)
  with pytest.raises(ValueError, match='horizon: found 2'):
    latent_regression.check_window(TAUGHT, K)
