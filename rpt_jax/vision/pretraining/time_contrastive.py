"""Time-contrastive learning: frames near in time are alike, others are not.

TCN on one view (Sermanet et al. 2017, arXiv 1704.06888) with the loss of R3M's
first term (Nair et al. 2022, arXiv 2203.12601, section 3.2), an InfoNCE. The
negatives of a pair are the other pairs of its batch, whatever clip they are of,
and a frame of its own clip that is far away: without that one, telling clips
apart would do.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from rpt_jax import settings as keys
from rpt_jax.models import transformer
from rpt_jax.models.transformer import dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import pretraining, published, vit
from rpt_jax.vision.families import vit as vit_family

NEEDS = ('pairs',)
SHARDING = transformer.SHARDING
CAPTION = (
  'Time-contrastive learning on held-out frames. The middle picture is near '
  'the left one in time; the right one is, of all frames that are not, the one '
  'that the model takes to be most alike.'
)
_PICTURES, _JUDGED = 12, 256  # Held-out frames that are drawn, and measured.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of the encoder, what near in time means, and the training."""

  patch: int = keys.key(16, 'pixels', low=1, high=4096)
  width: int = keys.key(128, 'numbers of a token', low=1, high=65_536)
  depth: int = keys.key(4, 'blocks', low=1, high=1000)
  num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  projection: int = keys.key(
    64, 'numbers that are compared', low=1, high=65_536
  )
  reach: int = keys.key(
    3, 'steps between frames of a pair at most', low=1, high=1000
  )
  temperature: float = keys.key(0.1, 'that divides cosines', above=0, high=100)
  batch_size: int = keys.key(64, 'pairs', low=2, high=1_000_000)
  balanced: bool = keys.key(
    True, 'each domain as often, not each pair', absent=False
  )
  steps: int = keys.key(1000, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = keys.key(3e-4, 'the peak', above=0, high=1)
  weight_decay: float = keys.key(0.05, 'of kernels', low=0, high=10)

  def check(self, where: str) -> None:
    pretraining.check_shapes(self, where)


class Triples(NamedTuple):
  """Rows of frames [B], each triple of one clip.

  `far_B` is more than `reach` steps from both others; where its clip has no
  such frame it is the anchor, and `apart_B` is false.
  """

  anchor_B: np.ndarray
  near_B: np.ndarray
  far_B: np.ndarray
  apart_B: np.ndarray

  @property
  def rows(self) -> np.ndarray:
    """[B, 3]: the anchor, what is near it, what is far from both."""
    return np.stack([self.anchor_B, self.near_B, self.far_B], axis=1)


def anchors(frames) -> np.ndarray:
  """Rows of the frames that have another frame in their clip."""
  return np.flatnonzero(np.repeat(frames.lengths > 1, frames.lengths))


def draw(frames, anchor_B: np.ndarray, draw_B2: np.ndarray, reach: int):
  """The triples of anchors, by uniform numbers in [0, 1).

  All frames of the clip at most `reach` steps away are equally likely to be
  near, and all that are farther from both equally likely to be far.
  """
  clips = frames.clips
  clip_B = np.searchsorted(clips.offsets, anchor_B, side='right') - 1
  start_B, stop_B = clips.offsets[clip_B], clips.offsets[clip_B + 1]
  first_B = np.maximum(start_B, anchor_B - reach)
  last_B = np.minimum(stop_B - 1, anchor_B + reach)
  near_B = first_B + (draw_B2[:, 0] * (last_B - first_B)).astype(int)
  near_B += near_B >= anchor_B  # An anchor is not near itself.
  before_B = np.minimum(anchor_B, near_B) - reach
  after_B = np.maximum(anchor_B, near_B) + reach + 1
  early_B = np.maximum(before_B - start_B, 0)  # Frames that are far, by side.
  late_B = np.maximum(stop_B - after_B, 0)
  pick_B = (draw_B2[:, 1] * (early_B + late_B)).astype(int)
  late_place_B = after_B + pick_B - early_B
  far_B = np.where(pick_B < early_B, start_B + pick_B, late_place_B)
  apart_B = early_B + late_B > 0
  return Triples(anchor_B, near_B, np.where(apart_B, far_B, anchor_B), apart_B)


def unit_length(z_D: Array) -> Array:
  """Vectors [..., D] over their lengths, whose products are cosines."""
  # The square is bounded before its root: a vector of zeros has a gradient.
  square_1 = jnp.maximum((z_D**2).sum(-1, keepdims=True), 1e-12)
  return z_D * jax.lax.rsqrt(square_1)


def info_nce(z_B3D: Array, apart_B: Array, temperature: float):
  """InfoNCE from anchors to what is near them and back, the mean of both.

  -log of the softmax of cosines over the temperature: of its own pair, among
  all B pairs and the far frame (R3M's L_tcn; its distances are not cosines).

  Args:
    z_B3D: of anchors, of what is near, of what is far, in this order.
    apart_B: bool, whether the far frame is one.

  Returns:
    (loss, share of frames whose pair is the likeliest), both of all 2 B.
  """
  z_B3D = unit_length(z_B3D)
  losses, right = [], []
  for here, there in ((0, 1), (1, 0)):
    own_BD = z_B3D[:, here]
    cosine_BB = jnp.matmul(own_BD, z_B3D[:, there].T, precision='highest')
    far_B1 = (own_BD * z_B3D[:, 2]).sum(-1, keepdims=True)
    far_B1 = jnp.where(apart_B[:, None], far_B1, -jnp.inf)
    logits_BC = jnp.concatenate([cosine_BB, far_B1], axis=1) / temperature
    losses.append(-jnp.diagonal(jax.nn.log_softmax(logits_BC)).mean())
    right.append((logits_BC.argmax(1) == jnp.arange(len(logits_BC))).mean())
  return sum(losses) / 2, sum(right) / 2


class _Network(nn.Module):
  """An encoder, and the projection that is thrown away (SimCLR)."""

  encoder: vit.Encoder
  projection: int

  @nn.compact
  def __call__(self, image_NHWC):
    # All tokens, so that whichever are read afterwards have been trained.
    x_ND = self.encoder(image_NHWC).tokens.mean(axis=1)
    x_ND = nn.gelu(dense(self.encoder.width, 'hidden')(x_ND))
    return dense(self.projection, 'project')(x_ND)


@dataclasses.dataclass(frozen=True)
class Contrast:
  """The shapes of what is trained, and what is near for it; hashable."""

  encoder: vit.Encoder
  projection: int
  reach: int
  temperature: float

  @property
  def tokens(self) -> int:
    """Patches of the three frames of a row."""
    return 3 * self.encoder.side**2

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and those of the projection."""
    size = self.encoder.image_size
    image = jnp.zeros((1, size, size, 3))
    return jax.jit(self._network.init)(key, image)['params']

  def embed(self, params: PyTree, image_NHWC: Array) -> Array:
    """What is compared [N, projection], of uint8 frames."""
    image_NHWC = vit.preprocess(image_NHWC)
    return self._network.apply({'params': params}, image_NHWC)

  def loss(
    self, params: PyTree, image_B3HWC: Array, apart_B: Array
  ) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of triples of uint8 frames; see `info_nce`."""
    z_ND = self.embed(params, rearrange(image_B3HWC, 'b n ... -> (b n) ...'))
    z_B3D = rearrange(z_ND, '(b n) d -> b n d', n=3)
    loss, accuracy = info_nce(z_B3D, apart_B, self.temperature)
    return loss, {'loss': loss, 'accuracy': accuracy}

  @property
  def _network(self):
    return _Network(self.encoder.clone(name='encoder'), self.projection)


def model(settings: Settings, size: int) -> Contrast:
  """That of frames of `size` pixels; ValueError if not whole patches."""
  c = settings
  encoder = pretraining.encoder(c, size)
  return Contrast(encoder, c.projection, c.reach, c.temperature)


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> {'image': uint8 [B, 3, H, W, 3], 'apart': bool [B]}, see `Triples`.

  Every frame but those alone in their clip is the anchor, in the order of
  `balanced`.
  """
  c, rows = settings, np.arange(settings.batch_size) if rows is None else rows
  anchor_N = anchors(frames)
  ends = np.cumsum([0, *map(len, frames.parts)])
  sizes = np.diff(np.searchsorted(anchor_N, ends))
  order = pretraining.order(c, sizes, seed, rows)

  def at(step: int) -> dict[str, np.ndarray]:
    # Drawn for the whole batch: the same however many processes there are.
    draw_B2 = np.random.default_rng([seed, step, 1]).random((c.batch_size, 2))
    triples = draw(frames, anchor_N[order(step)], draw_B2[rows], c.reach)
    return {'image': frames.take(triples.rows), 'apart': triples.apart_B}

  return at


def loss(settings: Settings, model: Contrast, params, batch, key: Array):
  """(loss, metrics) of a batch; nothing is drawn."""
  del settings, key
  return model.loss(params, batch['image'], batch['apart'])


def judge(model: Contrast, params, heldout, key: Array) -> dict[str, Array]:
  """The loss and how often a frame's pair is found, among 256 of them."""
  del key
  triples = _spread(model, heldout, _JUDGED)
  image_B3HWC = heldout.take(triples.rows)
  return jax.jit(model.loss)(params, image_B3HWC, triples.apart_B)[1]


def pictures(model: Contrast, params, heldout, key: Array):
  """Frames, what is near them, and the most alike of what is not."""
  del key
  triples = _spread(model, heldout, _PICTURES)
  row_C = heldout.spread(_JUDGED)
  embed = jax.jit(model.embed)
  own_BD, all_CD = (
    unit_length(embed(params, heldout.take(rows)))
    for rows in (triples.anchor_B, row_C)
  )
  clip_N = heldout.clips.clip_N
  same_BC = clip_N[triples.anchor_B][:, None] == clip_N[row_C][None]
  away_BC = np.abs(triples.anchor_B[:, None] - row_C[None])
  near_BC = same_BC & (away_BC <= model.reach)
  nearest_B = np.where(near_BC, -np.inf, own_BD @ all_CD.T).argmax(1)
  return {
    'frame': heldout.take(triples.anchor_B),
    'near in time': heldout.take(triples.near_B),
    'most alike of the others': heldout.take(row_C[nearest_B]),
  }


def save(model: Contrast, params: PyTree, directory) -> None:
  """The encoder alone, as transformers' ViTModel."""
  vit_family.save(model.encoder, params['encoder'], directory)


def untrained(model: Contrast, **how):
  """The encoder as `vision.load` gives it, with shapes for weights."""
  return published.untrained(model.encoder, **how)


def _spread(model, frames, count):
  """Triples of at most `count` anchors, evenly over all; always the same."""
  anchor_N = anchors(frames)
  places = np.linspace(0, len(anchor_N) - 1, min(count, len(anchor_N)))
  draw_B2 = np.random.default_rng(0).random((len(places), 2))
  return draw(frames, anchor_N[places.astype(int)], draw_B2, model.reach)
