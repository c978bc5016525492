"""Byte pairs beside the tokenisers of Hugging Face, and spelled out again."""

import numpy as np
import pytest

from rpt_jax.models import byte_pairs

BASE, VOCAB, L = 5, 14, 12


def rows(count, seed=0):
  """Rows of few symbols, in which some pairs are much more frequent."""
  odds = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
  rng = np.random.default_rng(seed)
  return rng.choice(BASE, size=(count, L), p=odds).astype(np.int32)


def merged(row, pair, new):
  """One merge, from the left, as a loop."""
  result, i = [], 0
  while i < len(row):
    if tuple(row[i : i + 2]) == tuple(pair):
      result.append(new)
      i += 2
    else:
      result.append(row[i])
      i += 1
  return result


def test_merges_are_the_most_frequent_pairs():
  given, left = byte_pairs.fit(rows(40), BASE, VOCAB), rows(40).tolist()
  for i, pair in enumerate(np.asarray(given).tolist()):
    counts = {}
    for row in left:
      for each in zip(row, row[1:], strict=False):
        counts[each] = counts.get(each, 0) + 1
    best = max(counts.values())
    assert tuple(pair) == min(p for p, n in counts.items() if n == best)
    left = [merged(row, pair, BASE + i) for row in left]


def test_rows_are_encoded_as_by_tokenizers():
  tokenizers = pytest.importorskip('tokenizers')
  merges = np.asarray(byte_pairs.fit(rows(40), BASE, VOCAB))
  letters = [chr(ord('a') + i) for i in range(BASE)]
  for left, right in merges:
    letters.append(letters[left] + letters[right])
  model = tokenizers.models.BPE(
    vocab={text: i for i, text in enumerate(letters)},
    merges=[(letters[left], letters[right]) for left, right in merges],
  )
  unseen = rows(30, seed=1)
  tokens = np.asarray(byte_pairs.encode(merges, unseen, BASE))
  symbols, counts = map(np.asarray, byte_pairs.spelled(merges, BASE, L))
  for row, given in zip(unseen, tokens, strict=True):
    text = ''.join(letters[i] for i in row)
    expected = [token.id for token in model.tokenize(text)]
    kept = given[given != byte_pairs.NONE].tolist()
    assert kept == expected == given[: len(expected)].tolist()
    spelled = [symbols[token, : counts[token]] for token in kept]
    np.testing.assert_array_equal(np.concatenate(spelled), row)
  assert (tokens != byte_pairs.NONE).sum() < 0.7 * unseen.size


def test_nothing_to_merge_is_no_merge():
  once = np.arange(4, dtype=np.int32)[None]
  merges = byte_pairs.fit(once, 4, 6)
  np.testing.assert_array_equal(merges, np.full((2, 2), byte_pairs.NONE))
  np.testing.assert_array_equal(byte_pairs.encode(merges, once, 4), once)
  _, counts = byte_pairs.spelled(merges, 4, 4)
  np.testing.assert_array_equal(counts, [1, 1, 1, 1, 0, 0])
