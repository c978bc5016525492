"""The flags of the command line: which there are, and what they mean together.

Nothing here imports JAX: `--help` and a mistake answer at once.
"""

import os
import pathlib
import re
import textwrap

from absl import flags
from ml_collections import config_flags

from rpt_jax import __version__, experiments, settings
from rpt_jax.settings import datasets, reading


def define_config(**how):
  """The flag --config, and one for every key of it.

  What a key may hold, and whether there is one, `settings.read` alone decides.
  """
  return config_flags.DEFINE_config_file(
    'config',
    None,
    'The experiment: a name as above, or the path of a file.',
    lock_config=False,
    accept_new_attributes=True,
    **how,
  )


HELP = flags.DEFINE_bool('help', False, 'Print this.', short_name='h')
VERSION = flags.DEFINE_bool('version', False, 'Print the version.')
CONFIG = define_config()
WORKDIR = flags.DEFINE_string(
  'workdir', '', 'Where everything is written; default runs/<config>.'
)
STAGES = flags.DEFINE_list('stages', [], 'Only these stages, by name.')
DRY_RUN = flags.DEFINE_bool(
  'dry_run', False, 'Print plan, shapes, parameters and costs; train nothing.'
)
AOT = flags.DEFINE_string(
  'aot', '', 'Compile every step for a TPU slice, as v5e:16x16; run nothing.'
)
AOT_MESHES = flags.DEFINE_string(
  'aot_meshes', '', "Meshes to compare: '16x16x1,1x256x1', or 'all'."
)
OVERWRITE = flags.DEFINE_bool(
  'overwrite', False, 'Forget earlier artifacts in the workdir.'
)
PROFILE = flags.DEFINE_bool(
  'profile', False, 'Trace steps of every training to <stage>/profile.'
)
DOCTOR = flags.DEFINE_bool(
  'doctor', False, 'Print what is installed, devices, readable datasets.'
)
INSPECT = flags.DEFINE_string(
  'inspect', '', 'Survey a dataset and write a page of it, dataset.html.'
)
CONVERT = flags.DEFINE_string(
  'convert', '', 'Convert a TFDS folder from TFRecord to ArrayRecord, once.'
)
REPORT = flags.DEFINE_string(
  'report',
  '',
  'Make the page of a finished workdir again; with kinds of a package of your '
  'own beside its --config, which names them.',
)
RRD = flags.DEFINE_string(
  'rrd',
  '',
  'Beside --inspect: episodes in a file for rerun; beside --report: held-out '
  'clips with their units, and rollouts (EXTRA=rerun).',
)
COMPARE = flags.DEFINE_list(
  'compare', [], 'Finished workdirs beside each other; writes compare.html.'
)
# What --help prints of them: how each is spelled, in two groups.
OF_A_RUN = (
  '--config=<name>[:<variant>]',
  '--config.<key>=<value>',
  '--workdir=<folder>',
  '--stages=<stage>,...',
  '--dry_run',
  '--overwrite',
  '--profile',
  '--aot=<slice>',
  '--aot_meshes=<meshes>',
)
OTHERS = (
  '--doctor',
  '--inspect=<path>[,<key>=<value>,...]',
  '--convert=<folder>',
  '--report=<workdir>',
  '--rrd=<file>',
  '--compare=<workdir>,<workdir>,...',
  '--version',
  '--help',
)
_ANY_KEY = (
  'Any of its settings, as --config.seed=1; configs/README.md and '
  'rpt_jax/settings/ have them all.'
)
_EXAMPLES = """
  python -m rpt_jax.main --config=hubert_units:quicktest
  python -m rpt_jax.main --config=hubert_units --dry_run
  python -m rpt_jax.main --config=hubert_units --config.seed=1 \\
    --workdir=runs/one
"""
# In what ml_collections says of a config file that raised something.
_TRACEBACK = r'(?s)Error whilst parsing config file:.*\n(?=\w)'
# In what it says of a flag that gives a section a value.
_SECTION = r'flag (--\S+?)=.* as a ConfigDict'
_WIDTH = 80


def usage() -> str:
  """What there is: experiments that come with the package, and flags."""
  parts = [
    f'rpt_jax {__version__}: is a pretrained representation useful for acting?',
    _EXAMPLES,
    'Experiments, each with its variants (--config=<name>:<variant>):\n',
  ]
  for name in experiments.names():
    about = experiments.about(name)
    parts.append(_entry(name, about.purpose))
    if about.variants:
      each = ' '.join(f':{variant}' for variant in about.variants)
      parts.append(_entry('', each))
  parts += ['\nFlags of a run:\n', *map(_flag, OF_A_RUN)]
  parts += ['\nWithout an experiment:\n', *map(_flag, OTHERS)]
  return '\n'.join(parts)


def _flag(spelling):
  """How a flag is spelled, and what it is for."""
  name = re.match(r'--([\w.]+)', spelling)[1]
  text = _ANY_KEY if name == 'config.' else flags.FLAGS[name].help
  return f'  {spelling}\n{_entry("", text)}'


def _entry(name, text):
  """A name, and beside it a text of as many lines as it takes."""
  indent = ' ' * 16
  return textwrap.fill(
    text, _WIDTH, initial_indent=f'  {name}'.ljust(16), subsequent_indent=indent
  )


