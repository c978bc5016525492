"""SORNet: objects asked for by a view of each (arXiv 2109.03891).

A frame's patches and, as queries through the same patch embedding, one view of
each object alone; nobody attends to a query but itself, so that what is said of
an object does not depend on who else is asked for. Small MLPs read from one
object, or an ordered pair, whether each relation holds (binary cross-entropy).
Scenes and views are clips whose sentences are those of `vision/relations.py`.
The control `attends = False` never shows frames to queries: readouts are given
the class token and the embedded views.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.models import transformer
from rpt_jax.models.transformer import dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import (
  pretraining,
  published,
  relations,
  scene_tables,
  vit,
)
from rpt_jax.vision.families import vit as vit_family

NEEDS = ('text',)
SHARDING = transformer.SHARDING
ROWS = (*relations.OF_ONE, *relations.OF_TWO)
CAPTION = (
  'SORNet on a film that it was not trained on, of an object it has never '
  'seen. Beside each frame is what is said of the object that is carried and '
  'what is true, light where it holds; from the top: in the gripper, in the '
  'drawer; then for each other object on, left of, in front of, near it.'
)
_JUDGED = 64  # Scenes that are judged at once.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Shapes of the encoder and the readouts, and the training."""

  patch: int = keys.key(16, 'pixels, of a view as well', low=1, high=4096)
  width: int = keys.key(128, 'numbers of a token', low=1, high=65_536)
  depth: int = keys.key(4, 'blocks', low=1, high=1000)
  num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  readout: int = keys.key(
    512, 'numbers of the hidden layer of a readout', low=1, high=65_536
  )
  attends: bool = keys.key(
    True, 'queries see the frame; else CLS and an MLP, a control'
  )
  batch_size: int = keys.key(32, 'scenes', low=1, high=1_000_000)
  balanced: bool = keys.key(True, 'each domain as often, not each scene')
  steps: int = keys.key(1000, 'updates', low=1, high=1_000_000_000)
  learning_rate: float = keys.key(1e-4, 'the peak', above=0, high=1)
  weight_decay: float = keys.key(0.0, 'of kernels', low=0, high=10)

  def check(self, where: str) -> None:
    """Raises ValueError for shapes that do not fit."""
    pretraining.check_shapes(self, where)


class Readouts(nn.Module):
  """A hidden layer for each relation: of objects, and of ordered pairs."""

  width: int

  @nn.compact
  def __call__(self, object_BQE) -> tuple[Array, Array]:
    """Logits [B, Q, U] and [B, Q, Q, R], the first object before the second."""
    batch, count, dim = object_BQE.shape
    shape = batch, count, count, dim
    first = jnp.broadcast_to(object_BQE[:, :, None], shape)
    second = jnp.broadcast_to(object_BQE[:, None], shape)
    pair_BQQE = jnp.concatenate([first, second], axis=-1)
    read = []
    for words, x in (
      (relations.OF_ONE, object_BQE),
      (relations.OF_TWO, pair_BQQE),
    ):
      flat_NE = x.reshape(-1, x.shape[-1])
      logits = []
      for word in words:
        name = word.replace(' ', '_')
        h = nn.relu(dense(self.width, f'{name}_hidden')(flat_NE))
        logits.append(dense(1, name)(h))
      read.append(jnp.concatenate(logits, -1).reshape(*x.shape[:-1], -1))
    return tuple(read)


