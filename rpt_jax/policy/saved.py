"""A policy on disk: a folder that says all it takes to act.

policy.json           streams, sizes, execution, frames, labels, image model
model.safetensors     parameters of the sequence model
scales.safetensors    mean/<stream> and std/<stream>
encoder/              the image model, where it was a folder
image.safetensors     its parameters, where training changed them
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable

import jax
import numpy as np
from safetensors import SafetensorError

from rpt_jax import vision
from rpt_jax.models import sequence
from rpt_jax.models.streams import HeadSpec
from rpt_jax.policy.program import Execution
from rpt_jax.training import checkpoint
from rpt_jax.training.optimizer import path_name
from rpt_jax.types import Array, StreamSpec
from rpt_jax.vision import hub, weights

FORMAT, VERSION = 'rpt_jax.policy', 1
CONFIG, ENCODER = 'policy.json', 'encoder'
MODEL, SCALES, IMAGE = (
  f'{name}.safetensors' for name in ('model', 'scales', 'image')
)
_APART = ('streams', 'heads', 'parent', 'name')  # Of a SequenceModel.


@dataclasses.dataclass(frozen=True)
class _Known:
  """A function told apart by what it was read from.

  Policies on copies of one image model are one program.
  """

  key: str
  call: Callable = dataclasses.field(compare=False)

  def __call__(self, *args):
    return self.call(*args)


def write(folder: str | os.PathLike, policy) -> None:
  """Writes a policy beside `folder`, then renames; errors as `Policy.save`."""
  folder = pathlib.Path(folder).absolute()
  if folder.exists() and not (folder / CONFIG).exists():
    raise ValueError(f'{folder}: exists and is no saved policy; give another')
  partial, old = (
    folder.with_name(f'.{folder.name}.{what}-{os.getpid()}')
    for what in ('partial', 'old')
  )
  try:
    partial.mkdir(parents=True)
    checkpoint.save_params(partial / MODEL, policy.params)
    save_scales(partial / SCALES, policy.scales)
    image = _write_image(partial, policy) if policy.image else None
    config = _describe(policy) | {'image': image}
    (partial / CONFIG).write_text(json.dumps(config, indent=2))
    if folder.exists():
      os.replace(folder, old)
    os.replace(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  shutil.rmtree(old, ignore_errors=True)


def read(folder: str | os.PathLike) -> dict:
  """The arguments of the policy saved in `folder`; errors as `Policy.load`."""
  folder = pathlib.Path(folder).absolute()
  path = folder / CONFIG
  config = weights.read_json(path)
  found = config.get('format'), config.get('version')
  if found != (FORMAT, VERSION):
    raise ValueError(
      f'{path}: format {found}, expected {(FORMAT, VERSION)}; load it with the '
      'version of rpt_jax that wrote it, or save the policy again'
    )
  try:
    parts, image = _parse(config), config['image'] and dict(config['image'])
  except (AttributeError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path}: not as a policy is saved ({type(error).__name__}: {error}); '
      'save it again'
    ) from error
  init = functools.partial(sequence.init, parts['model'])
  like = jax.eval_shape(init, jax.random.key(0))
  parts['params'] = _tensors(folder / MODEL, like)
  parts['scales'] = load_scales(folder / SCALES)
  return parts | (_read_image(folder, image) if image else {})


def save_scales(path, scales: dict[str, tuple[Array, Array]]) -> None:
  """Writes {stream: (mean [D], std [D])} as safetensors."""
  mean = {stream: np.asarray(mean_D) for stream, (mean_D, _) in scales.items()}
  std = {stream: np.asarray(std_D) for stream, (_, std_D) in scales.items()}
  checkpoint.save_params(path, {'mean': mean, 'std': std})


def load_scales(path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Reads what `save_scales` wrote; ValueError where it is nothing such."""
  leaves = jax.tree_util.tree_leaves_with_path(_tensors(path))
  flat = {path_name(key): x for key, x in leaves}
  streams = {name.partition('/')[2] for name in flat}
  expected = {f'{what}/{name}' for name in streams for what in ('mean', 'std')}
  if flat.keys() != expected:
    raise ValueError(
      f'{path}: found {sorted(flat)}, expected mean/<stream> and std/<stream> '
      'of every stream'
    )
  return {s: (flat[f'mean/{s}'], flat[f'std/{s}']) for s in sorted(streams)}


def _tensors(path, like=None):
  try:
    return checkpoint.load_params(path, like)
  except (SafetensorError, OSError) as error:
    raise ValueError(
      f'{path}: not a whole safetensors file ({error}); save the policy again'
    ) from error


