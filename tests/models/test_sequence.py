"""The sequence model: what it may see, proved by gradients and garbage."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.heads import HeadSpec, cosine, linear
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.models.trunks import transformer
from rpt_jax.types import StreamSpec

B, T, D = 2, 5, 3
TRUNK = transformer.Settings(2, 2, 2.0)
STREAMS = (
  StreamSpec('latent', 'continuous', dim=D),
  StreamSpec('unit', 'discrete', vocab=7, levels=2),
)
HEADS = (
  HeadSpec(StreamSpec('next', 'continuous', dim=4), linear.Settings(), 2),
  HeadSpec(STREAMS[1], cosine.Settings(), 3),
)


def _count(params):
  return sum(x.size for x in jax.tree.leaves(params))


def _model(visibility='causal', streams=STREAMS):
  model = SequenceModel(
    streams, HEADS, TRUNK, 16, context=T, visibility=visibility
  )
  return model, sequence.init(model, jax.random.key(0))


def _inputs(streams=STREAMS):
  keys = jax.random.split(jax.random.key(1))
  inputs = {
    'latent': jax.random.normal(keys[0], (B, T, D)),
    'unit': jax.random.randint(keys[1], (B, T, 2), 0, 7),
  }
  return {s.name: inputs[s.name] for s in streams}


VALID = np.ones((B, T), bool)


def _said(apply, inputs):
  """{head: what it says}."""
  reads = apply(inputs, VALID)['reads']
  return {name: apply.head(name)(read) for name, read in reads.items()}


@pytest.mark.parametrize('visibility', ['causal', 'bidirectional'])
def test_causality_by_gradient(visibility):
  model, params = _model(visibility)
  apply = sequence.bind(model, params)
  inputs = _inputs()

  def outputs(latent):
    said = _said(apply, {**inputs, 'latent': latent})
    return sum(h.reshape(B, T, -1).sum(-1) for h in said.values())

  jacobian = jax.jit(jax.jacobian(lambda x: outputs(x)[0]))(inputs['latent'])
  influence = np.abs(jacobian[:, 0]).max(-1)  # [output step, input step]
  later = np.triu(np.ones((T, T), bool), 1)
  assert (influence[~later] > 0).all()
  if visibility == 'bidirectional':
    assert (influence[later] > 0).all()
  else:
    assert (influence[later] == 0).all()
  assert not jacobian[:, 1].any()  # The other clip.


@pytest.mark.parametrize('visibility', ['causal', 'bidirectional'])
def test_garbage_in_padding_and_absent_streams_changes_nothing(visibility):
  model, params = _model(visibility)
  valid_BT = VALID.copy()
  valid_BT[0, 3:] = False
  present_BTM = np.ones((B, T, 2), bool)
  present_BTM[1, 2, 0] = False
  clean = _inputs()
  dirty = {
    'latent': clean['latent'].at[0, 3:].set(jnp.nan).at[1, 2].set(jnp.nan),
    'unit': clean['unit'].at[0, 3:].set(10**6),
  }

  def loss(params, inputs):
    out = model.apply(
      {'params': params}, inputs, valid_BT=valid_BT, present_BTM=present_BTM
    )
    keep = valid_BT[:, :, None]
    return jnp.where(keep, out['features'], 0.0).sum()

  grad = jax.jit(jax.value_and_grad(loss))
  for a, b in zip(
    jax.tree.leaves(grad(params, clean)),
    jax.tree.leaves(grad(params, dirty)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_a_hidden_token_is_the_mask_vector():
  model, params = _model('bidirectional', STREAMS[:1])
  apply = jax.jit(sequence.bind(model, params))
  corrupt_BTM = np.zeros((B, T, 1), bool)
  corrupt_BTM[0, 2] = True
  inputs = _inputs(STREAMS[:1])
  out = apply(inputs, VALID, corrupt_BTM)
  expected = params['mask_latent'] + params['trunk']['time']['embedding'][2]
  np.testing.assert_allclose(out['layers'][0][0, 2], expected, rtol=1e-6)
  changed = {'latent': inputs['latent'].at[0, 2].add(5.0)}
  again = apply(changed, VALID, corrupt_BTM)
  np.testing.assert_array_equal(out['features'], again['features'])


def test_shapes():
  model, params = _model()
  apply = sequence.bind(model, params)
  out = jax.jit(apply)(_inputs(), VALID)
  said = _said(apply, _inputs())
  assert said['next'].shape == (B, T, 2, 4)
  assert said['unit'].shape == (B, T, 3, 2, 7)
  assert out['features'].shape == (B, T, 16)
  assert out['tokens'].shape == (B, T, 2, 16)
  assert [x.shape for x in out['layers']] == [(B, T, 16)] * 3
  assert np.abs(said['unit']).max() <= 10.1  # cosine / 0.1


def test_parameter_count_by_hand():
  model, params = _model()
  block = 16 * 48 + 48 + 16 * 16 + 16 + 2 * 16 * 32 + 32 + 16 + 4 * 16
  stems = D * 16 + 16 + 2 * 7 * 16
  heads = 16 * 8 + 8 + 16 * 96 + 96 + 2 * 7 * 16
  rest = T * 16 + 2 * 16 + 2 * 16  # time, mask, norm
  assert _count(params) == 2 * block + stems + heads + rest


def test_bad_inputs_are_named():
  model, params = _model()
  apply = jax.jit(sequence.bind(model, params))
  with pytest.raises(ValueError, match=r"no stream \['unit'\]"):
    apply({'latent': np.zeros((B, T, D))}, VALID)
  with pytest.raises(ValueError, match="stream 'latent': found shape"):
    apply({**_inputs(), 'latent': np.zeros((B, T, D + 1))}, VALID)
  long = {
    k: np.zeros((B, T + 1, v.shape[-1]), v.dtype) for k, v in _inputs().items()
  }
  with pytest.raises(ValueError, match='6 steps, but the context'):
    apply(long, np.ones((B, T + 1), bool))
  lost = dataclasses.replace(HEADS[0], reads=('touch',))
  lost = model.clone(heads=(lost,))
  with pytest.raises(ValueError, match=r"reads \['touch'\], but the streams"):
    sequence.init(lost, jax.random.key(0))


ROBOT = tuple(
  StreamSpec(name, 'continuous', dim=D)
  for name in ('latent/a', 'latent/b', 'action')
)
READS = tuple(
  HeadSpec(
    StreamSpec(f'{name}/head', 'continuous', dim=1), linear.Settings(), 1, reads
  )
  for name, reads in (
    ('own', ('latent/a',)),
    ('seen', ('latent/a', 'latent/b')),
    ('acted', ('latent/b', 'action')),
  )
)


def _robot(visibility):
  model = SequenceModel(
    ROBOT, READS, TRUNK, 16, context=T, visibility=visibility
  )
  keys = jax.random.split(jax.random.key(2), len(ROBOT))
  inputs = {
    s.name: jax.random.normal(key, (B, T, D))
    for s, key in zip(ROBOT, keys, strict=True)
  }
  return model, sequence.init(model, jax.random.key(0)), inputs


def test_interleaved_by_gradient():
  """o_t, then a_t: who has seen a_t may not say what it is."""
  model, params, inputs = _robot('interleaved')
  apply = sequence.bind(model, params)

  def outputs(inputs):
    said = _said(apply, inputs).values()
    return jnp.stack([h[0, :, 0, 0] for h in said])

  jacobian = jax.jit(jax.jacobian(outputs))(inputs)
  now, before = np.eye(T, dtype=bool), np.tril(np.ones((T, T), bool), -1)
  for name, x in jacobian.items():
    influence = np.abs(x[:, :, 0]).max(-1)  # [head, output step, input step]
    for head, found in zip(READS, influence, strict=True):
      sees = before | now
      if name == 'action' and 'action' not in head.reads:
        sees = before
      np.testing.assert_array_equal(found > 0, sees, f'{head.name} {name}')


def test_a_head_reads_the_normed_tokens_of_its_streams():
  model, params, inputs = _robot('bidirectional')
  apply = sequence.bind(model, params)
  out = jax.jit(apply)(inputs, VALID)
  x_BTMD = np.asarray(out['tokens'], np.float64)
  mean, var = x_BTMD.mean(-1, keepdims=True), x_BTMD.var(-1, keepdims=True)
  params = jax.device_get(params)
  norm, head = params['norm'], params['head_acted_head']['project']
  x_BTMD = (x_BTMD - mean) / np.sqrt(var + 1e-6) * norm['scale'] + norm['bias']
  expected = (x_BTMD[:, :, 1] + x_BTMD[:, :, 2]) @ head['kernel'] + head['bias']
  found = _said(apply, inputs)['acted/head'][:, :, 0]
  np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02)  # bf16.


def test_parameters_are_named_by_streams():
  """A model of fewer streams takes its parameters from one of more."""
  model, params, inputs = _robot('causal')
  names = [key for key in params if key.startswith(('stem', 'mask', 'head'))]
  expected = [f'{p}_{s}' for p in ('stem', 'mask')
              for s in ('latent_a', 'latent_b', 'action')]  # fmt: skip
  heads = ['head_own_head', 'head_seen_head', 'head_acted_head']
  assert sorted(names) == sorted(expected + heads)
  fewer = model.clone(streams=ROBOT[1:], heads=READS[2:])
  shapes = jax.eval_shape(lambda: sequence.init(fewer, jax.random.key(0)))
  taken = {key: params[key] for key in shapes}
  assert jax.tree.map(jnp.shape, taken) == jax.tree.map(jnp.shape, shapes)
  hidden = np.ones((B, T, 2), bool)
  out = jax.jit(sequence.bind(fewer, taken))(inputs, VALID, hidden)
  token = params['mask_action'] + params['trunk']['time']['embedding'][1]
  latent = params['mask_latent_b'] + params['trunk']['time']['embedding'][1]
  expected = (token + latent) / 2
  np.testing.assert_allclose(out['layers'][0][0, 1], expected, rtol=1e-5)


def test_an_absent_stream_is_its_mask_vector_and_seen_by_none():
  model, params, inputs = _robot('bidirectional')
  apply = jax.jit(sequence.bind(model, params))
  present_BTM = np.ones((B, T, 3), bool)
  present_BTM[0, 1, 2] = False
  out = apply(inputs, VALID, None, present_BTM)
  changed = inputs | {'action': inputs['action'].at[0, 1].set(jnp.nan)}
  again = apply(changed, VALID, None, present_BTM)
  np.testing.assert_array_equal(out['tokens'], again['tokens'])
  hidden = apply(changed | {'action': inputs['action']}, VALID, ~present_BTM)
  assert np.abs(out['tokens'][0] - hidden['tokens'][0]).max() > 0
  np.testing.assert_array_equal(out['tokens'][1], hidden['tokens'][1])