@dataclasses.dataclass(frozen=True)
class SORNet:
  """The shapes of what is trained; hashable."""

  encoder: vit.Encoder
  readouts: Readouts
  attends: bool

  @property
  def tokens(self) -> int:
    """Patches of a frame and its class token."""
    return self.encoder.side**2 + 1

  def init(self, key: Array) -> PyTree:
    """Parameters: 'encoder' and 'readouts'."""
    keys = jax.random.split(key)
    size, width = self.encoder.image_size, self.encoder.width
    image = jnp.zeros((1, size, size, 3))
    objects = jnp.zeros((1, 1, width if self.attends else 2 * width))
    return {
      'encoder': jax.jit(self.encoder.init)(keys[0], image)['params'],
      'readouts': jax.jit(self.readouts.init)(keys[1], objects)['params'],
    }

  def objects(self, params: PyTree, image_BHWC: Array, view_BQHWC: Array):
    """Embeddings [B, Q, E] of uint8 views in uint8 frames."""
    image, query_BQPPC = self._seen(image_BHWC, view_BQHWC)
    if not self.attends:
      return self._apart(params, image, query_BQPPC)
    tokens = self._tokens(params, image, query_BQPPC)
    return tokens[:, -query_BQPPC.shape[1] :]

  def asked(self, params: PyTree, image_BHWC: Array, view_BQHWC: Array):
    """`objects`, bit for bit the same whoever else is asked for.

    A view after the other, each with the frame again: a product of more rows
    may round otherwise, which `objects` does not rule out.
    """
    image, query_BQPPC = self._seen(image_BHWC, view_BQHWC)
    if not self.attends:
      return self._apart(params, image, query_BQPPC)

    def one(query_BPPC):
      return self._tokens(params, image, query_BPPC[:, None])[:, -1]

    each_QBE = jax.lax.map(one, query_BQPPC.swapaxes(0, 1))
    return each_QBE.swapaxes(0, 1)

  def read(self, params: PyTree, object_BQE: Array) -> tuple[Array, Array]:
    """Logits of `Readouts`."""
    return self.readouts.apply({'params': params['readouts']}, object_BQE)

  def said(self, params: PyTree, image_BHWC: Array, view_BQHWC: Array):
    """What holds, by the logits' signs: bool [B, Q, U], [B, Q, Q, R]."""
    logits = self.read(params, self.asked(params, image_BHWC, view_BQHWC))
    return tuple(x > 0 for x in logits)

  def _seen(self, image_BHWC, view_BQHWC):
    """Frames, and views as large as a patch, in [-1, 1]."""
    patch, views = self.encoder.patch, vit.preprocess(view_BQHWC)
    shape = (*views.shape[:2], patch, patch, 3)
    return vit.preprocess(image_BHWC), jax.image.resize(views, shape, 'linear')

  def _tokens(self, params, image, query_BQPPC=None):
    variables = {'params': params['encoder']}
    return self.encoder.apply(variables, image, None, query_BQPPC).tokens

  def _apart(self, params, image, query_BQPPC):
    """The class token beside each view's embedding, which has seen nothing."""
    cls_BD = self._tokens(params, image)[:, 0]
    embed = params['encoder']['embed']
    flat_BQK = query_BQPPC.reshape(*query_BQPPC.shape[:2], -1)
    view_BQD = flat_BQK @ embed['kernel'] + embed['bias'][None, None]
    cls_BQD = jnp.broadcast_to(cls_BD[:, None], view_BQD.shape)
    return jnp.concatenate([cls_BQD, view_BQD], axis=-1)


def model(settings: Settings, size: int) -> SORNet:
  """That of frames of `size` pixels; ValueError if not whole patches."""
  c = settings
  encoder = pretraining.encoder(c, size)
  return SORNet(encoder, Readouts(c.readout, parent=None), c.attends)


def batch_at(settings: Settings, frames, seed: int, rows=None):
  """step -> a batch of scenes, in the order of `balanced`; see
  `scene_tables.Table`.

  A frame of each scene and a view of each of its objects are drawn.
  """
  c, table = settings, scene_tables.tabulate(frames)
  ends = np.cumsum([0, *frames.clips_of_parts])
  sizes = np.diff(np.searchsorted(table.clip_C, ends))
  order = pretraining.order(c, sizes, seed, rows)
  chosen = slice(None) if rows is None else rows
  numbers = c.batch_size, 1 + table.object_CQ.shape[1]

  def at(step: int) -> dict[str, np.ndarray]:
    # Drawn for the whole batch: the same however many processes there are.
    draw_BK = np.random.default_rng([seed, step, 1]).random(numbers)
    return table.batch(frames, order(step), draw_BK[chosen])

  return at


