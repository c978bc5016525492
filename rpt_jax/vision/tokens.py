"""Sentences to token ids, as the text towers of CLIP and SigLIP expect them.

The work is done by the `tokenizers` package (extra 'hub'); here is only which
files a saved model has, and to what length its sentences are padded.
"""

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np

from rpt_jax import files
from rpt_jax.types import Array
from rpt_jax.vision import weights

FILE = 'tokenizer.json'
# The words of CLIP (openai/CLIP): special tokens, English endings, letters,
# one digit at a time, everything else that is no space.
_CLIP_WORDS = (
  r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|"
  r'[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+'
)
_MOST_GROWTH = 16  # Letters that a normalizer may make of one.
_START, _END = '<|startoftext|>', '<|endoftext|>'


def load(
  folder: str | os.PathLike, length: int | None = None
) -> Callable[[list[str]], Array]:
  """Sentences to ids int32 [N, L], by the tokenizer saved in `folder`.

  Reads tokenizer.json, or vocab.json and merges.txt of CLIP. L is `length`,
  or that of the text tower in config.json; longer sentences are cut before
  their end token, shorter ones padded as tokenizer_config.json says.
  Raises ValueError where files or the package are missing.
  """
  folder = pathlib.Path(folder)
  try:
    import tokenizers
  except ImportError as error:
    raise ValueError(
      f"{folder}: reading a tokenizer needs 'tokenizers'; pip install -e "
      "'.[hub]'"
    ) from error
  settings = {}
  if (folder / 'tokenizer_config.json').exists():
    settings = files.read_json(folder / 'tokenizer_config.json')
  if (folder / FILE).exists():
    tokenizer = _from_file(tokenizers, folder / FILE)
  elif (folder / 'vocab.json').exists() and (folder / 'merges.txt').exists():
    tokenizer = _clip(tokenizers, folder)
  else:
    raise ValueError(
      f'{folder}: found neither {FILE} nor vocab.json and merges.txt; save it '
      'with transformers (AutoTokenizer, save_pretrained)'
    )
  length = length or _length(folder, settings)
  token = _padding_token(settings, tokenizer)
  if tokenizer.token_to_id(token) is None:
    raise ValueError(
      f'{folder}: {token!r}, which pads, is not in the vocabulary'
    )
  tokenizer.enable_truncation(length)
  tokenizer.enable_padding(
    direction=settings.get('padding_side', 'right'),
    pad_id=tokenizer.token_to_id(token),
    pad_token=token,
    length=length,
  )

  def tokenize(sentences):
    ids = [x.ids for x in tokenizer.encode_batch(list(sentences))]
    return np.array(ids, np.int32).reshape(-1, length)

  return tokenize


def _from_file(tokenizers, path):
  """A tokenizer; ValueError for one that makes far more of a text than it is.

  What it puts in the place of letters may be as long as the file, and be
  replaced in turn: then no memory holds what becomes of a word.
  """
  path = files.regular(files.inside(path.parent, path.name))
  try:
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    steps = [json.loads(tokenizer.to_str())['normalizer'] or {}]
  except Exception as error:  # The package raises nothing narrower.
    raise ValueError(f'{path}: no tokenizer: {error}') from error
  growth = 1
  while steps:
    step = steps.pop()
    steps += step.get('normalizers', [])
    growth *= max(len(step.get('content') or step.get('prepend') or ''), 1)
  if growth > _MOST_GROWTH:
    raise ValueError(
      f'{path}: found a normalizer that makes {growth} letters of one, '
      f'expected {_MOST_GROWTH} at most; fetch the tokenizer again'
    )
  return tokenizer


def _clip(tokenizers, folder):
  """CLIP's byte-pair encoding from its two older files."""
  names = 'vocab.json', 'merges.txt'
  paths = [str(files.regular(files.inside(folder, name))) for name in names]
  try:
    model = tokenizers.models.BPE.from_file(
      *paths, end_of_word_suffix='</w>', unk_token=_END
    )
  except Exception as error:
    raise ValueError(
      f'{folder}: vocab.json and merges.txt do not fit: {error}'
    ) from error
  tokenizer = tokenizers.Tokenizer(model)
  ends = [(token, tokenizer.token_to_id(token)) for token in (_END, _START)]
  for token, number in ends:
    if number is None:
      raise ValueError(f'{paths[0]}: {token} is missing; this is not CLIP')
  normalise, split = tokenizers.normalizers, tokenizers.pre_tokenizers
  tokenizer.add_special_tokens([token for token, _ in ends])
  tokenizer.normalizer = normalise.Sequence(
    [
      normalise.NFC(),
      normalise.Replace(tokenizers.Regex(r'\s+'), ' '),
      normalise.Lowercase(),
    ]
  )
  words = tokenizers.Regex(_CLIP_WORDS)
  tokenizer.pre_tokenizer = split.Sequence(
    [
      split.Split(words, 'removed', invert=True),
      split.ByteLevel(add_prefix_space=False),
    ]
  )
  tokenizer.post_processor = tokenizers.processors.RobertaProcessing(
    *ends, trim_offsets=False, add_prefix_space=False
  )
  return tokenizer


def _length(folder, settings):
  """Tokens of a sentence: what the text tower has positions for."""
  config = {}
  if (folder / weights.CONFIG).exists():
    config = files.read_json(folder / weights.CONFIG)
    config = config.get('text_config', config)
  length = config.get('max_position_embeddings')
  length = length or settings.get('model_max_length')
  if not isinstance(length, int) or length > 1e6:
    raise ValueError(
      f'{folder}: neither {weights.CONFIG} nor tokenizer_config.json says how '
      'long a sentence is; give length'
    )
  return length


def _padding_token(settings, tokenizer):
  """By the settings, else the one the tokenizer was saved with, else CLIP's."""
  token = settings.get('pad_token')
  if isinstance(token, dict):
    token = token['content']
  return token or (tokenizer.padding or {}).get('pad_token') or _END
