import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from rpt_jax import target
from rpt_jax.models import sequence
from rpt_jax.models.heads import HeadSpec, linear
from rpt_jax.models.transformer import Transformer
from rpt_jax.models.trunks import transformer
from rpt_jax.training import costs, sharding
from rpt_jax.types import StreamSpec
from rpt_jax.vision.pretraining import mae


def _shape(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def _matrices(params):
  """Parameters that are products' operands: kernels and code vectors."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return sum(
    x.size
    for path, x in leaves
    if jax.tree_util.keystr(path).endswith(("['kernel']", "['codes']"))
  )


@pytest.mark.parametrize('remat', ['none', 'dots', 'full'])
@pytest.mark.parametrize('scan', [False, True])
def test_a_trunk_costs_6PT_however_it_is_run(scan, remat):
  width, depth, batch, length = 32, 3, 4, 16
  model = Transformer(width, depth, 4, 4.0, scan, remat)
  x_BTD = _shape(batch, length, width)
  params = jax.eval_shape(model.init, jax.random.key(0), x_BTD)

  def loss(params, x_BTD):
    return model.apply(params, x_BTD)[0].sum()

  forward = 2 * _matrices(params) * batch * length
  forward += 4 * batch * length**2 * width * depth
  assert costs.flops(loss, params, x_BTD) == forward
  both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
  assert costs.flops(both, params, x_BTD) == 3 * forward


def test_a_sequence_model_costs_6PT_and_attention():
  batch, steps, width, depth = 4, 8, 32, 2
  streams = tuple(
    StreamSpec(name, 'continuous', dim=dim)
    for name, dim in (('latent', 24), ('proprio', 5), ('action', 4))
  )
  heads = tuple(HeadSpec(s, linear.Settings()) for s in streams)
  model = sequence.SequenceModel(
    streams, heads, transformer.Settings(depth, 4), width, steps
  )
  inputs = {s.name: _shape(batch, steps, s.dim) for s in streams}
  valid_BT = jax.ShapeDtypeStruct((batch, steps), bool)
  params = jax.eval_shape(
    functools.partial(sequence.init, model), jax.random.key(0)
  )

  def loss(params, inputs, valid_BT):
    apply = sequence.bind(model, params)
    reads = apply(inputs, valid_BT)['reads']
    return sum(apply.head(name)(read).sum() for name, read in reads.items())

  tokens = batch * steps
  trunk, rest = _matrices(params['trunk']), _matrices(params)
  rest -= trunk  # Stems and heads see each step once, the trunk 3 streams.
  attention = 4 * batch * (3 * steps) ** 2 * width * depth
  mean = 2 * batch * steps * 3 * width  # Of the streams of a step, read once.
  forward = 2 * (3 * trunk + rest) * tokens + attention
  got = costs.flops(loss, params, inputs, valid_BT)
  assert forward <= got <= forward + (depth + 1) * mean
  # In f32 nothing is differentiated with respect to what comes in.
  with target.rounding_to('bfloat16'):
    got = costs.flops(jax.value_and_grad(loss), params, inputs, valid_BT)
  assert 3 * forward <= got <= 3 * (forward + (depth + 1) * mean)


def test_an_autoencoder_costs_its_encoder_on_a_quarter_of_the_patches():
  model = mae.Autoencoder(
    image_size=32, patch=4, width=32, depth=2, decoder_width=16
  )
  params = jax.eval_shape(model.init, jax.random.key(0))
  image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.uint8)
  key = jax.eval_shape(lambda: jax.random.key(0))
  patches, seen = 64, 16
  encoder, decoder = params['encoder'], params['decoder']

  def attention(length, width, depth):
    return 4 * length**2 * width * depth

  blocks = _matrices(encoder['trunk'] if 'trunk' in encoder else encoder)
  forward = attention(seen + 1, 32, 2) + attention(patches + 1, 16, 1)
  forward += 2 * (seen + 1) * blocks + 2 * (patches + 1) * _matrices(decoder)
  got = costs.flops(lambda *a: model.loss(*a)[0], params, image, key) / 2
  assert forward < got < 1.2 * forward  # Patches in and out, and fill_in.


def test_convolutions_and_their_gradients():
  def convolve(x_NHWC, w, stride=2):
    return lax.conv_general_dilated(
      x_NHWC, w, (stride, stride), 'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )  # fmt: skip

  x_NHWC, w = _shape(2, 16, 16, 8), _shape(3, 3, 8, 5)
  forward = 2 * (2 * 8 * 8 * 5) * (3 * 3 * 8)
  assert costs.flops(convolve, x_NHWC, w) == forward
  gradient = jax.grad(lambda *a: convolve(*a).sum(), argnums=(0, 1))
  assert costs.flops(gradient, x_NHWC, w) == 3 * forward


def test_of_a_condition_the_costliest_branch_and_of_a_while_one_turn():
  def choose(i, x):
    x = lax.cond(i > 0, lambda x: x @ x @ x, lambda x: x @ x, x)
    return lax.while_loop(lambda x: x.sum() > 0, lambda x: x @ x, x)

  once = 2 * 8**3
  i = jax.ShapeDtypeStruct((), jnp.int32)
  assert costs.flops(choose, i, _shape(8, 8)) == 3 * once


def test_what_every_device_does_is_counted_for_all():
  mesh = sharding.make_mesh({'data': 8, 'fsdp': 1, 'tensor': 1})
  rows = PartitionSpec('data')

  @functools.partial(jax.shard_map, mesh=mesh, in_specs=rows, out_specs=rows)
  def square(x):
    return x @ x.T @ x

  want = costs.flops(lambda x: 2 * x @ x.T @ x, _shape(2, 4)) * 8
  assert costs.flops(square, _shape(16, 4)) == want
