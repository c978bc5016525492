"""Every key by a flag: what it sets, and what the command line says to it."""

import json

import ml_collections
import pytest

from rpt_jax import settings
from rpt_jax.domains import recorded
from tests.settings import variants
from tests.test_main import CONFIG, command

H = 'hubert_units:quicktest'
_RUN = '--config.pretrain.runs.next'


def objective(*arguments):
  """That of the run `next`, after these flags for it."""
  flags = [f'{_RUN}.objective.{argument}' for argument in arguments]
  config = variants.parsed(H, *flags)
  read = settings.read(settings.Experiment, config)
  return read.pretrain.runs['next'].objective


def own(kind, **values):
  return settings.module('objectives', kind).Settings(**values)


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (['kind=masked_units'], own('masked_units')),
    (['kind=masked_units', 'span=2'], own('masked_units', span=2)),
    (['span=2', 'kind=masked_units'], own('masked_units', span=2)),
    (['kind=masked_units', 'alpha=1e-1'], own('masked_units', alpha=0.1)),
    (['kind=masked_units', 'alpha=0'], own('masked_units', alpha=0.0)),
    (['kind=masked_streams', 'mask=causal'],
     own('masked_streams', mask='causal')),
    (['kind=masked_streams', 'ratio=0.1,0.9'],
     own('masked_streams', ratio=(0.1, 0.9))),
    (['kind=masked_streams', 'ratio=[0.1, 0.9]'],
     own('masked_streams', ratio=(0.1, 0.9))),
    (['kind=next_streams'], own('next_streams')),
    (['kind=next_units'], own('next_units')),
    (['horizon=2'], own('next_units', horizon=2)),
  ],
  ids=str,
)  # fmt: skip
def test_a_flag_changes_the_objective(arguments, expected):
  assert objective(*arguments) == expected


@pytest.mark.parametrize(
  ('arguments', 'key'),
  [
    (['span=2'], 'span'),
    (['kind=masked_units', 'horizon=2'], 'horizon'),
    (['kind=masked_units', 'alpha=nan'], 'alpha'),
    (['kind=masked_units', 'span=2.5'], 'span'),
    (['kind=masked_units', 'span=true'], 'span'),
    (['kind=masked_units', 'span=two'], 'span'),
    (['kind=masked_streams', 'mask=3'], 'mask'),
    (['kind=masked_streams', 'ratio=0.1'], 'ratio'),
    (['kind=masked'], 'kind'),
  ],
  ids=str,
)
def test_keys_of_a_changed_kind_are_read_as_all_others(arguments, key):
  with pytest.raises(ValueError, match=rf'^{_RUN[2:]}.objective.{key}: '):
    objective(*arguments)


def test_the_same_kind_again_keeps_what_the_config_says():
  low = 'pretrain.runs.ratio_low.objective'
  config = variants.parsed('rpt:study', f'--config.{low}.kind=masked_streams')
  assert config.pretrain.runs.ratio_low.objective.ratio == (0.1, 0.9)


ADVERTISED = {
  'pretrain.ema': 0.99,
  'pretrain.motion': (),
  'pretrain.accumulate': 4,
  'pretrain.freeze': '^trunk',
  'pretrain.trunk.remat': 'full',
  'pretrain.init.path': 'organisation/name',
  'pretrain.init.new': ('head', 'stem'),
  'pretrain.init.skip': ('head',),
  'pretrain.init.rename': (('a', 'b'),),
  'pretrain.runs.next.init.path': 'runs/one',
  'pretrain.warmup': 0.5,
  'saving.save_steps': 7,
  'saving.save_seconds': 1.5,
  'saving.log_steps': 3,
  'mesh.fsdp': 2,
  'domains.gymnax.envs': ('Pendulum-v1',),
  'image_model.balanced': False,
}


def test_what_is_advertised_is_set_by_flags():
  arguments = [f'--config.{key}={value}' for key, value in ADVERTISED.items()]
  config = variants.parsed(H, *arguments)
  plain = settings.plain(settings.read(settings.Experiment, config))
  leaves = dict(settings.leaves(plain))
  for key, value in ADVERTISED.items():
    assert json.dumps(leaves[key]) == json.dumps(value), key


@pytest.mark.parametrize('name', variants.ARGUMENTS)
def test_every_key_can_be_set_to_what_it_is(name):
  spec = f'{name}:quicktest'
  config, arguments = variants.changed(spec), []
  for key, value in _leaves(config):
    arguments.append(f'--config.{key}={value}')
  again = variants.parsed(spec, *arguments)
  experiment = settings.read(settings.Experiment, config)
  assert settings.read(settings.Experiment, again) == experiment
  assert len(arguments) > 40


def _leaves(config, prefix=''):
  """Keys and values, but of what has names that are no identifiers."""
  for name, value in config.items():
    if not name.isidentifier():
      continue
    if isinstance(value, ml_collections.ConfigDict):
      yield from _leaves(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value


def test_a_dataset_is_added_as_inspect_reads_it():
  spec = 'a,image=top,fps=8,split=train'
  flag = f'--config.domains.lab={spec}'
  config = variants.parsed(H, flag, '--config.domains.other=x')
  assert [*config.domains] == ['gymnax', 'lab', 'other']
  lab = settings.read(settings.Experiment, config).domains['lab']
  assert lab == recorded.Settings(
    'a', mapping={'image': 'top', 'fps': 8.0}, split='train'
  )


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (['--config.finetune.sedes=3'], "finetune.sedes: no such key, expected "),
    (['--config.finetune.seeds=a'], '--config.finetune.seeds=a'),
    (['--config.domains.lab.path=x'], "config.domains.lab: no such key; have "
     "['gymnax']; --config.domains.lab=<dataset> adds one, as --inspect="),
    (['--config.domains.gymnax=x'], '--config.domains.gymnax is a section; set '
     'a key of it: --config.domains.gymnax.<key>='),
    (['--config.domains.lab=x,fps=y'],
     "--config.domains.lab: fps: found 'y', expected a number"),
    (['--cnfig=x'], "flag 'cnfig'. Did you mean: config ?; --help has them"),
    (['--config.finetunes.seeds=3'], "perhaps 'finetune'"),
    ([f'{_RUN}.streams[9]=3'], 'a flag sets a key of what is not there'),
    ([f'{_RUN}.objective.kind=masked_units', f'{_RUN}.objective.horizon=2'],
     'pretrain.runs.next.objective.horizon: no such key'),
  ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(
  arguments, words, tmp_path
):
  before = set(variants.ROOT.iterdir())
  result = command(CONFIG, *arguments, workdir=tmp_path / 'work')
  assert result.returncode == 2
  (line,) = result.stderr.splitlines()
  assert line.startswith('rpt_jax: error: ') and words in line
  assert not result.stdout
  assert not list(tmp_path.iterdir())
  assert set(variants.ROOT.iterdir()) == before


def test_a_changed_kind_has_a_dry_run(tmp_path):
  result = command(
    CONFIG,
    f'{_RUN}.objective.kind=masked_units',
    f'{_RUN}.objective.span=2',
    '--dry_run',
    workdir=tmp_path / 'work',
  )
  assert result.returncode == 0, result.stderr
  _, _, output = result.stdout.partition('== config ==')
  config, _ = json.JSONDecoder().raw_decode(output.strip())
  assert config['pretrain']['runs']['next']['objective'] == {
    'kind': 'masked_units',
    'mask_probability': 0.8,
    'span': 2,
    'alpha': 1.0,
  }
  assert 'pretraining run next: masked_units' in output
  assert not list(tmp_path.iterdir())
