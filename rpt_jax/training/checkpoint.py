"""Checkpoints that are whole or not there, and weights in safetensors.

Orbax neither notices a flipped bit nor a changed dtype. So every saved step
carries `manifest.json`, written last and atomically: shape and dtype of each
array, sha256 of each file. A step without it does not count; one that
disagrees with it is dropped, with a warning, for the step before. A state is
copied when it is to be saved, and written and hashed while training goes on.

In a job of several processes the directory is one that all of them see. Each
writes its part of the arrays; the first one writes manifests, verifies, removes
and says which step all restore.
"""

import concurrent.futures
import contextlib
import logging
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from rpt_jax import files
from rpt_jax.training import distributed, sharding
from rpt_jax.training.optimizer import path_name
from rpt_jax.types import PyTree

MANIFEST = 'manifest.json'


class Checkpoints:
  """The last two states under `directory`, by step."""

  def __init__(self, directory):
    self._directory = pathlib.Path(directory).absolute()
    self._directory.mkdir(parents=True, exist_ok=True)
    self._drop_unfinished()
    distributed.wait(f'{self._directory} has whole steps alone')
    self._manager = self._open()
    self._thread = concurrent.futures.ThreadPoolExecutor(1)
    self._begun = None  # The folder that is written, and a future of it.

  def _open(self):
    """Orbax's manager of what is there.

    It is not to clean up: it would, in a thread, what is removed here.
    """
    atomic = ocp.options.AtomicityOptions(
      mode=ocp.options.AtomicityMode.COMMIT_FILE
    )
    return ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(2),
        atomicity_options=atomic,
        enable_async_checkpointing=True,
      ),
    )

  def save(self, step: int, state: PyTree) -> None:
    """Begins to write `state` as `step`, which is whole when `settle` returns.

    The state may be changed or deleted meanwhile. Raises OSError where this
    cannot be begun, or as `settle`, which is called first.
    """
    self.settle()
    folder = self._directory / str(step)
    args = ocp.args.StandardSave(jax.tree.map(_apart, state))
    with self._undone(folder):
      self._manager.save(step, args=args, force=True)
    arrays = _arrays(state)
    future = self._thread.submit(self._finish, folder, arrays)
    self._begun = folder, future

  def settle(self) -> None:
    """Returns when what was begun is whole on disk.

    Raises OSError where it could not be written; nothing of it is left then,
    and it may be tried again. Processes that are not alone cannot agree on
    that: the error ends the job.
    """
    if self._begun is None:
      return
    (folder, future), self._begun = self._begun, None
    with self._undone(folder):
      future.result()
    distributed.wait(f'{folder} is whole')

  def _finish(self, folder, arrays):
    """What is left to do when a state has been copied, in a thread."""
    self._manager.wait_until_finished()
    if distributed.is_first():
      manifest = {'arrays': arrays, 'files': _hashes(folder)}
      files.write_json(folder / MANIFEST, manifest)  # Makes the step count.

  @contextlib.contextmanager
  def _undone(self, folder):
    """Removes a step that cannot be written, and raises OSError."""
    try:
      yield
    except Exception as error:  # Orbax and TensorStore have their own kinds.
      if jax.process_count() > 1:
        raise
      shutil.rmtree(folder, ignore_errors=True)
      self._manager = self._open()  # The one before fails again and again.
      raise OSError(f'{folder} cannot be written: {error}') from error

  def restore(self, state: PyTree) -> tuple[int, PyTree] | None:
    """The latest intact (step, state), or None where there is none.

    Args:
      state: arrays, or shapes with shardings, of what is expected; arrays
        come back on the devices these name.

    Raises:
      ValueError: an intact checkpoint is of another model, or there are
        checkpoints and none is intact.
    """
    step = self._latest_intact()
    if step is None:
      return None
    folder = self._directory / str(step)
    saved = files.read_json(folder / MANIFEST, 'arrays')['arrays']
    wrong = _differences(saved, _arrays(state))
    if wrong:
      raise ValueError(
        f'checkpoint {folder} is of another model: {"; ".join(wrong[:5])}; '
        'use another workdir, or --overwrite'
      )
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    arguments = ocp.args.StandardRestore(abstract)
    return step, self._manager.restore(step, args=arguments)

  def steps(self) -> list[int]:
    """Steps with a manifest, in order."""
    manifests = self._directory.glob(f'*/{MANIFEST}')
    return sorted(int(path.parent.name) for path in manifests)

  def close(self) -> None:
    """Waits for what was begun, and ends Orbax's manager."""
    with contextlib.suppress(OSError):  # Whoever asks is told by `settle`.
      self.settle()
    self._thread.shutdown()
    self._manager.close()

  def _latest_intact(self):
    """The step all processes restore; what is damaged after it is removed."""
    candidate = self._go_back() if distributed.is_first() else -1
    intact = distributed.agree(candidate)
    self._manager.reload()
    return None if intact < 0 else intact

  def _go_back(self):
    """The latest intact step, later ones removed; -1 where none was saved."""
    damaged = []
    for step in self.steps()[::-1]:
      folder = self._directory / str(step)
      damage = _damage(folder)
      if not damage:
        for each in damaged:
          shutil.rmtree(each)
        return step
      logging.error('checkpoint %s is damaged (%s); going back', folder, damage)
      damaged.append(folder)
    if damaged:
      raise ValueError(
        f'{self._directory}: none of {len(damaged)} checkpoints is intact '
        f'({damage}); bring one back, or begin anew with --overwrite'
      )
    return -1

  def _drop_unfinished(self):
    """Removes what a killed save left: its step would never be saved again."""
    for folder in self._directory.iterdir() if distributed.is_first() else ():
      if folder.is_dir() and not (folder / MANIFEST).exists():
        logging.warning('removing unfinished checkpoint %s', folder)
        shutil.rmtree(folder)


