"""Sentences as tokens: any script, the empty one, one that is too long."""

import json

import numpy as np
import pytest

from rpt_jax.models import words

SAID = ['open the drawer', 'close the drawer', 'press the upper left button']
VOCAB = words.BYTES + 40


@pytest.fixture(scope='module')
def trained():
  return words.train(SAID, VOCAB)


@pytest.mark.parametrize(
  'text',
  [
    'open the drawer',
    '打开抽屉',
    'открой ящик',
    'افتح الدرج',
    '🤖 stop',
    'a\0b',
  ],
)
def test_every_script_comes_back_though_none_was_trained_on(trained, text):
  (ids,) = trained.ids([text])
  assert ids and max(ids) < trained.vocab <= VOCAB
  assert trained.text([*ids, -1, -1]) == text


def test_what_was_seen_is_shorter_than_its_bytes(trained):
  known, other = trained.ids(['open the drawer', 'xkqz jvw pfgy bh'])
  assert len(known) < len('open the drawer') / 2
  assert len(other) > 2 * len(known)


def test_spellings_of_one_sentence_are_one(trained):
  once, again, spaced = trained.ids(['é ok', 'e\u0301 ok', '  é \n\t ok '])
  assert once == again == spaced


def test_an_empty_sentence_has_no_token(trained):
  for text in ('', '  ', '\n'):
    table_NL, cut = trained.tokens([text], 4)
    assert table_NL.tolist() == [[-1] * 4] and not cut


def test_too_long_is_cut_where_recorded_and_refused_where_said(trained):
  long = ' '.join(SAID)
  (ids,) = trained.ids([long])
  table_NL, cut = trained.tokens([long, 'open'], 4)
  assert cut == 1 and table_NL[0].tolist() == ids[:4]
  assert table_NL[1, -1] == -1
  with pytest.raises(ValueError, match=rf'found {len(ids)} tokens.*at most 4'):
    trained.said(['open', long], 4)
  np.testing.assert_array_equal(trained.said(['open'], 4), table_NL[1:])


@pytest.mark.parametrize(
  'wrong', ['\ud800', 3, None, b'open'], ids=['half', 'int', 'none', 'bytes']
)
def test_what_is_no_text_is_refused(trained, wrong):
  with pytest.raises(ValueError, match='instruction'):
    trained.ids([wrong])
  with pytest.raises(ValueError, match='instruction'):
    words.train([wrong], VOCAB)


def test_the_same_texts_make_the_same_vocabulary(trained):
  assert words.train(SAID, VOCAB) == trained
  assert words.train(SAID[::-1], VOCAB) == trained


def test_exactly_what_was_read_comes_back():
  code = ' def f(x):\n\n    return  x\t# é\r\n'
  exact = words.train([code], VOCAB, exact=True)
  assert exact.text(exact.ids([code])[0]) == code


def test_it_is_saved_and_loaded(trained, tmp_path):
  assert words.load(tmp_path) is None
  trained.save(tmp_path)
  assert words.load(tmp_path) == trained


@pytest.mark.parametrize('damage', ['cut', 'kind', 'nothing'])
def test_what_is_no_vocabulary_of_ours_is_refused(trained, tmp_path, damage):
  parts = json.loads(trained.json)
  parts['model']['type'] = 'WordLevel' if damage == 'kind' else 'BPE'
  text = '{}' if damage == 'nothing' else json.dumps(parts)
  (tmp_path / words.FILE).write_text(text[:-9] if damage == 'cut' else text)
  with pytest.raises(ValueError, match=words.FILE):
    words.load(tmp_path)
