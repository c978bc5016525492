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
import os
import pathlib
import re
import sys
import tempfile
import traceback

from absl import flags
from ml_collections import config_flags

from rpt_jax import experiments, settings, target
from rpt_jax.training import distributed, stopping


def define_config(**how):
  """The flag --config, and one for every key of it.

  What a key may hold, and whether there is one, `settings.read` alone decides.
  """
  return config_flags.DEFINE_config_file(
    'config',
    None,
    'Experiment: path[:arg,...], or the name of one that comes with it.',
    lock_config=False,
    accept_new_attributes=True,
    **how,
  )


_HELP = flags.DEFINE_bool('help', False, 'Print this.')
_CONFIG = define_config()
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
# In what ml_collections says of a config file that raised something.
_TRACEBACK = r'(?s)Error whilst parsing config file:.*\n(?=\w)'


def run(config, workdir, only=(), overwrite=False, profile=False):
  """Run the pipeline of a config in `workdir`; see `stages.pipeline.run`.

  `config` is an `ml_collections.ConfigDict` as `configs/*.py` give it; with
  `profile` some steps of every training are traced to `<stage>/profile`. Raises
  ValueError, before any work, for a config that nothing can mean.
  """
  from rpt_jax.learning import checks
  from rpt_jax.training import profiling

  experiment = checks.experiment(config)
  profiling.enable(profile)
  with target.rounding_to(experiment.precision):
    return _run(experiment, workdir, only, overwrite)


def aot(config, topology, workdir, meshes=''):
  """Compile every step of a config for a TPU slice; see `tools.aot.run`.

  `topology` is as 'v5e:16x16'; nothing runs, and no TPU is needed. Raises
  ValueError as `run`, and for a slice there is not.
  """
  from rpt_jax.learning import checks
  from rpt_jax.tools import aot as tool

  experiment = checks.experiment(config)
  with target.rounding_to(experiment.precision):
    return tool.run(experiment, topology, pathlib.Path(workdir), meshes)


def _run(experiment, workdir, only, overwrite):
  """Runs an experiment that is checked."""
  from rpt_jax.learning import checks
  from rpt_jax.stages import pipeline
  from rpt_jax.tools import steps
  from rpt_jax.training import compiled, memory

  checks.check_devices(experiment)
  steps.trace(experiment)
  memory.keep_freed_memory()
  compiled.keep()
  print(f'products: {target.operands()} operands', flush=True)
  return pipeline.run(experiment, workdir, only, overwrite)


def main(argv) -> int:
  """Parse flags and run; returns 0, or after one line on what to mend 2; 3
  where a training came to what is not finite."""
  try:
    _parse_flags(argv)
    if _HELP.value:
      here = flags.FLAGS.find_module_defining_flag(_WORKDIR.name)
      print(__doc__, flags.FLAGS.module_help(here), sep='\n')
      return 0
    distributed.initialize()
    if missing := distributed.missing_platform():
      if not _DOCTOR.value:
        raise ValueError(missing)
      _look_after_data()  # It says this among other things.
      return 0
    if not distributed.is_first():
      sys.stdout = open(os.devnull, 'w')  # One of them tells.
    if _DOCTOR.value or _INSPECT.value or _CONVERT.value:
      with stopping.watched('its work'):
        _look_after_data()
      return 0
    config, workdir = _parse()
    experiment = _checked(config)
  except Exception as error:  # Whatever a config file or a flag can raise.
    return _refuse(error)
  from rpt_jax.training import profiling

  try:
    profiling.enable(_PROFILE.value)
    with stopping.watched('its start'):
      with target.rounding_to(experiment.precision):
        _do(experiment, workdir)
  except (ValueError, OSError, FloatingPointError) as error:
    if (workdir / 'run.json').exists():  # A workdir that a run has begun.
      with contextlib.suppress(OSError):  # Where nothing can be written.
        text = traceback.format_exc()
        (workdir / 'traceback.txt').write_text(text, 'utf-8', 'replace')
    return _refuse(error, workdir / 'traceback.txt')
  return 0


def _do(experiment, workdir):
  """What the flags ask for: to describe it, to compile it, or to run it."""
  if _DRY_RUN.value:
    from rpt_jax.tools import dry_run

    dry_run.describe(experiment)
  elif _AOT.value:
    from rpt_jax.tools import aot

    aot.run(experiment, _AOT.value, workdir, _AOT_MESHES.value)
  else:
    _run(experiment, workdir, tuple(_STAGES.value), _OVERWRITE.value)
    print('rpt_jax: done', flush=True)


