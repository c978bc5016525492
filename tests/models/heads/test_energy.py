"""Energies: the loss as a loop, the search, and a jump that stays a jump."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special

from rpt_jax.models import heads
from rpt_jax.models.heads import energy, linear
from rpt_jax.types import StreamSpec

B, T, C, A, D = 2, 2, 3, 2, 5
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ROWS = (RNG.normal(size=(50, A)) * [1.0, 20.0]).astype(np.float32)


def reader(steps=C, dim=A, rows=ROWS, **changes):
  chosen = energy.Settings(**{'width': 16, 'candidates': 64} | changes)
  spec = heads.HeadSpec(
    StreamSpec('action', 'continuous', dim=dim), chosen, steps
  )
  init = jax.jit(heads.make(spec).init)
  params = init(KEY, jnp.zeros((1, 1, D)))['params']
  return heads.Reader(spec, params, heads.fit(spec, rows))


def test_the_range_has_a_margin_and_what_never_varies_has_none():
  rows = ROWS.copy()
  rows[:, 0] = 3.0
  constants = reader(rows=rows).constants
  low, high = rows[:, 1].min(), rows[:, 1].max()
  np.testing.assert_allclose(constants['centre'], [3.0, (low + high) / 2])
  np.testing.assert_allclose(
    constants['half'], [0.0, (high - low) * 0.55], rtol=1e-6
  )
  read_BTD = jnp.ones((1, 1, D))
  sample = jax.jit(reader(rows=rows).sample, static_argnums=2)
  draws = np.asarray(sample(read_BTD, KEY, 50))
  assert (draws[..., 0] == 3.0).all()
  assert np.abs(draws[..., 1] - (low + high) / 2).max() <= (high - low) * 0.56


def test_the_loss_equals_a_loop():
  head = reader(negatives=7)
  read_BTD = RNG.normal(size=(B, T, D)).astype(np.float32)
  target = ROWS[: B * T * C].reshape(B, T, C, A)
  valid_BTC = np.ones((B, T, C), bool)
  valid_BTC[1, 0, 1:] = False
  target = np.where(valid_BTC[..., None], target, np.nan)
  each, measures = jax.jit(head.loss)(read_BTD, target, valid_BTC, KEY)
  f_of = jax.jit(head)
  negatives = jax.random.uniform(KEY, (B, T, 7, C, A), minval=-1, maxval=1)
  centre, half = (np.asarray(head.constants[k]) for k in ('centre', 'half'))
  for b, t in np.ndindex(B, T):
    kept = valid_BTC[b, t][:, None]
    f = []
    for chunk in ((target[b, t] - centre) / half, *negatives[b, t]):
      query = (
        jnp.zeros((B, T, 1, C, A)).at[b, t, 0].set(np.where(kept, chunk, 0.0))
      )
      f.append(float(f_of(read_BTD, query)[b, t, 0]))
    expected = special.logsumexp(f) - f[0]
    np.testing.assert_allclose(each[b, t], np.full(C, expected), rtol=2e-2)
    assert measures['accuracy'][b, t, 0] == float(np.argmax(f) == 0)


@dataclasses.dataclass
class Bowl:
  """In place of a head: f is highest at one chunk."""

  best: tuple
  real: heads.Reader

  def __call__(self, read_BTD, x):
    off = x - jnp.asarray(self.best)[None, None, None]
    return -300.0 * (off**2).sum((-1, -2))

  @property
  def spec(self):
    return self.real.spec

  @property
  def constants(self):
    return self.real.constants


@pytest.mark.parametrize(
  'temperature', [pytest.param(0.0, marks=pytest.mark.slow), 1.0]
)
def test_the_search_ends_where_the_energy_is_least(temperature):
  head = reader(1, temperature=temperature, candidates=512)
  best = np.array([[0.4, -0.7]], np.float32)
  bowl = Bowl(best, head)
  sample = jax.jit(lambda read: energy.sample(bowl, read, KEY, 20))
  draws = sample(jnp.ones((1, 1, D)))
  unit = (draws - head.constants['centre'].reshape(1, 1, 1, 1, A)) / (
    head.constants['half'].reshape(1, 1, 1, 1, A)
  )
  assert np.abs(np.asarray(unit) - best).max() < 0.25
  assert np.abs(np.asarray(unit).mean(0) - best).max() < 0.05


@pytest.mark.slow
def test_a_jump_stays_a_jump():
  """What is done is the sign of x: an energy keeps it, a mean does not."""
  x_BT1 = jnp.linspace(-1, 1, 40)[:, None, None]
  read_BTD = jnp.concatenate(
    [x_BT1, jnp.sin(2 * x_BT1), x_BT1**2, x_BT1**3, jnp.ones_like(x_BT1)],
    axis=-1,
  )
  target = jnp.sign(x_BT1)[..., None]
  rows = np.array([[-1.0], [1.0]], np.float32)
  jumping = reader(1, 1, rows, negatives=32, width=32, temperature=0.0)
  spec = dataclasses.replace(jumping.spec, settings=linear.Settings())
  init = jax.jit(heads.make(spec).init)(KEY, read_BTD)['params']
  smooth = heads.Reader(spec, init, {})
  near = np.abs(np.asarray(x_BT1)[:, 0, 0]) < 0.1
  errors = {}
  for name, head in (('energy', jumping), ('mean', smooth)):
    fitted = _trained(head, read_BTD, target)
    drawn = jax.jit(fitted.sample, static_argnums=2)(read_BTD, KEY, 1)
    off = np.abs(np.asarray(drawn[0] - target))[:, 0, 0, 0]
    errors[name] = off[near].mean()
  assert errors['energy'] < 0.3 and errors['mean'] > 0.6, errors


def _trained(head, read_BTD, target):
  """A head after 250 updates."""
  tx, valid_BTC = optax.adam(1e-2), jnp.ones(target.shape[:3], bool)

  def loss(params, key):
    own = heads.Reader(head.spec, params, head.constants)
    return own.loss(read_BTD, target, valid_BTC, key)[0].mean()

  def update(carry, key):
    params, state = carry
    updates, state = tx.update(jax.grad(loss)(params, key), state)
    return (optax.apply_updates(params, updates), state), None

  @jax.jit
  def train(params):
    start = params, tx.init(params)
    return jax.lax.scan(update, start, jax.random.split(KEY, 250))[0][0]

  return heads.Reader(head.spec, train(head.params), head.constants)


def test_no_rows_have_no_range():
  with pytest.raises(ValueError, match="head of 'action': no row"):
    reader(rows=ROWS[:0])
