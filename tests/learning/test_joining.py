"""Streams on one scale, what is absent of them, and who is told what."""

import numpy as np
import pytest

from rpt_jax import domains
from rpt_jax.episodes import scales, windows
from rpt_jax.learning import checks, pretraining, streams
from rpt_jax.stages import pretrain
from rpt_jax.types import StreamSpec
from tests.learning import tiny

DIMS = {'latent/front': 3, 'proprio': 2, 'action': 1}
STREAMS = tuple(DIMS)
SPECS = tuple(StreamSpec(s, 'continuous', dim=d) for s, d in DIMS.items())


def clips(lengths, names=STREAMS, seed=0):
  rng = np.random.default_rng(seed)
  size = sum(lengths)
  arrays = {
    s: (5 + 3 * rng.normal(size=(size, DIMS[s]))).astype(np.float32)
    for s in names
  }
  return windows.Clips(arrays, np.array(lengths))


def test_streams_come_to_mean_0_and_deviation_1():
  parts = [clips([4, 6]), clips([9], seed=1)]
  measured = streams.measure(parts)
  scaled = [streams.scaled(part.arrays, measured) for part in parts]
  for stream in STREAMS:
    x_ND = np.concatenate([arrays[stream] for arrays in scaled])
    assert x_ND.dtype == np.float32
    x_ND = x_ND.astype(np.float64)
    np.testing.assert_allclose(x_ND.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x_ND.std(0), 1, atol=1e-5)


def test_what_never_varied_is_not_blown_up():
  part = clips([50])
  part.arrays['proprio'][:, 1] = 0.25
  part.arrays['action'][:] = 0.1  # Not exact in binary.
  measured = streams.measure([part])
  assert measured['action'][1] == 0
  part.arrays['proprio'][:, 1] += 0.01
  part.arrays['action'][:] += 0.01
  moved = streams.scaled(part.arrays, measured)
  assert 0 < np.abs(moved['proprio'][:, 1]).max() < 0.3
  assert np.abs(moved['action']).max() < 0.02


def test_another_width_is_named():
  other = clips([5])
  other.arrays['action'] = np.zeros((5, 7), np.float32)
  with pytest.raises(ValueError, match="stream 'action'.*7.*same"):
    streams.measure([clips([5]), other])


def test_integers_have_no_scale():
  part = clips([5])
  part.arrays['action'] = np.zeros((5, 1), np.int32)
  measured = streams.measure([part])
  assert set(measured) == {'latent/front', 'proprio'}
  scaled = streams.scaled(part.arrays, measured)
  assert scaled['action'] is part.arrays['action']


def test_a_domain_without_a_stream_has_it_absent():
  video = clips([3, 2], names=('latent/front',))
  joined = streams.join([video, clips([4])], SPECS, ())
  assert joined.lengths.tolist() == [3, 2, 4]
  present = joined.arrays['present'][:]
  assert present[:5].tolist() == [[True, False, False]] * 5
  assert present[5:].all()
  assert not joined.arrays['action'][:5].any()
  assert joined.arrays['action'].shape == (9, 1)
  # What is there is as it was recorded.
  np.testing.assert_array_equal(
    joined.arrays['proprio'][5:], clips([4]).arrays['proprio']
  )


def test_a_step_without_a_unit_has_it_absent():
  """Not all makers give all frames a unit; what is no unit is no input."""
  spec = StreamSpec('unit', 'discrete', vocab=3, levels=2)
  part = clips([4], names=('latent/front',))
  unit_NL = np.array([[0, 1], [-1, -1], [2, 0], [1, -1]])
  part.arrays['unit'] = unit_NL
  joined = streams.join([part, clips([1])], (SPECS[0], spec), ())
  present = [[True, True], [True, False], [True, True], [True, False]]
  assert joined.arrays['present'][:].tolist() == [*present, [True, False]]
  np.testing.assert_array_equal(joined.arrays['unit'][:4], unit_NL)


def labelled(share, seed=0, number=40):
  """Of every clip of two steps, whether it is labelled: [clips] bool."""
  joined = streams.join(
    [clips([2] * number)], SPECS, (), labelled=share, seed=seed
  )
  by_clip = joined.arrays['present'][:].reshape(number, 2, 3)
  assert by_clip[:, :, 0].all()  # A camera always sees.
  assert (by_clip[:, 0] == by_clip[:, 1]).all()  # Whole clips.
  assert (by_clip[..., 1] == by_clip[..., 2]).all()  # Both or none.
  return by_clip[:, 0, 1]


