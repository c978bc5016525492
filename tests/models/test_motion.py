"""What is read beside a value: the change since the step before, if visible."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import motion, sequence
from rpt_jax.models.heads import HeadSpec, cosine, linear
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.models.trunks import mingru, transformer
from rpt_jax.objectives import masked_streams, masked_units
from rpt_jax.types import StreamSpec

B, T, D, A, W = 2, 6, 3, 2, 16
LATENT = StreamSpec('latent', 'continuous', dim=D, motion=True)
ACTION = StreamSpec('action', 'continuous', dim=A, motion=True)
UNIT = StreamSpec('unit', 'discrete', vocab=7)
VALID = np.ones((B, T), bool)
TRUNK = transformer.Settings(1, 2, 2.0)


def model_of(streams, visibility='causal', heads=None, trunk=TRUNK):
  if heads is None:
    target = StreamSpec('said', 'continuous', dim=2)
    heads = (HeadSpec(target, linear.Settings()),)
  model = SequenceModel(streams, heads, trunk, W, T, visibility=visibility)
  return model, sequence.init(model, jax.random.key(0))


def inputs():
  rng = np.random.default_rng(0)
  latent_BTD = rng.normal(size=(B, T, D)).astype('f4')
  return {'latent': latent_BTD, 'action': latent_BTD[..., :A] ** 2}


def differences(x_BTD, visible_BT):
  """One number after the other."""
  change_BTD = np.zeros_like(x_BTD)
  for b, t in np.ndindex(*visible_BT.shape):
    if t and visible_BT[b, t] and visible_BT[b, t - 1]:
      change_BTD[b, t] = x_BTD[b, t] - x_BTD[b, t - 1]
  return change_BTD


def test_it_is_as_a_stream_of_values_and_differences():
  """Of steps that are padded, absent and hidden, each for itself."""
  valid_BT, present_BTM = VALID.copy(), np.ones((B, T, 2), bool)
  corrupt_BTM = np.zeros((B, T, 2), bool)
  valid_BT[0, :2] = False  # A window that leads into its clip.
  present_BTM[1, 2, 0] = present_BTM[0, 4, 1] = False
  corrupt_BTM[1, 4, 0] = corrupt_BTM[1, 1, 1] = True
  model, params = model_of((LATENT, ACTION))
  plain = tuple(
    dataclasses.replace(s, dim=2 * s.dim, motion=False) for s in model.streams
  )
  assert params['stem_latent']['project']['kernel'].shape == (2 * D, W)
  values = inputs()
  real_BTM = valid_BT[..., None] & present_BTM
  wide = {}
  for m, (name, x_BTD) in enumerate(values.items()):
    visible_BT = real_BTM[..., m] & ~corrupt_BTM[..., m]
    change_BTD = differences(x_BTD, visible_BT)
    assert np.abs(change_BTD).sum() > 1 and not change_BTD[:, 0].any()
    read_BTD, _ = motion.change(x_BTD, visible_BT)
    np.testing.assert_array_equal(read_BTD, change_BTD)
    wide[name] = np.concatenate([x_BTD, change_BTD], axis=-1)
    x_BTD[~real_BTM[..., m]] = np.nan
  how = {'valid_BT': valid_BT, 'corrupt_BTM': corrupt_BTM}
  how['present_BTM'] = present_BTM
  read = model.apply({'params': params}, values, **how)
  same = model.clone(streams=plain).apply({'params': params}, wide, **how)
  assert np.isfinite(read['tokens']).all()
  np.testing.assert_allclose(read['tokens'], same['tokens'], atol=1e-5)


def test_what_a_stream_without_motion_reads_is_as_ever():
  plain = dataclasses.replace(ACTION, motion=False)
  _, params = model_of((LATENT, plain))
  shapes = {k: x['project']['kernel'].shape for k, x in params.items()
            if k.startswith('stem')}  # fmt: skip
  assert shapes == {'stem_latent': (2 * D, W), 'stem_action': (A, W)}


def test_no_step_sees_a_later_one():
  model, params = model_of((LATENT,))
  apply = sequence.bind(model, params)

  def said(latent_BTD):
    read_BTD = apply({'latent': latent_BTD}, VALID)['reads']['said']
    return apply.head('said')(read_BTD)[0, :, 0].sum(-1)

  jacobian = jax.jit(jax.jacobian(said))(inputs()['latent'])
  influence = np.abs(jacobian[:, 0]).max(-1) > 0  # [output, input].
  np.testing.assert_array_equal(influence, np.tril(np.ones((T, T), bool)))


class Reading:
  """A model that reads `seen`, whatever is given as input; for gradients."""

  def __init__(self, apply, seen):
    self._apply, self._seen = apply, seen
    self.streams, self.head = apply.streams, apply.head

  def __call__(self, given, valid_BT, corrupt_BTM=None, present_BTM=None):
    del given
    shape = (*valid_BT.shape, len(self.streams))
    self.corrupt_BTM = jnp.broadcast_to(corrupt_BTM, shape)
    return self._apply(self._seen, valid_BT, corrupt_BTM, present_BTM)


@pytest.mark.parametrize('mask', ['units', *masked_streams.MASKS])
def test_nothing_hidden_reaches_the_loss(mask):
  """But by a difference it would: of the step itself, and of the next."""
  streams, settings = (
    (LATENT, ACTION),
    masked_streams.Settings(mask, (0.3,) * 2),
  )
  objective, heads = masked_streams, None
  if mask == 'units':
    objective, streams = masked_units, streams[:1]
    settings = masked_units.Settings(0.4, 2)
    heads = (HeadSpec(UNIT, cosine.Settings()),)
  if heads is None:
    heads = objective.heads(settings, streams, streams)
  model, params = model_of(streams, objective.VISIBILITY, heads)
  values = {s.name: inputs()[s.name] for s in streams}
  units_BTL = np.random.default_rng(1).integers(7, size=(B, T, 1))
  batch = {
    'inputs': values,
    'valid': jnp.asarray(VALID),
    'targets': {'unit': units_BTL},
  }

  def loss(seen):
    apply = Reading(sequence.bind(model, params), seen)
    value, _ = objective.loss(apply, batch, jax.random.key(3), settings)
    return value, apply.corrupt_BTM

  slopes, corrupt_BTM = jax.jit(jax.grad(loss, has_aux=True))(values)
  assert corrupt_BTM.any() and not corrupt_BTM.all()
  for m, stream in enumerate(streams):
    slope_BTD, hidden_BT = np.asarray(slopes[stream.name]), corrupt_BTM[..., m]
    assert not slope_BTD[hidden_BT].any()
    assert slope_BTD[~hidden_BT].any(-1).all()


@pytest.mark.parametrize('sizes', [(1,) * T, (2, 1, 3)], ids=str)
def test_a_state_goes_on_as_one_window(sizes):
  """Over steps of padding and of an absent stream, cut anywhere."""
  trunk = mingru.Settings(1, 1.5, 2.0, 'float32')
  model, params = model_of((LATENT, ACTION), 'interleaved', trunk=trunk)
  apply, values = jax.jit(sequence.bind(model, params)), inputs()
  valid_BT, present_BTM = VALID.copy(), np.ones((B, T, 2), bool)
  valid_BT[0, :2] = False
  present_BTM[1, 3, 0] = False
  whole = apply(values, valid_BT, None, present_BTM)
  state, parts = sequence.start(model, B), []
  for stop, size in zip(np.cumsum(sizes), sizes, strict=True):
    steps = slice(stop - size, stop)
    part = {k: x[:, steps] for k, x in values.items()}
    output = apply(part, valid_BT[:, steps], None, present_BTM[:, steps], state)
    assert jax.tree.map(jnp.shape, output['state']) == jax.tree.map(
      jnp.shape, state
    )
    state = output['state']
    parts.append(output['features'])
  features_BTD = np.where(valid_BT[..., None], np.concatenate(parts, 1), 0)
  expected = np.where(valid_BT[..., None], whole['features'], 0)
  np.testing.assert_allclose(features_BTD, expected, atol=1e-5)
  first, _ = motion.change(values['latent'][:, -1:], VALID[:, :1])
  assert not np.asarray(first).any()  # Without a state nothing was before.


def test_nothing_is_carried_where_the_trunk_carries_nothing():
  model, params = model_of((LATENT,))
  assert sequence.start(model, B) is None
  read = sequence.bind(model, params)({'latent': inputs()['latent']}, VALID)
  assert read['state'] is None


@pytest.mark.parametrize('kind', ['discrete', 'prefix'])
def test_motion_of_what_is_no_number_is_refused(kind):
  with pytest.raises(ValueError, match=f"stream 'x': found motion of a {kind}"):
    StreamSpec('x', kind, vocab=3, motion=True)
