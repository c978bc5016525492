"""Instructions of episodes as the stream `text`: how they are read, and where.

The vocabulary is that of the saved models that a pretraining begins from, or is
trained on the instructions of the split `pretrain`; it lies beside the scales.
In its place may be a published text tower (`vision/sentences.py`).
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rpt_jax import files, settings
from rpt_jax.domains import TEXTS, Domain
from rpt_jax.episodes import stack, windows
from rpt_jax.models import words
from rpt_jax.models.words import Words
from rpt_jax.sharing import folder
from rpt_jax.types import TEXT, StreamSpec
from rpt_jax.vision import hub, sentences
from rpt_jax.vision.sentences import Tower

Inputs = Mapping[str, pathlib.Path]


@dataclasses.dataclass(frozen=True)
class Texts:
  """How instructions become the stream `text`."""

  words: Words | Tower | None  # None where only shapes matter.
  pretrain: settings.Pretrain

  @property
  def spec(self) -> StreamSpec:
    """The stream; the vocabulary is as large as the config lets it be."""
    c = self.pretrain
    if c.text_encoder:
      return StreamSpec(TEXT, 'prefix', dim=Tower(c.text_encoder).dim)
    return StreamSpec(TEXT, 'prefix', vocab=c.vocab, levels=c.text_length)

  def rows(
    self, domain: Domain, inputs: Inputs, split: str, clips: windows.Clips
  ) -> stack.Derived:
    """[N, L] (of a tower [N, 1, dim]), the same in all rows of a clip."""
    length = self.pretrain.text_length
    texts_E = recorded(domain, inputs, split)
    place = {text: i for i, text in enumerate(dict.fromkeys(texts_E))}
    table_SL, cut = self.words.tokens([*place], length)
    if cut:
      print(
        f'  {domain.name} {split}: {cut} of {len(place)} different '
        'instructions are cut, as they have more tokens than are read',
        flush=True,
      )
    said_E = np.array([place[text] for text in texts_E])
    offsets = clips.offsets

    def read(rows_N):
      clip_N = np.searchsorted(offsets, rows_N, side='right') - 1
      return table_SL[said_E[clip_N]]

    shape = int(offsets[-1]), *table_SL.shape[1:]
    return stack.Derived(read, shape, table_SL.dtype)


def recorded(domain: Domain, inputs: Inputs, split: str) -> list[str]:
  """What each episode of a split was told, '' where nothing."""
  path = inputs['label'] / domain.name / split / TEXTS
  return files.read_json(path, kind=list, most=files.MANIFEST)


def train(
  places: Sequence[Domain],
  inputs: Inputs,
  pretrain: settings.Pretrain,
  begun: Iterable[str] = (),
) -> Texts:
  """The texts of a pretraining, its vocabulary trained or taken.

  Args:
    begun: paths or ids of the saved models that its runs begin from.

  Raises ValueError where no episode was told anything, saved models have
  different vocabularies, or one is larger than the config says.
  """
  said = [t for d in places for t in recorded(d, inputs, 'pretrain') if t]
  if not said:
    raise ValueError(
      f"config.pretrain.streams: found 'text', but no episode of "
      f'{[d.name for d in places]} has an instruction; leave it out'
    )
  if pretrain.text_encoder:
    return Texts(Tower(pretrain.text_encoder), pretrain)
  saved = [words.load(hub.find(path, folder.FILES)) for path in begun]
  saved = [*dict.fromkeys(filter(None, saved))]
  if len(saved) > 1:
    raise ValueError(
      "config.pretrain.runs: found runs that read 'text' and begin from models "
      'of different vocabularies, expected one of all; pretrain them apart'
    )
  chosen = saved[0] if saved else words.train(said, pretrain.vocab)
  if chosen.vocab > pretrain.vocab:
    settings.refuse(
      'config.pretrain.vocab', pretrain.vocab, f'{chosen.vocab} at least'
    )
  return Texts(chosen, pretrain)


def load(directory: pathlib.Path, pretrain: settings.Pretrain) -> Texts | None:
  """The texts of the pretraining in `directory`; None where it read none."""
  own = words.load(directory) or sentences.load(directory)
  return own and Texts(own, pretrain)