def _apart(x):
  """An array that the next step does not write over, which is given this one.

  Orbax copies from other devices to the host; of a CPU it reads as it is.
  """
  on_cpu = next(iter(x.devices())).platform == 'cpu'
  return jnp.copy(x) if on_cpu else x


def _damage(folder):
  """What of a step is not as its manifest says; None: it is intact."""
  try:
    saved = files.read_json(folder / MANIFEST, 'files')['files']
    return next(iter(_differences(saved, _hashes(folder))), None)
  except (ValueError, TypeError, KeyError) as error:
    return f'{MANIFEST}: {error!r}'


def _arrays(state):
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return {path_name(p): [str(x.dtype), list(x.shape)] for p, x in leaves}


def _hashes(folder):
  hashes = {}
  for path in sorted(folder.rglob('*')):
    if path.is_file() and path.name != MANIFEST:
      hashes[path.relative_to(folder).as_posix()] = files.sha256(path)
  return hashes


def _differences(expected, actual):
  """What is missing, extra or different, named."""
  missing = [f'missing {k}' for k in expected if k not in actual]
  extra = [f'extra {k}' for k in actual if k not in expected]
  changed = [
    f'{k} is {actual[k]}, saved as {v}'
    for k, v in expected.items()
    if k in actual and actual[k] != v
  ]
  return changed + missing + extra


def save_params(path, params: PyTree) -> None:
  """Writes parameters as safetensors, names 'a/b/c', atomically.

  To be called by every process that holds a part of them; the first writes.
  """
  path, whole = pathlib.Path(path), sharding.gather(params)
  if not distributed.is_first():
    return
  leaves = jax.tree_util.tree_leaves_with_path(whole)
  # safetensors writes beside the file it is given first, under a name of its
  # own: so in a folder, which a resumed stage drops with all that a kill left.
  partial = path.with_name(path.name + '.partial')
  partial.mkdir(parents=True, exist_ok=True)
  try:
    safetensors.save_file(
      {path_name(p): x for p, x in leaves}, partial / path.name
    )
    os.replace(partial / path.name, path)
  except (SafetensorError, OSError) as error:
    shutil.rmtree(partial, ignore_errors=True)
    raise OSError(f'{path}: cannot be written ({error})') from error
  shutil.rmtree(partial)


def load_params(path, like: PyTree | None = None) -> PyTree:
  """Nested dict of NumPy arrays from safetensors.

  Raises ValueError naming what is missing, extra or misshaped against `like`
  (arrays or shapes), or a file that is damaged.
  """
  try:
    flat = safetensors.load_file(files.regular(path))
  except (SafetensorError, OSError) as error:
    raise ValueError(
      f'{path}: not a whole safetensors file ({error}); write it again'
    ) from error
  if like is not None:
    expected = {k: v for k, v in _arrays(like).items()}
    wrong = _differences(_arrays(flat), expected)
    if wrong:
      raise ValueError(f'{path} does not fit the model: {"; ".join(wrong[:5])}')
  tree = {}
  for name, value in flat.items():
    *parents, leaf = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = value
  return tree
