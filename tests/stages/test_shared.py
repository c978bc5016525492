"""What pretraining hands on is what it made; what it begins from is told."""

import functools
import pathlib

import jax
import numpy as np
import pytest

import rpt_jax
from configs import rpt
from rpt_jax import domains, provenance, results, settings
from rpt_jax.learning import cards, looks, pretraining, streams
from rpt_jax.learning.runs import PRETRAINED, SCALES, Runs
from rpt_jax.models import sequence
from rpt_jax.pretrained import Pretrained
from rpt_jax.results import Cell
from rpt_jax.settings import Experiment
from rpt_jax.sharing import load_scales
from rpt_jax.stages import pretrain
from rpt_jax.stages.plan import plan
from rpt_jax.training import sharding
from rpt_jax.types import StreamSpec
from tests.stages import test_pretrain

RUN = 'masked_raw'


def config(**changes):
  """One short run on units."""
  c = test_pretrain.tiny_config()
  settings.keep(c.pretrain.runs, RUN)
  c.pretrain.update(main=RUN, steps=3)
  c.pretrain.update(changes)
  c.iterations = 1  # It would not be clustered again.
  return settings.read(Experiment, c)


def trained(folder, c, monkeypatch):
  """(state after training, folder of the run, rows, inputs)."""
  inputs = {name: folder / name for name in ('encode', 'quantize')}
  test_pretrain.write_encoded(inputs['encode'])
  recipe = inputs['quantize'] / c.pretrain.runs[RUN].recipe
  recipe.mkdir(parents=True)
  for split in ('pretrain', 'heldout'):
    rows = (2 * test_pretrain.LENGTHS.sum(), 1)
    unit_NL = np.random.default_rng(0).integers(5, size=rows)
    np.save(recipe / f'{split}.npy', unit_NL.astype(np.int32))
  states = []

  def fit(init, shapes, train_step, batch_at, num_steps, **how):
    """The loop without its checkpoints."""
    how['directory'].mkdir(parents=True)
    state = init()
    for i in range(num_steps):
      state, _ = train_step(state, batch_at(i))
    states.append(jax.device_get(state))
    return state, []

  monkeypatch.setattr(pretrain.loop, 'fit', fit)
  rows = pretrain.run(c, inputs, folder / 'pretrain')
  return states[-1], folder / 'pretrain' / RUN, rows, inputs


def same(one, other):
  found = jax.tree.map(np.array_equal, one, other)
  return all(jax.tree.leaves(found))


def test_a_run_is_shared_and_another_begins_from_it(
  tmp_path, monkeypatch, capsys
):
  c = config(ema=0.9)
  state, run, rows, inputs = trained(tmp_path / 'a', c, monkeypatch)
  model = rpt_jax.from_pretrained(run / PRETRAINED)
  assert same(model.params, state.mean)  # Not the last parameters.
  assert not same(model.params, state.params)
  assert not list(run.glob('*.safetensors'))  # Weights are there once.
  read = test_pretrain.read(inputs, 'pretrain', c)
  measured = streams.measure(read)
  assert measured.keys() == {'latent'} and np.ptp(measured['latent'][1])
  assert same(model.scales, measured)
  assert same(load_scales(run.parent / SCALES), measured)
  assert model.origin['run'] == RUN and model.origin['ema'] == 0.9
  assert model.origin['data'] == dict.fromkeys(test_pretrain.ENVS, 4)
  revision = provenance.provenance()['revision']
  (loss,) = [r for r in rows if r['name'] == 'loss' and 'env' not in r['tags']]
  for said in (
    'CartPole-v1: simulated, 4 episodes',
    f'| revision | {revision} |',
    f'| loss | run {RUN} | {loss["value"]:.4g} |',
  ):
    assert said in model.card, model.card
  assert revision not in (run / PRETRAINED / 'config.json').read_text()

  init = {'path': str(run / PRETRAINED), 'new': ('head_unit/codes',)}
  begun = config(init=settings.section(settings.Init, **init), freeze='^trunk')
  capsys.readouterr()
  state, *_ = trained(tmp_path / 'b', begun, monkeypatch)
  printed = capsys.readouterr().out
  assert f'pretrain {RUN}: from {init["path"]}: loaded ' in printed
  assert 'new 1: head_unit/codes; left out 1: head_unit/codes' in printed
  assert same(state.params['trunk'], model.params['trunk'])
  assert not same(state.params['stem_latent'], model.params['stem_latent'])


DIMS = {'latent/corner2': 4, 'latent/gripperPOV': 4, 'proprio': 3}


def run_of(c, *latents, action):
  """(run, its model) of the run `rpt` on these streams."""
  c.pretrain.runs.rpt.streams = (*latents, 'proprio', 'action')
  read = settings.read(Experiment, c)
  run = Runs(read.pretrain, read.quantize).of(1)['rpt']
  specs = {
    name: StreamSpec(name, 'continuous', dim=dim)
    for name, dim in (DIMS | {'action': action}).items()
  }
  return run, run.model(specs)


def scales_of(model):
  return {
    s.name: (np.zeros(s.dim, 'f4'), np.ones(s.dim, 'f4')) for s in model.streams
  }


