"""Token ids against the tokenizers of transformers."""

import builtins
import json
import os

import numpy as np
import pytest

from rpt_jax.vision import tokens

tokenizers = pytest.importorskip('tokenizers')
transformers = pytest.importorskip('transformers')
SENTENCES = [
  "Pick up the yellow bottle; it's 12 cm tall!",
  '  OPEN\n the   drawer  ',
  '',
  'naïve café — 日本 😀',
  'a very long sentence ' * 9,
]


def clip(length=12):
  """A CLIP tokenizer of bytes and a few merges."""
  letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
  merges = [('t', 'h'), ('th', 'e</w>'), ('e', 'l'), ('a', 'i</w>')]
  words = [*letters, *(f'{x}</w>' for x in letters)]
  words += [''.join(pair) for pair in merges]
  words += ['<|startoftext|>', '<|endoftext|>']
  vocab = {word: i for i, word in enumerate(words)}
  return transformers.CLIPTokenizer(vocab, merges, model_max_length=length)


def siglip(side):
  """A Gemma-like byte-fallback tokenizer of SigLIP 2."""
  words = ['<pad>', '<eos>', '<bos>', '<unk>', '<mask>']
  words += [f'<0x{i:02X}>' for i in range(256)]
  words += [*'abcdefghijklmnopqrstuvwxyz▁', 'th', 'the', '▁the']
  vocab = {word: i for i, word in enumerate(words)}
  merges = [('t', 'h'), ('th', 'e'), ('▁', 'the')]
  return transformers.Siglip2Tokenizer(
    vocab, merges, model_max_length=16, padding_side=side
  )


def theirs(tokenizer, length):
  found = tokenizer(
    SENTENCES, padding='max_length', truncation=True, max_length=length
  )
  return np.array(found['input_ids'])


def test_clip_is_that_of_transformers(tmp_path):
  tokenizer = clip()
  tokenizer.save_pretrained(tmp_path)
  ids = tokens.load(tmp_path)(SENTENCES)
  assert ids.dtype == np.int32 and ids.shape == (5, 12)
  np.testing.assert_array_equal(ids, theirs(tokenizer, 12))
  np.testing.assert_array_equal(
    tokens.load(tmp_path, length=30)(SENTENCES), theirs(tokenizer, 30)
  )
  assert tokens.load(tmp_path)([]).shape == (0, 12)


def test_a_tokenizer_that_makes_a_text_longer_is_refused(tmp_path):
  """What replaces letters is replaced again: no memory holds what comes out."""
  clip().save_pretrained(tmp_path)
  path = tmp_path / tokens.FILE
  parts = json.loads(path.read_text())
  longer = {'type': 'Replace', 'pattern': {'String': 'a'}, 'content': 'a' * 5}
  own = {'type': 'Sequence', 'normalizers': [parts['normalizer'], longer]}
  for many in own, own | {'normalizers': [longer] * 9}:
    path.write_text(json.dumps(parts | {'normalizer': many}))
    if many is own:
      tokens.load(tmp_path)
      continue
    with pytest.raises(ValueError, match=rf'{path.name}: .*1953125 letters'):
      tokens.load(tmp_path)
  path.unlink()
  os.mkfifo(path)
  with pytest.raises(ValueError, match=f'{path.name}: found a .*pipe'):
    tokens.load(tmp_path)


def test_older_files_of_clip(tmp_path):
  tokenizer = clip()
  saved = json.loads(tokenizer.backend_tokenizer.to_str())['model']
  (tmp_path / 'vocab.json').write_text(json.dumps(saved['vocab']))
  lines = ['#version: 0.2', *(' '.join(pair) for pair in saved['merges'])]
  (tmp_path / 'merges.txt').write_text('\n'.join(lines) + '\n')
  config = {'text_config': {'max_position_embeddings': 20}}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  ids = tokens.load(tmp_path)(SENTENCES)
  np.testing.assert_array_equal(ids, theirs(tokenizer, 20))


@pytest.mark.parametrize('side', ['left', 'right'])
def test_siglip_is_that_of_transformers(tmp_path, side):
  tokenizer = siglip(side)
  tokenizer.save_pretrained(tmp_path)
  for length in (16, 70):
    found = tokens.load(tmp_path, length)(SENTENCES)
    np.testing.assert_array_equal(found, theirs(tokenizer, length))


def test_what_is_missing_is_named(tmp_path, monkeypatch):
  with pytest.raises(ValueError, match='neither tokenizer.json nor vocab'):
    tokens.load(tmp_path)
  (tmp_path / 'tokenizer.json').write_text('{}')
  with pytest.raises(ValueError, match='tokenizer.json: no tokenizer'):
    tokens.load(tmp_path)
  clip().backend_tokenizer.save(str(tmp_path / 'tokenizer.json'))
  with pytest.raises(ValueError, match='give length'):
    tokens.load(tmp_path)
  settings = {'pad_token': {'content': '<none>'}}
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps(settings))
  with pytest.raises(ValueError, match="'<none>', which pads"):
    tokens.load(tmp_path, length=5)
  real = builtins.__import__

  def without(name, *args, **kwargs):
    if name == 'tokenizers':
      raise ImportError(name)
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', without)
  with pytest.raises(ValueError, match=r"pip install -e '\.\[hub\]'"):
    tokens.load(tmp_path)
