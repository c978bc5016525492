"""Open-loop scores: what counts, and each seed through its own image model."""

import json

import jax
import ml_collections
import numpy as np
import pytest

from rpt_jax.episodes import windows
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import (
  collect,
  encode,
  finetune,
  openloop,
  trunk,
  tuned,
)
from rpt_jax.training import checkpoint
from rpt_jax.types import StreamSpec
from tests.stages.test_pretrain import tiny_config

LENGTHS, DIM = np.array([5, 8]), 6
CHUNK = 3


def config(**sections):
  c = tiny_config()
  c.envs, c.iterations = (), 1
  c.finetune.update(chunk=CHUNK, demos=(1,), run_demos=(1,), seeds=2)
  c.update(sections)
  return ml_collections.FrozenConfigDict(c.to_dict())


@pytest.fixture(scope='module')
def targets():
  rng = np.random.default_rng(0)
  size = LENGTHS.sum()
  arrays = {
    'latent': rng.normal(size=(size, DIM)).astype(np.float16),
    'action': rng.normal(size=(size, 2)).astype(np.float32),
  }
  clips = windows.Clips(arrays, LENGTHS)
  return clips, openloop._Targets(clips, config())


def test_the_truth_scores_one_and_the_mean_zero(targets):
  clips, data = targets
  action = clips.arrays['action']
  truth, last = np.zeros((len(action), CHUNK, 2)), np.zeros_like(action)
  for start, stop in zip(clips.offsets[:-1], clips.offsets[1:], strict=True):
    last[start + 1 : stop] = action[start : stop - 1]
    for t in range(start, stop):
      chunk = action[t : min(t + CHUNK, stop)]
      truth[t, : len(chunk)] = chunk
  np.testing.assert_array_equal(data.error(truth[None]), 0)
  assert data.score(data.error(truth[None])).tolist() == [[1.0, 1.0]]
  np.testing.assert_array_equal(
    data.copy_last(), np.repeat(last[:, None], CHUNK, axis=1)
  )
  nothing = data.score(data.error(np.zeros_like(truth)[None]))
  assert nothing.shape == (1, 2)
  assert nothing.mean() == pytest.approx(0, abs=1e-6)


def test_each_seed_can_have_latents_of_its_own(targets):
  clips, data = targets
  c = config()
  spec = StreamSpec('action', 'continuous', dim=2)
  heads = behaviour_cloning.heads(c.finetune, (), (spec,))
  model = trunk.model(c, trunk.latent_stream(DIM), heads, 'causal')
  params_S = jax.vmap(lambda k: sequence.init(model, k))(finetune.seed_keys(c))

  def predict(latent):
    return data.predict(model, params_S, {'latent': latent}, lambda x: x)

  shared = clips.arrays['latent']
  other = shared[::-1]
  one, two = predict(shared), predict(other)
  both = predict(np.stack([shared, other]))
  assert both.shape == (2, LENGTHS.sum(), CHUNK, 2)
  np.testing.assert_allclose(both, [one[0], two[1]], rtol=1e-4, atol=1e-5)
  assert np.abs(both[1] - one[1]).max() > 1e-2


def write_dataset(folder):
  """Six episodes whose action is where a bright square stands."""
  folder.mkdir()
  for seed in range(6):
    rng = np.random.default_rng(seed)
    place_T = np.clip(np.cumsum(rng.integers(-2, 3, 9)) + 8, 0, 16)
    image = np.zeros((9, 20, 24, 3), np.uint8)
    for frame, place in zip(image, place_T, strict=True):
      frame[4:12, place : place + 8] = 255
    action = np.stack([place_T, -place_T], 1).astype(np.float32) / 8
    np.savez(folder / f'{seed}.npz', image=image, action=action)


def recorded(path):
  """A config of one dataset, its image model tuned in two ways."""
  ConfigDict = ml_collections.ConfigDict
  dataset = {
    'path': str(path),
    'split': 'all',
    'cameras': ('image',),
    'mapping': {'image': 'image', 'action': 'action'},
    'heldout': 0.34,
    'order': 'ordered',
  }
  section = {
    'modes': ('frozen', 'lora:2'),
    'demos': (1,),
    'steps': 4,
    'learning_rate': 1e-3,
    'batch_size': 2,
    'augment': {'shift': 2},
  }
  c = config(encoder='random', datasets=ConfigDict({'squares': dataset}))
  c = ConfigDict(c.to_dict())
  c.finetune.tuned = ConfigDict(section)
  return ml_collections.FrozenConfigDict(c.to_dict())


@pytest.mark.slow
def test_tuned_policies_are_scored_on_frames_they_see_anew(tmp_path):
  write_dataset(tmp_path / 'squares')
  c = recorded(tmp_path / 'squares')
  stages = ('collect', 'encode', 'pretrain', 'finetune', 'openloop')
  inputs = {name: tmp_path / name for name in stages}
  for path in inputs.values():
    path.mkdir()
  collect.run(c, {}, inputs['collect'])
  encode.run(c, inputs, inputs['encode'])
  dim = encode.load_encoder(c, inputs).dim
  body = sequence.init(
    trunk.model(c, trunk.latent_stream(dim), (), 'causal'), jax.random.key(0)
  )
  for run in trunk.runs(c):
    path = inputs['pretrain'] / run / 'pretrained' / 'model.safetensors'
    checkpoint.save_params(path, body)
  finetune.run(c, inputs, inputs['finetune'])
  rows = openloop.run(c, inputs, inputs['openloop'])
  cells = [cell for cell in finetune.cells(c) if cell.method == 'tuned']
  saved = [finetune.load(inputs['finetune'], 'squares', cell) for cell in cells]
  assert [tuned.PART in params for params in saved] == [False, True]
  found = {
    (row['name'], row['tags']['encoder'])
    for row in rows
    if row['tags'].get('method') == 'tuned'
  }
  names = ('score', 'paired_difference', 'tuning_difference')
  assert found == {(n, cell.encoder) for n in names for cell in cells}
  assert json.dumps(rows)
