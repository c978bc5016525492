"""What `configs/text.py` has learned, on documents it has not read.

    python -m tests.benchmarks.text runs/text

Bits a byte of the causal run, against an interpolated Kneser-Ney 5-gram of the
same tokens (Chen and Goodman 1998, eq. 21, discounts of 0.75) and xz, which has
read the same documents; which document a sentence is from, by a logistic
regression of the mean features of both runs and of an untrained trunk, from few
labels; what the causal run writes. Intervals are 95 %: of bits by bootstrap
over held-out documents, of accuracy by Student over draws of the labels, of one
training of each; they hold nothing of how trainings differ.
"""

import collections
import lzma
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

import rpt_jax
from rpt_jax import episodes
from rpt_jax.models import sequence, words
from rpt_jax.types import TOKEN

_DISCOUNT, _ORDER = 0.75, 5
_SENTENCE, _CLASSES, _DRAWS, _LABELS = 24, 10, 20, (1, 5, 25)


def main(workdir):
  """Prints the tables of a workdir."""
  folder = pathlib.Path(workdir) / 'collect/documents'
  vocabulary = words.load(folder.with_name('documents.words'))
  train, held = (_read(folder, split) for split in ('pretrain', 'heldout'))
  models = {
    run: rpt_jax.from_pretrained(
      pathlib.Path(workdir) / f'pretrain/{run}/pretrained'
    )
    for run in ('gpt', 'bert')
  }
  texts = {
    split: ''.join(map(vocabulary.text, ids))
    for split, ids in (('train', train), ('held', held))
  }
  size_E = np.array([len(vocabulary.text(ids).encode()) for ids in held])
  gram = Gram(train, vocabulary.vocab)
  bits = {
    'GPT': bits_of(models['gpt'], held, vocabulary.vocab),
    '5-gram (Kneser-Ney)': gram.bits(held),
    '1-gram': Gram(train, vocabulary.vocab, 1).bits(held),
  }
  for name, bits_E in bits.items():
    print(f'{name:24} {_rate(bits_E, size_E)} bits a byte')
  difference_E = bits['GPT'] - bits['5-gram (Kneser-Ney)']
  print(f'{"GPT - 5-gram":24} {_rate(difference_E, size_E)}')
  print(f'{"xz, having read":24} {_xz(**texts) / size_E.sum():.3f}')
  print(f'{"xz alone":24} {_xz("", texts["held"]) / size_E.sum():.3f}')
  label(models, held)
  prompt = vocabulary.ids(['Return the '])[0]
  for seed in range(3):
    drawn = write(models['gpt'], prompt, 60, seed)
    print(f'--- written, seed {seed}\n{vocabulary.text(drawn)}')


def _read(folder, split):
  """The tokens of each document."""
  source = episodes.open(folder, split=split)
  return [
    source.read(i, (TOKEN,))[TOKEN].reshape(-1) for i in range(len(source))
  ]


def _apply(model):
  return sequence.bind(model.model, model.params)


def bits_of(model, documents, vocab) -> np.ndarray:
  """Bits of each document [E], by a causal model.

  Windows overlap by half, and only what has half a window before it is counted
  of a later one; the first token of a document, of which the model says
  nothing, has log2(vocab).
  """
  context = model.model.context
  half = context // 2

  @jax.jit
  def nats(ids_BT, valid_BT):
    output = _apply(model)({TOKEN: ids_BT[..., None]}, valid_BT)
    logits = _apply(model).head(TOKEN).logits(output['reads'][TOKEN])
    logits_BTV = jax.nn.log_softmax(logits[:, :-1, 0, 0])
    said = jnp.take_along_axis(logits_BTV, ids_BT[:, 1:, None], axis=2)
    return jnp.pad(-said[..., 0], ((0, 0), (1, 0)))

  windows, where = [], []
  for e, ids in enumerate(documents):
    for start in range(0, max(len(ids) - half, 1), half):
      windows.append(ids[start : start + context])
      where.append((e, 0 if start == 0 else half))
  bits_E = np.full(len(documents), np.log2(vocab))
  for first in range(0, len(windows), 32):
    part = windows[first : first + 32]
    length_B = np.array([len(x) for x in part] + [0] * (32 - len(part)))
    ids_BT = np.zeros((32, context), np.int32)
    for row, x in zip(ids_BT, part, strict=False):
      row[: len(x)] = x
    valid_BT = np.arange(context)[None] < length_B[:, None]
    nats_BT = np.asarray(nats(ids_BT, valid_BT)) * valid_BT
    for (e, skip), nats_T in zip(where[first:], nats_BT, strict=False):
      bits_E[e] += nats_T[skip:].sum() / np.log(2)
  return bits_E


