"""A policy on disk: the folder of its model, and all it takes to act.

`sharing/folder.py` says what lies where. Here is the entry 'acting' of its
config.json (execution, actions, frames, labels, image model) and the image
model.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable

import jax
import numpy as np

from rpt_jax import files, vision
from rpt_jax.policy.execution import Execution
from rpt_jax.sharing import card as cards
from rpt_jax.sharing import folder as folders
from rpt_jax.sharing.folder import CONFIG, ENCODER, IMAGE
from rpt_jax.training import checkpoint, distributed
from rpt_jax.training.optimizer import path_name
from rpt_jax.types import DatasetNames
from rpt_jax.vision import hub, weights

_ENCODER_FILE = f'{ENCODER}.safetensors'
_PARTS = ('model', 'params', 'scales', 'constants', 'words')


@dataclasses.dataclass(frozen=True)
class _Named:
  """A function that is another only where it was read from something else.

  Policies on copies of one image model are one program.
  """

  key: str
  call: Callable = dataclasses.field(compare=False)

  def __call__(self, *args):
    return self.call(*args)


def write(
  folder: str | os.PathLike, policy, origin: dict | None = None, card: str = ''
) -> None:
  """Writes a policy beside `folder`, then renames; errors as `Policy.save`."""
  with folders.replacing(folder) as partial:
    acting = {
      'execution': dataclasses.asdict(policy.execution),
      'action_limit': _numbers(policy.action_limit),
      'num_actions': policy.num_actions,
      # Pairs: the order of cameras is that of their latents.
      'frames': [[camera, size] for camera, size in policy.frames.items()],
      'labels': policy.labels,
      'recorded': policy.recorded._asdict(),
      'image': _write_image(partial, policy) if policy.image else None,
    }
    folders.write(
      partial,
      policy.model,
      policy.params,
      policy.scales,
      constants=policy.weights.constants,
      words=policy.words,
      origin=origin,
      acting=acting,
      card=card or cards.text(policy.model, 'A policy', acts=True),
    )


def read(folder: str | os.PathLike) -> dict:
  """The arguments of the policy saved in `folder`; errors as `Policy.load`."""
  whole = folders.read(folder)
  parts = {name: whole[name] for name in _PARTS}
  return parts | acting(whole['folder'], whole['acting'])


def acting(folder: pathlib.Path, entry: dict | None) -> dict:
  """The arguments of a policy that are not its model's.

  Raises ValueError where there are none, the model being no policy, or where
  they are damaged.
  """
  path = folder / CONFIG
  if entry is None:
    raise ValueError(
      f'{path}: a model that does not act; fine-tune it (config.pretrain.init) '
      "or give a policy's folder"
    )
  try:
    image = entry['image'] and dict(entry['image'])
    parts = {
      'execution': Execution(**entry['execution']),
      'action_limit': entry['action_limit'],
      'num_actions': entry.get('num_actions', 0),  # Before there were any.
      'frames': dict(entry['frames']),  # Pairs, or once a dictionary.
      'labels': dict(entry['labels']),
      'recorded': _recorded(entry.get('recorded', {})),
    }
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path}: not as a policy is saved ({type(error).__name__}: {error}); '
      'save it again'
    ) from error
  return parts | (_read_image(folder, image) if image else {})


def _recorded(entry):
  """What is known of the dataset; policies of old say nothing of it."""
  columns, sizes = entry.get('columns', {}), entry.get('sizes', {})
  return DatasetNames(
    {name: tuple(map(str, own)) for name, own in columns.items()},
    {camera: (int(h), int(w)) for camera, (h, w) in sizes.items()},
  )


def _numbers(limit):
  return None if limit is None else [np.asarray(x).tolist() for x in limit]


def _write_image(partial, policy):
  """Copies or names the image model: its entry in config.json."""
  if policy.image_from is None:
    raise ValueError(
      'policy: where its image model comes from is not known, so it cannot be '
      'saved; give Policy image_from=(what, settings) of vision.load'
    )
  what, settings = policy.image_from
  model = vision.load(what, **settings)
  _check_same(policy, model, what, settings)
  path = pathlib.Path(what)
  if what not in vision.CONTROLS and not path.exists():
    path = hub.download(str(what))  # It was loaded from there: it is cached.
  if path.is_dir() or path.is_file():
    what = ENCODER if path.is_dir() else _ENCODER_FILE
    if distributed.is_first():  # All of a job come here; one writes.
      _copy(path, partial / what)
  digest, tuned = _digest(model.params), policy.image.params
  own = _digest(tuned) != digest
  if own:
    checkpoint.save_params(partial / IMAGE, tuned)
  entry = {'load': str(what), 'settings': dict(settings)}
  return entry | {'sha256': digest, 'own_params': own}


def _copy(model, folder):
  """An image model's file, or what its folder holds that is of it."""
  if model.is_file():
    shutil.copy(model, folder)
    return
  folder.mkdir()
  for pattern in hub.FILES:
    for file in model.glob(pattern):
      shutil.copy(file, folder)


def _check_same(policy, model, what, settings):
  """ValueError unless both image models see the same in a frame."""
  size = next(iter(policy.frames.values()))
  frame_NHWC = np.random.default_rng(0).integers(
    256, size=(1, *size, 3), dtype=np.uint8
  )
  like = jax.tree.map(np.shape, (model.params, policy.image.params))
  same = like[0] == like[1]
  if same:
    latents = [
      jax.jit(_latent, static_argnums=(0, 1))(
        m.apply, m.preprocess, policy.image.params, frame_NHWC
      )
      for m in (policy.image, model)
    ]
    same = latents[0].shape == latents[1].shape
    same = same and np.allclose(*latents, atol=1e-4)
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
  if what not in vision.CONTROLS:
    if what not in (ENCODER, _ENCODER_FILE):
      raise ValueError(
        f'{folder / CONFIG}: its image model is {str(what)[:200]!r}, expected '
        f'{ENCODER!r} or {_ENCODER_FILE!r} in this folder, as nothing that is '
        'named in it is read from elsewhere; save the policy again'
      )
    what = files.inside(folder, what)
  model = vision.load(what, **settings)
  if _digest(model.params) != digest:
    raise ValueError(
      f'{what}: not the weights of the image model in {folder / CONFIG}; bring '
      'back those it was trained with'
    )
  key = _key(what, settings, model.params)
  own_params = own and checkpoint.load_params(folder / IMAGE, model.params)
  params = own_params or model.params
  image = dataclasses.replace(
    model,
    params=params,
    apply=_Named(key, model.apply),
    preprocess=_Named(key, model.preprocess),
  )
  return {'image': image, 'image_from': (what, settings)}


def _key(what, settings, params):
  """What an image model computes, weights apart: a hash of its description."""
  path = pathlib.Path(what)
  name = str(what)
  if path.is_dir():
    described = [path / n for n in hub.FILES if n.endswith('config.json')]
    name = [[p.name, files.read_text(p)] for p in described if p.exists()]
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
