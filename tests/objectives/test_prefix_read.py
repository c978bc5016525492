"""Every objective reads a sentence, learns from it, and never predicts it."""

import jax
import numpy as np
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import (
  behaviour_cloning,
  masked_streams,
  masked_units,
  next_streams,
  next_units,
)
from rpt_jax.types import StreamSpec

B, T, D, L, V, C = 2, 4, 3, 5, 11, 2
TEXT = StreamSpec('text', 'prefix', vocab=V, levels=L)
LATENT = StreamSpec('latent', 'continuous', dim=D)
ACTION = StreamSpec('action', 'continuous', dim=2)
UNIT = StreamSpec('unit', 'discrete', vocab=7, levels=2)
WORDS = np.array([[3, 0, 9, -1, -1], [1, 2, 2, 4, 8]])
UNITS = (TEXT, LATENT), (UNIT, LATENT)
ROBOT = (LATENT, TEXT, ACTION), (LATENT, ACTION)
# objective: (settings, (streams, targets)).
CASES = {
  masked_units: (masked_units.Settings(span=2), ((TEXT, LATENT), (UNIT,))),
  next_units: (next_units.Settings(horizon=2), UNITS),
  masked_streams: (masked_streams.Settings(), ROBOT),
  next_streams: (next_streams.Settings(), ROBOT),
  behaviour_cloning: (None, ROBOT),
}
every = pytest.mark.parametrize(
  'objective', CASES, ids=lambda x: x.__name__.split('.')[-1]
)


def _model(objective):
  settings, (streams, targets) = CASES[objective]
  if objective is behaviour_cloning:
    heads = objective.heads(linear.Settings(), C, streams, ACTION)
  else:
    heads = objective.heads(settings, streams, targets)
  model = sequence.SequenceModel(
    streams,
    heads,
    transformer.Settings(2, 2, 2.0),
    16,
    T,
    visibility=objective.VISIBILITY,
  )
  return model, sequence.init(model, jax.random.key(0))


def _batch():
  rng = np.random.default_rng(0)
  latent_BTD = rng.normal(size=(B, T, D)).astype('f4')
  action_BTA = rng.normal(size=(B, T, 2)).astype('f4')
  streams = {'latent': latent_BTD, 'action': action_BTA}
  unit_BTL = rng.integers(7, size=(B, T, 2))
  return {
    'inputs': streams | {'text': WORDS},
    'targets': streams | {'unit': unit_BTL},
    'valid': np.ones((B, T), bool),
  }


def _loss(objective, model):
  settings, _ = CASES[objective]
  rest = () if settings is None else (settings,)

  def loss(params, batch):
    apply = sequence.bind(model, params)
    return objective.loss(apply, batch, jax.random.key(1), *rest)

  return jax.jit(jax.value_and_grad(loss, has_aux=True))


@every
def test_the_loss_reads_the_text_and_does_not_count_it(objective):
  model, params = _model(objective)
  assert 'text' not in [head.name for head in model.heads]
  (loss, metrics), gradient = _loss(objective, model)(params, _batch())
  assert np.isfinite(loss) and loss > 0
  assert not [name for name in metrics if 'text' in name]
  stem = gradient['stem_text']
  said = np.zeros(V, bool)
  said[WORDS[WORDS >= 0]] = True
  moved_V = np.abs(stem['embed']['embedding']).max(-1) > 0
  np.testing.assert_array_equal(moved_V, said)
  assert np.abs(stem['position']).max(-1).all()


@every
def test_what_stands_in_place_of_absent_words_changes_no_loss(objective):
  model, params = _model(objective)
  run, batch = _loss(objective, model), _batch()
  expected = run(params, batch)
  words = WORDS.copy()
  words[0, 3:] = -9, -(10**6)
  batch['inputs'] |= {'text': words}
  jax.tree.map(np.testing.assert_array_equal, run(params, batch), expected)
  words[0, 3] = 6
  (loss, _), _ = run(params, batch | {'inputs': batch['inputs']})
  assert loss != expected[0][0]


@pytest.mark.parametrize('objective', [masked_streams, next_streams])
def test_what_is_counted_is_as_without_the_text(objective):
  """Counts of targets, masks and guesses know nothing of a prefix."""
  settings, (streams, targets) = CASES[objective]
  plain = tuple(s for s in streams if s.timed)
  model, params = _model(objective)
  heads = objective.heads(settings, plain, targets)
  assert heads == model.heads
  less = model.clone(streams=plain)
  (_, with_text), _ = _loss(objective, model)(params, _batch())
  (_, without), _ = _loss(objective, less)(params, _batch())
  assert with_text.keys() == without.keys()
  for name, (total, count) in without.items():
    assert count == with_text[name][1]
    if not name.startswith('error/'):
      assert total == with_text[name][0]


def test_the_chunk_of_a_policy_depends_on_the_text():
  model, params = _model(behaviour_cloning)
  batch = _batch()
  hide_BTM = behaviour_cloning.hidden(batch['valid'], model.streams)
  np.testing.assert_array_equal(hide_BTM.any((0, 1)), [False, True])

  @jax.jit
  def chunk(words):
    apply = sequence.bind(model, params)
    inputs = batch['inputs'] | {'text': words}
    output = apply(inputs, batch['valid'], hide_BTM)
    return apply.head('action')(output['reads']['action'])[:, -1]

  first, other = chunk(WORDS), chunk(np.roll(WORDS, 1, axis=0))
  assert first.shape == (B, C, 2)
  assert np.abs(first - other).max(-1).min() > 0
  words = WORDS.copy()
  words[1] = 0
  np.testing.assert_array_equal(chunk(words)[0], first[0])
