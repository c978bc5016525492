"""Texts alone: a document is an episode, a token of it is a step.

Those of a folder, or the documentation of the Python that runs this: the topics
of `help()` and the docstrings of the standard library, a document a module,
2.2 million characters. Bytes are made tokens by a BPE of the documents that are
trained on, which lies beside them (`models/words.py`); nothing is made alike
before, so that tokens are as many bits as the bytes they stand for. Nobody sees
anything: in the place of latents is how far one has read.
"""

import ast
import collections
import dataclasses
import hashlib
import os
import pathlib
import sys
import sysconfig

import numpy as np

from rpt_jax import files, results
from rpt_jax.domains.unacted import Unacted, episode
from rpt_jax.episodes import statistics
from rpt_jax.models import words
from rpt_jax.settings import key, refuse
from rpt_jax.types import TOKEN, StreamSpec

PARTS = 'topics', 'docstrings'
_ENDINGS = '.md', '.rst', '.txt'
_NO_LIBRARY = {'dist-packages', 'idlelib', 'lib2to3', 'site-packages', 'test'}


@dataclasses.dataclass(frozen=True)
class Settings:
  """Which documents, and how many tokens there are."""

  path: str = key(
    '', f'folder of {", ".join(_ENDINGS)}; empty: that of this Python'
  )
  parts: tuple[str, ...] = key(
    PARTS,
    f'of that of this Python: some of {PARTS}',
    match='|'.join(PARTS),
    length=1,
    distinct=True,
  )
  vocab: int = key(
    2048, 'tokens at most; every byte is one', low=256, high=1_000_000
  )
  heldout: float = key(0.1, 'share of the documents', above=0, high=0.9)
  most: int = key(0, 'documents at most; 0: all', low=0, high=1_000_000_000)


def domains(name: str, settings: Settings, seed: int):
  """The one set of documents of an entry."""
  del seed  # They were written by others.
  return (Documents(name, settings),)


