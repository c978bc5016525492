"""Steps compiled for TPUs that are not there; all that loads libtpu is here."""

import dataclasses
import functools
import importlib.util
import json
import pathlib
import runpy

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from rpt_jax.learning import checks
from rpt_jax.tools import aot, steps
from rpt_jax.training import hlo, sharding

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason="no libtpu: pip install -e '.[tpu]'",
)
CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
SLICES = ('v5e:2x4', 'v6e:2x4')
SPLIT = {'data': 2, 'fsdp': 2, 'tensor': 2}
TRUNK = {'depth': 2, 'num_heads': 4, 'remat': 'dots'}


@functools.cache
def tiny(name):
  """A config's quicktest: a run of each objective, named so; two layers."""
  path = CONFIGS / f'{name}.py'
  config = runpy.run_path(str(path))['get_config']('quicktest')
  config.pretrain.update(width=32, batch_size=16, trunk=TRUNK)
  runs = {}
  for run in config.pretrain.runs.values():
    runs.setdefault(run.objective.kind, run)
  config.pretrain.runs = runs
  config.pretrain.main = next(iter(runs))
  config.iterations, config.evaluate.comparisons = 1, {}
  config.image_model.batch_size = 16
  return checks.experiment(config)


def changed(config, section, **values):
  """The same but for some values of a section."""
  chosen = dataclasses.replace(getattr(config, section), **values)
  return dataclasses.replace(config, **{section: chosen})


CASES = {
  'MAE': ('hubert_units', 'see'),
  'k-means assignment': ('hubert_units', 'quantize'),
  'masked_units': ('hubert_units', 'pretrain masked_units'),
  'next_units': ('hubert_units', 'pretrain next_units'),
  'masked_streams': ('rpt', 'pretrain masked_streams'),
  'next_streams': ('rpt', 'pretrain next_streams'),
  'behaviour_cloning': ('rpt', 'finetune'),
}


@pytest.mark.parametrize('topology', SLICES)
@pytest.mark.parametrize('case', CASES)
def test_every_step_compiles_for_a_slice(case, topology):
  config, name = CASES[case]
  found = aot.estimate(tiny(config), name, topology, SPLIT)
  assert found.remark == ''
  assert found.fits
  assert found.model_flops > 0
  assert 0 < found.hbm['total'] < 2**28
  assert 0 < found.mfu < 1
  if case != 'k-means assignment':  # Rows are all that it splits.
    assert 'all-reduce' in found.collectives


def test_what_does_not_fit_is_told_with_what_to_change():
  config = changed(tiny('hubert_units'), 'encode', batch_size=2**23)
  found = aot.estimate(config, 'encode', 'v5e:2x4', SPLIT)
  assert found.fits is False
  assert found.hbm['total'] > found.capacity > 15 * 2**30
  assert 'does not fit: try a larger fsdp' in aot.tell(found)
  assert aot.cells(found).startswith('no | ')


def test_collectives_inside_a_loop_count_as_often_as_it_turns():
  devices = aot.describe('v5e:2x4')
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 4, 'tensor': 1}, devices)
  rows = PartitionSpec('data')

  def local(x):
    def body(x, _):
      return lax.psum(x @ x, 'fsdp') * 1e-3, None

    x, _ = lax.scan(body, x, None, length=5)
    return lax.psum(x, 'data')

  run = jax.shard_map(
    local, mesh=mesh, in_specs=rows, out_specs=PartitionSpec(), check_vma=False
  )
  x = jax.ShapeDtypeStruct(
    (512, 256), jnp.float32, sharding=NamedSharding(mesh, rows)
  )
  text = jax.jit(run).lower(x).compile().as_text()
  found = hlo.read(text, mesh.size)
  assert {(c.kind, c.bytes, c.group, c.times) for c in found.collectives} == {
    ('all-reduce', 256 * 256 * 4, 4, 5),
    ('all-reduce', 256 * 256 * 4, 2, 1),
  }
  # A ring sends 2 (n - 1) / n of the array.
  size = 256 * 256 * 4
  assert sum(c.traffic for c in found.collectives) == size * (1.5 * 5 + 1)


@pytest.mark.parametrize(
  'line, size',
  [
    ('(f32[64], f32[512]) all-gather-start(%x)', 2048),
    ('((f32[64], f32[32]), (f32[512], f32[256])) all-gather-start(%x)', 3072),
    ('(f32[512], f32[64]) reduce-scatter-start(%x)', 2048),
    ('f32[64] reduce-scatter(%x)', 2048),
    ('(f32[64], f32[32]) all-reduce-start(%x)', 384),
  ],
)
def test_collectives_under_way_count_what_they_give(line, size):
  text = (
    'ENTRY %main (x: f32[64]) -> f32[64] {\n'
    f'  %c = {line}, replica_groups={{{{0,1,2,3,4,5,6,7}}}}\n}}\n'
  )
  (found,) = hlo.read(text, 8).collectives
  assert (found.bytes, found.group) == (size, 8)


def test_a_step_that_cannot_be_compiled_names_the_operation(
  tmp_path, monkeypatch, capsys
):
  def bad(mesh):
    x = jax.ShapeDtypeStruct(
      (8, 8), jnp.float32, sharding=sharding.replicated(mesh)
    )
    return steps.Step(jax.jit(jnp.linalg.eigvals), (x,), {'batch': x})

  monkeypatch.setattr(steps, 'named', lambda config: {'bad': bad})
  with pytest.raises(ValueError, match="1 of 1 steps .* bad on .* 'eig'"):
    aot.run(tiny('rpt'), 'v5e:2x4', tmp_path)
  assert 'cannot be compiled' in capsys.readouterr().out
  written = json.loads((tmp_path / 'aot.json').read_text())
  assert written['steps'][0]['fits'] is None


def test_a_batch_that_does_not_divide_is_a_remark():
  config = changed(tiny('rpt'), 'pretrain', batch_size=6)
  found = aot.estimate(config, 'pretrain masked_streams', 'v5e:2x4', SPLIT)
  assert found.fits is None
  assert '6 rows do not divide over 4 devices' in found.remark


def test_a_slice_that_is_none_is_refused():
  with pytest.raises(ValueError, match="'v5e:1x1' cannot be described"):
    aot.describe('v5e:1x1')


def test_meshes_are_compared(tmp_path, monkeypatch):
  asked = []

  def estimate(config, name, topology, sizes):
    asked.append((name, *sizes.values()))
    return aot.Estimate(
      name,
      'x',
      True,
      {'total': 1.0},
      2.0,
      1.0,
      1.0,
      {},
      {'hbm': 1.0},
      1.0,
      0.5,
      '',
    )

  monkeypatch.setattr(aot, 'estimate', estimate)
  monkeypatch.setattr(steps, 'named', lambda config: {'one': None})
  aot.run(tiny('rpt'), 'v5e:2x4', tmp_path, '4x2x1,1x8x1')
  assert asked == [('one', 4, 2, 1), ('one', 1, 8, 1)]
  asked.clear()
  aot.run(tiny('rpt'), 'v5e:2x4', tmp_path, 'all')
  assert ('one', 8, 1, 1) in asked
  assert len(set(asked)) == len(asked) > 3
