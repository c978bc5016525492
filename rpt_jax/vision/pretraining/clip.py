"""CLIP: frames and captions in one space (Radford et al. 2021, 2103.00020).

The loss is symmetric cross-entropy over the cosines of all frames and captions
of a batch, times a learned scale that is at most 100 (section 2.3, figure 3;
3.4 of the appendix for the bound). Under a mesh the batch is the global one:
every frame is compared with the captions of all devices. Captions are the
instructions of clips; what has none is not looked at.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.models import transformer
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import byte_tokens, pretraining, published, text, vit
from rpt_jax.vision.families import clip as family
from rpt_jax.vision.pretraining.time_contrastive import unit_length

NEEDS = ('text',)
SHARDING = transformer.SHARDING
CAPTION = (
  'CLIP on held-out frames. The right picture is, of all of them, the one that '
  'the model takes the caption of the left one to be of.'
)
START, MOST = math.log(1 / 0.07), math.log(100.0)  # Of the scale, its log.
_PICTURES, _JUDGED, _PAIRS = 12, 512, 64  # Drawn, named, compared.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of both towers, and the training."""

  patch: int = keys.key(8, 'pixels', low=1, high=4096)
  width: int = keys.key(128, 'numbers of a token', low=1, high=65_536)
  depth: int = keys.key(4, 'blocks', low=1, high=1000)
  num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  text_width: int = keys.key(128, 'numbers of a token', low=1, high=65_536)
  text_depth: int = keys.key(2, 'blocks', low=1, high=1000)
  text_num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  text_length: int = keys.key(
    64, 'bytes of a caption, and two; what is longer is cut', low=3, high=10_000
  )
  projection: int = keys.key(
    64, 'numbers that are compared', low=1, high=65_536
  )
  batch_size: int = keys.key(256, 'pairs', low=2, high=1_000_000)
  balanced: bool = keys.key(True, 'each domain as often, not each frame')
  steps: int = keys.key(1000, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = keys.key(1e-3, 'the peak', above=0, high=1)
  weight_decay: float = keys.key(0.1, 'of kernels', low=0, high=10)

  def check(self, where: str) -> None:
    """Raises ValueError unless heads divide the widths."""
    keys.divides(self.width, self.num_heads, f'{where}.')
    keys.divides(self.text_width, self.text_num_heads, f'{where}.text_')


class _Network(nn.Module):
  """Both towers, and the scale of their cosines."""

  image: vit.Encoder
  text: text.TextEncoder

  @nn.compact
  def __call__(self, image_NHWC, ids_NL):
    """(unit vectors of frames [N, E], of captions [N, E], log of the scale)."""
    seen_NE = unit_length(self.image(image_NHWC).projected)
    said_NE = unit_length(self.text(ids_NL)[1])
    scale = self.param('scale', nn.initializers.constant(START), ())
    return seen_NE, said_NE, scale


@dataclasses.dataclass(frozen=True)
class Pair:
  """The shapes of what is trained; hashable."""

  image: vit.Encoder
  text: text.TextEncoder

  @property
  def tokens(self) -> int:
    """Patches of a frame and its class token, and those of a caption."""
    return self.image.side**2 + 1 + self.text.length

  def init(self, key: Array) -> PyTree:
    """Parameters: 'image', 'text' and 'scale'."""
    size = self.image.image_size
    image = jnp.zeros((1, size, size, 3))
    ids = jnp.zeros((1, self.text.length), jnp.int32)
    return jax.jit(self._network.init)(key, image, ids)['params']

  def embed(self, params: PyTree, image_NHWC: Array, ids_NL: Array):
    """(unit vectors of uint8 frames, of captions, the scale)."""
    image_NHWC = vit.preprocess(image_NHWC)
    variables = {'params': params}
    seen, said, scale = self._network.apply(variables, image_NHWC, ids_NL)
    return seen, said, jnp.exp(jnp.minimum(scale, MOST))

  def loss(
    self, params: PyTree, image_NHWC: Array, ids_NL: Array
  ) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of uint8 frames and their captions; see `contrast`."""
    seen, said, scale = self.embed(params, image_NHWC, ids_NL)
    loss, accuracy = contrast(seen, said, scale)
    return loss, {'loss': loss, 'accuracy': accuracy, 'scale': scale}

  @property
  def _network(self):
    towers = (
      x.clone(name=n) for n, x in (('image', self.image), ('text', self.text))
    )
    return _Network(*towers)


def contrast(seen_NE: Array, said_NE: Array, scale: Array):
  """Symmetric cross-entropy over all pairs, figure 3 of the paper.

  Returns:
    (loss, share of frames and captions whose own is the likeliest).
  """
  logits_NN = scale * jnp.matmul(seen_NE, said_NE.T, precision='highest')
  losses, right = [], []
  for each_NN in (logits_NN, logits_NN.T):
    losses.append(-jnp.diagonal(jax.nn.log_softmax(each_NN)).mean())
    right.append((each_NN.argmax(1) == jnp.arange(len(each_NN))).mean())
  return sum(losses) / 2, sum(right) / 2


def model(settings: Settings, size: int) -> Pair:
  """Both towers of frames of `size` pixels; ValueError if not whole patches."""
  c = settings
  pretraining.check_patch(c.patch, size)
  common = dict(
    mlp_ratio=4.0, activation='quick_gelu', epsilon=1e-5, parent=None
  )
  image = vit.Encoder(
    size,
    c.patch,
    c.width,
    c.depth,
    c.num_heads,
    learned_positions=True,
    patch_bias=False,
    pre_norm=True,
    norm_tokens=False,
    projection=c.projection,
    **common,
  )
  said = text.TextEncoder(
    byte_tokens.VOCAB,
    c.text_length,
    c.text_width,
    c.text_depth,
    c.text_num_heads,
    end_token=byte_tokens.END,
    projection=c.projection,
    **common,
  )
  return Pair(image, said)


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> {'image': uint8 [B, H, W, 3], 'ids': int32 [B, L]}.

  Of the frames that have a caption, in the order of `balanced`.
  """
  c, captioned_N = settings, _captioned(frames)
  ids_EL = byte_tokens.ids(frames.texts, c.text_length)
  ends = np.cumsum([0, *map(len, frames.parts)])
  sizes = np.diff(np.searchsorted(captioned_N, ends))
  order = pretraining.order(c, sizes, seed, rows)
  clips = frames.clips

  def at(step: int) -> dict[str, np.ndarray]:
    row_B = captioned_N[order(step)]
    return {'image': frames.take(row_B), 'ids': ids_EL[clips.clip_of(row_B)]}

  return at


def loss(settings: Settings, model: Pair, params, batch, key: Array):
  """(loss, metrics) of a batch; nothing is drawn."""
  del settings, key
  return model.loss(params, batch['image'], batch['ids'])


def judge(model: Pair, params, heldout, key: Array) -> dict[str, Array]:
  """Zero-shot: how often, of all held-out captions, a frame's own is named.

  'chance' is one over their number; the loss is of 64 pairs.
  """
  del key
  row_N = _spread(heldout, _JUDGED)
  texts, own_N = np.unique(
    heldout.texts[heldout.clips.clip_of(row_N)], return_inverse=True
  )
  embed = jax.jit(model.embed)
  ids_CL = byte_tokens.ids(texts, model.text.length)
  count = max(len(row_N), len(texts))  # Towers are given as many of each.
  seen, said, scale = embed(
    params, heldout.take(np.resize(row_N, count)), _resized(ids_CL, count)
  )
  named_N = (seen[: len(row_N)] @ said[: len(texts)].T).argmax(1)
  few = np.linspace(0, len(row_N) - 1, min(_PAIRS, len(row_N))).astype(int)
  pairs = heldout.take(row_N[few]), ids_CL[own_N[few]]
  return {
    'loss': jax.jit(model.loss)(params, *pairs)[0],
    'zero_shot': (named_N == own_N).mean(),
    'chance': np.float32(1 / len(texts)),
    'scale': scale,
  }


def pictures(model: Pair, params, heldout, key: Array):
  """Frames, and of all the one that each one's caption is taken to be of."""
  del key
  row_N = _spread(heldout, _PICTURES)
  clip_N = heldout.clips.clip_of(row_N)
  ids_NL = byte_tokens.ids(heldout.texts[clip_N], model.text.length)
  image_NHWC = heldout.take(row_N)
  seen, said, _ = jax.jit(model.embed)(params, image_NHWC, ids_NL)
  nearest_N = np.asarray((said @ seen.T).argmax(1))
  return {'frame': image_NHWC, 'of its caption': image_NHWC[nearest_N]}


def save(model: Pair, params: PyTree, directory) -> None:
  """Both towers, as transformers' CLIPModel."""
  scale = np.minimum(np.asarray(params['scale'], np.float32), MOST)
  family.save(model.image, model.text, params | {'scale': scale}, directory)


def untrained(model: Pair, **how):
  """The image tower as `vision.load` gives it, with shapes for weights."""
  return published.untrained(model.image, **how)


def _captioned(frames):
  """Rows of the frames that have a caption."""
  return np.flatnonzero(np.repeat(frames.texts != '', frames.lengths))


def _spread(frames, count):
  """At most `count` rows that have a caption, evenly over all."""
  row_N = _captioned(frames)
  places = np.linspace(0, len(row_N) - 1, min(count, len(row_N)))
  return row_N[places.astype(int)]


def _resized(x_ND, count):
  """The same rows again and again, `count` of them."""
  return x_ND[np.arange(count) % len(x_ND)]
