"""RPT's masks by their statistics, its loss against a loop over tokens."""

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import masked_streams
from rpt_jax.types import StreamSpec

KEY = jax.random.key(3)


def _mask(kind, ratio, valid_BT, present_BTM):
  found = masked_streams.mask(
    kind, jax.random.key(0), ratio, valid_BT, present_BTM
  )
  return np.asarray(found)


def _full(batch, steps, streams):
  return np.ones((batch, steps), bool), np.ones((batch, steps, streams), bool)


@pytest.mark.parametrize('ratio', [(0.7, 0.9), (0.1, 0.9), (0.5, 0.5)])
@pytest.mark.parametrize('kind', ['token', 'timestep', 'causal'])
def test_fraction_of_samples_is_drawn_from_the_range(kind, ratio):
  """Means and deviations of a binomial share of a uniform ratio."""
  size, steps = 3000, 200
  mask = _mask(kind, ratio, *_full(size, steps, 2))
  share = mask.mean((1, 2))
  low, high = ratio
  draws = {'token': 2 * steps, 'timestep': steps, 'causal': np.inf}[kind]
  mean = (low + high) / 2
  spread = (high - low) ** 2 / 12
  spread += (mean - mean**2 - spread) / draws
  assert abs(share.mean() - mean) < 0.01
  assert abs(share.std() - np.sqrt(spread)) < 0.01
  assert len(np.unique(share)) > (20 if high > low or draws < np.inf else 0)


@pytest.mark.parametrize('kind', masked_streams.MASKS)
def test_what_is_hidden_together(kind):
  valid_BT, present_BTM = _full(4000, 6, 3)
  mask = _mask(kind, (0.5, 0.5), valid_BT, present_BTM)
  flat = mask.reshape(len(mask), -1).astype(float)
  same = np.corrcoef(flat.T).reshape(6, 3, 6, 3) if kind != 'causal' else None
  if kind == 'token':
    assert np.abs(same.reshape(18, 18) - np.eye(18)).max() < 0.07
    assert abs(flat.mean() - 0.5) < 0.01
  elif kind == 'timestep':
    assert (mask == mask[:, :, :1]).all()
    between = same[:, 0, :, 0] - np.eye(6)
    assert np.abs(between).max() < 0.09
  elif kind == 'modality':
    assert (mask == mask[:, :1]).all()
    counts = mask[:, 0].sum(1)
    assert set(counts) == {1, 2}  # Never none, never all.
    assert (np.abs(mask[:, 0].mean(0) - 0.5) < 0.03).all()
  else:
    assert (flat == flat[:1]).all() and flat[0].tolist() == [0] * 9 + [1] * 9


def test_a_suffix_of_what_is_there():
  rng = np.random.default_rng(0)
  valid_BT = np.arange(5)[None] >= rng.integers(0, 5, 500)[:, None]
  present_BTM = rng.random((500, 5, 3)) < 0.7
  mask = _mask('causal', (0.2, 0.8), valid_BT, present_BTM)
  there = present_BTM & valid_BT[..., None]
  assert not mask[~there].any()
  for row, tokens in zip(mask, there, strict=True):
    order = row[tokens]
    hidden = order.sum()
    assert (order == (np.arange(len(order)) >= len(order) - hidden)).all()
    if len(order):
      low, high = round(0.2 * len(order)), round(0.8 * len(order))
      assert max(low, 1) <= hidden <= max(high, 1)


@pytest.mark.parametrize('kind', masked_streams.MASKS)
def test_something_is_hidden_wherever_something_is(kind):
  rng = np.random.default_rng(1)
  valid_BT = rng.random((500, 4)) < 0.5
  present_BTM = rng.random((500, 4, 3)) < 0.4
  there = (present_BTM & valid_BT[..., None]).any((1, 2))
  assert not there.all()
  mask = _mask(kind, (1e-6, 1e-6), valid_BT, present_BTM)
  np.testing.assert_array_equal(mask.any((1, 2)), there)
  assert not mask[~(present_BTM & valid_BT[..., None])].any()
  assert not _mask(kind, (0.0, 0.0), valid_BT, present_BTM).any()
  everything = _mask(kind, (1.0, 1.0), valid_BT, present_BTM)
  hidden, found = everything.sum((1, 2)), (present_BTM & valid_BT[..., None])
  if kind == 'modality':
    streams = found.any(1).sum(1)
    assert (everything.any(1).sum(1) == np.where(streams > 1, streams - 1,
                                                 streams)).all()  # fmt: skip
  else:
    np.testing.assert_array_equal(hidden, found.sum((1, 2)))


