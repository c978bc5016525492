"""Sentences as vectors of a published text tower, which stays as it is.

In the place of tokens of one's own (`models/words.py`): what CLIP or SigLIP
makes of a sentence, a vector of length 1, and of an empty one zeros, as if
nothing had been said. One that is longer than the tower reads is cut where it
was recorded and refused where it is said.
"""

import dataclasses
import functools
import os
import pathlib
import shutil
from collections.abc import Sequence

import jax
import numpy as np

from rpt_jax import files, vision
from rpt_jax.vision import hub, tokens

FOLDER = 'text_encoder'  # Of a saved model.
FILES = (
  *hub.FILES,
  'tokenizer.json',
  'tokenizer_config.json',
  'vocab.json',
  'merges.txt',
)
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Tower:
  """The text tower saved in `path`, a folder or an id of Hugging Face."""

  path: str

  @property
  def dim(self) -> int:
    """Numbers of a vector; ValueError where there is no text tower."""
    return self._model.dim

  def tokens(
    self, texts: Sequence[str], length: int = 1
  ) -> tuple[np.ndarray, int]:
    """(f32 [N, 1, dim], how many texts were cut)."""
    del length
    long_NL = self._longer(texts)
    most = self._model.length
    # Padded or not, the end comes last: of what is whole it comes early.
    first_N = (long_NL == long_NL[:, -1:]).argmax(1)
    vectors = [self._vectors(part) for part in _parts(self._ids(texts))]
    vector_ND = np.concatenate(vectors)[: len(texts)]
    empty_N = np.array([not text.strip() for text in texts])
    vector_ND = np.where(empty_N[:, None], 0, vector_ND).astype(np.float32)
    return vector_ND[:, None], int((first_N >= most).sum())

  def said(self, texts: Sequence[str], length: int = 1) -> np.ndarray:
    """`tokens` of what a policy is told; ValueError for what is too long."""
    vectors, cut = self.tokens(texts, length)
    if cut:
      raise ValueError(
        f'instruction {max(texts, key=len)[:60]!r}: found more than '
        f'{self._model.length} tokens, which is all that {self.path} reads; '
        'say it shorter'
      )
    return vectors

  def save(self, folder: str | os.PathLike) -> None:
    """Copies the tower into `text_encoder` of a folder."""
    own = pathlib.Path(folder) / FOLDER
    own.mkdir(exist_ok=True)
    for pattern in FILES:
      for file in self._folder.glob(pattern):
        shutil.copy(file, own)

  @functools.cached_property
  def _folder(self):
    return hub.find(self.path, FILES)

  @functools.cached_property
  def _model(self):
    return _loaded(str(self._folder))

  @functools.cached_property
  def _ids(self):
    return tokens.load(self._folder, self._model.length)

  @functools.cached_property
  def _longer(self):
    return tokens.load(self._folder, self._model.length + 1)

  def _vectors(self, ids_BL):
    vector_BD = np.asarray(
      _apply(self._model.apply)(self._model.params, ids_BL)
    )
    return vector_BD / np.linalg.norm(vector_BD, axis=1, keepdims=True)


def load(folder: str | os.PathLike) -> Tower | None:
  """The tower that `save` put beside a model; None where there is none.

  Raises ValueError for a link that leads out of the model's folder.
  """
  path = files.inside(folder, FOLDER)
  return Tower(str(path)) if path.is_dir() else None


@functools.lru_cache(maxsize=4)
def _loaded(folder):
  return vision.load_text(folder)


@functools.lru_cache(maxsize=4)
def _apply(apply):
  return jax.jit(apply)


def _parts(ids_NL):
  """Batches of one size, the last one filled up with its own rows."""
  for start in range(0, len(ids_NL), _BATCH):
    rows = np.arange(start, start + _BATCH) % len(ids_NL)
    yield ids_NL[rows]
