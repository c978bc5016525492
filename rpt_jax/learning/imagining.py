"""Goals drawn from what is seen and said, as DALL-E draws pictures.

A sequence is a sentence, the codes of the frame before, and those of the frame
after; a causal trunk learns to name the latter, one after the other (Ramesh et
al. 2021, arXiv 2102.12092, section 2.2, where there is no frame before). Or it
gives the latent that a model of frames and captions has of the frame after, and
no picture is drawn (the prior of DALL-E 2, arXiv 2204.06125, section 2.2).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings
from rpt_jax.models import decoding, sequence
from rpt_jax.models.heads import HeadSpec, linear
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.training import loop, optimizer, sharding, trainer
from rpt_jax.types import LATENT, TEXT, UNIT, Array, Batch, PyTree, StreamSpec
from rpt_jax.vision.dvae import Codes, Sizes

_AT_ONCE = 256  # Frames, or goals, of one call.


class Triples(NamedTuple):
  """N times a frame before, a sentence, and the frame after."""

  code_NK: np.ndarray  # Of the frame before.
  goal_NK: np.ndarray  # Of the frame after.
  text_NL: np.ndarray  # Tokens, negative where there is none.
  latent_ND: np.ndarray  # Of the frame after, by the model of captions.


class Lesson(NamedTuple):
  """A model, what it learns by, and for how many steps."""

  model: SequenceModel
  loss: Callable
  steps: int


class Trained(NamedTuple):
  """A model and what was learned."""

  model: SequenceModel
  params: PyTree


def train(
  lesson: Lesson,
  batch_at: Callable[[int], Batch],
  c,
  mesh: jax.sharding.Mesh,
  key: Array,
  **where,
) -> PyTree:
  """The parameters that a lesson leads to.

  Args:
    batch_at: step -> arrays of B rows, B as `c` has it.
    c: has `batch_size`, `learning_rate` and `weight_decay`.
    where: `directory`, `saving` and `label` of `loop.fit`.
  """
  learner = make_trainer(lesson, c.learning_rate, c.weight_decay, mesh)

  def at(i):
    return sharding.shard_batch(batch_at(i), mesh, c.batch_size)

  state, _ = loop.fit(
    lambda: learner.init(key),
    learner.shapes,
    learner.step,
    at,
    lesson.steps,
    **where,
  )
  return sharding.gather(state.params)


@functools.lru_cache(maxsize=4)
def make_trainer(
  lesson: Lesson,
  learning_rate: float,
  weight_decay: float,
  mesh: jax.sharding.Mesh,
) -> trainer.Trainer:
  """Compiled once for all seeds; its loss takes (apply, batch, key)."""
  model = lesson.model

  def loss_fn(params, batch, key):
    return lesson.loss(sequence.bind(model, params), batch, key)

  tx = optimizer.adamw(learning_rate, lesson.steps, weight_decay=weight_decay)
  init = functools.partial(sequence.init, model)
  rules = sequence.sharding(model)
  return trainer.make(init, loss_fn, tx, mesh, rules=rules)


def rows_at(count: int, size: int, seed: int) -> Callable[[int], np.ndarray]:
  """step -> `size` of `count` rows, drawn with replacement; pure."""

  def at(step):
    return np.random.default_rng([seed, step]).integers(0, count, size)

  return at


def lessons(
  c: settings.Imagine, sizes: Sizes, vocab: int, dim: int
) -> dict[str, Lesson]:
  """What draws codes, and what draws latents, by the stream that is drawn.

  Args:
    sizes: of the discrete VAE.
    vocab: of the sentences.
    dim: numbers of a latent.
  """
  unit = StreamSpec(UNIT, 'discrete', vocab=sizes.vocab)
  latent = StreamSpec(LATENT, 'continuous', dim=dim)
  said = StreamSpec(TEXT, 'prefix', vocab=vocab, levels=c.text_length)
  places = sizes.side**2

  def model(head, context):
    return SequenceModel((said, unit), (head,), c.trunk, c.width, context)

  codes = model(HeadSpec(unit, linear.Settings()), 2 * places - 1)
  latents = model(HeadSpec(latent, c.latent_head), places)
  return {
    UNIT: Lesson(codes, drawing_loss, c.steps),
    LATENT: Lesson(latents, foreseeing_loss, c.latent_steps),
  }


def drawing_loss(apply, batch: Batch, key: Array):
  """Nats of a code of the frame after, given all before it.

  Args:
    apply: of `sequence.bind`, the model of codes of `lessons`.
    batch: inputs 'text' [B, L] and 'unit' [B, 2 K, 1].
  """
  unit_BN1 = batch['inputs'][UNIT]
  inputs = batch['inputs'] | {UNIT: unit_BN1[:, :-1]}
  valid_BN = jnp.ones(inputs[UNIT].shape[:2], bool)
  read_BND = apply(inputs, valid_BN)['reads'][UNIT]
  first = unit_BN1.shape[1] // 2
  read_BKD, goal_BK11 = read_BND[:, first - 1 :], unit_BN1[:, first:, None]
  valid_BK1 = jnp.ones(goal_BK11.shape[:3], bool)
  nats, measures = apply.head(UNIT).loss(read_BKD, goal_BK11, valid_BK1, key)
  metrics = {k: targets_lib.pair(x, valid_BK1) for k, x in measures.items()}
  return targets_lib.mean(nats, valid_BK1), metrics


def foreseeing_loss(apply, batch: Batch, key: Array):
  """What the head says of the latent, read where the frame before ends."""
  inputs, latent_BD = batch['inputs'], batch['targets'][LATENT]
  valid_BK = jnp.ones(inputs[UNIT].shape[:2], bool)
  read_B1D = apply(inputs, valid_BK)['reads'][LATENT][:, -1:]
  valid_B11 = jnp.ones((*read_B1D.shape[:2], 1), bool)
  error, _ = apply.head(LATENT).loss(
    read_B1D, latent_BD[:, None, None], valid_B11, key
  )
  return targets_lib.mean(error, valid_B11), {}


def batches(
  kind: str, triples: Triples, size: int, seed: int
) -> Callable[[int], Batch]:
  """step -> batch of a loss above: `kind` is the stream that is drawn."""
  rows = rows_at(len(triples.code_NK), size, seed)
  latent_ND = triples.latent_ND

  def at(step):
    row_B = rows(step)
    unit_BK = triples.code_NK[row_B]
    if kind == UNIT:
      unit_BK = np.concatenate([unit_BK, triples.goal_NK[row_B]], 1)
    inputs = {TEXT: triples.text_NL[row_B], UNIT: unit_BK[..., None]}
    return {'inputs': inputs, 'targets': {LATENT: latent_ND[row_B]}}

  return at


def example(c: settings.Imagine, sizes: Sizes, dim: int, kind: str) -> Batch:
  """One row of a batch, of nothing."""
  code_NK = np.zeros((1, sizes.side**2), np.int32)
  text_NL = np.zeros((1, c.text_length), np.int32)
  latent_ND = np.zeros((1, dim), np.float32)
  nothing = Triples(code_NK, code_NK, text_NL, latent_ND)
  return batches(kind, nothing, 1, 0)(0)


def draw(
  model: SequenceModel,
  params: PyTree,
  code_NK: np.ndarray,
  text_NL: np.ndarray,
  num: int,
  key: Array,
) -> np.ndarray:
  """`num` goals of each frame and sentence: codes [N, num, K]."""
  places = code_NK.shape[1]
  inputs = {UNIT: code_NK[..., None], TEXT: text_NL}
  inputs = {name: np.repeat(x, num, 0) for name, x in inputs.items()}

  def one(part, key):
    return decoding.jitted(model, params, {}, part, places, key)

  goal_MK = in_parts(one, inputs, key)
  return goal_MK.reshape(len(code_NK), num, places)


def foresee(
  model: SequenceModel,
  params: PyTree,
  code_NK: np.ndarray,
  text_NL: np.ndarray,
  key: Array,
) -> np.ndarray:
  """A latent [N, D] drawn of what each frame and sentence lead to."""

  def one(part, key):
    return _latents(model, params, part, key)

  inputs = {UNIT: code_NK[..., None], TEXT: text_NL}
  return in_parts(one, inputs, key)


@functools.partial(jax.jit, static_argnames='model')
def _latents(model, params, inputs, key):
  apply = sequence.bind(model, params)
  valid_BK = jnp.ones(inputs[UNIT].shape[:2], bool)
  read_B1D = apply(inputs, valid_BK)['reads'][LATENT][:, -1:]
  return apply.head(LATENT).sample(read_B1D, key, 1)[0, :, 0, 0]


def in_parts(call, inputs, key=None):
  """A call on rows, some at once, each part with a key of its own, if any.

  Parts are of one size, the last one filled up, so that all compile once.
  """
  count, parts = len(next(iter(inputs.values()))), []
  for i, first in enumerate(range(0, count, _AT_ONCE)):
    row_B = np.arange(first, first + min(_AT_ONCE, count)) % count
    part = {name: x[row_B] for name, x in inputs.items()}
    own = None if key is None else jax.random.fold_in(key, i)
    parts.append(np.asarray(call(part, own)))
  return np.concatenate(parts)[:count]


def encode(codes: Codes, image_NHWC: np.ndarray) -> np.ndarray:
  """Codes [N, K] of frames, some at once."""
  call = jax.jit(Codes.encode)
  return _mapped(lambda x: call(codes, x), image_NHWC)


def decode(codes: Codes, code_NK: np.ndarray) -> np.ndarray:
  """Frames uint8 [N, H, W, 3] of codes, some at once."""
  call = jax.jit(Codes.decode)
  return _mapped(lambda x: call(codes, x), code_NK)


def _mapped(call, x_N):
  return in_parts(lambda part, _: call(part['x']), {'x': x_N})
