"""A model in a folder: one layout for pretrained trunks and for policies.

config.json           streams, heads, sizes; what trained it; how it acts
model.safetensors     parameters of the sequence model
scales.safetensors    mean/<stream> and std/<stream>
README.md             the model card
encoder/              a policy's image model, where it was a folder
image.safetensors     its parameters, where training changed them

Nothing in it is ever executed. How a policy acts is `policy/saved.py`'s.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import shutil

import jax
import numpy as np

from rpt_jax.models import sequence
from rpt_jax.models.streams import HeadSpec
from rpt_jax.sharing import card as cards
from rpt_jax.sharing import loading
from rpt_jax.training import checkpoint, distributed
from rpt_jax.training.optimizer import path_name
from rpt_jax.types import Array, PyTree, StreamSpec
from rpt_jax.vision import hub, weights

FORMAT, VERSION = 'rpt_jax', 1
CONFIG, CARD, ENCODER = 'config.json', 'README.md', 'encoder'
MODEL, SCALES, IMAGE = (
  f'{name}.safetensors' for name in ('model', 'scales', 'image')
)
# What is fetched of a repository.
FILES = (
  *hub.FILES,
  SCALES,
  IMAGE,
  CARD,
  *(f'{ENCODER}/{f}' for f in hub.FILES),
)
_APART = ('streams', 'heads', 'parent', 'name')  # Of a SequenceModel.


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
  partial, old = (
    folder.with_name(f'.{folder.name}.{what}-{os.getpid()}')
    for what in ('partial', 'partial-old')
  )
  try:
    partial.mkdir(parents=True)
    yield partial
    if folder.exists():
      os.replace(folder, old)
    os.replace(partial, folder)
  except BaseException:
    if old.exists() and not folder.exists():
      os.replace(old, folder)
    raise
  finally:
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def write(
  folder: pathlib.Path,
  model: sequence.SequenceModel,
  params: PyTree,
  scales: dict[str, tuple[Array, Array]],
  *,
  origin: dict | None = None,
  acting: dict | None = None,
  card: str = '',
) -> None:
  """Writes all of a model but its image model into an empty folder.

  To be called by every process that holds a part of the parameters.

  Args:
    origin: what trained it, for JSON; the same for equal trainings.
    acting: how it acts, for JSON; None of a model that does not.
    card: Markdown; '': what the model alone tells.
  """
  checkpoint.save_params(folder / MODEL, params)
  save_scales(folder / SCALES, scales)
  if not distributed.is_first():
    return
  sizes = [f.name for f in dataclasses.fields(model) if f.name not in _APART]
  config = {
    'format': FORMAT,
    'version': VERSION,
    'streams': [dataclasses.asdict(s) for s in model.streams],
    'heads': [dataclasses.asdict(h) for h in model.heads],
    'model': {name: getattr(model, name) for name in sizes},
    'origin': origin or {},
    'acting': acting,
  }
  (folder / CARD).write_text(card or cards.text(model))
  (folder / CONFIG).write_text(json.dumps(config, indent=2) + '\n')


def read(folder: str | os.PathLike) -> dict:
  """What `write` was given, and `folder`, absolute.

  Raises ValueError for what is missing, damaged, not finite, of another
  format or version, and for files that do not fit each other.
  """
  folder = pathlib.Path(folder).absolute()
  path = folder / CONFIG
  config = weights.read_json(path)
  found = config.get('format'), config.get('version')
  if found != (FORMAT, VERSION):
    raise ValueError(
      f'{path}: format {found}, expected {(FORMAT, VERSION)}; load it with the '
      'version of rpt_jax that wrote it, or save the model again'
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
  card = folder / CARD
  text = card.read_text(errors='replace') if card.exists() else ''
  parts = {'model': model, 'params': params, 'scales': scales, 'card': text}
  return rest | parts | {'folder': folder}


def save_scales(path, scales: dict[str, tuple[Array, Array]]) -> None:
  """Writes {stream: (mean [D], std [D])} as safetensors."""
  mean = {stream: np.asarray(mean_D) for stream, (mean_D, _) in scales.items()}
  std = {stream: np.asarray(std_D) for stream, (_, std_D) in scales.items()}
  checkpoint.save_params(path, {'mean': mean, 'std': std})


def load_scales(path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Reads what `save_scales` wrote; ValueError where it is nothing such."""
  leaves = jax.tree_util.tree_leaves_with_path(checkpoint.load_params(path))
  flat = {path_name(key): x for key, x in leaves}
  streams = {name.partition('/')[2] for name in flat}
  expected = {f'{what}/{name}' for name in streams for what in ('mean', 'std')}
  if flat.keys() != expected:
    raise ValueError(
      f'{path}: found {sorted(flat)}, expected mean/<stream> and std/<stream> '
      'of every stream'
    )
  return {s: (flat[f'mean/{s}'], flat[f'std/{s}']) for s in sorted(streams)}


def _ours(folder):
  try:
    return weights.read_json(folder / CONFIG).get('format') == FORMAT
  except ValueError:
    return False


def _parse(config, shapes):
  """(model, shapes of its parameters) of a config.json.

  A size beyond every saved axis is refused before anything is built of it.
  """
  sizes, largest = config['model'], max(n for s in shapes.values() for n in s)
  for name in ('width', 'depth', 'context'):
    if type(sizes[name]) is not int or not 0 < sizes[name] <= largest:
      raise ValueError(
        f'{name} is {sizes[name]!r}, but the largest axis of {MODEL} {largest}'
      )
  streams = tuple(StreamSpec(**s) for s in config['streams'])
  heads = tuple(
    HeadSpec(**h | {'reads': tuple(h['reads'])}) for h in config['heads']
  )
  model = sequence.SequenceModel(streams, heads, **sizes)
  init = functools.partial(sequence.init, model)
  return model, jax.eval_shape(init, jax.random.key(0))


def _check_scales(path, model, scales):
  for spec in model.streams:
    if spec.kind != 'continuous':
      continue
    found = [np.shape(x) for x in scales.get(spec.name, ())]
    if found != [(spec.dim,)] * 2:
      raise ValueError(
        f'{path}: stream {spec.name!r} has shapes {found}, expected mean and '
        f'std of {(spec.dim,)}'
      )
