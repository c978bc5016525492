"""Sentences as bags of hashed words: a frozen vector of each, nothing learned.

Where no text tower is at hand (Weinberger et al. 2009, arXiv 0902.2206, with
dense vectors): a word is a fixed Gaussian vector that its hash draws, a
sentence the mean of its words. Sentences that share words are near, word order
is lost. An empty sentence is zeros, as if nothing had been said.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

DIM = 64


def vectors(texts: Sequence[str]) -> np.ndarray:
  """f32 [N, DIM], of length near 1; case does not matter."""
  said_ND = np.zeros((len(texts), DIM), np.float32)
  for row_D, text in zip(said_ND, texts, strict=True):
    words = [_word(word) for word in text.lower().split()]
    if words:
      row_D[:] = np.mean(words, axis=0) * len(words) ** 0.5
  return said_ND


def _word(word: str) -> np.ndarray:
  """The vector of a word [DIM], the same on every machine."""
  digest = hashlib.sha256(word.encode('utf-8', 'replace')).digest()
  rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
  return rng.standard_normal(DIM) / DIM**0.5
