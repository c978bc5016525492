"""Where the futures begin that a page shows, and what is drawn there."""

import jax
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.episodes import windows
from rpt_jax.learning import pretraining
from rpt_jax.learning.pretraining import Part
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import generate_units
from rpt_jax.types import StreamSpec

VOCAB, DRAWS = 5, 2
SPECS = {'latent': StreamSpec('latent', 'continuous', dim=3)}
SCALES = {'latent': (np.zeros(3, np.float32), np.ones(3, np.float32))}
RUN = PretrainingRun(
  'generate',
  settings.Run(
    objective=generate_units.Settings(ahead=3),
    recipe='raw',
    streams=('latent', 'unit'),
    targets=('unit',),
  ),
  settings.Pretrain(width=16, context=4, trunk=transformer.Settings(1, 2)),
  vocab=VOCAB,
)


def drawn(*lengths):
  """Of parts whose clips have these lengths, what is drawn."""
  rng = np.random.default_rng(0)
  parts = [
    Part(
      windows.Clips(
        {'latent': rng.normal(size=(sum(own), 3)).astype(np.float32)},
        np.array(own),
      )
    )
    for own in lengths
  ]
  unit_NL = rng.integers(0, VOCAB, (sum(map(sum, lengths)), 1))
  clips = pretraining.clips(RUN, parts, SPECS, unit_NL.astype(np.int32))
  model = RUN.model(SPECS)
  params = sequence.init(model, jax.random.key(0))
  key = jax.random.key(1)
  return pretraining.futures(
    RUN, model, params, clips, parts, SCALES, key, DRAWS
  )


def test_they_begin_in_the_middle_of_the_longest_clips():
  """Of every part one: rows 5 to 15 and 16 to 26 here."""
  futures = drawn((5, 10, 1), (10, 4))
  np.testing.assert_array_equal(
    futures['row_BS'], [np.arange(6, 13), np.arange(17, 24)]
  )
  assert futures['unit_SBKL'].shape == (DRAWS, 2, 3, 1)
  assert (0 <= futures['unit_SBKL']).all()
  assert (futures['unit_SBKL'] < VOCAB).all()
  assert (futures['unit_SBKL'][0] != futures['unit_SBKL'][1]).any()


def test_short_clips_have_short_prompts_and_futures():
  futures = drawn((4, 2), (9,))
  np.testing.assert_array_equal(
    futures['row_BS'], [np.arange(4), np.arange(9, 13)]
  )
  assert futures['unit_SBKL'].shape == (DRAWS, 2, 2, 1)


def test_clips_of_one_frame_have_none():
  with pytest.raises(ValueError, match='pretrain generate: found held-out'):
    drawn((1, 1), (9,))
