"""The command line: flags in, `run(config, workdir)` out.

python -m rpt_jax.main --config=configs/hubert_units.py
python -m rpt_jax.main --config=configs/hubert_units.py:quicktest
python -m rpt_jax.main --config=... --config.seed=1 --workdir=runs/one
python -m rpt_jax.main --config=... --aot=v5e:16x16 [--aot_meshes=all]
python -m rpt_jax.main --doctor
python -m rpt_jax.main --inspect=<dataset>[,card=bridge,size=96x128,...]
python -m rpt_jax.main --convert=<TFDS folder of tfrecords>
"""

import contextlib
import importlib.util
import math
import os
import pathlib
import sys
import traceback

import jax
from absl import flags
from ml_collections import config_flags

from rpt_jax import envs, vision
from rpt_jax.episodes import tfrecord
from rpt_jax.stages import (
  aot,
  control,
  doctor,
  domains,
  dry_run,
  encode,
  experts,
  finetune,
  inspect,
  pipeline,
  sensorimotor,
  tuned,
)
from rpt_jax.training import distributed, memory, profiling

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Experiment: path[:arg,...].', lock_config=True
)
_WORKDIR = flags.DEFINE_string(
  'workdir', '', 'Where everything is written; default runs/<config>.'
)
_STAGES = flags.DEFINE_list('stages', [], 'Only these stages, by name.')
_DRY_RUN = flags.DEFINE_bool(
  'dry_run', False, 'Print plan, shapes, parameters and costs; train nothing.'
)
_AOT = flags.DEFINE_string(
  'aot', '', 'Compile every step for a TPU slice, as v5e:16x16; run nothing.'
)
_AOT_MESHES = flags.DEFINE_string(
  'aot_meshes', '', "Meshes to compare: '16x16x1,1x256x1', or 'all'."
)
_OVERWRITE = flags.DEFINE_bool(
  'overwrite', False, 'Forget earlier artifacts in the workdir.'
)
_PROFILE = flags.DEFINE_bool(
  'profile', False, 'Trace steps of every training to <stage>/profile.'
)
_DOCTOR = flags.DEFINE_bool(
  'doctor', False, 'Print what is installed, devices, readable datasets.'
)
_INSPECT = flags.DEFINE_string(
  'inspect', '', 'Survey a dataset: path[,key=value,...]; writes a page.'
)
_CONVERT = flags.DEFINE_string(
  'convert', '', 'Convert a TFDS folder from TFRecord to ArrayRecord, once.'
)


def run(config, workdir, only=(), overwrite=False):
  """Run the pipeline of a config in `workdir`; see `stages.pipeline.run`."""
  check(config)
  memory.keep_freed_memory()
  # Stages that compile the same step share it, and so does a second run.
  if not jax.config.jax_compilation_cache_dir:
    cache = pathlib.Path(workdir).absolute() / 'compiled'
    jax.config.update('jax_compilation_cache_dir', str(cache))
  return pipeline.run(config, workdir, only, overwrite)


def check(config) -> None:
  """Raise ValueError for a setting that no experiment can mean."""
  for name, value in pipeline.leaves(config.to_dict()):
    numbers = value if isinstance(value, (list, tuple)) else [value]
    for number in numbers:
      if not isinstance(number, (int, float)):
        continue
      free = number == -1 and name.startswith(('mesh.', 'encode.layer'))
      if not (math.isfinite(number) and number >= 0 or free):
        raise ValueError(
          f'config.{name}: found {number}, expected a finite number >= 0'
        )
  _check_names(config)


def _check_names(config):
  """Names that only a later stage would miss."""
  unknown = sorted(set(config.envs) - set(envs.NAMES))
  if unknown or not domains.names(config):
    raise ValueError(
      f'config.envs: found {unknown or "none"}, expected some of '
      f'{", ".join(envs.NAMES)}, or config.metaworld, or config.datasets'
    )
  if 'metaworld' in config:
    experts.check(config)
    if 'finetune' in config:
      control.check(config)
  for settings in config.datasets.values():
    domains.open_dataset(settings)
  if 'pretrain' in config:
    _check_runs(config)
  if 'finetune' in config:
    finetune.cells(config)
    if config.finetune.seeds < 2 and (config.envs or config.datasets):
      raise ValueError(
        f'config.finetune.seeds: found {config.finetune.seeds}; intervals over '
        'seeds need at least 2'
      )
    tuned.check(config)
  if config.encoder == 'state' and len(domains.names(config)) > len(
    config.envs
  ):
    raise ValueError(
      "config.encoder: 'state' is a control for config.envs alone"
    )
  if config.encoder not in ('mae', 'state'):
    vision.load(config.encoder, **encode.vision_settings(config.encode))


