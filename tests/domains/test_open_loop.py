"""Open-loop scores: what counts, what is predicted, and from which frames."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from rpt_jax import domains
from rpt_jax.domains import open_loop
from rpt_jax.episodes import scales, windows
from rpt_jax.learning import (
  acting,
  checks,
  cloning,
  encoders,
  policies,
  streams,
  tuning,
)
from rpt_jax.models import sequence
from rpt_jax.results import Cell
from rpt_jax.training import checkpoint
from rpt_jax.vision import tuning as parts
from tests.learning import tiny

CAMERAS = tuple(tiny.SIZES)
# Two ways of seeing both cameras; only one of them sees what was done.
VIEWS = {
  'side by side': ('latent',),
  'apart': ('latent/right', 'latent/left', 'proprio', 'action'),
}
FINETUNED = Cell('next', 'finetune', 1)
SAME = {'atol': 2e-4, 'rtol': 0}
ROUNDED = {'atol': 3e-2, 'rtol': 1e-2}  # bf16 operands, other batches.


class Room(NamedTuple):
  """A recorded robot whose policies are judged."""

  config: object
  inputs: dict
  domain: object
  actors: acting.Actors
  heldout: open_loop.Heldout


def config(path, view='side by side', **changes):
  named = {'pretrain__streams': VIEWS[view]} | changes
  return checks.experiment(tiny.recorded(path, **named))


@pytest.fixture(scope='module', params=VIEWS)
def room(request, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('room')
  tiny.write_dataset(workdir / 'squares')
  c = config(workdir / 'squares', request.param)
  inputs = tiny.encoded(c, workdir)
  tiny.pretrained(c, inputs)
  actors = tiny.actors(c, inputs)
  (domain,) = domains.of(c)
  return Room(c, inputs, domain, actors, opened(domain, inputs, actors))


def opened(domain, inputs, actors):
  """The held-out episodes of a domain, as policies see them."""
  names = (*actors.policies.streams, 'action')
  return open_loop.Heldout(streams.read(domain, inputs, 'heldout', names))


def seeds(room, cell, params_S):
  """(program, weights) of a cell with these parameters."""
  path = policies.path(room.inputs['finetune'], room.domain.name, cell)
  path.parent.mkdir(exist_ok=True)
  checkpoint.save_params(path, params_S)
  policy, weights = room.actors.seeds(room.domain, cell)
  return policy.program, weights


def predicted(room, cell, params_S):
  """[S, N, C, A]: what a cell with these parameters predicts."""
  return room.heldout.predicted(*seeds(room, cell, params_S))


def heldout(room, names):
  """Streams of the held-out episodes on their scale, and their lengths."""
  clips = streams.read(room.domain, room.inputs, 'heldout', names)
  measured = room.actors.policies.scales(room.domain)
  arrays = {k: scales.apply(x[:], measured[k]) for k, x in clips.arrays.items()}
  return arrays, clips


def by_hand(model, params, arrays, lengths):
  """[N, C, A]: of every step's window, cut out of its episode."""
  rows_NT, valid_NT = windows.rows(
    windows.windows(lengths, model.context, lead=model.context - 1),
    model.context,
  )
  inputs = {s.name: arrays[s.name][rows_NT] for s in model.streams}
  names = [s.name for s in model.streams]
  hide_NTM = np.zeros((*rows_NT.shape, len(names)), bool)
  if 'action' in names:
    inputs['action'] = inputs['action'].copy()
    inputs['action'][:, -1] = 1e3  # What is hidden does not matter.
    hide_NTM[:, -1, names.index('action')] = True
  apply = sequence.bind(model, params)
  output = jax.jit(apply)(inputs, valid_NT, hide_NTM)
  return np.asarray(apply.head('action')(output['reads']['action'])[:, -1])


def untrained(room, cell=FINETUNED):
  """(model of a cell, parameters of two seeds, which heed all they see)."""
  model = room.actors.policies.model(room.domain, cell)
  params_S = cloning.initial(model)(cloning.seed_keys(3, 2))
  out = params_S['trunk']['blocks']['out']
  out['kernel'] = 10 * out['kernel']
  return model, jax.device_get(params_S)


