"""Which stage is given what: the wall before what was felt and done."""

import pytest

from rpt_jax import settings
from rpt_jax.learning import checks
from rpt_jax.settings import Experiment
from rpt_jax.stages.plan import plan
from tests.learning import tiny


def given(config):
  """{stage: the stages that it may read}."""
  return {s.name: tuple(s.inputs) for s in plan(checks.experiment(config))}


def with_run(**values):
  """The usual config, and one run more."""
  config = tiny.config(domains__gymnax__envs=('CartPole-v1',), iterations=1)
  config.pretrain.runs.more = tiny.run('masked_streams', **values)
  return config


def test_runs_that_feel_nothing_are_not_given_what_was_felt():
  """Nor is the iteration after, whose units are of a trunk that saw none."""
  inputs = given(tiny.config())
  assert inputs['pretrain'] == ('encode', 'quantize')
  assert inputs['pretrain_2'] == ('encode', 'quantize_2')
  more = given(with_run(streams=('latent/image',)))
  assert more['pretrain'] == ('encode', 'quantize')
  assert {'collect', 'label'} <= {*more['finetune']} & {*more['evaluate']}


@pytest.mark.parametrize(
  'streams', [('latent', 'proprio'), ('latent', 'action'), ('proprio',)]
)
def test_runs_that_feel_or_do_are(streams):
  inputs = given(with_run(streams=streams))
  assert inputs['pretrain'] == ('label', 'encode', 'quantize')


def test_what_is_a_target_alone_is_read_as_well():
  """As an objective of one's own may have it."""
  config = with_run(
    recipe='raw', streams=('latent',), targets=('unit', 'proprio')
  )
  stages = plan(settings.read(Experiment, config))
  (stage,) = [s for s in stages if s.name == 'pretrain']
  assert tuple(stage.inputs) == ('label', 'encode', 'quantize')


def test_a_shared_stream_counts_for_runs_that_name_none():
  config = tiny.config(
    domains__gymnax__envs=('CartPole-v1',),
    pretrain__streams=('latent', 'proprio'),
  )
  assert 'label' in given(config)['pretrain']


def test_pipelines_are_whole_and_meet_at_the_end():
  one = plan(checks.experiment(tiny.config()))
  two = plan(checks.experiment(tiny.config(pipelines=2, seed=3)))
  last = ('compare', 'report')
  assert [s.name for s in one][-2:] == [s.name for s in two][-2:] == [*last]
  verbs = [s.name for s in one if s.name not in last]
  assert [s.name for s in two[:-2]] == [
    f'pipeline_{i}/{verb}' for i in range(2) for verb in verbs
  ]
  assert {s.config.seed for s in two[: len(verbs)]} == {3000}
  assert {s.config.seed for s in two[len(verbs) : -2]} == {3001}
  for stage in two[:-2]:
    folder, _, _ = stage.name.partition('/')
    assert {x.partition('/')[0] for x in stage.inputs.values()} <= {folder}
  assert set(two[-2].inputs) == {s.name for s in two[:-2]}


def test_seeds_of_a_config_share_no_pipeline():
  named = {
    seed: {s.config.seed for s in plan(checks.experiment(c))[:-2]}
    for seed in range(3)
    for c in [tiny.config(pipelines=3, seed=seed)]
  }
  assert len(set().union(*named.values())) == 9


def test_controls_are_encoded_for_those_who_ask():
  config = tiny.config(eyes=('edges',))
  config.finetune.eyes = {'state': settings.section(settings.Method)}
  inputs = given(config)
  assert inputs['encode_edges'] == inputs['encode_state'] == ('collect',)
  assert 'encode_edges' in inputs['probe']
  assert 'encode_state' not in inputs['probe']
  for stage in ('finetune', 'evaluate'):
    assert 'encode_state' in inputs[stage]
    assert 'encode_edges' not in inputs[stage]


def test_a_grid_takes_the_place_of_policies():
  config = tiny.config(tune=settings.section(settings.Tune))
  names = set(given(config))
  assert 'tune' in names and not names & {'finetune', 'evaluate'}
