"""The recurrent trunk: a loop, cut windows, who sees whom, a mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from rpt_jax import settings
from rpt_jax.learning import checks
from rpt_jax.models import sequence, visibility
from rpt_jax.models.heads import HeadSpec, linear
from rpt_jax.models.trunks import mingru
from rpt_jax.training import optimizer, sharding, trainer
from rpt_jax.types import StreamSpec

B, T, M, L, D = 2, 3, 2, 2, 8
N = L + T * M
SETTINGS = mingru.Settings(2, 1.5, 2.0, 'float32')
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, N, D)).astype(np.float32)
THERE = np.ones((B, N), bool)
THERE[0, [1, 4, 5]] = False
THERE[1, :L] = False


def _place(rule='causal', real_BN=THERE):
  steps_BTM = real_BN[:, L:].reshape(len(real_BN), -1, M)
  return visibility.place(rule, steps_BTM, real_BN[:, :L])


@functools.cache
def _params():
  """Parameters that are not what they began as."""
  module = mingru.Trunk(SETTINGS, D, T)
  params = jax.jit(lambda key: module.init(key, X, _place()))(jax.random.key(0))
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: x + rng.normal(size=x.shape, scale=0.3).astype(np.float32),
    params,
  )


@functools.partial(jax.jit, static_argnames=('order',))
def _run(params, x_BND, real_BN, state=None, order=None):
  module = mingru.Trunk(SETTINGS, D, T)
  sees, seen = zip(*order, strict=True)
  zeros = np.zeros(len(sees), int)
  place = visibility.Place(
    np.array(sees), np.array(seen), zeros, zeros, real_BN
  )
  return module.apply(params, x_BND, place, state)


def _outputs(x_BND=X, real_BN=THERE, state=None, place=None):
  place = place or _place()
  order = (*zip(place.sees_N.tolist(), place.seen_N.tolist(), strict=True),)
  return _run(_params(), x_BND, real_BN, state, order)


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _norm(x, params):
  x = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
  return x * params['scale'] + params['bias']


def _gelu(x):
  return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _reference(x_BND, real_BN, writes_N):
  """One token after the other, h itself: (outputs, states [B, depth, H])."""
  blocks = jax.tree.map(np.float64, _params()['params']['blocks'])
  outputs, states = np.array(x_BND, np.float64), []
  for b in range(len(x_BND)):
    for i in range(SETTINGS.depth):
      p = jax.tree.map(lambda x, i=i: x[i], blocks)
      dense = lambda n, x, p=p: x @ p[n]['kernel'] + p[n]['bias']  # noqa: E731
      h = np.zeros(12)
      for n in range(x_BND.shape[1]):
        x = outputs[b, n]
        y = _norm(x, p['norm_state'])
        if real_BN[b, n] and writes_N[n]:
          z, c = _sigmoid(dense('gate', y)), dense('candidate', y)
          h = (1 - z) * h + z * np.where(c >= 0, c + 0.5, _sigmoid(c))
        x = x + dense('out', h)
        y = _gelu(dense('up', _norm(x, p['norm_mlp'])))
        outputs[b, n] = x + dense('down', y)
      states.append(h)
  return outputs, np.reshape(states, (len(x_BND), SETTINGS.depth, -1))


def test_in_parallel_it_is_the_loop():
  y_BND, layers, state = _outputs()
  expected, states = _reference(X, THERE, np.ones(N, bool))
  np.testing.assert_allclose(y_BND, expected, atol=1e-5)
  np.testing.assert_allclose(np.exp(state), states, atol=1e-5)
  assert len(layers) == 3 and all(x.shape == X.shape for x in layers)
  np.testing.assert_array_equal(layers[0], X)
  np.testing.assert_array_equal(layers[-1], y_BND)


def test_a_state_neither_overflows_nor_dies_over_a_long_window():
  """Gates that keep all, half or nothing of many tokens; and gradients."""
  size, rng = (1, 16, 3), np.random.default_rng(2)
  gate = (rng.normal(size=size) + np.array([-30, 0, 30])).astype(np.float32)
  candidate = rng.normal(size=size, scale=20).astype(np.float32)
  writes = rng.random(size[:2]) < 0.9

  @jax.jit
  @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
  def run(gate, candidate):
    start = jnp.full((1, 3), mingru.EMPTY)
    h_BNH = jnp.exp(mingru.recur(gate, candidate, writes, start))
    return h_BNH.sum(), h_BNH

  h_N3, h = [], np.zeros(3)
  for n in range(size[1]):
    z, c = _sigmoid(np.float64(gate[0, n])), np.float64(candidate[0, n])
    if writes[0, n]:
      h = (1 - z) * h + z * np.where(c >= 0, c + 0.5, _sigmoid(c))
    h_N3.append(h)
  grads, states = run(gate, candidate)
  np.testing.assert_allclose(states[0], h_N3, rtol=1e-4, atol=1e-6)
  assert all(np.isfinite(g).all() and g.any() for g in grads)
  assert not any(g[0][~writes[0]].any() for g in grads)


def test_a_window_in_two_is_one_window():
  whole, _, state = _outputs()
  at = L + M  # After the prefix and the first step.

  def part(cut, before):
    place = visibility.Place(*(x[cut] for x in _place()[:4]), None)
    return _outputs(X[:, cut], THERE[:, cut], before, place)

  first, _, between = part(slice(at), None)
  np.testing.assert_allclose(first, whole[:, :at], atol=1e-5)
  second, _, after = part(slice(at, None), between)
  np.testing.assert_allclose(second, whole[:, at:], atol=1e-5)
  np.testing.assert_allclose(np.exp(after), np.exp(state), atol=1e-5)


def test_it_begins_where_start_says():
  begun = _outputs(state=mingru.start(SETTINGS, D, B))
  jax.tree.map(np.testing.assert_array_equal, _outputs(), begun)


def test_what_is_not_there_changes_no_bit():
  dirty = np.where(THERE[..., None], X, np.nan)
  clean, other = _outputs(), _outputs(dirty)
  np.testing.assert_array_equal(clean[0][THERE], other[0][THERE])
  np.testing.assert_array_equal(clean[2], other[2])
  nothing = np.zeros((B, N), bool)
  _, _, state = _outputs(dirty, nothing, clean[2])
  np.testing.assert_array_equal(state, clean[2])
  state = _outputs(dirty, nothing)[2]
  np.testing.assert_array_equal(state, mingru.start(SETTINGS, D, B))


def _seen(place):
  """Bool [N, N] by gradient: does what token q is depend on x of token k?"""
  real_BN = np.ones((1, N), bool)
  order = (*zip(place.sees_N.tolist(), place.seen_N.tolist(), strict=True),)
  params = _params()
  jacobian = jax.jacfwd(
    lambda x_ND: _run(params, x_ND[None], real_BN, None, order)[0][0].sum(-1)
  )(X[0])
  return np.abs(jacobian).max(-1) > 0


def test_it_sees_what_lies_before_and_never_more_than_allowed():
  places = [_place(rule, np.ones((1, N), bool)) for rule in mingru.VISIBILITIES]
  seen_NN = _seen(places[0])
  np.testing.assert_array_equal(seen_NN, np.tril(np.ones((N, N), bool)))
  for place in places:
    assert mingru.writes_N(place).all()  # So it is the same function.
    assert not (seen_NN & ~visibility.rule_NN(place.sees_N, place.seen_N)).any()


def test_what_later_tokens_may_not_see_reads_and_does_not_write():
  """Readouts that nobody sees, one of them the last token; a late secret."""
  place = _place('interleaved', np.ones((1, N), bool))
  readouts = [L, N - 1]
  seen_N = place.seen_N.copy()
  seen_N[readouts] = 10**6
  seen_N[L + 1] = seen_N[-2]  # For the last step alone, and not before.
  place = place._replace(seen_N=seen_N)
  silent = [*readouts, L + 1]
  seen_NN = _seen(place)
  expected = np.tril(np.ones((N, N), bool))
  expected[:, silent] = False
  np.testing.assert_array_equal(seen_NN, expected | np.eye(N, dtype=bool))
  allowed_NN = visibility.rule_NN(place.sees_N, place.seen_N)
  assert not (seen_NN & ~allowed_NN).any()
  writes_N = np.isin(np.arange(N), silent, invert=True)
  np.testing.assert_array_equal(mingru.writes_N(place), writes_N)


STREAM = StreamSpec('latent', 'continuous', dim=4)


def test_on_a_mesh_the_big_kernels_are_split():
  heads = (HeadSpec(STREAM, linear.Settings()),)
  size = mingru.Settings(1, 1.5, 2.0)
  model = sequence.SequenceModel((STREAM,), heads, size, 16, 2)
  batch = np.random.default_rng(3).normal(size=(8, 2, 4)).astype(np.float32)
  params = sequence.init(model, jax.random.key(0))

  def loss(params, batch, key):
    valid_BT = np.ones(batch.shape[:2], bool)
    output = sequence.bind(model, params)({'latent': batch}, valid_BT)
    return (output['features'] * batch[..., :1]).mean(), {}

  sizes = {'data': 1, 'fsdp': 2, 'tensor': 2}
  mesh = sharding.make_mesh(sizes, jax.devices()[:4])
  tx, rules = optimizer.adamw(1e-2, 9), sequence.sharding(model)
  trained = trainer.make(lambda key: params, loss, tx, mesh, rules=rules)
  state = trained.init(jax.random.key(0))
  state, metrics = trained.step(state, sharding.shard_batch(batch, mesh))
  expected, _ = jax.jit(loss)(params, batch, None)
  np.testing.assert_allclose(metrics['loss'], expected, atol=1e-4)
  blocks = state.params['trunk']['blocks']
  kernels = {k: x['kernel'] for k, x in blocks.items() if 'kernel' in x}
  assert {k: x.sharding.spec for k, x in kernels.items()} == {
    'gate': P(None, 'fsdp', 'tensor'),
    'candidate': P(None, 'fsdp', 'tensor'),
    'up': P(None, 'fsdp', 'tensor'),
    'out': P(None, 'tensor', 'fsdp'),
    'down': P(None, 'tensor', 'fsdp'),
  }
  for kernel in kernels.values():
    parts = {shard.data.size for shard in kernel.addressable_shards}
    assert parts == {kernel.size // 4}


def _config(objective, **trunk):
  c = settings.base('pretrain', 'finetune')
  c.domains.gymnax = settings.plugin('domains', 'gymnax', envs=('Pendulum-v1',))
  c.image_model = settings.plugin('vision/pretraining', 'mae')
  c.pretrain.trunk = settings.plugin('models/trunks', 'mingru', **trunk)
  chosen = settings.plugin('objectives', objective)
  c.pretrain.runs = {'next': settings.section(settings.Run, objective=chosen)}
  c.pretrain.main = 'next'
  return c


def test_settings_that_cannot_be():
  checks.experiment(_config('next_streams'))
  with pytest.raises(ValueError, match="one that can do 'bidirectional'"):
    checks.experiment(_config('masked_streams'))
  with pytest.raises(ValueError, match=r'trunk\.expansion: found 0\.001'):
    checks.experiment(_config('next_streams', expansion=0.001))
  with pytest.raises(ValueError, match='mlp_ratio: found 0.01'):
    mingru.check(mingru.Settings(mlp_ratio=0.01), 8)