class Gram:
  """An interpolated Kneser-Ney model of tokens."""

  def __init__(self, documents, vocab, order=_ORDER):
    self._vocab, self._order = vocab, order
    full = collections.Counter()
    for ids in documents:
      ids = tuple(map(int, ids))
      for n in range(min(order - 1, len(ids))):  # Less is before what begins.
        full[ids[: n + 1]] += 1
      full.update(zip(*(ids[i:] for i in range(order)), strict=False))
    self._levels = []  # (counts, totals, kinds) of each length, longest first.
    counts = full
    for length in range(order, 0, -1):
      own = {gram: n for gram, n in counts.items() if len(gram) == length}
      totals, kinds = collections.Counter(), collections.Counter()
      for gram, n in own.items():
        totals[gram[:-1]] += n
        kinds[gram[:-1]] += 1
      self._levels.append((own, totals, kinds))
      below = collections.Counter(gram[1:] for gram in own)
      counts = collections.Counter(
        {gram: n for gram, n in counts.items() if len(gram) < length}
      )
      counts.update(below)

  def bits(self, documents) -> np.ndarray:
    """Bits of each document [E]."""
    return np.array([self._bits(tuple(map(int, ids))) for ids in documents])

  def _bits(self, ids):
    before = self._order - 1
    return -sum(
      np.log2(self.probability(ids[max(i - before, 0) : i], token))
      for i, token in enumerate(ids)
    )

  def probability(self, before: tuple, token: int) -> float:
    """Of a token after what stands before it."""
    value = 1 / self._vocab
    for counts, totals, kinds in reversed(self._levels):
      length = len(next(iter(counts))) - 1
      if length > len(before):
        break
      context = before[len(before) - length :]
      if total := totals[context]:
        own = max(counts.get((*context, token), 0) - _DISCOUNT, 0)
        value = (own + _DISCOUNT * kinds[context] * value) / total
    return value


def _rate(bits_E, size_E):
  draws = np.random.default_rng(0).integers(
    len(size_E), size=(1000, len(size_E))
  )
  rates = bits_E[draws].sum(1) / size_E[draws].sum(1)
  low, high = np.percentile(rates, [2.5, 97.5])
  return f'{bits_E.sum() / size_E.sum():.3f} [{low:.3f}, {high:.3f}]'


def _xz(train, held):
  """Bits that the held-out text adds to what was read."""
  sizes = [
    len(lzma.compress(x.encode(), preset=9 | lzma.PRESET_EXTREME))
    for x in (train + held, train)
  ]
  return 8 * (sizes[0] - sizes[1] if train else sizes[0])


def label(models, documents):
  """Prints how often a sentence's document is named, from few labels."""
  longest = sorted(range(len(documents)), key=lambda e: -len(documents[e]))
  sentences, of = [], []
  for label_, e in enumerate(longest[:_CLASSES]):
    ids = documents[e]
    for start in range(0, len(ids) - _SENTENCE + 1, _SENTENCE):
      sentences.append(ids[start : start + _SENTENCE])
      of.append(label_)
  ids_NT, of = np.stack(sentences), np.array(of)
  fewest = np.bincount(of).min()
  gpt, bert = models['gpt'], models['bert']
  untrained = sequence.init(gpt.model, jax.random.key(0))
  seen = {
    'masked': features(bert, bert.params, ids_NT),
    'causal': features(gpt, gpt.params, ids_NT),
    'untrained': features(gpt, untrained, ids_NT),
  }
  print(f'which of {_CLASSES} documents, {len(of)} sentences, chance 0.1')
  for count in _LABELS:
    if 2 * count > fewest:
      continue
    cells = {name: _accuracies(x, of, count) for name, x in seen.items()}
    pairs = ('masked', 'causal'), ('causal', 'untrained')
    cells |= {f'{a} - {b}': cells[a] - cells[b] for a, b in pairs}
    shown = '  '.join(f'{name} {_mean(x)}' for name, x in cells.items())
    print(f'  {count:3} labels each: {shown}')


def features(model, params, ids_NT) -> np.ndarray:
  """The mean of a sentence's features [N, D]."""
  context = model.model.context

  @jax.jit
  def mean(ids_BT):
    pads = ((0, 0), (0, context - _SENTENCE))
    valid_BT = jnp.pad(jnp.ones(ids_BT.shape, bool), pads)
    seen = {TOKEN: jnp.pad(ids_BT, pads)[..., None]}
    output = sequence.bind(model.model, params)(seen, valid_BT)
    return output['features'][:, :_SENTENCE].mean(1)

  parts = [mean(part) for part in np.array_split(ids_NT, -(-len(ids_NT) // 64))]
  return np.concatenate(parts)


def _accuracies(x_ND, of, count):
  """[draws]: of all other sentences, with `count` labels of each document."""
  accuracy = []
  for seed in range(_DRAWS):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(of))
    chosen = [order[of[order] == c][:count] for c in range(_CLASSES)]
    train = np.concatenate(chosen)
    rest = np.setdiff1d(order, train)
    mean, std = x_ND[train].mean(0), x_ND[train].std(0) + 1e-6
    model = LogisticRegression(max_iter=300)
    model.fit((x_ND[train] - mean) / std, of[train])
    accuracy.append(model.score((x_ND[rest] - mean) / std, of[rest]))
  return np.array(accuracy)


def _mean(x):
  half = stats.t.ppf(0.975, len(x) - 1) * stats.sem(x)
  return f'{x.mean():.3f} [{x.mean() - half:.3f}, {x.mean() + half:.3f}]'


def write(model, prompt, count, seed) -> list[int]:
  """The prompt and what a causal model draws after it."""
  context = model.model.context

  @jax.jit
  def draw(ids_1T, valid_1T, last, key):
    output = _apply(model)({TOKEN: ids_1T[..., None]}, valid_1T)
    logits = _apply(model).head(TOKEN).logits(output['reads'][TOKEN])
    return jax.random.categorical(key, logits[0, last, 0, 0])

  ids = list(prompt)
  for i in range(count):
    seen = ids[-context:]
    ids_1T = np.zeros((1, context), np.int32)
    ids_1T[0, : len(seen)] = seen
    valid_1T = np.arange(context)[None] < len(seen)
    key = jax.random.fold_in(jax.random.key(seed), i)
    ids.append(int(draw(ids_1T, valid_1T, len(seen) - 1, key)))
  return ids


if __name__ == '__main__':
  main(sys.argv[1])
