"""A model in a folder: one layout for pretrained trunks and for policies.

config.json           streams, heads, sizes; what trained it; how it acts
model.safetensors     parameters of the sequence model
scales.safetensors    mean/<stream> and std/<stream>
constants.safetensors <head>/<name>: what heads have that is not learned, if any
tokenizer.json        the vocabulary of instructions, if it reads any
text_encoder/         or the text tower that reads them
README.md             the model card
encoder/              a policy's image model, or encoder.safetensors
image.safetensors     its parameters, where training changed them

Nothing in it is ever executed. How a policy acts is `policy/saved.py`'s.
"""

import contextlib
import dataclasses
import fnmatch
import functools
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Mapping

import jax
import numpy as np

from rpt_jax import files, settings
from rpt_jax.models import heads as heads_lib
from rpt_jax.models import sequence, trunks
from rpt_jax.models import words as words_lib
from rpt_jax.models.heads import HeadSpec
from rpt_jax.sharing import card as cards
from rpt_jax.sharing import loading
from rpt_jax.training import checkpoint, distributed
from rpt_jax.types import TEXT, Array, PyTree, StreamSpec
from rpt_jax.vision import hub, sentences, weights

FORMAT, VERSION = 'rpt_jax', 2
CONFIG, CARD, ENCODER = 'config.json', 'README.md', 'encoder'
MODEL, SCALES, CONSTANTS, IMAGE = (
  f'{name}.safetensors' for name in ('model', 'scales', 'constants', 'image')
)
# What is fetched of a repository.
FILES = (
  *hub.FILES,
  SCALES,
  CONSTANTS,
  words_lib.FILE,
  IMAGE,
  CARD,
  f'{ENCODER}.safetensors',
  *(f'{ENCODER}/{f}' for f in hub.FILES),
  *(f'{sentences.FOLDER}/{f}' for f in sentences.FILES),
)
_SIZES = ('width', 'context', 'visibility')  # Of a SequenceModel.


@contextlib.contextmanager
def replacing(folder: str | os.PathLike):
  """A folder to write in, which then takes the place of `folder`.

  Of several processes the first one writes. Raises ValueError where `folder`
  is there and holds something else.
  """
  folder = pathlib.Path(folder).absolute()
  if not distributed.is_first():
    yield folder
    return
  if folder.exists() and not _ours(folder):
    raise ValueError(f'{folder}: exists and is no saved model; give another')
  partial = folder.with_name(f'.{folder.name}.partial-{os.getpid()}')
  try:
    partial.mkdir(parents=True)
    yield partial
    files.take_place(partial, folder, _is_own)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def write(
  folder: pathlib.Path,
  model: sequence.SequenceModel,
  params: PyTree,
  scales: dict[str, tuple[Array, Array]],
  *,
  constants: Mapping[str, dict[str, Array]] | None = None,
  words: words_lib.Words | sentences.Tower | None = None,
  origin: dict | None = None,
  acting: dict | None = None,
  card: str = '',
) -> None:
  """Writes all of a model but its image model into an empty folder.

  To be called by every process that holds a part of the parameters.

  Args:
    constants: {head: {name: array}}.
    words: the vocabulary or the text tower of a stream 'text'.
    origin: what trained it, for JSON; the same for equal trainings.
    acting: how it acts, for JSON; None of a model that does not.
    card: Markdown; '': what the model alone tells.
  """
  checkpoint.save_params(folder / MODEL, params)
  save_scales(folder / SCALES, scales)
  constants = {head: x for head, x in (constants or {}).items() if x}
  if constants:
    checkpoint.save_params(folder / CONSTANTS, constants)
  if not distributed.is_first():
    return
  if words is not None:
    words.save(folder)
  config = {
    'format': FORMAT,
    'version': VERSION,
    'streams': [dataclasses.asdict(s) for s in model.streams],
    'heads': [_head(h) for h in model.heads],
    'trunk': settings.plugged(model.trunk),
    'model': {name: getattr(model, name) for name in _SIZES},
    'origin': origin or {},
    'acting': acting,
  }
  files.write_text(folder / CARD, card or cards.text(model))
  files.write_text(folder / CONFIG, json.dumps(config, indent=2) + '\n')