def loss(settings: Settings, model: SORNet, params, batch, key: Array):
  """(loss, metrics): the mean over relations of each one's mean over objects
  that are there, or ordered pairs of two of them."""
  del settings, key
  objects = model.objects(params, batch['image'], batch['views'])
  logits = model.read(params, objects)
  losses, right = [], []
  for logit, true, real in zip(
    logits,
    (batch['one'], batch['two']),
    scene_tables.real_of(batch['present']),
    strict=True,
  ):
    real = real[..., None]
    axes, count = tuple(range(logit.ndim - 1)), jnp.maximum(real.sum(), 1)
    each = nn.softplus(jnp.where(true, -logit, logit))
    losses.append(jnp.where(real, each, 0.0).sum(axes) / count)
    right.append((real & ((logit > 0) == true)).sum(axes) / count)
  total = jnp.concatenate(losses).mean()
  return total, {'loss': total, 'accuracy': jnp.concatenate(right).mean()}


def judge(model: SORNet, params, heldout, key: Array) -> dict[str, Array]:
  """F1 of each relation on held-out scenes, of objects seen and of new ones.

  'f1_seen' and 'f1_new' are means over relations that occur.
  """
  del key
  table, measured = scene_tables.tabulate(heldout), {}
  groups = {'seen': relations.SCENE, 'new': relations.NEW}
  for group, kind in groups.items():
    scene_C = np.flatnonzero(table.kinds == kind)
    if not len(scene_C):
      continue
    scores = {
      word: relations.f1(*pair)
      for word, pair in _answers(model, params, heldout, table, scene_C).items()
    }
    whole = [x for x in scores.values() if np.isfinite(x)]
    measured[f'f1_{group}'] = np.mean(whole) if whole else 0.0
    measured |= {
      f'{word.replace(" ", "_")}_{group}': x
      for word, x in scores.items()
      if np.isfinite(x)
    }
  return measured


def _answers(model, params, frames, table, scene_C):
  """{relation: (said, true)}, bool of all objects or pairs of scenes."""
  said, parts = jax.jit(model.said), []
  for first in range(0, len(scene_C), _JUDGED):
    own_B = scene_C[np.arange(first, first + _JUDGED) % len(scene_C)]
    draw_BK = np.random.default_rng(first).random(
      (_JUDGED, 1 + table.object_CQ.shape[1])
    )
    batch = table.batch(frames, own_B, draw_BK)
    answers = said(params, batch['image'], batch['views'])
    count = min(_JUDGED, len(scene_C) - first)
    real = scene_tables.real_of(batch['present'][:count])
    truths = batch['one'], batch['two']
    parts.append(
      [
        (np.asarray(x)[:count][np.asarray(r)], t[:count][np.asarray(r)])
        for x, t, r in zip(answers, truths, real, strict=True)
      ]
    )
  columns = []
  for each in zip(*parts, strict=True):
    say, true = (np.concatenate(x) for x in zip(*each, strict=True))
    columns += [(say[:, i], true[:, i]) for i in range(say.shape[1])]
  return dict(zip(ROWS, columns, strict=True))


def pictures(model: SORNet, params, heldout, key: Array):
  """Frames of the film, and what is said of its first object, and is so."""
  del key
  table = scene_tables.tabulate(heldout)
  scene_C = np.flatnonzero(table.kinds == relations.FILM)
  if not len(scene_C):
    return {}
  draw_BK = np.zeros((len(scene_C), 1 + table.object_CQ.shape[1]))
  batch = table.batch(heldout, scene_C, draw_BK)
  said = jax.jit(model.said)(params, batch['image'], batch['views'])
  count, size = int(batch['present'][0].sum()), heldout.size
  true = batch['one'], batch['two']
  return {
    'frame': batch['image'],
    'said': scene_tables.bars(said, count, size),
    'true': scene_tables.bars(true, count, size),
  }


def save(model: SORNet, params: PyTree, directory) -> None:
  """The encoder alone, as transformers' ViTModel."""
  vit_family.save(model.encoder, params['encoder'], directory)


def untrained(model: SORNet, **how):
  """The encoder as `vision.load` gives it, with shapes for weights."""
  return published.untrained(model.encoder, **how)
