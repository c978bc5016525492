"""HuBERT's masks and loss against NumPy, and what alpha and padding do."""

import dataclasses

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import heads
from rpt_jax.models.heads import cosine
from rpt_jax.objectives import masked_units
from rpt_jax.types import StreamSpec

SETTINGS = masked_units.Settings(mask_probability=0.8, span=3, alpha=1.0)


def _masks(rows, steps, span, probability=0.8, lengths=None):
  valid_BT = np.ones((rows, steps), bool)
  if lengths is not None:
    valid_BT = np.arange(steps)[None] < np.asarray(lengths)[:, None]
  mask = masked_units.span_mask(jax.random.key(0), valid_BT, probability, span)
  return np.asarray(mask), valid_BT


@pytest.mark.parametrize(
  'steps, span, expected', [(100, 10, 0.568), (64, 5, 0.59), (16, 2, 0.65)]
)
def test_masked_fraction_is_fairseqs(steps, span, expected):
  """Fractions of `algorithms.md` 1.4, by simulation of fairseq's code."""
  rng = np.random.default_rng(0)
  reference = np.zeros((2000, steps), bool)
  for row in reference:
    number = max(2, int(0.8 * steps / span + rng.random()))
    for start in rng.choice(steps - span, number, replace=False):
      row[start : start + span] = True
  mask, _ = _masks(4000, steps, span)
  assert abs(reference.mean() - expected) < 0.015
  assert abs(mask.mean() - reference.mean()) < 0.02


def test_masks_are_spans_inside_the_clip():
  lengths = [8, 8, 5, 3, 2, 1] * 50
  mask, valid_BT = _masks(300, 8, 3, lengths=lengths)
  assert not mask[~valid_BT].any()
  for row, length in zip(mask, lengths, strict=True):
    runs = ''.join('#' if x else ' ' for x in row).split()
    assert all(len(run) >= 3 for run in runs)
    assert bool(runs) == (length >= 3)
  long = mask[np.asarray(lengths) == 8]
  assert (long.mean(0) > 0.15).all()  # Every step is hidden sometimes,
  assert (long.mean(0) < 1).all()  # and seen sometimes.
  assert len({row.tobytes() for row in long}) > 5


def test_number_of_spans():
  """int(0.5 * 64 / 1 + U): 32 or 33 single steps, without replacement."""
  mask, _ = _masks(400, 64, 1, probability=0.5)
  assert set(mask.sum(1)) == {32}
  mask, _ = _masks(400, 10, 1, probability=0.25)
  assert set(mask.sum(1)) == {2, 3}
  assert 0.4 < (mask.sum(1) == 3).mean() < 0.6


def test_span_must_fit():
  with pytest.raises(ValueError, match='span: found 9, expected 1 to 8'):
    _masks(2, 8, 9)


B, T, L, V = 4, 8, 2, 5
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(B, T, 1, L, V)), jnp.float32)
LENGTHS = np.array([8, 8, 6, 4])
VALID = np.arange(T)[None] < LENGTHS[:, None]
UNIT = RNG.integers(0, V, (B, T, L)).astype(np.int32)
KEY = jax.random.key(3)


def _logits(inputs, valid_BT, corrupt_BTM, present_BTM):
  """Logits that do not depend on what is hidden."""
  assert corrupt_BTM.shape == (B, T, 1)
  return {'reads': {'unit': LOGITS}}


APPLY = fakes.Apply(
  _logits, targets=(StreamSpec('unit', 'discrete', vocab=V, levels=L),)
)


def _loss(unit=UNIT, **changes):
  batch = {
    'inputs': {'latent': np.zeros((B, T, 3))},
    'targets': {'unit': unit},
    'valid': VALID,
  }
  settings = dataclasses.replace(SETTINGS, **changes)
  return masked_units.loss(APPLY, batch, KEY, settings)


def _reference(alpha):
  """The loss, one step and one codebook at a time."""
  mask_BT = np.asarray(masked_units.span_mask(KEY, VALID, 0.8, 3))
  totals = {True: [], False: []}
  for b in range(B):
    for t in range(T):
      if VALID[b, t]:
        nats = 0.0
        for level in range(L):
          x = np.asarray(LOGITS[b, t, 0, level], np.float64)
          nats += np.log(np.exp(x).sum()) - x[UNIT[b, t, level]]
        totals[bool(mask_BT[b, t])].append(nats)
  assert all(totals.values())
  return alpha * np.mean(totals[True]) + (1 - alpha) * np.mean(totals[False])


@pytest.mark.parametrize('alpha', [1.0, 0.5, 0.0])
def test_loss_equals_the_reference(alpha):
  nats, metrics = _loss(alpha=alpha)
  np.testing.assert_allclose(nats, _reference(alpha), rtol=1e-5)
  bits, count = metrics['loss_bits']
  np.testing.assert_allclose(bits / count, nats / np.log(2), rtol=1e-6)
  hidden, seen = metrics['masked_accuracy'][1], metrics['unmasked_accuracy'][1]
  assert hidden + seen == VALID.sum()


def test_padding_holds_garbage():
  unit = np.where(VALID[..., None], UNIT, 10**6)
  np.testing.assert_array_equal(_loss(unit)[0], _loss()[0])


def test_negative_units_are_absent():
  unit = UNIT.copy()
  unit[0] = -1
  _, metrics = _loss(unit)
  counted = metrics['masked_accuracy'][1] + metrics['unmasked_accuracy'][1]
  assert counted == VALID[1:].sum()


def test_heads_need_units():
  unit = StreamSpec('unit', 'discrete', vocab=V, levels=L)
  (head,) = masked_units.heads(SETTINGS, (), (unit,))
  assert head == heads.HeadSpec(unit, cosine.Settings())
  with pytest.raises(ValueError, match="needs target 'unit', found"):
    masked_units.heads(SETTINGS, (), ())


def test_at_least_two_spans_where_two_fit():
  mask, _ = _masks(200, 8, 3, probability=0.01, lengths=[8] * 100 + [5] * 100)
  assert set(mask[:100].sum(1)) == {4, 5, 6}  # Two starts, at times near.
  assert set(mask[100:].sum(1)) == {3}


def test_a_unit_with_one_absent_level_is_absent():
  unit, whole = UNIT.copy(), UNIT.copy()
  unit[0, :, 1], whole[0] = -1, -1
  np.testing.assert_array_equal(_loss(unit)[0], _loss(whole)[0])
