"""Faults 3 to 5, 12 and 13: checkpoints that are damaged or of another run."""

import dataclasses
import logging

import jax
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.stages import pipeline
from rpt_jax.stages.plan import Stage
from rpt_jax.training import sharding
from rpt_jax.training.checkpoint import MANIFEST, Checkpoints
from tests.faults import job
from tests.training.test_checkpoint import assert_is, save_three, state_of


def biggest(folder):
  """The largest file of arrays; others hold JSON."""
  files = [p for p in folder.rglob('d/*') if p.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def change(path, edit):
  content = bytearray(path.read_bytes())
  edit(content)
  path.write_bytes(content)


def flip(content):
  content[len(content) // 2] ^= 1


def halve(content):
  del content[len(content) // 2 :]


def goes_back(directory, caplog):
  """Step 6 is damaged: it is named, 4 restored, and 6 can be saved again."""
  with caplog.at_level(logging.WARNING):
    checkpoints = Checkpoints(directory)
    assert_is(checkpoints.restore(state_of(0)), 4)
  assert str(directory / '6') in caplog.text
  checkpoints.save(6, state_of(6))
  checkpoints.settle()
  assert_is(checkpoints.restore(state_of(0)), 6)


@pytest.mark.parametrize('half', ['no manifest', 'torn manifest', 'empty'])
def test_03_half_a_checkpoint(tmp_path, half, caplog):
  """a checkpoint folder that is not whole -> removed with a warning, the one
  before it is used"""
  folder = save_three(tmp_path) / '6'
  if half == 'torn manifest':
    change(folder / MANIFEST, halve)
  else:
    (folder / MANIFEST).unlink()
  if half == 'empty':
    (tmp_path / '7').mkdir()
  goes_back(tmp_path, caplog)


def test_04_bit_flip(tmp_path, caplog):
  """one bit of a checkpoint flipped -> its sha256 tells; removed with an error
  in the log, the one before it is used"""
  change(biggest(save_three(tmp_path) / '6'), flip)
  goes_back(tmp_path, caplog)


@pytest.mark.parametrize('damage', ['truncated', 'deleted'])
def test_05_truncated_or_deleted_file(tmp_path, damage, caplog):
  """a file of a checkpoint truncated or deleted -> removed with an error in the
  log, the one before it is used"""
  file = biggest(save_three(tmp_path) / '6')
  if damage == 'deleted':
    file.unlink()
  else:
    change(file, halve)
  goes_back(tmp_path, caplog)


def test_nothing_begins_anew_unasked(tmp_path):
  """Every checkpoint is damaged: one line, and all of them are still there."""
  save_three(tmp_path)
  folders = [tmp_path / '4', tmp_path / '6']
  for folder in folders:
    change(biggest(folder), flip)
  with pytest.raises(ValueError, match='none of 2 checkpoints is intact'):
    Checkpoints(tmp_path).restore(state_of(0))
  assert all(folder.exists() for folder in folders)


def mesh_of(*sizes):
  devices = jax.devices()[: np.prod(sizes)]
  return sharding.make_mesh(
    dict(zip(sharding.AXES, sizes, strict=True)), devices
  )


@pytest.mark.parametrize('sizes', [(1, 1, 1), (2, 2, 2)])
def test_12_another_mesh(tmp_path, sizes):
  """another mesh (8 devices, then 1, or 2x2x2) -> the same arrays, the same
  batches; the loss agrees to 1e-5"""
  saved, _ = job.train(tmp_path / 'a', mesh_of(8, 1, 1), stop=8)
  shapes = job.make(mesh_of(*sizes)).shapes
  checkpoints = Checkpoints(tmp_path / 'a' / 'checkpoints')
  step, restored = checkpoints.restore(shapes)
  assert step == 8
  places = [
    [x.sharding for x in jax.tree.leaves(tree)] for tree in (restored, shapes)
  ]
  assert places[0] == places[1]
  for x, y in zip(
    jax.tree.leaves(restored.params), jax.tree.leaves(saved.params), strict=True
  ):
    np.testing.assert_array_equal(x, y)
  asked = []
  _, rows = job.train(tmp_path / 'a', mesh_of(*sizes), before=asked.append)
  assert asked == [8, 9, 10, 11]
  _, expected = job.train(tmp_path / 'whole', mesh_of(8, 1, 1))
  np.testing.assert_allclose(
    [row['loss'] for row in rows], [row['loss'] for row in expected], 1e-5
  )


@dataclasses.dataclass(frozen=True)
class Model:
  """What is trained."""

  width: int = settings.key(64, 'numbers of a token')


@dataclasses.dataclass(frozen=True)
class Training:
  """How it is trained."""

  model: Model = settings.key(Model(), 'what is')
  rate: float = settings.key(0.1, 'the peak')
  steps: int = settings.key(9, 'updates')


def test_13_changed_config(tmp_path, monkeypatch):
  """settings changed under an unfinished training -> refused with every key,
  old -> new; --overwrite begins anew"""

  class Killed(Stage):
    def run(self, inputs, directory):
      folder = directory / 'run' / 'checkpoints' / '4'
      folder.mkdir(parents=True, exist_ok=True)
      raise RuntimeError

  def plan(config):
    return (Killed('pretrain', 'pretrain', config, {}),)

  def start(width, rate, **flags):
    pipeline.run(Training(Model(width), rate), tmp_path, **flags)

  monkeypatch.setattr(pipeline, 'plan', plan)
  for _ in range(2):
    with pytest.raises(RuntimeError):
      start(64, 0.1)
  with pytest.raises(ValueError) as refused:
    start(128, 0.2)
  (line,) = str(refused.value).splitlines()
  assert 'settings.model.width: 64 -> 128; settings.rate: 0.1 -> 0.2' in line
  assert 'steps' not in line and '--overwrite' in line
  assert (tmp_path / 'pretrain' / 'run' / 'checkpoints' / '4').exists()
  with pytest.raises(RuntimeError):
    start(128, 0.2, overwrite=True)
