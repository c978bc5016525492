"""Rollouts go on where they were killed, and keep a policy that acts so."""

import json
import types

import jax
import numpy as np
import pytest

import rpt_jax
from rpt_jax import domains, settings, sharing
from rpt_jax.domains import playing
from rpt_jax.domains.gymnax import FIRST_INDEX
from rpt_jax.envs import behaviours, rollout
from rpt_jax.episodes import scales
from rpt_jax.learning import (
  acting,
  cells,
  checks,
  cloning,
  encoders,
)
from rpt_jax.learning import policies as policies_lib
from rpt_jax.learning.runs import SCALES
from rpt_jax.policy import Policy, program
from rpt_jax.results import Cell
from rpt_jax.stages import pipeline
from rpt_jax.training import checkpoint
from rpt_jax.vision.pretraining import mae
from tests.learning import tiny

# What policies see, and in which environment.
KINDS = {
  'frames, discrete actions': ('Acrobot-v1', 'trained', ('latent', 'action')),
  'camera and joints': ('Pendulum-v1', 'trained', ('latent/image', 'proprio')),
  'the true state': ('MountainCar-v0', 'state', ('latent',)),
}


def config(env, encoder, streams):
  c = settings.base('pretrain', 'finetune')
  c.domains.gymnax = settings.plugin('domains', 'gymnax', envs=(env,))
  c.encoder = encoder
  c.frames.size = 64
  c.image_model = settings.plugin('vision/pretraining', 'mae', patch=16)
  c.image_model.update(width=16, depth=1, num_heads=2, decoder_width=16)
  c.image_model.update(decoder_depth=1, decoder_num_heads=2)
  c.encode.output = 'mean_patch'
  c.pretrain.update(width=16, trunk={'depth': 1}, context=4, main='next')
  c.pretrain.runs = {'next': tiny.run('next_streams', streams=streams)}
  c.finetune.update(seeds=2, demos=(1, 4), run_demos=(4,), chunk=3)
  c.evaluate.update(episodes=8, execution='execute:2')
  return checks.experiment(c)


def recorded(domain, image):
  """{stream: numbers of every step} of an episode at random."""
  steps = rollout.rollout(
    domain.env,
    behaviours.random(domain.env),
    (),
    domain.key,
    1,
    record=('image', 'state'),
  )
  state_NP = np.asarray(steps['state'][0])
  if image is None:
    latent_ND = np.asarray(encoders.pad(state_NP, encoders.state_dim([domain])))
  else:
    latent_ND = np.asarray(
      image.apply(image.params, image.preprocess(steps['image'][0]))
    )
  latents = {'latent': latent_ND, 'latent/image': latent_ND}
  return latents | {'proprio': state_NP}


def prepare(c, workdir):
  """Artifacts of all that evaluate reads; policies are untrained."""
  domain = only(c)
  (run,) = tiny.runs(c).all().values()
  (stage,) = [s for s in pipeline.plan(c) if s.name == 'evaluate']
  inputs = {name: workdir / name for name in stage.inputs}
  returns = {'random_return': 10.0, 'expert_return': 200.0}
  rows = [
    {'stage': 'collect', 'name': k, 'value': v, 'tags': {'env': domain.name}}
    for k, v in returns.items()
  ]
  for name in (s.name for s in pipeline.plan(c)[:-3]):
    path = workdir / name
    path.mkdir(parents=True)
    artifact = {'wanted': {}, 'files': {}, 'content': path.name}
    artifact |= {'rows': [], 'costs': []}
    (path / 'artifact.json').write_text(json.dumps(artifact))
  (inputs['collect'] / f'{domain.name}.json').write_text(json.dumps(rows))
  if 'see' in inputs:
    model = mae.model(c.image_model, c.frames.size)
    mae.save(model, model.init(jax.random.key(5)), inputs['see'] / 'model')
  numbers = recorded(domain, encoders.load_model(c.encoder, c.encode, inputs))
  measured = {
    name: scales.measure(name, [numbers[name]])
    for name in run.streams
    if name in numbers
  }
  sharing.save_scales(inputs['pretrain'] / SCALES, measured)
  policies = policies_lib.Policies(c.finetune, tiny.runs(c), inputs)
  for i, cell in enumerate(entries(c)):
    model = policies.model(domain, cell)
    params_S = cloning.initial(model)(cloning.seed_keys(i, 2))
    path = policies_lib.path(inputs['finetune'], domain.name, cell)
    path.parent.mkdir(exist_ok=True)
    checkpoint.save_params(path, params_S)


def only(c):
  """The one domain of a config."""
  (domain,) = domains.of(c)
  return domain


def entries(c):
  return cells.cells(c.finetune, tiny.runs(c))


