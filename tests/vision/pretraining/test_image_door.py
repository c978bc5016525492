"""Every image objective has what the protocol asks for, and learns by it."""

import ast
import dataclasses
import inspect
import pathlib

import jax
import numpy as np
import pytest

from rpt_jax import settings, vision
from rpt_jax.episodes import frames
from rpt_jax.learning import seeing
from rpt_jax.training import costs, sharding
from rpt_jax.vision import pretraining

SIZE, BATCH = 32, 8
LENGTHS = np.array([9, 16, 5, 12])
KINDS = settings.kinds('vision/pretraining')
each = pytest.mark.parametrize('kind', KINDS)


def stored(seed=0):
  """Clips of noise over a ramp that moves, in two files."""
  rng = np.random.default_rng(seed)
  moment = np.concatenate([np.arange(n) for n in LENGTHS])
  ramp = np.linspace(0, 150, SIZE)[None, :, None, None]
  image = (ramp + 8 * moment[:, None, None, None]) % 200
  image = image + rng.integers(0, 40, (len(moment), SIZE, SIZE, 3))
  parts = tuple(np.split(image.astype(np.uint8), [LENGTHS[:2].sum()]))
  # Sentences for all, which one kind takes for objects and how they stand.
  lone = 'view: cube.'
  scene = 'scene: cube. cube is in the drawer'
  texts = np.array([scene, lone, '', scene])
  return frames.Frames(parts, LENGTHS, np.full(4, 10.0), texts)


def tiny(kind):
  chosen = settings.module('vision/pretraining', kind).Settings()
  depths = {k: 1 for k in dataclasses.asdict(chosen) if k.endswith('depth')}
  return dataclasses.replace(chosen, batch_size=BATCH, steps=12, **depths)


def mesh():
  return sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})


def test_every_file_of_the_room_is_a_kind():
  folder = pathlib.Path(pretraining.__file__).parent
  assert [p.stem for p in sorted(folder.glob('[!_]*.py'))] == KINDS


@each
def test_a_file_has_all_of_the_protocol(kind):
  file = settings.module('vision/pretraining', kind)
  assert ast.get_docstring(ast.parse(inspect.getsource(file)))
  protocol = pretraining.Objective
  for name in (*protocol.__annotations__, *vars(protocol)):
    if not name.startswith('_'):
      assert hasattr(file, name), name
  assert {*file.NEEDS} <= {*pretraining.NEEDS} and file.NEEDS
  names = {field.name for field in dataclasses.fields(file.Settings)}
  assert names >= {'batch_size', 'balanced', 'steps', 'weight_decay'}
  assert file.CAPTION.endswith('.')


@each
def test_a_batch_is_pure_and_split_over_processes(kind):
  c, objective = tiny(kind), settings.module('vision/pretraining', kind)
  whole = objective.batch_at(c, stored(), 3, None)
  for step in (0, 7):
    batch, again = whole(step), whole(step)
    parts = [
      objective.batch_at(c, stored(), 3, rows)(step)
      for rows in np.split(np.arange(BATCH), 2)
    ]
    for name, x in batch.items():
      assert len(x) == BATCH
      np.testing.assert_array_equal(x, again[name])
      halves = np.concatenate([part[name] for part in parts])
      np.testing.assert_array_equal(x, halves)
  shapes = {k: (x.shape[1:], x.dtype) for k, x in whole(0).items()}
  example = seeing.example(c, SIZE)
  assert shapes == {k: (x.shape[1:], x.dtype) for k, x in example.items()}


@each
def test_it_learns_and_what_is_saved_sees(kind, tmp_path):
  c, objective = tiny(kind), settings.module('vision/pretraining', kind)
  model, key = objective.model(c, SIZE), jax.random.key(0)
  assert hash(model) == hash(objective.model(c, SIZE)) and model.tokens > 0
  trained = seeing.make_trainer(c, SIZE, mesh())
  # Of one batch: how hard batches are differs more than a few steps change.
  batch = seeing.batches(c, stored(), mesh(), 0)(0)
  assert costs.flops(trained.step, trained.shapes, batch) > 0
  state, losses = trained.init(key), []
  for _ in range(c.steps):
    state, metrics = trained.step(state, batch)
    losses.append(float(metrics['loss']))
  assert np.mean(losses[-3:]) < np.mean(losses[:3])
  params = sharding.gather(state.params)
  measured = objective.judge(model, params, stored(1), key)
  assert measured and all(np.isfinite(float(x)) for x in measured.values())
  for picture in objective.pictures(model, params, stored(1), key).values():
    assert picture.dtype == np.uint8 and picture.shape[2:] == (SIZE, 3)
  objective.save(model, params, tmp_path / 'model')
  loaded = vision.load(tmp_path / 'model', output='mean_patch')
  expected = objective.untrained(model, output='mean_patch')
  assert (loaded.dim, loaded.image_size) == (expected.dim, expected.image_size)
  latents = jax.jit(loaded.encode)(stored().take(np.arange(4)))
  assert latents.shape == (4, expected.dim) and np.ptp(latents) > 0


def test_what_is_needed_must_be_there():
  pretraining.check(('frames', 'pairs', 'text'), stored())
  alone = dataclasses.replace(
    stored(), lengths=np.ones(42, int), texts=np.full(42, '')
  )
  pretraining.check(('frames',), alone)
  for name in ('pairs', 'text'):
    with pytest.raises(ValueError, match=f'config.image_model: needs {name}'):
      pretraining.check((name,), alone)
