"""Documents: the texts that are read, and what is held out of them."""

import pydoc_data.topics

import numpy as np
import pytest

from rpt_jax.domains import documents
from tests.benchmarks import text as study
from tests.learning import tiny


@pytest.fixture(scope='module')
def collected(tmp_path_factory):
  folder = tmp_path_factory.mktemp('documents')
  tiny.write_texts(folder / 'texts')
  c = documents.Settings(path=str(folder / 'texts'), vocab=300, heldout=0.25)
  (domain,) = documents.domains('documents', c, 0)
  domain.collect(folder / 'documents')
  return domain, folder


def test_every_byte_comes_back(collected):
  domain, folder = collected
  words, texts, names = domain.words(folder), domain.texts(), []
  assert words.vocab <= 300 == domain.tokens.vocab
  for split, count in (('pretrain', 6), ('heldout', 2)):
    source = domain.source(folder, split)
    assert len(source) == count
    for i in range(count):
      about, seen = source.metadata(i), source.read(i, ('token', 'state'))
      names.append(about['document'])
      text = texts[about['document']]
      assert words.text(seen['token'][:, 0]) == text
      assert about['bytes'] == len(text.encode()) > len(seen['token'])
      assert seen['state'][0] == 0 and seen['state'][-1] == 1
  assert sorted(names) == sorted(texts)


def test_what_is_held_out_is_chosen_by_name_alone(collected):
  domain, folder = collected
  held = {
    domain.source(folder, 'heldout').metadata(i)['document'] for i in range(2)
  }
  assert held == {*sorted(domain.texts(), key=documents._drawn)[:2]}


def test_the_documentation_of_this_python():
  c = documents.Settings(parts=('topics',), most=7)
  texts = documents.domains('documents', c, 0)[0].texts()
  assert len(texts) == 7
  for name, text in texts.items():
    assert text == pydoc_data.topics.topics[name.removeprefix('topic ')]


def test_a_folder_of_nothing_to_read_is_refused(tmp_path):
  (tmp_path / 'one.txt').write_text('alone')
  c = documents.Settings(path=str(tmp_path))
  with pytest.raises(ValueError, match='path: found .* two files or more'):
    documents.domains('documents', c, 0)[0].check()


@pytest.mark.parametrize('order', [1, 3, 5])
def test_the_5_gram_it_is_compared_with_is_a_distribution(order):
  ids = [np.array([0, 1, 2, 0, 1, 3, 0]), np.array([2, 2, 1, 0, 1, 2])]
  gram = study.Gram(ids, 5, order)
  for before in ((), (0,), (1, 0), (0, 1, 2, 0), (4, 4), (4, 0, 1)):
    before = before[max(len(before) - order + 1, 0) :]
    each = [gram.probability(before, token) for token in range(5)]
    assert min(each) > 0
    np.testing.assert_allclose(sum(each), 1)
  if order > 1:  # 1 comes after 0 three times of three.
    assert gram.probability((0,), 1) > 0.6