def play(c, workdir):
  """The rows of evaluate, run as the pipeline runs it."""
  rows = pipeline.run(c, workdir, only=('evaluate', 'compare'))
  return [
    r
    for r in rows
    if r['stage'] == 'evaluate' and r['tags'].get('kind') is None
  ]


@pytest.fixture(scope='module', params=KINDS)
def rolled(request, tmp_path_factory):
  """A config, the workdir of its evaluation, and its rows."""
  workdir = tmp_path_factory.mktemp('rolled')
  c = config(*KINDS[request.param])
  prepare(c, workdir)
  rows = play(c, workdir)
  return types.SimpleNamespace(config=c, workdir=workdir, rows=rows)


def contents(folder):
  """{file: bytes} of what differs in no two equal runs."""
  return {
    p.relative_to(folder).as_posix(): p.read_bytes()
    for p in folder.rglob('*')
    if p.is_file() and p.name not in ('artifact.json', 'README.md')
  }


def test_every_cell_has_its_rows_and_some_a_film(rolled):
  c, env = rolled.config, only(rolled.config).name
  scores = [r for r in rolled.rows if r['name'] == 'score']
  assert {(r['tags']['env'], r['tags']['method']) for r in scores} == {
    (where, cell.method) for cell in entries(c) for where in (env, 'all')
  }
  filmed = cells.filmed(c.finetune, tiny.runs(c))
  for cell in entries(c):
    path = rolled.workdir / 'evaluate' / env / f'{cell.name}.npz'
    with np.load(path) as played:
      assert played['outcome'].shape == (2, 8)
      assert ('film' in played) == (cell in filmed)


def test_a_killed_evaluation_goes_on_at_the_next_cell(rolled, monkeypatch):
  """What was played stays, what was not is played: the same in the end."""
  folder, env = rolled.workdir / 'evaluate', only(rolled.config).name
  before, again = contents(folder), []
  lost = Cell('next', 'probe', 4)
  (folder / 'artifact.json').unlink()
  (folder / env / f'{lost.name}.npz').unlink()
  seeds = acting.Actors.seeds

  def noting(actors, domain, cell):
    again.append(cell)
    return seeds(actors, domain, cell)

  monkeypatch.setattr(acting.Actors, 'seeds', noting)
  assert play(rolled.config, rolled.workdir) == rolled.rows
  assert again == [lost]
  assert contents(folder) == before


def episode(rolled, policy: Policy):
  """What the rollout saw and did in the episode of the film."""
  domain = only(rolled.config)
  steps = rollout.rollout(
    domain.env,
    playing.in_rollouts(policy.program, tuple(range(domain.state_dim))),
    (policy.weights, program.start(policy.program, 1)),
    jax.random.split(domain.key, 2)[0],
    1,
    record=('image', 'state', 'action', 'valid'),
    nuisance=domain.settings.nuisance,
    first_index=FIRST_INDEX['evaluation'],
  )
  valid_T = np.asarray(steps['valid'][0])
  return {k: np.asarray(x[0])[valid_T] for k, x in steps.items()}


def test_the_policy_that_is_kept_acts_as_it_did_in_the_rollout(rolled):
  """On the frames of the film, one by one, from its folder alone."""
  env, cell = only(rolled.config).name, Cell('next', 'finetune', 4)
  folder = rolled.workdir / 'evaluate' / env
  model = rpt_jax.from_pretrained(folder / 'policy')
  assert model.origin['domain'] == env and model.origin['demos'] == 4
  (score,) = [
    r
    for r in rolled.rows
    if (r['name'], r['tags']['env']) == ('score', env)
    and (r['tags']['method'], r['tags']['demos']) == ('finetune', 4)
  ]
  assert f'{score["value"]:.4g}' in model.card
  path = policies_lib.path(rolled.workdir / 'finetune', env, cell)
  params_S = checkpoint.load_params(path)
  jax.tree.map(
    np.testing.assert_array_equal,
    model.params,
    policies_lib.of_seed(params_S, 0),
  )
  policy = model.policy()
  assert policy.execution.execute == 2
  seen = episode(rolled, policy)
  with np.load(folder / f'{cell.name}.npz') as played:
    films = (x.astype(int) for x in (played['film'], seen['image']))
    # Two programs draw them, which may round a pixel's level apart.
    np.testing.assert_allclose(*films, rtol=0, atol=1)
  names = {'image': 'image', 'proprio': 'state', 'latent': 'state'}
  policy.reset()
  for t, action in enumerate(seen['action']):
    now = {name: seen[names[name]][t][None] for name in policy.observed}
    np.testing.assert_allclose(policy.act(now)[0], action, atol=1e-3)
  assert t >= 5 and len(np.unique(seen['action'], axis=0)) > 1
