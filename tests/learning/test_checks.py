"""What cannot be meant together is refused, in one line that names the key."""

import types

import pytest

from configs import rpt
from rpt_jax import settings
from rpt_jax.learning import checks, checks_pretrain
from tests.commands import ROOT
from tests.learning import tiny

MODES = ('frozen', 'last:1', 'lora:2', 'full')


def refused(config, words):
  """The one line that says what is wrong with a config."""
  with pytest.raises(ValueError, match=words) as error:
    checks.experiment(config)
  text = str(error.value)
  assert '\n' not in text and text.startswith('config.')
  return text


def robots(**changes):
  """The quicktest of a config with Meta-World, changed."""
  config = rpt.get_config('quicktest')
  return tiny.changed(config, changes)


@pytest.mark.parametrize(
  'changes, words',
  [
    ({'streams': ('latent/corner2', 'action', 'proprio')}, 'action last'),
    ({'streams': ('latent/corner', 'action')}, 'latent/corner2'),
    ({'streams': ('proprio', 'proprio', 'action')}, 'each once'),
    ({'streams': ('latent/corner2', 'unit', 'action')}, 'recipe'),
    ({'recipe': 'clip_maen'}, 'recipe'),
    ({'recipe': 'clip_maen', 'streams': ('unit', 'action')}, 'clip_mean'),
  ],
)
def test_streams_a_run_cannot_have_are_refused(changes, words):
  config = robots()
  config.pretrain.runs.rpt.update(changes)
  assert words in refused(config, 'runs.rpt')


def test_a_mask_there_is_not_is_refused():
  config = robots()
  config.pretrain.runs.rpt.objective.mask = 'tokens'
  assert 'modality' in refused(config, 'runs.rpt.objective.mask')


def test_every_run_of_every_argument_can_be():
  for argument in ('', 'study', 'action_free', 'quicktest', *rpt.SIZES):
    checks.experiment(rpt.get_config(argument))


@pytest.mark.skipif(
  not (ROOT.parent / 'shared/data').exists(),
  reason='no recorded data beside the repository',
)
def test_every_run_of_the_recorded_robot_can_be(monkeypatch):
  monkeypatch.chdir(ROOT)
  checks.experiment(rpt.get_config('g1'))


@pytest.mark.parametrize(
  'changes, words',
  [
    ({'tasks': ('drawer-opne-v3',)}, ['tasks', 'drawer-open-v3']),
    ({'unseen': ('coffee-button-v3',)}, ['unseen', 'once']),
    ({'cameras': ()}, ['cameras', 'at least 1']),
    ({'cameras': ('cornr',)}, ['cameras', 'gripperPOV']),
    ({'horizon': 0}, ['horizon', 'at least 1']),
  ],
)
def test_what_cannot_be_simulated_is_refused(changes, words):
  config = robots()
  config.domains.metaworld.update(changes)
  text = refused(config, 'config.domains.metaworld')
  assert all(word in text for word in words)


@pytest.mark.parametrize(
  'words',
  [
    'execute:0',
    'execute:5',
    'execute:x',
    'ensemble:',
    'both:1',
    '',
    'execute:2,delay:3',
    'execute:2,delay:',
    'realtime:4',
  ],
)
def test_an_execution_that_means_nothing_is_refused(words):
  config = robots(evaluate__execution=words)
  refused(config, 'config.evaluate.execution')


def test_a_head_of_one_run_is_checked_like_that_of_all():
  config = robots(evaluate__execution='realtime:2,delay:1')
  config.finetune.head = settings.plugin('models/heads', 'flow')
  checks.experiment(config)
  where = 'config.pretrain.runs.next.head.kind'
  for kind, words in (('mixture', 'goes on from'), ('cosine', 'continuous')):
    config.pretrain.runs.next.head = settings.plugin('models/heads', kind)
    assert words in refused(config, where)


@pytest.mark.parametrize(
  'other', ['nope', 'next:probe', 'none', 'rpt:finetuned']
)
def test_runs_that_are_compared_must_be_trained(other):
  config = robots(evaluate__comparisons={'a over b': ('rpt', other)})
  refused(config, f'a over b.*{other}.*next')


def test_demonstrations_must_be_recorded():
  config = robots(finetune__demos=(1, 3))  # Of each task there are 2.
  words = 'config.finetune.demos.*at most 2, config.domains.metaworld.demos'
  refused(config, words)


@pytest.mark.parametrize(
  'words, changes',
  [
    ('lora', {'finetune__tuned__modes': ('lora',)}),
    ('last:0', {'finetune__tuned__modes': ('last:0',)}),
    ('pixels.*no parameters', {'encoder': 'pixels'}),
    ('state.*no parameters', {'encoder': 'state'}),
    ('tuned.demos', {'finetune__tuned__demos': (2,)}),
    ('tuned.demos', {'finetune__tuned__demos': ()}),
    ('shift', {'finetune__tuned__augment__shift': -1}),
    ('squint.*hue', {'finetune__tuned__augment': {'squint': 1}}),
  ],
)
def test_tuning_that_means_nothing_is_refused(words, changes):
  usual = {'finetune__tuned__modes': MODES, 'finetune__tuned__demos': (4,)}
  checks.experiment(tiny.config(**usual))
  refused(tiny.config(**usual | changes), words)


@pytest.mark.parametrize('encoder', ['random', 'trained'])
def test_modes_that_do_not_fit_are_refused_before_training(encoder):
  def of(mode):
    return tiny.config(
      encoder=encoder,
      finetune__tuned__modes=(mode,),
      finetune__tuned__demos=(4,),
    )

  checks.experiment(of('last:1'))
  for mode in ('last:9', 'lora:512'):
    refused(of(mode), mode)


def test_a_main_run_there_is_not_is_refused():
  assert 'masked_raw' in refused(
    tiny.config(pretrain__main='nxt'), 'config.pretrain.main'
  )


def test_labelled_needs_what_is_told():
  config = tiny.config()
  config.pretrain.runs.next.labelled = 0.5
  refused(config, 'runs.next.labelled: found 0.5')


@pytest.mark.parametrize(
  'streams, cameras, widths, words',
  [
    (('latent',), [('image',), ('front',)], (3, 4), ''),
    (('latent',), [('image',), ('front', 'top')], (3, 3), 'as many cameras'),
    (('latent/image',), [('image',), ('front',)], (3, 3), 'that lab_1 has'),
    (('latent/image', 'latent/top'), [('image',), ('top', 'a')], (3, 3), ''),
    (('proprio',), [('image',), ('front', 'top')], (3, 3), ''),
    (('proprio',), [('image',), ('front',)], (3, 4), "'lab_1': 4} numbers"),
  ],
)
def test_cameras_are_told_apart_where_streams_are(
  streams, cameras, widths, words
):
  places = [
    types.SimpleNamespace(
      name=f'lab_{i}',
      cameras=names,
      fields=('state',),
      widths={'proprio': width},
    )
    for i, (names, width) in enumerate(zip(cameras, widths, strict=True))
  ]
  how = types.SimpleNamespace(instructed=1.0, targets=())
  run = types.SimpleNamespace(
    streams=streams, targets=(), settings=how, hears=False
  )
  if not words:
    return checks_pretrain._check_streams(places, run, 'config.run')
  with pytest.raises(ValueError, match=f'config.run.streams.*{words}'):
    checks_pretrain._check_streams(places, run, 'config.run')
