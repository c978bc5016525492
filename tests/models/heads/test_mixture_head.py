"""A mixture of Gaussians: its likelihood as SciPy has it, and its draws."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from rpt_jax.models import heads
from rpt_jax.models.heads import mixture
from rpt_jax.types import StreamSpec

B, T, C, A, D, K = 2, 2, 3, 2, 5, 4
RNG = np.random.default_rng(0)
READ = RNG.normal(size=(B, T, D)).astype(np.float32)


def reader(**changes):
  spec = heads.HeadSpec(
    StreamSpec('action', 'continuous', dim=A), mixture.Settings(K, **changes), C
  )
  init = jax.jit(heads.make(spec).init)
  return heads.Reader(spec, init(jax.random.key(0), READ)['params'], {})


def test_the_losses_of_steps_add_up_to_that_of_the_chunk():
  head = reader()
  target = RNG.normal(size=(B, T, C, A)).astype(np.float32)
  valid_BTC = np.ones((B, T, C), bool)
  valid_BTC[0, 0, 1:] = valid_BTC[1, 1, 0] = False
  logits, mean, deviation = map(np.float64, jax.jit(head)(READ))
  each, _ = jax.jit(head.loss)(READ, target, valid_BTC, None)
  for b, t in np.ndindex(B, T):
    kept = valid_BTC[b, t]
    log_K = special.log_softmax(logits[b, t]) + [
      stats.norm.logpdf(target[b, t], mean[b, t, k], deviation[b, t, k])[
        kept
      ].sum()
      for k in range(K)
    ]
    total = np.asarray(each[b, t])[kept].sum()
    np.testing.assert_allclose(total, -special.logsumexp(log_K), rtol=1e-4)


def _sample(head):
  return jax.jit(head.sample, static_argnums=2)


def test_draws_follow_one_component_over_the_whole_chunk():
  head = reader(spread=0.0)
  logits, mean, deviation = map(np.asarray, jax.jit(head)(READ))
  draws = np.asarray(_sample(head)(READ, jax.random.key(1), 2000))[:, 0, 0]
  distance = np.abs(draws[:, None] - mean[0, 0][None]).max((2, 3))
  assert distance.min(1).max() < 1e-5
  share_K = (distance.argmin(1)[:, None] == np.arange(K)).mean(0)
  np.testing.assert_allclose(share_K, special.softmax(logits[0, 0]), atol=0.05)
  wide = np.asarray(_sample(reader())(READ, jax.random.key(1), 2000))[:, 0, 0]
  least = np.sqrt(
    special.softmax(logits[0, 0]) @ deviation[0, 0].reshape(K, -1) ** 2
  )
  assert (wide.std(0).reshape(-1) > 0.9 * least).all()


def test_no_deviation_is_less_than_the_floor():
  head = reader(floor=0.3)
  params = jax.tree.map(lambda x: x - 100.0, head.params)
  own = jax.jit(heads.Reader(head.spec, params, {}))
  _, _, deviation = own(jnp.ones((1, 1, D)))
  np.testing.assert_allclose(deviation, 0.3, atol=1e-6)