def test_the_truth_scores_one_and_the_mean_zero(room, monkeypatch):
  arrays, clips = heldout(room, ('action',))
  action, chunk = arrays['action'], room.config.finetune.chunk
  truth = np.zeros((len(action), chunk, 2), np.float32)
  last = np.zeros_like(truth)
  error_EC = np.zeros((len(clips.lengths), chunk))
  for e, (start, stop) in enumerate(
    zip(clips.offsets[:-1], clips.offsets[1:], strict=True)
  ):
    last[start + 1 : stop] = action[start : stop - 1, None]
    for t in range(start, stop):
      ahead = action[t : min(t + chunk, stop)]
      truth[t, : len(ahead)] = ahead
    for c in range(chunk):
      steps = slice(start, stop - c)  # Those with an action so far ahead.
      wrong = last[steps, c] - truth[steps, c]
      error_EC[e, c] = np.square(wrong).mean()
  _, params_S = untrained(room)
  acts = seeds(room, FINETUNED, params_S)
  guesses_REC = room.heldout.guesses(*acts)
  np.testing.assert_allclose(guesses_REC[1], error_EC, rtol=1e-5)
  shown = {0.0: np.zeros_like(truth), 1.0: truth}
  for expected, chunks_NCA in shown.items():
    monkeypatch.setattr(
      room.heldout, 'predicted', lambda *_, x=chunks_NCA: x[None]
    )
    played = room.domain.play(*acts, room.heldout)
    scored = room.domain.score(played, room.inputs['collect'])
    assert scored.score_SN.shape == (1, 2)
    assert scored.score_SN.mean() == pytest.approx(expected, abs=1e-6)
    copied = 1 - error_EC.mean() / guesses_REC[0].mean()
    assert scored.references == {'copy_last': pytest.approx(copied)}


@pytest.mark.parametrize('lanes', [1, 16])
def test_step_by_step_it_is_window_by_window(room, monkeypatch, lanes):
  """Episodes that end early in a lane, and some lanes at a time, too."""
  monkeypatch.setattr(open_loop, '_LANES', lanes)
  model, params_S = untrained(room)
  names = [s.name for s in model.streams]
  assert ('action' in names) == ('action' in room.config.pretrain.streams)
  arrays, clips = heldout(room, names)
  assert len(set(clips.lengths)) > 1
  chunks_SNCA = predicted(room, FINETUNED, params_S)
  for seed, chunks_NCA in enumerate(chunks_SNCA):
    params = policies.of_seed(params_S, seed)
    expected = by_hand(model, params, arrays, clips.lengths)
    np.testing.assert_allclose(chunks_NCA, expected, **SAME)
  apart = np.abs(chunks_SNCA[0] - chunks_SNCA[1]).max((1, 2))
  assert apart.min() > 0.1  # Seeds differ by more than is rounded.


def test_what_was_done_is_what_a_policy_remembers(room, monkeypatch):
  """Other actions before a step change what is said of it, if they are seen."""
  model, params_S = untrained(room)
  before = predicted(room, FINETUNED, params_S)
  monkeypatch.setattr(room.heldout, '_action', room.heldout._action + 1)
  after = predicted(room, FINETUNED, params_S)
  moved_N = np.abs(after - before).max((0, 2, 3))
  starts = room.heldout._clips.offsets[:-1]
  assert moved_N[starts].max() == 0  # There nothing was done before.
  later_N = np.delete(moved_N, starts)
  if 'action' in [s.name for s in model.streams]:
    assert later_N.min() > 10 * SAME['atol']
  else:
    assert later_N.max() == 0


@pytest.mark.parametrize(
  'mode', ['last:1', pytest.param('lora:2', marks=pytest.mark.slow)]
)
def test_each_seed_sees_with_an_image_model_of_its_own(room, mode):
  cell = Cell('next', 'tuned', 1, mode)
  model, params_S = untrained(room, cell)
  c = room.config
  image = encoders.load(c.encoder, c.encode, room.inputs, (room.domain,))
  trained, fixed = parts.split(image.params, mode, jax.random.key(7))
  rng = np.random.default_rng(0)
  trained_S = jax.tree.map(
    lambda x: x[None] + rng.normal(size=(2, *x.shape)).astype('f4') / 4, trained
  )
  params_S = params_S | {tuning.PART: trained_S}
  chunks_SNCA = predicted(room, cell, params_S)
  arrays, clips = heldout(room, [s.name for s in model.streams])
  source = room.domain.source(room.inputs['collect'], 'heldout')
  frames = [source.read(i, CAMERAS) for i in range(len(source))]
  measured = room.actors.policies.scales(room.domain)
  for seed, chunks_NCA in enumerate(chunks_SNCA):
    params = policies.of_seed(params_S, seed)
    image_params = parts.merge(params.pop(tuning.PART), fixed)
    latents = {
      f'latent/{c}': image.apply(
        image_params, {'image': np.concatenate([x[c] for x in frames])}
      ).astype(np.float16)
      for c in CAMERAS
    }
    latents['latent'] = np.concatenate([*latents.values()], -1)
    own = {
      k: scales.apply(np.asarray(latents[k]), measured[k])
      for k in arrays
      if k in latents
    }
    expected = by_hand(model, params, arrays | own, clips.lengths)
    np.testing.assert_allclose(chunks_NCA, expected, **ROUNDED)
    frozen = by_hand(model, params, arrays, clips.lengths)
    assert np.abs(chunks_NCA - frozen).max() > 0.1


def test_a_frozen_twin_sees_what_all_do(room):
  """Though it is of the method that trains through the image model."""
  _, params_S = untrained(room)
  chunks = [
    predicted(room, cell, params_S)
    for cell in (FINETUNED, Cell('next', 'tuned', 1, 'frozen'))
  ]
  np.testing.assert_allclose(*chunks, **ROUNDED)