def read(folder: str | os.PathLike) -> dict:
  """What `write` was given, and `folder`, absolute.

  Raises ValueError for what is missing, damaged, not finite, of another
  format or version, and for files that do not fit each other.
  """
  folder = pathlib.Path(folder).absolute()
  path = folder / CONFIG
  config = files.read_json(path)
  header = config.get('format'), config.get('version')
  if header != (FORMAT, VERSION):
    raise ValueError(
      f'{path}: format {header}, expected {(FORMAT, VERSION)}; load it with '
      'the version of rpt_jax that wrote it, or save the model again'
    )
  shapes = weights.open_tensors(folder).shapes
  try:
    model, like = _parse(config, shapes)
    rest = {'origin': dict(config['origin']), 'acting': config['acting']}
  except Exception as error:  # What a model makes of wrong sizes, too.
    raise ValueError(
      f'{path}: not as a model is saved ({type(error).__name__}: {error}); '
      'save it again'
    ) from error
  params, _ = loading.load(folder, like)
  scales = load_scales(folder / SCALES)
  _check_scales(folder / SCALES, model, scales)
  card = files.inside(folder, CARD)
  text = files.read_text(card) if card.exists() else ''
  parts = {'model': model, 'params': params, 'scales': scales, 'card': text}
  constants = folder / CONSTANTS
  parts['constants'] = (
    checkpoint.load_params(constants) if constants.exists() else {}
  )
  parts['words'] = _read_words(folder, model)
  return rest | parts | {'folder': folder}


def _read_words(folder, model):
  """The vocabulary, None where there is none; no larger than the stem's."""
  words = words_lib.load(folder)
  if words is None:
    return sentences.load(folder)
  most = {s.name: s.vocab for s in model.streams if not s.timed}.get(TEXT, 0)
  if words.vocab > most:
    raise ValueError(
      f'{folder / words_lib.FILE}: {words.vocab} tokens, but the model reads '
      f'{most}; bring back the one it was trained with'
    )
  return words


def save_scales(path, scales: dict[str, tuple[Array, Array]]) -> None:
  """Writes {stream: (mean [D], std [D])} as safetensors."""
  mean = {stream: np.asarray(mean_D) for stream, (mean_D, _) in scales.items()}
  std = {stream: np.asarray(std_D) for stream, (_, std_D) in scales.items()}
  checkpoint.save_params(path, {'mean': mean, 'std': std})


def load_scales(path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """What `save_scales` wrote, as float32; ValueError where it is no such."""
  # Not as a tree: a stream 'latent' may stand beside 'latent/front'.
  tensors = weights.open_tensors(path)
  flat = {name: tensors[name] for name in tensors.shapes}
  streams = {name.partition('/')[2] for name in flat}
  expected = {f'{what}/{name}' for name in streams for what in ('mean', 'std')}
  if flat.keys() != expected:
    raise ValueError(
      f'{path}: found {sorted(flat)}, expected mean/<stream> and std/<stream> '
      'of every stream'
    )
  return {s: (flat[f'mean/{s}'], flat[f'std/{s}']) for s in sorted(streams)}


def _is_own(name):
  """Whether a name in a model's folder is of the model."""
  return any(fnmatch.fnmatch(name, f.split('/')[0]) for f in FILES)


def _ours(folder):
  try:
    return files.read_json(folder / CONFIG).get('format') == FORMAT
  except ValueError:
    return False


def _parse(config, shapes):
  """(model, shapes of its parameters) of a config.json.

  A size beyond every saved axis is refused before anything is built of it.
  """
  sizes, largest = config['model'], max(n for s in shapes.values() for n in s)
  for name in ('width', 'context'):
    _check_size(name, sizes[name], largest)
  trunk = _unplugged(trunks.ROOM, config['trunk'])
  _check_size('depth', trunk.depth, largest)
  trunks.kind(trunk).check(trunk, sizes['width'])
  model = sequence.SequenceModel(
    tuple(StreamSpec(**s) for s in config['streams']),
    tuple(_parse_head(h) for h in config['heads']),
    trunk,
    **sizes,
  )
  init = functools.partial(sequence.init, model)
  return model, jax.eval_shape(init, jax.random.key(0))


def _check_size(name, size, largest):
  if type(size) is not int or not 0 < size <= largest:
    raise ValueError(
      f'{name} is {size!r}, but the largest axis of {MODEL} {largest}'
    )


def _head(spec):
  return {
    'target': dataclasses.asdict(spec.target),
    'settings': settings.plugged(spec.settings),
    'steps': spec.steps,
    'reads': spec.reads,
  }


def _parse_head(entry):
  return HeadSpec(
    StreamSpec(**entry['target']),
    _unplugged(heads_lib.ROOM, entry['settings']),
    entry['steps'],
    tuple(entry['reads']),
  )


def _unplugged(room, entry):
  """Settings of a kind; one of another package must have been imported."""
  name = entry['kind']
  if '.' in name and name not in sys.modules:  # What is read runs no code.
    raise ValueError(
      f'kind {name!r} is not one of {settings.kinds(room)}; import {name!r} '
      'before, if you trust it'
    )
  return settings.unplugged(room, entry, room)


def _check_scales(path, model, scales):
  for spec in model.streams:
    if spec.kind != 'continuous':
      continue
    shapes = [np.shape(x) for x in scales.get(spec.name, ())]
    if shapes != [(spec.dim,)] * 2:
      raise ValueError(
        f'{path}: stream {spec.name!r} has shapes {shapes}, expected mean and '
        f'std of {(spec.dim,)}'
      )