def parse(argv: list[str]) -> None:
  """Parses flags; ValueError, in one line, for what they cannot mean."""
  argv = _with_paths(argv)
  try:
    positional = flags.FLAGS(argv)[1:]
  except (KeyError, IndexError) as error:
    why = f'--config: a flag sets a key of what is not there: {error.args[0]}'
    raise ValueError(_not_there(argv) or why) from error
  except flags.IllegalFlagValueError as error:  # May hold a whole traceback.
    text = re.sub(_TRACEBACK, '', str(error))
    if section := re.match(_SECTION, text):
      text = f'{section[1]} is a section; set a key of it: {section[1]}.<key>='
    raise ValueError(text) from error
  except flags.UnrecognizedFlagError as error:
    raise ValueError(f'{error}; --help has them all') from error
  if positional:
    raise ValueError(_positional(positional))


def _not_there(argv):
  """Of the first flag whose section a config lacks, what there is; else ''."""
  text = '\n'.join(argv)
  file = re.search(r'(?m)^--?config[=\n](.+)$', text)
  if not file:
    return ''
  values, argv = flags.FlagValues(), ['', f'--config={file[1]}']
  define_config(flag_values=values, sys_argv=argv)
  values(argv)
  for path in re.findall(r'(?m)^--?config\.([^=\n]+)', text):
    section, where = values['config'].value, 'config'
    for name in path.split('.')[:-1]:
      if not hasattr(section, 'keys'):
        break
      if name not in section:
        return f'{where}.{_no_such(name, section, where)}'
      section, where = section[name], f'{where}.{name}'
  return ''


def _no_such(name, section, where):
  """What to say of a key that a section lacks."""
  said = f'{name}: no such key; have {sorted(section)}'
  said += reading.closest(name, section)
  if where == 'config.domains':
    said += (
      f'; --{where}.{name}=<dataset> adds one, as --inspect=<dataset> reads '
      'it, or the config file, as what that prints last'
    )
  return said


def _positional(arguments):
  """What to write in the place of arguments that are no flags."""
  first = arguments[0]
  name, _, _ = first.partition(':')
  is_config = name in experiments.names() or name.endswith('.py')
  if is_config and not flags.FLAGS['config'].present:
    return f'found {first!r}, expected a flag: --config={first}'
  return (
    f'positional arguments {arguments}: use --flag=value, as in '
    '--config=hubert_units; --help has them all'
  )


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
  overrides = dict(flag.override_values)
  before = {path: values[f'config.{path}'].default for path in overrides}
  kind = overrides.get('encoder', '')
  kinds = settings.kinds('vision/pretraining')
  if kind in kinds and not os.path.exists(kind):
    _train(flag.value, kind, before, overrides)
  settings.rekind(flag.value, before, overrides)
  for path, value in overrides.items():
    section, _, name = path.partition('.')
    if section == 'domains' and '.' not in name and isinstance(value, str):
      del flag.value.domains[name]
      flag.value.domains[name] = _recorded(name, value)
  return flag.value


def _recorded(name, spec):
  """The entry of a dataset that is given as --inspect takes it."""
  path, how = datasets.parse(spec, f'--config.domains.{name}')
  own = {k: v for k, v in how.items() if k in ('split', 'format')}
  mapping = {k: v for k, v in how.items() if k not in own}
  return settings.plugin(
    'domains', 'recorded', path=path, mapping=mapping, **own
  )


def _train(config, kind, before, overrides):
  """Makes --config.encoder=<kind> an image model of that kind, trained."""
  print(
    f'--config.encoder={kind}: an image model of that kind is trained '
    f'(config.encoder=trained, config.image_model.kind={kind})'
  )
  config.encoder = 'trained'
  fitting = settings.plugin('vision/pretraining', kind)
  size = config.frames.size if 'frames' in config else None
  fitting.patch = _divisor(size, fitting.patch)
  if 'image_model' not in config or config.image_model is None:
    config.image_model = fitting
    return
  before['image_model.kind'] = config.image_model.kind
  overrides['image_model.kind'] = config.image_model.kind = kind
  if 'image_model.patch' not in overrides:
    overrides['image_model.patch'] = config.image_model.patch = fitting.patch


def _divisor(size, most):
  """Of pixels a side, so that there are 4 patches of it at least; or `most`."""
  fit = (p for p in range(most, 0, -1) if size and size % p == 0)
  return next((p for p in fit if size // p >= 4), most)


def title() -> str:
  """What the config and its variant are called."""
  return experiments.title(_spec())


def _spec():
  return config_flags.get_config_filename(flags.FLAGS['config'])


def experiment():
  """(config, workdir) that the flags ask for; ValueError where they do not."""
  if CONFIG.value is None:
    raise ValueError(
      f'--config=<name> is required: a file, or one of {experiments.names()}; '
      '--help says more'
    )
  spec = _spec()
  try:
    is_config = hasattr(CONFIG.value, 'to_dict')
  except OSError as error:  # ml_collections keeps it until it is looked at.
    raise ValueError(
      f'--config: cannot read {spec!r}, {experiments.expected(spec)}'
    ) from error
  if not is_config:
    raise ValueError(
      f'--config: get_config in {spec!r} gives no ConfigDict, expected one'
    )
  workdir = WORKDIR.value or os.path.join('runs', title())
  if '://' in workdir:
    raise ValueError(
      f'--workdir: found {workdir!r}, expected a path; mount the bucket, as '
      'launch/tpu.sh does'
    )
  return configured(flags.FLAGS), pathlib.Path(workdir)
