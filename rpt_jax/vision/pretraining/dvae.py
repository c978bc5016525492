"""A discrete VAE: every frame a grid of codes (DALL-E, arXiv 2102.12092).

The first stage of DALL-E (section 2.1, appendix A): codes are drawn by a
Gumbel-softmax (Jang et al. 2016, arXiv 1611.01144) whose temperature falls by a
cosine, pixels are likely by a logit-Laplace distribution (A.3, equation 1), and
what codes say beyond a uniform prior is paid for by a weight that rises. As
there the loss is divided by the pixels and colours of a frame.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import dvae, pretraining

NEEDS = ('frames',)
SHARDING = ()  # Small kernels, of which every device has all.
CAPTION = (
  'A discrete VAE on held-out frames. “Output” is what the decoder makes of '
  'the likeliest codes, which name the patches of a frame.'
)
HOT, COLD = 1.0, 1 / 16  # Temperatures, first and last (A.2).
# Least scale of a pixel: where frames are drawn, and without noise, it would
# fall for ever, and what never moves would be all that is learned.
SHARPEST = 0.2
_PICTURES, _JUDGED = 12, 512  # Held-out frames that are drawn, and measured.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of both halves, and the training."""

  patch: int = keys.key(8, 'pixels', low=1, high=4096)
  width: int = keys.key(64, 'numbers of a patch', low=1, high=65_536)
  depth: int = keys.key(1, 'residual blocks of each half', low=1, high=1000)
  vocab: int = keys.key(128, 'codes', low=2, high=1_000_000)
  code: int = keys.key(16, 'numbers of a code', low=1, high=65_536)
  cooling: float = keys.key(
    0.8, 'share of the steps in which the temperature falls', above=0, high=1
  )
  divergence: float = keys.key(
    6.6, 'weight of what codes say, at the end', low=0, high=1000
  )
  rising: float = keys.key(
    0.02, 'share of the steps in which it rises', above=0, high=1
  )
  batch_size: int = keys.key(32, 'frames', low=1, high=1_000_000)
  balanced: bool = keys.key(True, 'each domain as often, not each frame')
  steps: int = keys.key(1200, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = keys.key(5e-3, 'the peak', above=0, high=1)
  weight_decay: float = keys.key(1e-4, 'of kernels', low=0, high=10)


@dataclasses.dataclass(frozen=True)
class Model:
  """The shapes of what is trained; hashable."""

  sizes: dvae.Sizes

  @property
  def tokens(self) -> int:
    """Patches of a frame."""
    return self.sizes.side**2

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and 'decoder'."""
    return dvae.init(self.sizes, key)

  def loss(
    self, params: PyTree, image_NHWC: Array, key: Array, temperature, weight
  ) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of uint8 frames, in nats of a pixel and colour."""
    codes = dvae.Codes(self.sizes, params)
    logit_NPV = jax.nn.log_softmax(codes.logits(image_NHWC))
    noise_NPV = jax.random.gumbel(key, logit_NPV.shape)
    share_NPV = jax.nn.softmax((logit_NPV + noise_NPV) / temperature)
    nats = logit_laplace(dvae.as_logits(image_NHWC), *codes.pixels(share_NPV))
    entropy_NP = -(jnp.exp(logit_NPV) * logit_NPV).sum(-1)
    said_NP = math.log(self.sizes.vocab) - entropy_NP
    each = image_NHWC[0].size
    loss = nats.mean() + weight * said_NP.sum(-1).mean() / each
    return loss, {'nats': nats.mean(), 'code_nats': said_NP.mean()}


def logit_laplace(logit: Array, centre: Array, log_scale: Array) -> Array:
  """-log p of pixels within 0 and 1 whose logits these are (A.3, equation 1).

  p(x) = exp(-|logit(x) - centre| / scale) / (2 scale x (1 - x)).
  """
  log_scale = jnp.maximum(log_scale, math.log(SHARPEST))
  # x (1 - x) by its logit: log x + log (1 - x).
  inside = jax.nn.log_sigmoid(logit) + jax.nn.log_sigmoid(-logit)
  off = jnp.abs(logit - centre) * jnp.exp(-log_scale)
  return off + math.log(2) + log_scale + inside


def model(settings: Settings, size: int) -> Model:
  """That of frames of `size` pixels; ValueError if not whole patches."""
  c = settings
  pretraining.check_patch(c.patch, size)
  return Model(dvae.Sizes(size, c.patch, c.width, c.depth, c.vocab, c.code))


def schedule(settings: Settings, step: int) -> tuple[float, float]:
  """(temperature, weight of the divergence) of a step (A.2)."""
  c = settings
  cooled = min(1.0, step / max(1.0, c.cooling * c.steps))
  half = (1 + math.cos(math.pi * cooled)) / 2
  risen = min(1.0, step / max(1.0, c.rising * c.steps))
  return COLD + (HOT - COLD) * half, c.divergence * risen


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> {'image': uint8 [B, H, W, 3], 'temperature' and 'weight' f32 [B]}.

  These two are those of the step, the same in every row.
  """
  sizes = list(map(len, frames.parts))
  order = pretraining.order(settings, sizes, seed, rows)

  def at(step: int) -> dict[str, np.ndarray]:
    image_BHWC = frames.take(order(step))
    names = 'temperature', 'weight'
    values = zip(names, schedule(settings, step), strict=True)
    shape = len(image_BHWC)
    same = {name: np.full(shape, x, np.float32) for name, x in values}
    return {'image': image_BHWC, **same}

  return at


def loss(settings: Settings, model: Model, params, batch, key: Array):
  """(loss, metrics) of a batch."""
  del settings
  when = (batch[name].mean() for name in ('temperature', 'weight'))
  return model.loss(params, batch['image'], key, *when)


def judge(model: Model, params, heldout, key: Array) -> dict[str, Array]:
  """What the likeliest codes keep of held-out frames.

  'explained' is the share of the squared error of their mean frame that is
  gone; 'mean_error' that error, 'error' what is left of it, both of pixels from
  0 to 1; 'codes' how many are in use, 'perplexity' how many it is as if were.
  """
  del key
  image_NHWC = heldout.take(heldout.spread(_JUDGED))
  codes = dvae.Codes(model.sizes, params)
  code_NP = jax.jit(dvae.Codes.encode)(codes, image_NHWC)
  output = np.asarray(jax.jit(dvae.Codes.decode)(codes, code_NP))
  true, guess = (np.asarray(x, np.float64) / 255 for x in (image_NHWC, output))
  error = np.mean((true - guess) ** 2)
  mean_error = np.mean((true - true.mean(0)) ** 2)
  count_V = np.bincount(np.ravel(code_NP), minlength=model.sizes.vocab)
  share_V = count_V[count_V > 0] / count_V.sum()
  return {
    'error': error,
    'mean_error': mean_error,
    'explained': 1 - error / max(mean_error, 1e-12),
    'codes': len(share_V),
    'perplexity': np.exp(-(share_V * np.log(share_V)).sum()),
  }


def pictures(model: Model, params, heldout, key: Array):
  """Held-out frames, and what is made of their codes."""
  del key
  image_NHWC = heldout.take(heldout.spread(_PICTURES))
  codes = dvae.Codes(model.sizes, params)
  code_NP = jax.jit(dvae.Codes.encode)(codes, image_NHWC)
  return {
    'original': image_NHWC,
    'output': jax.jit(dvae.Codes.decode)(codes, code_NP),
  }


def save(model: Model, params: PyTree, directory) -> None:
  """Both halves."""
  dvae.save(model.sizes, params, directory)


def untrained(model: Model, **how):
  """As `vision.load` gives it, with shapes for weights."""
  return dvae.untrained(model.sizes, **how)