def test_bad_settings_are_named():
  full = _full(1, 2, 2)
  with pytest.raises(ValueError, match="mask: found 'tokens', expected one of"):
    _mask('tokens', (0.7, 0.9), *full)
  with pytest.raises(ValueError, match='ratio: found .*expected 0 <= low'):
    _mask('token', (0.9, 0.7), *full)
  masked_streams.Settings(shown=(0.4, 0.6)).check('here')
  with pytest.raises(ValueError, match=r'here\.shown: .*at most 1 in all'):
    masked_streams.Settings(shown=(0.5, 0.6)).check('here')
  batch, touch = _batch(), StreamSpec('touch', 'continuous', dim=1)
  apply = APPLY._replace(streams=(*STREAMS, touch))
  with pytest.raises(ValueError, match=r"no stream \['touch'\]"):
    masked_streams.loss(apply, batch, KEY, SETTINGS)
  with pytest.raises(ValueError, match='present: found shape'):
    batch['present'] = batch['present'][..., :2]
    masked_streams.loss(APPLY, batch, KEY, SETTINGS)


B, T, D, V, L = 6, 5, 3, 7, 2
STREAMS = (
  StreamSpec('latent/see', 'continuous', dim=D),
  StreamSpec('unit', 'discrete', vocab=V, levels=L),
  StreamSpec('action', 'continuous', dim=1),
)
NAMES = tuple(s.name for s in STREAMS)
SETTINGS = masked_streams.Settings('token', (0.4, 0.8))
RNG = np.random.default_rng(0)
HEADS = {
  'latent/see': RNG.normal(size=(B, T, 1, D)),
  'unit': RNG.normal(size=(B, T, 1, L, V)),
  'action': RNG.normal(size=(B, T, 1, 1)),
}


def _batch(dirty=False):
  rng = np.random.default_rng(1)
  inputs = {
    'unit': rng.integers(0, V, (B, T, L)).astype(np.int32),
    'action': rng.normal(size=(B, T, 1)).astype(np.float32),
    'latent/see': rng.normal(size=(B, T, D)).astype(np.float32),
  }
  valid_BT = np.arange(T)[None] >= np.array([0, 0, 2, 4, 5, 1])[:, None]
  present_BTM = rng.random((B, T, 3)) < 0.8
  present_BTM[1, :, 2] = False  # A clip without actions.
  if dirty:
    for m, name in enumerate(NAMES):
      there = valid_BT & present_BTM[..., m]
      inputs[name][~there] = 10**6 if name == 'unit' else np.nan
  return {'inputs': inputs, 'valid': valid_BT, 'present': present_BTM}


APPLY = fakes.Apply(
  lambda *_: {'reads': jax.tree.map(jnp.float32, HEADS)}, STREAMS
)


def _reference(batch):
  """Stream -> errors, and guessed errors, a token at a time."""
  mask = masked_streams.mask(
    'token', KEY, SETTINGS.ratio, batch['valid'], batch['present']
  )
  errors, copies = {}, {}
  for m, name in enumerate(NAMES):
    x, y = batch['inputs'][name], HEADS[name][:, :, 0]
    errors[name], copies[name] = [], []
    for b, t in np.argwhere(mask[..., m]):
      seen = [s for s in range(T) if batch['valid'][b, s]
              and batch['present'][b, s, m] and not mask[b, s, m]]  # fmt: skip
      near = [s for s in seen if s < t][-1:] or seen[:1]
      if name == 'unit':
        nats = np.log(np.exp(y[b, t]).sum(-1)) - y[b, t][range(L), x[b, t]]
        errors[name].append(nats.mean() / np.log(V))
        same = x[b, near[0]] == x[b, t] if near else np.zeros(L)
        copies[name].append(1 - same.mean())
      else:
        errors[name].append(((y[b, t] - x[b, t]) ** 2).mean())
        guess = x[b, near[0]] if near else 0.0
        copies[name].append(((guess - x[b, t]) ** 2).mean())
  return errors, copies, np.asarray(mask)


def test_loss_equals_the_reference():
  batch = _batch()
  loss, metrics = jax.jit(
    lambda batch: masked_streams.loss(APPLY, batch, KEY, SETTINGS)
  )(batch)
  errors, copies, mask = _reference(batch)
  expected = np.mean([np.mean(e) for e in errors.values()])
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  for name in NAMES:
    for what, values in (('error', errors), ('copy_last', copies)):
      total, count = metrics[f'{what}/{name}']
      assert count == len(values[name])
      np.testing.assert_allclose(total, np.sum(values[name]), rtol=1e-5)
  there = batch['present'] & batch['valid'][..., None]
  assert metrics['masked_fraction'] == (mask.sum(), there.sum())
  named = HEADS['unit'][:, :, 0].argmax(-1) != batch['inputs']['unit']
  wrong, count = metrics['wrong/unit']
  assert count == len(errors['unit'])
  np.testing.assert_allclose(wrong, named[mask[..., 1]].mean(-1).sum())
  assert 'interpolation/unit' not in metrics


