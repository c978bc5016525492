"""Sentences as tokens: byte-level BPE, trained on the texts of a corpus.

One rule for each thing that a sentence may be:

  any script   every byte is a token (GPT-2, Radford et al. 2019, 2.2), so that
               nothing is unknown; composed and decomposed letters are one (NFC)
  white space  a run of it is one space, and none at either end
  empty        has no token: as if nothing had been said
  too long     recorded, it is cut after its first L tokens (`tokens`, which
               tells how many were); said to a policy, it is refused (`said`):
               half an instruction may be the opposite of the whole
  no text      what no UTF-8 can hold is refused

What is saved is `tokenizer.json` of the package tokenizers (extra 'hub').
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from rpt_jax import files

FILE = 'tokenizer.json'
BYTES = 256  # The smallest vocabulary.


@dataclasses.dataclass(frozen=True)
class Words:
  """A vocabulary; `json` is what the package tokenizers writes of it."""

  json: str

  @property
  def vocab(self) -> int:
    """How many tokens there are."""
    return self._tokenizer.get_vocab_size()

  def ids(self, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, as many as it has.

    Raises ValueError for what is no text.
    """
    for text in texts:
      _check(text)
    encoded = self._tokenizer.encode_batch(list(texts))
    return [each.ids for each in encoded]

  def text(self, ids: Iterable[int]) -> str:
    """The text of some tokens; negative ones are none."""
    text = self._tokenizer.decode([int(i) for i in ids if i >= 0])
    begun = json.loads(self.json)['pre_tokenizer']['add_prefix_space']
    return text.removeprefix(' ') if begun else text

  def tokens(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, int]:
    """(int32 [N, length], -1 where there is none; how many texts were cut)."""
    table_NL = np.full((len(texts), length), -1, np.int32)
    cut = 0
    for row_L, ids in zip(table_NL, self.ids(texts), strict=True):
      row_L[: len(ids)] = ids[:length]
      cut += len(ids) > length
    return table_NL, cut

  def said(self, texts: Sequence[str], length: int) -> np.ndarray:
    """`tokens` of what a policy is told; ValueError for what is too long."""
    for text, ids in zip(texts, self.ids(texts), strict=True):
      if len(ids) > length:
        raise ValueError(
          f'instruction {text[:60]!r}: found {len(ids)} tokens, expected at '
          f'most {length}, as in training; say it shorter'
        )
    return self.tokens(texts, length)[0]

  @property
  def form(self) -> dict:
    """All that makes tokens of a text, but for which tokens there are.

    A form of others might make of a text one that no memory holds.
    """
    parts = json.loads(self._tokenizer.to_str())
    return parts | {'model': parts['model'] | {'vocab': {}, 'merges': []}}

  @property
  def numbers(self) -> dict[str, int]:
    """{token: its number}."""
    return self._tokenizer.get_vocab()

  def save(self, folder: str | os.PathLike) -> None:
    """Writes `tokenizer.json`."""
    files.write_text(pathlib.Path(folder) / FILE, self.json)

  @functools.cached_property
  def _tokenizer(self):
    return _package().Tokenizer.from_str(self.json)


def train(texts: Iterable[str], vocab: int, *, exact: bool = False) -> Words:
  """The most frequent pairs of these texts become tokens, one after the other.

  Args:
    vocab: tokens at most, 256 or more; few texts have fewer pairs.
    exact: nothing is made alike first, so that `text` gives back what `ids`
      was given: of documents, not of sentences.

  Raises ValueError without the package tokenizers.
  """
  package, tokenizer = _package(), _blank(exact)
  trainer = package.trainers.BpeTrainer(
    vocab_size=max(vocab, BYTES),
    initial_alphabet=_bytes(),
    show_progress=False,
  )
  texts = [text for text in texts if _check(text)]
  tokenizer.train_from_iterator(texts, trainer)
  return Words(tokenizer.to_str())


def _bytes():
  """The tokens that are a byte each."""
  return sorted(_package().pre_tokenizers.ByteLevel.alphabet())


def _blank(exact):
  """The tokenizer before it has any token."""
  package = _package()
  normal, level = package.normalizers, package.pre_tokenizers.ByteLevel
  tokenizer = package.Tokenizer(package.models.BPE())
  if not exact:
    space = normal.Replace(package.Regex(r'\s+'), ' ')
    tokenizer.normalizer = normal.Sequence(
      [normal.NFC(), space, normal.Strip()]
    )
  tokenizer.pre_tokenizer = level(add_prefix_space=not exact)
  tokenizer.decoder = package.decoders.ByteLevel()
  return tokenizer


def check(where: str) -> None:
  """Raises ValueError without the package tokenizers, which `where` needs."""
  _package(where)


def load(folder: str | os.PathLike) -> Words | None:
  """What `save` wrote; None where there is none.

  Raises ValueError for what is no byte-level BPE.
  """
  path = files.inside(pathlib.Path(folder), FILE)
  if not path.exists():
    return None
  words = Words(files.read_text(path))
  try:
    form, numbers = words.form, words.numbers
  except Exception as error:  # The package raises nothing narrower.
    raise ValueError(f'{path}: no tokenizer: {error}') from error
  forms = [Words(_blank(exact).to_str()).form for exact in (False, True)]
  wrong = [k for k in form if all(form[k] != own.get(k) for own in forms)]
  if missing := set(_bytes()) - numbers.keys():
    wrong.append(f'no token of {len(missing)} bytes')
  if sorted(numbers.values()) != [*range(len(numbers))]:
    wrong.append('numbers of tokens that are not 0, 1, 2, ...')
  if wrong or form not in forms:
    raise ValueError(
      f'{path}: found {", ".join(wrong) or "parts"} of another tokenizer, '
      f'expected the byte-level BPE that is written here; save the model again'
    )
  return words


def _check(text):
  """The text; ValueError for what is none."""
  if not isinstance(text, str):
    raise ValueError(
      f'instruction: found {type(text).__name__}, expected a text'
    )
  try:
    text.encode()
  except UnicodeEncodeError as error:
    raise ValueError(
      f'instruction {text[:60]!r}: found half a letter at {error.start}, '
      'expected text that UTF-8 can hold'
    ) from error
  return text


def _package(where="'text'"):
  """The package tokenizers, of an extra."""
  try:
    import tokenizers
  except ImportError as error:
    raise ValueError(
      f"{where}: reading sentences needs 'tokenizers'; pip install -e '.[hub]'"
    ) from error
  return tokenizers
