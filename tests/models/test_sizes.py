"""Sizes of the trunk against their counts by hand; nothing is allocated."""

import jax
import pytest

from rpt_jax.models import presets, sequence
from rpt_jax.models.transformer import Transformer
from rpt_jax.models.trunks import transformer
from rpt_jax.types import StreamSpec

COUNTS = {
  'paper': 1_188_096,
  'S': 21_293_568,
  'B': 85_054_464,
  'L': 302_309_376,
  'XL': 1_007_165_440,
}


def _count(params):
  return sum(x.size for x in jax.tree.leaves(params))


def _shapes(model):
  x_BTD = jax.ShapeDtypeStruct((1, 80, model.width), 'float32')
  return jax.eval_shape(model.init, jax.random.key(0), x_BTD)['params']


def test_all_sizes_are_counted():
  assert set(COUNTS) == set(presets.SIZES)


@pytest.mark.parametrize('name, count', COUNTS.items())
def test_count(name, count):
  width, trunk = presets.SIZES[name].values()
  ratio = trunk['mlp_ratio']
  matrices = (4 + 2 * ratio) * width**2
  vectors = (3 + 1 + ratio + 1) * width + 4 * width  # Biases, two norms.
  shapes = _shapes(Transformer(width, **trunk))
  assert _count(shapes) == count
  assert trunk['depth'] * (matrices + vectors) == count
  assert width % trunk['num_heads'] == 0


def test_the_papers_model_has_its_matrices():
  names = ('latent/a', 'latent/b', 'latent/c', 'proprio', 'action')
  streams = tuple(StreamSpec(name, 'continuous', dim=4) for name in names)
  width, trunk = presets.SIZES['paper'].values()
  trunk = transformer.Settings(**trunk)
  model = sequence.SequenceModel(
    streams, (), trunk, width, 16, visibility='bidirectional'
  )
  params = jax.eval_shape(
    lambda key: sequence.init(model, key), jax.random.key(0)
  )
  blocks = params['trunk']['blocks']
  kernels = [blocks[name]['kernel'] for name in ('qkv', 'out', 'up', 'down')]
  assert sum(x.size for x in kernels) == 1_179_648