@pytest.mark.parametrize('share', [0.0, 0.25, 0.5, 1.0])
def test_a_share_of_the_clips_comes_with_actions(share):
  assert labelled(share).sum() == 40 * share


def test_another_seed_labels_other_clips():
  first = labelled(0.25, seed=1)
  np.testing.assert_array_equal(first, labelled(0.25, seed=1))
  other = labelled(0.25, seed=2)
  assert first.sum() == other.sum() and (first != other).any()
  # A larger share of the same seed has those clips, and more.
  assert (labelled(0.5, seed=1) >= first).all()


def test_the_seed_of_a_config_draws_which_clips_are_labelled(
  tmp_path, monkeypatch
):
  """Through the stage itself; held-out clips are all labelled."""
  tiny.write_dataset(tmp_path / 'squares')
  drawn = {}

  def fit(training, saving, directory):
    for split in ('pretrain', 'heldout'):
      joined, _ = training._corpus.clips(training.run, split, training._seed)
      drawn[training._seed, split] = joined.arrays['present'][:]
    return {}, None

  monkeypatch.setattr(pretrain._Training, 'fit', fit)
  monkeypatch.setattr(pretrain._Training, 'heldout_rows', lambda *_: [])
  monkeypatch.setattr(pretrain.folder, 'write', lambda *_, **__: None)
  streams_of = ('latent/right', 'latent/left', 'proprio', 'action')
  inputs = None
  for seed in range(4):
    config = tiny.recorded(
      tmp_path / 'squares', seed=seed, pretrain__streams=streams_of
    )
    config.pretrain.runs.next.labelled = 0.5
    c = checks.experiment(config)
    inputs = inputs or tiny.encoded(c, tmp_path / 'run')
    pretrain.run(c, inputs, tmp_path / f'pretrain-{seed}')
  by_seed = [drawn[seed, 'pretrain'] for seed in range(4)]
  assert all(present[:, :2].all() for present in by_seed)
  felt = [tuple(present[:, 3]) for present in by_seed]
  assert len(set(felt)) > 1
  assert all(drawn[seed, 'heldout'].all() for seed in range(4))


def test_streams_are_read_as_they_are_recorded(tmp_path):
  """Cameras in the order of the domain, numbers untouched."""
  tiny.write_dataset(tmp_path / 'squares')
  c = checks.experiment(tiny.recorded(tmp_path / 'squares'))
  inputs = tiny.encoded(c, tmp_path)
  (domain,) = domains.of(c)
  names = ('latent/left', 'proprio', 'latent/right', 'latent', 'action')
  arrays = streams.read(domain, inputs, 'heldout', names).arrays
  assert set(arrays) == set(names)
  both = [arrays['latent/right'][:], arrays['latent/left'][:]]
  np.testing.assert_array_equal(arrays['latent'], np.concatenate(both, -1))
  assert arrays['latent'].dtype == np.float16
  source = domain.source(inputs['collect'], 'heldout')
  for stream, field in (('proprio', 'state'), ('action', 'action')):
    recorded = [source.read(i, (field,))[field] for i in range(len(source))]
    np.testing.assert_array_equal(arrays[stream], np.concatenate(recorded))
    assert arrays[stream].dtype == np.float32
  alone = streams.read(
    domain, {'encode': inputs['encode']}, 'heldout', names[:1]
  )
  assert set(alone.arrays) == {'latent/left'}  # And no folder of actions.
  with pytest.raises(KeyError, match='label'):
    streams.read(domain, {'encode': inputs['encode']}, 'heldout', names[:2])


def test_latents_that_hardly_vary_are_measured_as_the_rest_is():
  """The one normaliser, whatever is trained on them."""
  part = clips([50])
  part.arrays['latent/front'][:, 2] = 1 + 1e-4 * np.arange(50)
  mean_D, std_D = streams.measure([part])['latent/front']
  assert std_D[2] == pytest.approx(1e-3 * std_D.max(), rel=1e-5)
  x_ND = part.arrays['latent/front']
  np.testing.assert_allclose(
    scales.invert(scales.apply(x_ND, (mean_D, std_D)), (mean_D, std_D)),
    x_ND,
    rtol=1e-5,
  )


def test_a_run_reads_what_it_names_and_no_more():
  needed = pretraining.needed(tiny.runs(tiny.experiment()).of(1))
  assert needed == ('latent',)
