"""What trains, what does not move, and that nothing changes at first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import vision
from rpt_jax.vision import mobilenet, resnet, tuning

DEPTH, WIDTH = 3, 16
MODES = ('frozen', 'last:1', 'last:3', 'lora:2', 'full')


@pytest.fixture(scope='module')
def model():
  return vision.load(
    'random', image_size=16, patch=8, width=WIDTH, depth=DEPTH, num_heads=2
  )


@pytest.fixture(scope='module')
def image():
  return jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))


def flat(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


@pytest.mark.parametrize('mode', MODES)
def test_merged_is_the_original(model, image, mode):
  trained, fixed = tuning.split(model.params, mode)
  merged = tuning.merge(trained, fixed)
  assert jax.tree.structure(merged) == jax.tree.structure(model.params)
  jax.tree.map(np.testing.assert_array_equal, merged, model.params)


def train(model, image, mode, steps=3):
  """(parameters after some steps of descent, gradient of the last)."""
  trained, fixed = tuning.split(model.params, mode)

  def loss(trained):
    return jnp.sum(model.apply(tuning.merge(trained, fixed), image) ** 2)

  gradient = jax.jit(jax.grad(loss))
  for _ in range(steps):
    grads = gradient(trained)
    trained = jax.tree.map(lambda x, g: x - 1e-3 * g, trained, grads)
  return tuning.merge(trained, fixed), grads


@pytest.mark.parametrize('last', [1, 2])
def test_only_the_last_blocks_move(model, image, last):
  after, grads = train(model, image, f'last:{last}')
  assert 'embed' not in grads and 'cls' not in grads and 'norm' in grads
  for name, leaf in flat(after).items():
    old = flat(model.params)[name]
    if 'blocks' not in name:
      assert (leaf != old).any() == ('norm' in name), name
      continue
    first = DEPTH - last
    np.testing.assert_array_equal(leaf[:first], old[:first], name)
    assert (leaf[first:] != old[first:]).any(), name


def count(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_lora_trains_a_and_b_and_nothing_else(model, image):
  trained, fixed = tuning.split(model.params, 'lora:2')
  sides = 2 * WIDTH + 4 * WIDTH + 2 * (5 * WIDTH)  # out; qkv; up and down
  assert count(trained) == DEPTH * 2 * sides
  assert count(fixed) == count(model.params)
  after, grads = train(model, image, 'lora:2')
  assert len(flat(grads)) == 8
  for name, leaf in flat(grads).items():
    assert (jnp.abs(leaf).max(axis=(1, 2)) > 0).all(), name
  for name, leaf in flat(after).items():
    moved = (leaf != flat(model.params)[name]).any()
    assert moved == ('blocks' in name and 'kernel' in name), name


def test_lora_is_a_product_of_its_rank(model):
  trained, fixed = tuning.split(model.params, 'lora:2')
  trained = jax.tree.map(jnp.ones_like, trained)
  merged = tuning.merge(trained, fixed)
  blocks = merged['transformer']['blocks']['qkv']['kernel']
  old = model.params['transformer']['blocks']['qkv']['kernel']
  np.testing.assert_allclose(blocks - old, tuning.ALPHA, atol=1e-5)
  other, _ = tuning.split(model.params, 'lora:2', jax.random.key(1))
  same, _ = tuning.split(model.params, 'lora:2')
  a, b = (
    x['transformer']['blocks']['up']['kernel']['lora_a'] for x in (other, same)
  )
  assert (a != b).any()


def test_frozen_and_full(model, image):
  trained, fixed = tuning.split(model.params, 'frozen')
  assert trained == {} and count(fixed) == count(model.params)
  after, grads = train(model, image, 'full')
  for name, leaf in flat(after).items():
    assert (leaf != flat(model.params)[name]).any(), name
  assert count(grads) == count(model.params)


def test_blocks_of_convolutional_networks():
  params = {name: np.zeros(x) for name, x in mobilenet.shapes().items()}
  trained, _ = tuning.split(params, 'last:2')
  assert {x.split('.')[0] for x in trained} == {'conv_12', 'conv_13'}
  names = [
    x[0]
    for x in resnet.ResNet((2, 2, 2, 2), (64, 128, 256, 512), False).convs()
  ]
  params = {name: {'kernel': np.zeros(1)} for name in names}
  trained, fixed = tuning.split(params, 'last:3')
  assert {x[:3] for x in trained} == {'3.1', '3.0', '2.1'}
  assert 'stem' in fixed
  with pytest.raises(ValueError, match='last:9 of a model of 8 blocks'):
    tuning.split(params, 'last:9')
  with pytest.raises(ValueError, match='no parameter ends in'):
    tuning.split(params, 'lora:4')


@pytest.mark.parametrize(
  'mode', ['some', 'last', 'last:0', 'last:4', 'lora:-1', 'lora:99', 'full:1']
)
def test_unknown_modes_are_named(model, mode):
  with pytest.raises(ValueError, match=f'tuning: .*{mode}'):
    tuning.split(model.params, mode)
