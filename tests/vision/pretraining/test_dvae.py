"""The discrete VAE: its likelihood, its schedules, its codes, what it saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import distributions

from rpt_jax import vision
from rpt_jax.vision import dvae as network
from rpt_jax.vision.pretraining import dvae

SETTINGS = dvae.Settings(patch=4, width=8, vocab=6, code=5, steps=100)
MODEL = dvae.model(SETTINGS, 8)
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (2, 8, 8, 3), np.uint8)


def test_the_likelihood_is_that_of_a_squashed_laplace_distribution():
  centre, log_scale = RNG.normal(size=(2, 1000)) * [[1.0], [0.5]]
  x = RNG.uniform(0.1, 0.9, 1000)
  log_scale = np.maximum(log_scale, np.log(dvae.SHARPEST))
  base = distributions.Laplace(
    *(torch.tensor(y) for y in (centre, np.exp(log_scale)))
  )
  squashed = distributions.TransformedDistribution(
    base, [distributions.SigmoidTransform()]
  )
  logit = np.log(x) - np.log1p(-x)
  nats = dvae.logit_laplace(*map(jnp.asarray, (logit, centre, log_scale)))
  expected = -squashed.log_prob(torch.tensor(x)).numpy()
  np.testing.assert_allclose(nats, expected, rtol=1e-4, atol=1e-4)


def test_pixels_come_back_from_their_logits():
  every = np.arange(256, dtype=np.uint8)
  logits = network.as_logits(every)
  assert np.isfinite(logits).all()
  np.testing.assert_array_equal(network.as_pixels(logits), every)
  x = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
  np.testing.assert_allclose(x, 0.8 * every / 255 + 0.1, atol=1e-6)


def test_codes_cool_and_their_price_rises():
  """From 1 to 1 / 16 by a cosine, at half the way half of it (A.2)."""
  temperature, weight = dvae.schedule(SETTINGS, 0)
  assert (temperature, weight) == (1.0, 0.0)
  middle, weight = dvae.schedule(SETTINGS, 40)
  assert weight == SETTINGS.divergence
  np.testing.assert_allclose(middle, (1 + 1 / 16) / 2)
  assert dvae.schedule(SETTINGS, 80) == dvae.schedule(SETTINGS, 100)
  np.testing.assert_allclose(dvae.schedule(SETTINGS, 100)[0], 1 / 16)


def test_codes_are_paid_for_by_what_they_say():
  """A weight of 1 adds the divergence of a frame over its pixels and colours;
  of logits that are all alike it is nothing."""
  params, key = MODEL.init(jax.random.key(0)), jax.random.key(1)
  loss = jax.jit(MODEL.loss)
  free, metrics = loss(params, IMAGE, key, 1.0, 0.0)
  paid, _ = loss(params, IMAGE, key, 1.0, 1.0)
  logits = jax.jit(network.Codes.logits)
  logit_NPV = logits(network.Codes(MODEL.sizes, params), IMAGE)
  q_NPV = torch.tensor(np.asarray(jax.nn.softmax(logit_NPV)))
  uniform = distributions.Categorical(torch.ones(6))
  said = distributions.kl_divergence(distributions.Categorical(q_NPV), uniform)
  expected = float(said.sum(-1).mean()) / IMAGE[0].size
  np.testing.assert_allclose(paid - free, expected, rtol=1e-3)
  np.testing.assert_allclose(metrics['code_nats'], said.mean(), rtol=1e-4)
  blank = jax.tree.map(jnp.zeros_like, params)
  assert abs(loss(blank, IMAGE, key, 1.0, 1.0)[1]['code_nats']) < 1e-6


def test_what_is_saved_gives_the_same_codes(tmp_path):
  params = MODEL.init(jax.random.key(0))
  dvae.save(MODEL, params, tmp_path)
  codes = network.codes(tmp_path)
  own = network.Codes(MODEL.sizes, params)
  encode, decode = jax.jit(network.Codes.encode), jax.jit(network.Codes.decode)
  code_NP = encode(own, IMAGE)
  assert len(np.unique(code_NP)) > 1
  np.testing.assert_array_equal(encode(codes, IMAGE), code_NP)
  np.testing.assert_array_equal(decode(codes, code_NP), decode(own, code_NP))
  latent_ND = vision.load(tmp_path, output='patches').encode(IMAGE)
  book_VE = params['decoder']['codebook']
  np.testing.assert_allclose(latent_ND, book_VE[code_NP].reshape(2, -1))


@pytest.mark.parametrize('value', [0, -1, 1.5, '8', None])
def test_a_config_that_says_nonsense_is_refused(value, tmp_path):
  dvae.save(MODEL, MODEL.init(jax.random.key(0)), tmp_path)
  path = tmp_path / 'config.json'
  path.write_text(path.read_text().replace('"vocab": 6', f'"vocab": {value!r}'))
  with pytest.raises(ValueError, match='config.json'):
    network.codes(tmp_path)
