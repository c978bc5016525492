"""A model of frames and captions, as judge of goals and maker of latents."""

import functools
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax.learning import imagining, seeing
from rpt_jax.training import loop, sharding
from rpt_jax.types import PyTree
from rpt_jax.vision import byte_tokens


class Score(NamedTuple):
  """A model of frames and captions, as the objective `clip` trains it."""

  model: object
  params: PyTree

  def latents(self, image_NHWC: np.ndarray) -> np.ndarray:
    """Of frames [N, D], whose numbers are of size 1 on the whole."""
    ids_NL = np.zeros((len(image_NHWC), self.model.text.length), np.int32)
    latent_ND = self._embedded(image_NHWC, ids_NL, 0)
    return latent_ND * latent_ND.shape[1] ** 0.5

  def named(self, image_NHWC: np.ndarray, texts: list[str]) -> float:
    """Share of frames whose own text is, of all of them, the likeliest."""
    ids_NL = byte_tokens.ids(texts, self.model.text.length)
    seen_ND, said_ND = (
      self._embedded(image_NHWC, ids_NL, which) for which in (0, 1)
    )
    chosen_N = (seen_ND @ said_ND.T).argmax(1)
    return float(
      np.mean([texts[i] == t for i, t in zip(chosen_N, texts, strict=True)])
    )

  def of(self, image_NHWC: np.ndarray, texts: list[str]) -> np.ndarray:
    """The cosine of each frame and its own text: [N]."""
    ids_NL = byte_tokens.ids(texts, self.model.text.length)
    seen_ND = self._embedded(image_NHWC, ids_NL, 0)
    said_ND = self._embedded(image_NHWC, ids_NL, 1)
    return (seen_ND * said_ND).sum(-1)

  def _embedded(self, image_NHWC, ids_NL, which):
    def one(part, _):
      return _embed(self.model, self.params, part['image'], part['ids'])[which]

    return imagining.in_parts(one, {'image': image_NHWC, 'ids': ids_NL})


@functools.partial(jax.jit, static_argnums=0)
def _embed(model, params, image_NHWC, ids_NL):
  return model.embed(params, image_NHWC, ids_NL)


def train(c, frames, mesh, seed: int, **where) -> Score:
  """The model of captions, trained on frames that are as they say."""
  made = seeing.make_trainer(c, frames.size, mesh)
  batch_at = seeing.batches(c, frames, mesh, seed)
  state, _ = loop.fit(
    lambda: made.init(jax.random.key(seed)),
    made.shapes,
    made.step,
    batch_at,
    c.steps,
    **where,
  )
  model = seeing.objective(c).model(c, frames.size)
  return Score(model, sharding.gather(state.params))