def test_a_new_camera_and_another_robot_begin_from_a_trunk(tmp_path, capsys):
  c = rpt.get_config('quicktest')
  _, old = run_of(c, 'latent/corner2', action=2)
  init = functools.partial(sequence.init, old)
  params = jax.tree.map(
    lambda x: np.random.default_rng(1).normal(size=x.shape).astype('f4'),
    jax.eval_shape(init, jax.random.key(0)),
  )
  Pretrained(old, params, scales_of(old)).save_pretrained(tmp_path / 'old')
  c.pretrain.ema = 0.9
  c.pretrain.init.path = str(tmp_path / 'old')
  cameras = ('latent/corner2', 'latent/gripperPOV')
  run, model = run_of(c, *cameras, action=5)
  loss_fn = pretraining.loss_fn(run, model, {})
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  trainer = pretraining.make_trainer(run, model, loss_fn, mesh)
  state = trainer.init(jax.random.key(0))
  with pytest.raises(
    ValueError, match='missing .*gripperPOV.* misshaped .*5, 32'
  ):
    pretrain._begun(run.init, state, 'run')
  c.pretrain.init.new = ('_latent_gripperPOV', '^(stem|head)_action')
  run, _ = run_of(c, *cameras, action=5)
  begun = pretrain._begun(run.init, state, 'run')
  assert 'new 9: head_action/project/bias, ' in capsys.readouterr().out
  for name, x in begun.params.items():
    new = 'gripperPOV' in name or name in ('stem_action', 'head_action')
    assert same(x, state.params[name] if new else params[name]), name
  assert same(begun.mean, begun.params) and begun.mean is not begun.params
  places = [
    jax.tree.map(lambda x: x.sharding, s.params) for s in (begun, state)
  ]
  assert places[0] == places[1]
  c.pretrain.init.neww = ()
  with pytest.raises(ValueError, match='config.pretrain.init.neww: .*perhaps'):
    run_of(c, *cameras, action=5)


def test_a_run_may_begin_from_another_model_than_all():
  c = rpt.get_config('quicktest')
  c.pretrain.init.path = 'all'
  c.pretrain.runs.rpt.init.path = 'own'
  read = settings.read(Experiment, c)
  runs = Runs(read.pretrain, read.quantize).of(1)
  assert runs['rpt'].init.path == 'own' and runs['next'].init.path == 'all'


def test_a_card_counts_failures_where_they_are_learnt_from():
  c = settings.read(Experiment, rpt.get_config('quicktest'))
  run, model = run_of(rpt.get_config('quicktest'), 'latent/corner2', action=4)
  task = domains.of(c)[0]
  data = [(task, 'pretrain', 3), (task, 'failures', 2)]
  about = cards.pretrained(run, data, model, [], 0)
  assert about['origin']['data'] == {task.name: 3, f'{task.name} failures': 2}
  for words in ('3 episodes', '2 deliberate failures'):
    assert f'{task.describe()}, {words}' in about['card']


def test_a_policys_card_says_how_often_it_succeeds(monkeypatch):
  program = str(pathlib.Path(rpt_jax.__file__).with_name('main.py'))
  monkeypatch.setattr('sys.argv', [program, '--config=mine.py'])
  c = settings.read(Experiment, rpt.get_config('quicktest'))
  _, model = run_of(rpt.get_config('quicktest'), 'latent/corner2', action=4)
  cell = Cell('rpt', 'finetune', 2)
  tags = cell.tags | {'env': 'plate-slide-v3'}
  row = results.row('evaluate', 'success', 0.5, (0.25, 0.75), 2, **tags)
  tasks = domains.of(c)
  (task,) = [d for d in tasks if d.name == 'plate-slide-v3']
  shown = domains.seen(tasks)
  kept = looks.Kept(cell, 'It is the first of all.')
  about = cards.policy(task, kept, c.finetune, model, [row], shown, c.seed)
  assert '## Which it is\n\nIt is the first of all.\n' in about['card']
  assert about['origin']['domain'] == 'plate-slide-v3'
  assert about['origin']['demos'] == 2 and 'revision' not in about['origin']
  assert '| 0.5 | [0.25, 0.75] | 2 |' in about['card']
  assert 'pretrained on coffee-button-v3: Meta-World' in about['card']
  assert 'model.policy()' in about['card']
  assert '| command | rpt_jax/main.py --config=mine.py |' in about['card']


def test_what_pretraining_begins_from_is_an_input(tmp_path):
  """Other weights at the same path: the stage runs again."""
  c = rpt.get_config('quicktest')
  c.pretrain.runs.rpt.init = settings.section(settings.Init, path=str(tmp_path))

  def stage_settings():
    stages = plan(settings.read(Experiment, c))
    (stage,) = [s for s in stages if s.name == 'pretrain']
    return stage.settings

  (tmp_path / 'model.safetensors').write_bytes(b'one')
  before = stage_settings()
  (tmp_path / 'README.md').write_text('of no consequence')
  assert stage_settings() == before
  (tmp_path / 'model.safetensors').write_bytes(b'two')
  assert stage_settings() != before
  c.pretrain.runs.rpt.init.path = str(tmp_path / 'gone')
  with pytest.raises(ValueError, match='init.path: .*gone: no such folder'):
    stage_settings()