@dataclasses.dataclass(frozen=True)
class Documents(Unacted):
  """A set of documents."""

  settings: Settings
  cameras = ()
  state_dim = 1
  fields, probed = (TOKEN,), ()

  @property
  def content(self) -> str:
    """Of a folder what is in it; of Python its version."""
    if self.settings.path:
      return statistics.content_hash(self.settings.path)
    return hashlib.sha256(sys.version.encode()).hexdigest()

  @property
  def tokens(self) -> StreamSpec:
    """The stream of what is read."""
    return StreamSpec(TOKEN, 'discrete', vocab=self.settings.vocab)

  @property
  def longest(self) -> int:
    """Before they are read no one knows; a window does not reach beyond it."""
    return sys.maxsize

  def frame_sizes(self, collected=None) -> dict:
    return {}

  def check(self, as_stream: bool = False) -> None:
    path = self.settings.path
    if path and not _paths(pathlib.Path(path).expanduser()):
      refuse(
        f'config.domains.{self.name}.path',
        path,
        f'a folder with two files or more that end in {", ".join(_ENDINGS)}',
      )

  def words(self, collected: pathlib.Path) -> words.Words:
    """The vocabulary of its tokens."""
    return words.load(collected / f'{self.name}.words')

  def collect(self, directory: pathlib.Path) -> list[results.Row]:
    """Writes both splits and the vocabulary; rows: documents and tokens."""
    from rpt_jax.episodes.rlds import writer

    texts = self.texts()
    held = {*sorted(texts, key=_drawn)[: self._heldout(len(texts))]}
    names = {
      'pretrain': [name for name in texts if name not in held],
      'heldout': [name for name in texts if name in held],
    }
    train = [texts[name] for name in names['pretrain']]
    vocabulary = words.train(train, self.settings.vocab, exact=True)
    splits, metadata, rows = {}, {}, []
    for split, chosen in names.items():
      said = [texts[name] for name in chosen]
      splits[split] = [*map(_episode, vocabulary.ids(said))]
      metadata[split] = [
        {'document': name, 'bytes': len(text.encode())}
        for name, text in zip(chosen, said, strict=True)
      ]
      rows += self._rows(split, splits[split], metadata[split])
    writer.write(directory, self.name, splits, metadata=metadata)
    beside = directory.with_name(f'{self.name}.words')
    beside.mkdir(exist_ok=True)
    vocabulary.save(beside)
    return rows

  def texts(self) -> dict[str, str]:
    """{document: text}, in the order of names; none is empty."""
    s = self.settings
    if s.path:
      root = pathlib.Path(s.path).expanduser()
      texts = {name: files.read_text(p) for name, p in _named(root).items()}
    else:
      texts = _topics() if 'topics' in s.parts else {}
      texts |= _docstrings() if 'docstrings' in s.parts else {}
    kept = {name: texts[name] for name in sorted(texts) if texts[name].strip()}
    chosen = sorted(kept, key=_drawn)[: s.most or None]
    return {name: kept[name] for name in sorted(chosen)}

  def _heldout(self, count):
    return min(max(round(self.settings.heldout * count), 1), count - 1)

  def _rows(self, split, read, about):
    tokens = sum(each.length for each in read)
    size = sum(each['bytes'] for each in about)
    print(
      f'  {self.name} {split}: {len(read)} documents, {size} bytes, {tokens} '
      'tokens',
      flush=True,
    )
    tags = {'env': self.name, 'split': split}
    names = results.Collect
    counts = {names.EPISODES: len(read), names.FRAMES: tokens}
    counts[names.BYTES] = size
    return [
      results.row(names.STAGE, name, count, **tags)
      for name, count in counts.items()
    ]

  def describe(self) -> str:
    what = pathlib.Path(self.settings.path).name or 'documentation of Python'
    return f'{self.name}: documents ({what})'

  def table(self) -> list[str]:
    vocab = self.settings.vocab
    return [f'{self.name:26} documents, token [T] below {vocab}']


def _paths(root):
  """The text files below a folder; none where there are fewer than two."""
  paths = sorted(p for p in root.rglob('*') if p.suffix in _ENDINGS)
  return paths if len(paths) > 1 else []


def _named(root):
  """{document: path} of a folder; ValueError for a link that leads out of it.

  Of two that would be called alike each has its ending, too.
  """
  places = [path.relative_to(root) for path in _paths(root)]
  short = collections.Counter(place.with_suffix('') for place in places)
  named = {}
  for place in places:
    alone = place.with_suffix('')
    name = os.fsencode(alone if short[alone] == 1 else place)
    name = name.decode('utf-8', 'replace')
    named[name] = files.inside(root, place.as_posix())
  return named


def _topics():
  """What `help('if')` and its like say."""
  from pydoc_data import topics

  return {f'topic {name}': text for name, text in topics.topics.items()}


def _docstrings():
  """{module: its docstrings}, of the standard library; nothing is imported."""
  root, texts = pathlib.Path(sysconfig.get_path('stdlib')), {}
  for path in sorted(root.rglob('*.py')):
    parts = path.relative_to(root).with_suffix('').parts
    if _NO_LIBRARY & {*parts}:
      continue
    try:
      tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # Examples of what is no Python.
      continue
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    said = [ast.get_docstring(node) or '' for node in nodes]
    texts['.'.join(parts)] = '\n\n'.join(filter(None, said))
  return texts


def _drawn(name):
  """A number that a document's name alone decides."""
  return hashlib.sha256(name.encode()).hexdigest()


def _episode(ids):
  """A document; beside a token how far one has read, from 0 to 1."""
  count = len(ids)
  place_T1 = np.linspace(0, 1, count, dtype=np.float32)[:, None]
  seen = {'state': place_T1, TOKEN: np.array(ids, np.int32)[:, None]}
  return episode(seen, count)