def _check_runs(config):
  for name, run in config.pretrain.runs.items():
    where = f'config.pretrain.runs.{name}'
    if not importlib.util.find_spec(f'rpt_jax.objectives.{run.objective}'):
      raise ValueError(
        f'{where}.objective: found {run.objective!r}, expected a module in '
        'rpt_jax/objectives/'
      )
    if not sensorimotor.wanted(config):
      if run.recipe not in config.quantize.recipes:
        raise ValueError(
          f'{where}.recipe: found {run.recipe!r}, expected one of '
          f'{sorted(config.quantize.recipes)}'
        )
  if sensorimotor.wanted(config):
    sensorimotor.check(config)


def main(argv) -> int:
  """Parse flags and run; returns 0, or after one line on what to mend 2; 3
  where a training came to what is not finite."""
  try:
    _parse_flags(argv)
    distributed.initialize()
    if not distributed.is_first():
      sys.stdout = open(os.devnull, 'w')  # One of them tells.
    if _DOCTOR.value or _INSPECT.value or _CONVERT.value:
      _look_after_data()
      return 0
    config, workdir = _parse()
    check(config)
  except Exception as error:  # Whatever a config file or a flag can raise.
    return _refuse(error)
  try:
    profiling.enable(_PROFILE.value)
    if _DRY_RUN.value:
      dry_run.describe(config)
    elif _AOT.value:
      aot.run(config, _AOT.value, workdir, _AOT_MESHES.value)
    else:
      run(config, workdir, tuple(_STAGES.value), _OVERWRITE.value)
      print('rpt_jax: done', flush=True)
  except (ValueError, OSError, FloatingPointError) as error:
    with contextlib.suppress(OSError):  # Where nothing can be written.
      (workdir / 'traceback.txt').write_text(traceback.format_exc())
    return _refuse(error)
  return 0


def _parse_flags(argv):
  positional = flags.FLAGS(argv)[1:]
  if positional:
    raise ValueError(f'positional arguments {positional}: use --flag=value')


def _look_after_data():
  """What needs no config: the flags on datasets and on this machine."""
  if _DOCTOR.value:
    doctor.run()
  if _CONVERT.value:
    print(tfrecord.convert(_CONVERT.value, _WORKDIR.value or None))
  if _INSPECT.value:
    inspect.run(_INSPECT.value, _WORKDIR.value)


def _parse():
  if _CONFIG.value is None:
    raise ValueError('--config=configs/<name>.py is required')
  if not hasattr(_CONFIG.value, 'to_dict'):
    raise ValueError('--config: no readable file of that name')
  spec = config_flags.get_config_filename(flags.FLAGS['config'])
  workdir = _WORKDIR.value or os.path.join('runs', experiment(spec))
  if '://' in workdir:
    raise ValueError(
      f'--workdir: found {workdir!r}, expected a path; mount the bucket, as '
      'launch/tpu.sh does'
    )
  return _CONFIG.value, pathlib.Path(workdir)


def experiment(spec: str) -> str:
  """`hubert_units-quicktest` for `configs/hubert_units.py:quicktest`."""
  path, _, argument = spec.partition(':')
  stem = pathlib.Path(path).stem
  return f'{stem}-{argument.replace(",", "-")}' if argument else stem


def _refuse(error):
  text = ' '.join(str(error).split())
  print(f'rpt_jax: error: {text}', file=sys.stderr)
  return 3 if isinstance(error, FloatingPointError) else 2


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  try:
    code = main(sys.argv)
  except Exception:
    traceback.print_exc()
    code = 1
  distributed.leave(code)