def _describe(policy):
  """policy.json but for the image model."""
  model = policy.model
  sizes = [f.name for f in dataclasses.fields(model) if f.name not in _APART]
  return {
    'format': FORMAT,
    'version': VERSION,
    'streams': [dataclasses.asdict(s) for s in model.streams],
    'heads': [dataclasses.asdict(h) for h in model.heads],
    'model': {name: getattr(model, name) for name in sizes},
    'execution': dataclasses.asdict(policy.execution),
    'action_limit': _numbers(policy.action_limit),
    'frames': policy.frames,
    'labels': policy.labels,
  }


def _numbers(limit):
  return None if limit is None else [np.asarray(x).tolist() for x in limit]


def _parse(config):
  """The arguments of a policy that policy.json alone gives."""
  heads = tuple(
    HeadSpec(**h | {'reads': tuple(h['reads'])}) for h in config['heads']
  )
  streams = tuple(StreamSpec(**s) for s in config['streams'])
  return {
    'model': sequence.SequenceModel(streams, heads, **config['model']),
    'execution': Execution(**config['execution']),
    'action_limit': config['action_limit'],
    'frames': dict(config['frames']),
    'labels': dict(config['labels']),
  }


def _write_image(partial, policy):
  """Copies or names the image model: its entry in policy.json."""
  if policy.image_from is None:
    raise ValueError(
      'policy: where its image model comes from is not known, so it cannot be '
      'saved; give Policy image_from=(what, settings) of vision.load'
    )
  what, settings = policy.image_from
  model = vision.load(what, **settings)
  _check_same(policy, model, what, settings)
  path = pathlib.Path(what)
  if path.is_dir():
    (partial / ENCODER).mkdir()
    for pattern in hub.FILES:
      for file in path.glob(pattern):
        shutil.copy(file, partial / ENCODER)
    what = ENCODER
  elif path.is_file():
    what = path.absolute()
  digest, tuned = _digest(model.params), policy.image.params
  own = _digest(tuned) != digest
  if own:
    checkpoint.save_params(partial / IMAGE, tuned)
  found = {'load': str(what), 'settings': dict(settings)}
  return found | {'sha256': digest, 'own_params': own}


def _check_same(policy, model, what, settings):
  """ValueError unless both image models see the same in a frame."""
  size = next(iter(policy.frames.values()))
  frame_NHWC = np.random.default_rng(0).integers(
    256, size=(1, *size, 3), dtype=np.uint8
  )
  like = jax.tree.map(np.shape, (model.params, policy.image.params))
  same = like[0] == like[1]
  if same:
    mine, theirs = (
      jax.jit(_latent, static_argnums=(0, 1))(
        m.apply, m.preprocess, policy.image.params, frame_NHWC
      )
      for m in (policy.image, model)
    )
    same = mine.shape == theirs.shape and np.allclose(mine, theirs, atol=1e-4)
  if not same:
    raise ValueError(
      f'image_from: vision.load({str(what)!r}, **{settings}) is not the image '
      'model of this policy; give what it was loaded from'
    )


def _latent(apply, preprocess, params, frame_NHWC):
  return apply(params, preprocess(frame_NHWC))


def _read_image(folder, entry):
  """The arguments `image` and `image_from`."""
  what, settings, digest, own = weights.require(
    entry, folder / CONFIG, 'load', 'settings', 'sha256', 'own_params'
  )
  if what == ENCODER:
    what = folder / ENCODER
  model = vision.load(what, **settings)
  if _digest(model.params) != digest:
    raise ValueError(
      f'{what}: not the weights of the image model in {folder / CONFIG}; bring '
      'back those it was trained with'
    )
  key = _key(what, settings, model.params)
  params = _tensors(folder / IMAGE, model.params) if own else model.params
  image = dataclasses.replace(
    model,
    params=params,
    apply=_Known(key, model.apply),
    preprocess=_Known(key, model.preprocess),
  )
  return {'image': image, 'image_from': (what, settings)}


def _key(what, settings, params):
  """What an image model computes, weights apart: a hash of its description."""
  path = pathlib.Path(what)
  name = str(what)
  if path.is_dir():
    texts = {p.name: p.read_text() for p in path.glob('*config.json')}
    name = sorted(texts.items())
  leaves = jax.tree_util.tree_leaves_with_path(params)
  shapes = sorted((path_name(p), np.shape(x)) for p, x in leaves)
  return hashlib.sha256(
    json.dumps([name, settings, shapes], sort_keys=True).encode()
  ).hexdigest()


def _digest(params):
  """sha256 of parameters, names and values."""
  digest = hashlib.sha256()
  leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(params))
  for name, x in sorted((path_name(p), x) for p, x in leaves):
    digest.update(f'{name} {x.shape} {x.dtype}'.encode())
    digest.update(np.ascontiguousarray(x))
  return digest.hexdigest()