def _parse_flags(argv):
  try:
    positional = flags.FLAGS(_with_paths(argv))[1:]
  except (KeyError, IndexError) as error:
    raise ValueError(
      f'--config: a flag sets a key of what is not there: {error.args[0]}'
    ) from error
  except flags.IllegalFlagValueError as error:  # May hold a whole traceback.
    raise ValueError(re.sub(_TRACEBACK, '', str(error))) from error
  if positional:
    raise ValueError(f'positional arguments {positional}: use --flag=value')


def _with_paths(argv):
  """Arguments with the path of a config in place of its name."""
  paths = list(argv)
  for i, argument in enumerate(argv):
    if argument in ('--config', '-config') and i + 1 < len(argv):
      paths[i + 1] = experiments.resolve(argv[i + 1])
    flag, equals, spec = argument.partition('=')
    if equals and flag in ('--config', '-config'):
      paths[i] = f'{flag}={experiments.resolve(spec)}'
  return paths


def configured(values: flags.FlagValues):
  """The config of parsed flags; a kind that a flag changed has its own keys."""
  flag = values['config']
  overrides = flag.override_values
  before = {path: values[f'config.{path}'].default for path in overrides}
  settings.rekind(flag.value, before, overrides)
  return flag.value


def _checked(config):
  """The experiment, checked; what a typo needs of packages comes first."""
  experiment = settings.read(settings.Experiment, config)
  from rpt_jax.learning import checks

  checks.check(experiment)
  return experiment


def _look_after_data():
  """What needs no config: the flags on datasets and on this machine."""
  from rpt_jax.tools import convert, doctor, inspect

  if _DOCTOR.value:
    doctor.run()
  if _CONVERT.value:
    print(convert.run(_CONVERT.value, _WORKDIR.value or None))
  if _INSPECT.value:
    inspect.run(_INSPECT.value, _WORKDIR.value)


def _parse():
  if _CONFIG.value is None:
    raise ValueError(
      '--config is required: configs/<name>.py, or one of '
      f'{experiments.names()}; --help says more'
    )
  spec = config_flags.get_config_filename(flags.FLAGS['config'])
  try:
    is_config = hasattr(_CONFIG.value, 'to_dict')
  except OSError as error:  # ml_collections keeps it until it is looked at.
    raise ValueError(
      f'--config: cannot read {spec!r}, expected a file, or one of '
      f'{experiments.names()}'
    ) from error
  if not is_config:
    raise ValueError(
      f'--config: get_config in {spec!r} gives no ConfigDict, expected one'
    )
  workdir = _WORKDIR.value or os.path.join('runs', experiments.title(spec))
  if '://' in workdir:
    raise ValueError(
      f'--workdir: found {workdir!r}, expected a path; mount the bucket, as '
      'launch/tpu.sh does'
    )
  return configured(flags.FLAGS), pathlib.Path(workdir)


def _refuse(error, written=None):
  """Prints one line; `written` is where the traceback lies, if it was."""
  text = ' '.join(str(error).split())
  if not _is_ours(error):
    text = f'{type(error).__name__}: {text or "it gives no reason"}'
    text += f'; the traceback: {_traceback(error, written)}'
  print(f'rpt_jax: error: {text}', file=sys.stderr)
  return 3 if isinstance(error, FloatingPointError) else 2


def _is_ours(error):
  """Whether it was raised here, for people: with words, and of their kinds."""
  raised = traceback.extract_tb(error.__traceback__)[-1:]
  here = str(pathlib.Path(__file__).parent)
  is_here = not raised or raised[0].filename.startswith((here, '<'))
  kinds = ValueError, OSError, FloatingPointError
  return is_here and isinstance(error, kinds) and bool(str(error))


def _traceback(error, written):
  """The file that holds how an error came about."""
  if written is not None and written.exists():
    return written
  with tempfile.NamedTemporaryFile(
    'w', prefix='rpt_jax_', suffix='.txt', delete=False, encoding='utf-8'
  ) as file:
    file.writelines(traceback.format_exception(error))
  return file.name


def command():
  """What a terminal runs, as `rpt-jax` or `python -m rpt_jax.main`."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  for stream in sys.stdout, sys.stderr:
    stream.reconfigure(errors='replace')  # A terminal may know ASCII alone.
  try:
    code = main(sys.argv)
  except KeyboardInterrupt:  # Before there was anything to keep.
    print('rpt_jax: stopped', file=sys.stderr)
    code = 130
  except Exception:
    traceback.print_exc()
    code = 1
  distributed.leave(code)


if __name__ == '__main__':
  command()
