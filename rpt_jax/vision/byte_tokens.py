"""Captions as their bytes, for a text tower of one's own.

Byte b is token b, so that nothing has to be trained or fetched; a start and an
end token stand around them, and end tokens pad, as in CLIP. White space is one
space, composed and decomposed letters are one (NFC), a caption that is too long
is cut before its end token. `tokenizer.json` says the same to the package
tokenizers, and so to transformers.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np

START, END, VOCAB = 256, 257, 258
_ENDS = {'<|startoftext|>': START, '<|endoftext|>': END}


def ids(texts: Sequence[str], length: int) -> np.ndarray:
  """int32 [N, length]; `length` counts start and end."""
  table_NL = np.full((len(texts), length), END, np.int32)
  for row_L, text in zip(table_NL, texts, strict=True):
    text = ' '.join(unicodedata.normalize('NFC', text).split())
    said = list(text.encode('utf-8', 'replace')[: length - 2])
    row_L[: len(said) + 1] = [START, *said]
  return table_NL


def tokenizer() -> dict:
  """tokenizer.json: a BPE that has no merges."""
  space = {'type': 'Replace', 'pattern': {'Regex': '\\s+'}, 'content': ' '}
  strip = {'type': 'Strip', 'strip_left': True, 'strip_right': True}
  start, end = ({'SpecialToken': {'id': name, 'type_id': 0}} for name in _ENDS)
  return {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': [
      {
        'id': i,
        'content': name,
        'single_word': False,
        'lstrip': False,
        'rstrip': False,
        'normalized': False,
        'special': True,
      }
      for name, i in _ENDS.items()
    ],
    'normalizer': {
      'type': 'Sequence',
      'normalizers': [{'type': 'NFC'}, space, strip],
    },
    'pre_tokenizer': _BYTES | {'add_prefix_space': False},
    'post_processor': {
      'type': 'TemplateProcessing',
      'single': [start, {'Sequence': {'id': 'A', 'type_id': 0}}, end],
      'pair': [],
      'special_tokens': {
        name: {'id': name, 'ids': [i], 'tokens': [name]}
        for name, i in _ENDS.items()
      },
    },
    'decoder': _BYTES | {'add_prefix_space': False},
    'model': {
      'type': 'BPE',
      'dropout': None,
      'unk_token': None,
      'continuing_subword_prefix': None,
      'end_of_word_suffix': None,
      'fuse_unk': False,
      'byte_fallback': False,
      'ignore_merges': False,
      'vocab': {letter: b for b, letter in enumerate(_letters())},
      'merges': [],
    },
  }


_BYTES = {'type': 'ByteLevel', 'trim_offsets': False, 'use_regex': True}


def settings(length: int) -> dict:
  """tokenizer_config.json."""
  start, end = _ENDS
  return {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'model_max_length': length,
    'bos_token': start,
    'eos_token': end,
    'pad_token': end,
  }


def _letters():
  """How a byte is written in a vocabulary: itself, or a letter beyond Latin-1.

  openai/gpt-2, `bytes_to_unicode`.
  """
  own = {*range(33, 127), *range(161, 173), *range(174, 256)}
  others = iter(range(256, 512))
  return [chr(b) if b in own else chr(next(others)) for b in range(256)]
