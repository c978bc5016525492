"""The command line: flags in, `run(config, workdir)` out.

`python -m rpt_jax.main --help` says what there is; `rpt_jax/options.py` has the
flags.
"""

import contextlib
import logging
import os
import pathlib
import sys
import tempfile
import traceback

from rpt_jax import __version__, options, settings


def run(config, workdir, only=(), overwrite=False, profile=False):
  """Run the pipeline of a config in `workdir`; see `stages.pipeline.run`.

  `config` is an `ml_collections.ConfigDict` as `configs/*.py` give it; with
  `profile` some steps of every training are traced to `<stage>/profile`. Raises
  ValueError, before any work, for a config that nothing can mean.
  """
  from rpt_jax import target
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
  from rpt_jax import target
  from rpt_jax.learning import checks
  from rpt_jax.tools import aot as tool

  experiment = checks.experiment(config)
  with target.rounding_to(experiment.precision):
    return tool.run(experiment, topology, pathlib.Path(workdir), meshes)


def _run(experiment, workdir, only, overwrite, name=''):
  """Runs an experiment that is checked."""
  from rpt_jax import target
  from rpt_jax.learning import checks
  from rpt_jax.stages import pipeline
  from rpt_jax.tools import steps
  from rpt_jax.training import compiled, memory

  checks.check_devices(experiment)
  steps.trace(experiment)
  memory.keep_freed_memory()
  compiled.keep()
  print(f'products: {target.operands()} operands', flush=True)
  return pipeline.run(experiment, workdir, only, overwrite, name)


def main(argv) -> int:
  """Parse flags and run; returns 0, or after one line on what to mend 2; 3
  where a training came to what is not finite."""
  try:
    options.parse(argv)
    if options.VERSION.value:
      print(f'rpt_jax {__version__}')
      return 0
    if options.HELP.value or len(argv) == 1:  # Without a flag nothing was done.
      print(options.usage())
      return 0 if options.HELP.value else 2
    if _without_an_experiment():
      return 0
    config, workdir = options.experiment()
    experiment = _checked(config)
  except Exception as error:  # Whatever a config file or a flag can raise.
    return _refuse(error)
  from rpt_jax import target
  from rpt_jax.training import profiling, stopping

  try:
    profiling.enable(options.PROFILE.value)
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


def _without_an_experiment():
  """Joins the job's other processes; whether a flag asked for other work."""
  from rpt_jax.training import distributed, stopping

  distributed.initialize()
  if missing := distributed.missing_platform():
    if not options.DOCTOR.value:
      raise ValueError(missing)
    _look_after_data()  # It says this among other things.
    return True
  if not distributed.is_first():
    sys.stdout = open(os.devnull, 'w')  # One of them tells.
  if options.DOCTOR.value or options.INSPECT.value or options.CONVERT.value:
    with stopping.watched('its work'):
      _look_after_data()
    return True
  if options.RRD.value and not options.REPORT.value:
    raise ValueError(
      '--rrd: found no --inspect=<dataset> or --report=<workdir> beside it, '
      'expected what is to be in the file'
    )
  if not (options.COMPARE.value or options.REPORT.value):
    return False
  if options.CONFIG.value is not None:  # Its kinds are trusted.
    settings.read(settings.Experiment, options.experiment()[0])
  if options.COMPARE.value:
    from rpt_jax.tools import compare

    if distributed.is_first():
      compare.run(options.COMPARE.value, options.WORKDIR.value)
    return True
  from rpt_jax.stages import pipeline

  print(f'page: {pipeline.report_again(options.REPORT.value)}')
  if options.RRD.value and distributed.is_first():
    from rpt_jax.tools import rrd

    print(f'rerun {rrd.of_run(options.REPORT.value, options.RRD.value)}')
  return True


def _do(experiment, workdir):
  """What the flags ask for: to describe it, to compile it, or to run it."""
  if options.DRY_RUN.value:
    from rpt_jax.tools import dry_run

    dry_run.describe(experiment)
  elif options.AOT.value:
    from rpt_jax.tools import aot

    aot.run(experiment, options.AOT.value, workdir, options.AOT_MESHES.value)
  else:
    how = tuple(options.STAGES.value), options.OVERWRITE.value
    _run(experiment, workdir, *how, options.title())
    print('rpt_jax: done', flush=True)


def _checked(config):
  """The experiment, checked; what a typo needs of packages comes first."""
  experiment = settings.read(settings.Experiment, config)
  from rpt_jax.learning import checks

  checks.check(experiment)
  return experiment


def _look_after_data():
  """What needs no config: the flags on datasets and on this machine."""
  if options.DOCTOR.value:
    from rpt_jax.tools import doctor

    doctor.run()
  if options.CONVERT.value:
    from rpt_jax.tools import convert

    print(convert.run(options.CONVERT.value, options.WORKDIR.value or None))
  if options.INSPECT.value:
    from rpt_jax.tools import inspect

    inspect.run(options.INSPECT.value, options.WORKDIR.value, options.RRD.value)


def _refuse(error, written=None):
  """Prints one line; `written` is where the traceback lies, if it was."""
  if isinstance(error, BrokenPipeError):  # As of `| head`: it has seen enough.
    sys.stdout = open(os.devnull, 'w')
    return 141  # What a shell calls the signal of it.
  text = ' '.join(str(error).split())
  if not _is_ours(error):
    text = f'{type(error).__name__}: {text or "it gives no reason"}'
    text += f'; the traceback: {_traceback(error, written)}'
  from rpt_jax.training import live

  print(f'rpt_jax: error: {live.plain(text)}', file=sys.stderr)
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


def _all_but_late_writes(unraisable):
  """Prints what can be raised nowhere, but for writes nobody waits for.

  When a save fails for one array (a full disk), Orbax closes the loop in which
  it waited for all. TensorStore's threads, which write the others, then print a
  traceback each, some of them after the line that says what to do.
  """
  late = str(unraisable.exc_value) == 'Event loop is closed'
  if not (late and unraisable.object is None):
    sys.__unraisablehook__(unraisable)


def command():
  """What a terminal runs, as `rpt-jax` or `python -m rpt_jax.main`."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.path.append('')  # Packages that lie where one stands, as with -m.
  for stream in sys.stdout, sys.stderr:
    stream.reconfigure(errors='replace')  # A terminal may know ASCII alone.
  sys.unraisablehook = _all_but_late_writes
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)  # Of the same.
  try:
    code = main(sys.argv)
  except KeyboardInterrupt:  # Before there was anything to keep.
    print('rpt_jax: stopped', file=sys.stderr)
    code = 130
  except Exception:
    traceback.print_exc()
    code = 1
  if 'jax' in sys.modules:
    from rpt_jax.training import distributed

    distributed.leave(code)
  sys.exit(code)


if __name__ == '__main__':
  command()
