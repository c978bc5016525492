"""Streams on one scale, and what is absent of them."""

import ml_collections
import numpy as np
import pytest

from configs import rpt
from rpt_jax.episodes import windows
from rpt_jax.stages import control, experts, sensorimotor

DIMS = {'latent/front': 3, 'proprio': 2, 'action': 1, 'unit': 1}
STREAMS = ('latent/front', 'proprio', 'action')


def clips(lengths, streams=STREAMS, seed=0):
  rng = np.random.default_rng(seed)
  size = sum(lengths)
  arrays = {
    s: (5 + 3 * rng.normal(size=(size, DIMS[s]))).astype(np.float32)
    for s in streams
  }
  return windows.Clips(arrays, np.array(lengths))


def test_streams_come_to_mean_0_and_deviation_1():
  parts = [clips([4, 6]), clips([9], seed=1)]
  scales = sensorimotor.measure(parts)
  found = [sensorimotor.standardise(part, scales) for part in parts]
  for stream in STREAMS:
    x_ND = np.concatenate([part.arrays[stream] for part in found])
    x_ND = x_ND.astype(np.float64)
    np.testing.assert_allclose(x_ND.mean(0), 0, atol=2e-3)
    np.testing.assert_allclose(x_ND.std(0), 1, atol=2e-3)


def test_what_never_varied_is_not_blown_up():
  part = clips([50])
  part.arrays['proprio'][:, 1] = 0.25
  part.arrays['action'][:] = 0.1  # Not exact in binary.
  scales = sensorimotor.measure([part])
  assert scales['action'][1] == 0
  part.arrays['proprio'][:, 1] += 0.01
  part.arrays['action'][:] += 0.01
  moved = sensorimotor.standardise(part, scales).arrays
  assert 0 < np.abs(moved['proprio'][:, 1]).max() < 0.3
  assert np.abs(moved['action']).max() < 0.02


def test_another_width_is_named():
  scales = sensorimotor.measure([clips([5])])
  other = clips([5])
  other.arrays['action'] = np.zeros((5, 7), np.float32)
  with pytest.raises(ValueError, match="stream 'action'.*7.*same"):
    sensorimotor.standardise(other, scales)


def test_a_domain_without_a_stream_has_it_absent():
  video = clips([3, 2], streams=('latent/front',))
  joined = sensorimotor.join([video, clips([4])], STREAMS, DIMS)
  assert joined.lengths.tolist() == [3, 2, 4]
  present = joined.arrays['present']
  assert present[:5].tolist() == [[True, False, False]] * 5
  assert present[5:].all()
  assert not joined.arrays['action'][:5].any()
  assert joined.arrays['action'].shape == (9, 1)


@pytest.mark.parametrize('known', [0.0, 0.25, 0.5, 1.0])
def test_a_share_of_the_clips_comes_with_actions(known):
  lengths = [2] * 40
  joined = sensorimotor.join([clips(lengths)], STREAMS, DIMS, known)
  by_clip = joined.arrays['present'].reshape(40, 2, 3)
  assert by_clip[:, :, 0].all()  # A camera always sees.
  assert (by_clip[:, 0] == by_clip[:, 1]).all()  # Whole clips.
  assert by_clip[:, 0, 1:].all(1).sum() == 40 * known


def config(**changes):
  c = rpt.get_config('quicktest')
  c.pretrain.runs.rpt.update(changes)
  return ml_collections.FrozenConfigDict(c.to_dict())


@pytest.mark.parametrize(
  'changes, found',
  [
    ({'streams': ('latent/corner2', 'action', 'proprio')}, 'action last'),
    ({'streams': ('latent/corner', 'action')}, 'latent/corner2'),
    ({'streams': ('proprio', 'proprio', 'action')}, 'each once'),
    ({'streams': ('latent/corner2', 'unit', 'action')}, 'recipe'),
    ({'recipe': 'clip_maen'}, 'clip_mean'),
    ({'mask': 'tokens'}, 'modality'),
  ],
)
def test_streams_a_run_cannot_have_are_refused(changes, found):
  c = config(**changes)
  with pytest.raises(ValueError, match='runs.rpt') as error:
    sensorimotor.check(c)
  assert found in str(error.value)


def test_every_run_of_every_argument_can_be():
  for argument in rpt.ARGUMENTS:
    c = ml_collections.FrozenConfigDict(rpt.get_config(argument).to_dict())
    sensorimotor.check(c)
    if 'metaworld' in c:
      experts.check(c)
      control.check(c)
