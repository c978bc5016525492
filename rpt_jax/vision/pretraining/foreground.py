"""What moves: to see in one frame what stands out against its clip.

Motion teaches a network that sees single frames where things are (Pathak et al.
2017, arXiv 1612.06370). They segment by optical flow; here the camera of a clip
stands still, and what moves is how far a frame is from the mean of the clip.
That is a map of few cells, in units of its spread over the clip, so that a
small thing counts as much as a large one. A linear decoder reads it from the
latent: what does not move in a clip has no place there.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, reduce, repeat

from rpt_jax import settings as keys
from rpt_jax.models.transformer import dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import merging, pretraining, vit

NEEDS = ('pairs',)
SHARDING = ((r'(latent|decode)/kernel$', ('fsdp', 'tensor')),)
CAPTION = (
  'What moves in held-out frames: how far each is from the mean of its clip, '
  'and what the latent of that frame alone says of it.'
)
_STILL = (
  1e-5  # Least variance that a map is divided by: a clip may stand still.
)
_PICTURES, _JUDGED = 12, 32  # Held-out clips that are drawn, and measured.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of the encoder, what it is to see, and its training."""

  patch: int = keys.key(4, 'pixels of a first patch', low=1, high=4096)
  widths: tuple[int, ...] = keys.key(
    (32, 32),
    'numbers of a patch, first and after every merge',
    low=1,
    high=65_536,
    length=1,
  )
  latent: int = keys.key(256, 'numbers of a frame', low=1, high=65_536)
  cells: int = keys.key(
    32, 'of a side of the map of what moves', low=1, high=256
  )
  frames: int = keys.key(
    16, 'of a clip at once, drawn at random', low=2, high=1000
  )
  batch_size: int = keys.key(8, 'clips', low=1, high=1_000_000)
  balanced: bool = keys.key(True, 'each domain as often, not each clip')
  steps: int = keys.key(1000, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = keys.key(8e-3, 'the peak', above=0, high=1)
  weight_decay: float = keys.key(0.05, 'of kernels', low=0, high=10)


class _Network(nn.Module):
  """An encoder, and the linear decoder that is thrown away."""

  encoder: merging.Encoder
  cells: int

  @nn.compact
  def __call__(self, image_NHWC):
    latent_ND = self.encoder(image_NHWC).pooled
    return dense(self.cells**2, 'decode', self.encoder.dtype)(latent_ND)


@dataclasses.dataclass(frozen=True)
class Foreground:
  """The shapes of what is trained; hashable, so static under `jit`."""

  encoder: merging.Encoder
  cells: int
  frames: int

  @property
  def tokens(self) -> int:
    """Patches of the frames of a row, after merging."""
    return self.frames * self.encoder.side**2

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and those of the decoder."""
    size = self.encoder.image_size
    image = jnp.zeros((1, size, size, 3))
    return jax.jit(self._network.init)(key, image)['params']

  def predict(self, params: PyTree, image_NHWC: Array) -> Array:
    """Maps of what moves [N, cells * cells], of uint8 frames."""
    image_NHWC = vit.preprocess(image_NHWC)
    return self._network.apply({'params': params}, image_NHWC)

  def target(self, image_BFHWC: Array) -> Array:
    """What moves in uint8 frames of B clips: maps [B, F, cells * cells].

    The mean over a cell and its colours of |frame - mean of the frames|, over
    the standard deviation of that over all cells of all F frames.
    """
    frame = vit.preprocess(image_BFHWC)
    away = jnp.abs(frame - frame.mean(axis=1, keepdims=True))
    cut = 'b f (h a) (w c) rgb -> b f (h w)'
    map_BFP = reduce(away, cut, 'mean', h=self.cells, w=self.cells)
    variance = map_BFP.var(axis=(1, 2), keepdims=True)
    return map_BFP / jnp.sqrt(variance + _STILL)

  def loss(
    self, params: PyTree, image_BFHWC: Array
  ) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of uint8 frames of B clips.

    The loss is the squared error of the maps; 'explained' is the share of
    their variance that a single frame tells.
    """
    target_BFP = self.target(image_BFHWC)
    flat = rearrange(image_BFHWC, 'b f ... -> (b f) ...')
    guess_NP = self.predict(params, flat)
    loss = jnp.mean((guess_NP - target_BFP.reshape(guess_NP.shape)) ** 2)
    explained = 1 - loss / (target_BFP.var() + _STILL)
    return loss, {'loss': loss, 'explained': explained}

  @property
  def _network(self):
    return _Network(self.encoder.clone(name='encoder'), self.cells)


def model(settings: Settings, size: int) -> Foreground:
  """That of frames of `size` pixels.

  Raises ValueError where they are not whole patches, merges or cells.
  """
  c = settings
  encoder = merging.Encoder(size, c.patch, c.widths, c.latent, parent=None)
  for name, pixels in (('patch', encoder.cell), ('cells', c.cells)):
    if size % pixels:
      raise ValueError(
        f'{name}: found {getattr(c, name)}, which with {len(c.widths) - 1} '
        f'merges must divide config.frames.size={size}'
      )
  return Foreground(encoder, c.cells, c.frames)


def draw(frames, clip_B: np.ndarray, draw_BF: np.ndarray) -> np.ndarray:
  """Rows [B, F] of frames of each clip, by uniform numbers in [0, 1)."""
  start_B, length_B = frames.clips.offsets[clip_B], frames.lengths[clip_B]
  return start_B[:, None] + (draw_BF * length_B[:, None]).astype(int)


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> {'image': uint8 [B, F, H, W, 3]}, F frames of each of B clips."""
  c, rows = settings, np.arange(settings.batch_size) if rows is None else rows
  order = pretraining.order(c, frames.clips_of_parts, seed, rows)

  def at(step: int) -> dict[str, np.ndarray]:
    # Drawn for the whole batch: the same however many processes there are.
    shape = c.batch_size, c.frames
    draw_BF = np.random.default_rng([seed, step, 1]).random(shape)
    return {'image': frames.take(draw(frames, order(step), draw_BF[rows]))}

  return at


def loss(settings: Settings, model: Foreground, params, batch, key: Array):
  """(loss, metrics) of a batch; nothing is drawn."""
  del settings, key
  return model.loss(params, batch['image'])


def judge(model: Foreground, params, heldout, key: Array) -> dict[str, Array]:
  """The loss, and what is explained, of frames spread over held-out clips."""
  del key
  image_BFHWC = heldout.take(_spread(model, heldout, _JUDGED))
  return jax.jit(model.loss)(params, image_BFHWC)[1]


def pictures(model: Foreground, params, heldout, key: Array):
  """A frame of each clip, what moves in it, and what the latent says of it."""
  del key
  row_BF = _spread(model, heldout, _PICTURES)
  image_BFHWC = heldout.take(row_BF)
  middle = model.frames // 2
  frame_BHWC = image_BFHWC[:, middle]
  target_BP = jax.jit(model.target)(image_BFHWC)[:, middle]
  guess_BP = jax.jit(model.predict)(params, frame_BHWC)
  scale_B1 = target_BP.max(axis=1, keepdims=True) + _STILL
  return {
    'frame': frame_BHWC,
    'what moves': _picture(target_BP / scale_B1, frame_BHWC.shape[1]),
    'seen in the frame': _picture(guess_BP / scale_B1, frame_BHWC.shape[1]),
  }


def save(model: Foreground, params: PyTree, directory) -> None:
  """The encoder alone."""
  merging.save(model.encoder, params['encoder'], directory)


def untrained(model: Foreground, **how):
  """The encoder as `vision.load` gives it, with shapes for weights."""
  return merging.untrained(model.encoder, **how)


def _spread(model, frames, count):
  """Rows [B, F] evenly over at most `count` clips; always the same."""
  clips = len(frames.lengths)
  clip_B = np.linspace(0, clips - 1, min(count, clips)).astype(int)
  place_F = (np.arange(model.frames) + 0.5) / model.frames
  return draw(frames, clip_B, np.tile(place_F, (len(clip_B), 1)))


def _picture(map_BP, size):
  """Maps of values in [0, 1] as grey pictures uint8 [B, size, size, 3]."""
  side = round(map_BP.shape[1] ** 0.5)
  grey = (np.clip(np.asarray(map_BP), 0, 1) * 255).astype(np.uint8)
  cut, each = 'b (h w) -> b (h a) (w c) rgb', size // side
  return repeat(grey, cut, h=side, a=each, c=each, rgb=3)