def test_streams_without_targets_weigh_nothing():
  batch = _batch()
  batch['present'][..., 2] = False
  loss, metrics = masked_streams.loss(APPLY, batch, KEY, SETTINGS)
  assert metrics['error/action'] == (0, 0)
  errors = [metrics[f'error/{name}'] for name in NAMES[:2]]
  expected = np.mean([total / count for total, count in errors])
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  batch['present'][:] = False
  assert masked_streams.loss(APPLY, batch, KEY, SETTINGS)[0] == 0


def test_garbage_where_nothing_is_changes_no_bit_of_loss_and_gradients():
  model = sequence.SequenceModel(
    STREAMS,
    masked_streams.heads(SETTINGS, STREAMS, STREAMS),
    transformer.Settings(1, 2),
    16,
    T,
    visibility=masked_streams.VISIBILITY,
  )
  params = sequence.init(model, jax.random.key(0))

  @jax.jit
  def gradient(params, batch):
    def loss(params):
      apply = sequence.bind(model, params)
      return masked_streams.loss(apply, batch, KEY, SETTINGS)

    return jax.value_and_grad(loss, has_aux=True)(params)

  clean, dirty = gradient(params, _batch()), gradient(params, _batch(True))
  for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  kernel = clean[1]['head_latent_see']['project']['kernel']
  assert np.abs(kernel).max() > 0
  changed = _batch()
  hidden = _reference(changed)[2][..., 0]
  changed['inputs']['latent/see'][hidden] += 1.0  # Targets, never inputs.
  other = gradient(params, changed)
  assert other[0][1]['error/action'] == clean[0][1]['error/action']
  assert other[0][1]['error/latent/see'] != clean[0][1]['error/latent/see']


def test_a_tenth_of_what_is_hidden_is_shown_and_a_tenth_is_another():
  """BERT's 80/10/10, of discrete and of continuous streams."""
  batch, steps, vocab = 300, 20, 50
  rng = np.random.default_rng(0)
  valid_BT, real_BTM = _full(batch, steps, 2)
  real_BTM[:, -1] = False
  specs = [
    StreamSpec('token', 'discrete', vocab=vocab),
    StreamSpec('latent', 'continuous', dim=3),
  ]
  timed = {
    'token': rng.integers(vocab, size=(batch, steps, 1), dtype=np.int32),
    'latent': rng.normal(size=(batch, steps, 3)).astype(np.float32),
  }
  timed['latent'][:, -1] = np.nan
  hide_BTM = rng.random((batch, steps, 2)) < 0.5
  hide_BTM &= real_BTM & valid_BT[..., None]
  read, corrupt_BTM = masked_streams.disguise(
    (0.1, 0.1), KEY, timed, specs, real_BTM, hide_BTM
  )
  corrupt_BTM = np.asarray(corrupt_BTM)
  assert not corrupt_BTM[~hide_BTM].any()
  for m, (name, x) in enumerate(timed.items()):
    hide_BT, corrupt_BT = hide_BTM[..., m], corrupt_BTM[..., m]
    seen = np.asarray(read[name])
    other_BT = ~((seen == x) | np.isnan(x)).all(-1)
    assert not (other_BT & ~hide_BT).any() and not (other_BT & corrupt_BT).any()
    count = hide_BT.sum()
    assert abs(corrupt_BT.sum() / count - 0.8) < 0.02
    by_chance = 0.1 / vocab if name == 'token' else 0
    assert abs(other_BT.sum() / count - 0.1 + by_chance) < 0.02
    assert np.isfinite(seen[:, :-1]).all()
  others = np.asarray(read['token'])[..., 0][
    (np.asarray(read['token']) != timed['token'])[..., 0]
  ]
  assert len({*others.tolist()}) > vocab - 5  # Any token, as likely.


def test_shown_is_in_the_loss_and_nothing_changes_without_it():
  spec = StreamSpec('token', 'discrete', vocab=9)
  x = np.random.default_rng(0).integers(9, size=(40, 8, 1), dtype=np.int32)
  batch = {'inputs': {'token': x}, 'valid': np.ones((40, 8), bool)}
  given = {}

  def call(inputs, valid_BT, corrupt_BTM, present_BTM):
    given['read'], given['corrupt'] = inputs['token'], corrupt_BTM
    logits = jnp.zeros((40, 8, 1, 1, 9))
    return {'reads': {'token': logits}}

  apply = fakes.Apply(call, (spec,))
  hidden = {}
  for shown in ((0.0, 0.0), (0.3, 0.3)):
    how = masked_streams.Settings(ratio=(0.5, 0.5), shown=shown)
    metrics = masked_streams.loss(apply, batch, KEY, how)[1]
    hidden[shown] = int(metrics['error/token'][1]), int(given['corrupt'].sum())
    changed = int((np.asarray(given['read']) != x).sum())
    assert (changed > 0) == any(shown)
  (all_, masked), (some, fewer) = hidden.values()
  assert all_ == masked == some  # What is shown counts as what is not.
  assert 0.25 * all_ < fewer < 0.55 * all_
