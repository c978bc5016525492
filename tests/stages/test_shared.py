"""What pretraining hands on is what it made; what it begins from is told."""

import functools
import pathlib

import jax
import ml_collections
import numpy as np
import pytest

import rpt_jax
from configs import rpt
from rpt_jax.models import sequence
from rpt_jax.pretrained import Pretrained
from rpt_jax.stages import finetune, pipeline, pretrain, shared
from rpt_jax.training import checkpoint, sharding
from tests.stages import test_pretrain

ConfigDict = ml_collections.ConfigDict
RUN = 'masked_raw'


def config(**changes):
  """One short run on units."""
  c = test_pretrain.tiny_config()
  c.pretrain.runs = ConfigDict({RUN: c.pretrain.runs[RUN]})
  with c.unlocked():
    c.pretrain.update(steps=3, **changes)
  return test_pretrain.settings_of(c)


def trained(folder, c, monkeypatch):
  """(state after training, parameters shared, rows) of a run in a folder."""
  inputs = {name: folder / name for name in ('encode', 'quantize')}
  test_pretrain.write_encoded(inputs['encode'])
  scale = {'mean': np.full(12, 2, 'f4'), 'std': np.full(12, 3, 'f4')}
  path = inputs['encode'] / 'statistics.safetensors'
  checkpoint.save_params(path, scale)
  recipe = inputs['quantize'] / c.pretrain.runs[RUN].recipe
  recipe.mkdir(parents=True)
  for split in ('pretrain', 'heldout'):
    rows = (2 * test_pretrain.LENGTHS.sum(), 1)
    unit_NL = np.random.default_rng(0).integers(5, size=rows)
    np.save(recipe / f'{split}.npy', unit_NL.astype(np.int32))
  states = []

  def fit(init, shapes, train_step, batch_at, num_steps, **settings):
    """The loop without its checkpoints."""
    settings['directory'].mkdir(parents=True)
    state = init()
    for i in range(num_steps):
      state, _ = train_step(state, batch_at(i))
    states.append(jax.device_get(state))
    return state, []

  monkeypatch.setattr(pretrain.loop, 'fit', fit)
  rows = pretrain.run(c, inputs, folder / 'pretrain')
  return states[-1], folder / 'pretrain' / RUN, rows


def same(one, other):
  found = jax.tree.map(np.array_equal, one, other)
  return all(jax.tree.leaves(found))


def test_a_run_is_shared_and_another_begins_from_it(
  tmp_path, monkeypatch, capsys
):
  state, run, rows = trained(tmp_path / 'a', config(ema=0.9), monkeypatch)
  model = rpt_jax.from_pretrained(run / shared.FOLDER)
  assert same(model.params, state.ema)  # Not the last parameters.
  assert not same(model.params, state.params)
  assert not list(run.glob('*.safetensors'))  # Weights are there once.
  mean_D, std_D = model.scales['latent']
  assert (mean_D == 2).all() and (std_D == 3).all()
  assert model.origin['run'] == RUN and model.origin['ema'] == 0.9
  assert model.origin['data'] == {'one': 4, 'two': 4}
  revision = pipeline.provenance()['revision']
  (loss,) = [r for r in rows if r['name'] == 'loss' and 'env' not in r['tags']]
  for said in (
    'one: simulated, 4 episodes',
    f'| revision | {revision} |',
    f'| loss | run {RUN} | {loss["value"]:.4g} |',
  ):
    assert said in model.card, model.card
  assert revision not in (run / shared.FOLDER / 'config.json').read_text()

  init = {'path': str(run / shared.FOLDER), 'new': ('head_unit/codes',)}
  begun = config(init=ConfigDict(init), freeze='^trunk')
  capsys.readouterr()
  state, *_ = trained(tmp_path / 'b', begun, monkeypatch)
  printed = capsys.readouterr().out
  assert f'pretrain {RUN}: from {init["path"]}: loaded ' in printed
  assert 'new 1: head_unit/codes; left out 1: head_unit/codes' in printed
  assert same(state.params['trunk'], model.params['trunk'])
  assert not same(state.params['time'], model.params['time'])


DIMS = {'latent/corner2': 4, 'latent/gripperPOV': 4, 'proprio': 3}


def streams_run(c, *streams, action):
  names = (*streams, 'proprio', 'action')
  settings = ml_collections.FrozenConfigDict(
    c.pretrain.runs.rpt.to_dict() | {'streams': names}
  )
  c = ml_collections.FrozenConfigDict(c.to_dict())
  dims = DIMS | {'action': action}
  return c, settings, *pretrain.streams_model(settings, dims, c)


def test_a_new_camera_and_another_robot_begin_from_a_trunk(tmp_path, capsys):
  c = rpt.get_config('quicktest')
  *_, old = streams_run(c, 'latent/corner2', action=2)
  init = functools.partial(sequence.init, old)
  params = jax.tree.map(
    lambda x: np.random.default_rng(1).normal(size=x.shape).astype('f4'),
    jax.eval_shape(init, jax.random.key(0)),
  )
  scales = {
    s.name: (np.zeros(s.dim, 'f4'), np.ones(s.dim, 'f4')) for s in old.streams
  }
  Pretrained(old, params, scales).save_pretrained(tmp_path / 'old')
  c.pretrain.ema = 0.9
  c.pretrain.init = ConfigDict({'path': str(tmp_path / 'old')})
  cameras = ('latent/corner2', 'latent/gripperPOV')
  frozen, settings, objective, model = streams_run(c, *cameras, action=5)
  loss_fn = pretrain.make_loss(objective, model, settings, lambda x: x)
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  trainer = pretrain.make_trainer(frozen.pretrain, model, loss_fn, mesh)
  state = trainer.init(jax.random.key(0))
  with pytest.raises(
    ValueError, match='missing .*gripperPOV.* misshaped .*5, 32'
  ):
    shared.begin(frozen, settings, state, 'run')
  c.pretrain.init.new = ('_latent_gripperPOV', '^(stem|head)_action')
  frozen, settings, *_ = streams_run(c, *cameras, action=5)
  begun = shared.begin(frozen, settings, state, 'run')
  assert 'new 9: head_action/project/bias, ' in capsys.readouterr().out
  for name, x in begun.params.items():
    new = 'gripperPOV' in name or name in ('stem_action', 'head_action')
    assert same(x, state.params[name] if new else params[name]), name
  assert same(begun.ema, begun.params) and begun.ema is not begun.params
  places = [
    jax.tree.map(lambda x: x.sharding, s.params) for s in (begun, state)
  ]
  assert places[0] == places[1]
  c.pretrain.init.neww = ()
  frozen, settings, *_ = streams_run(c, *cameras, action=5)
  with pytest.raises(ValueError, match="config.pretrain.init: .*'neww'"):
    shared.begin(frozen, settings, state, 'run')


def test_a_policys_card_says_how_often_it_succeeds(monkeypatch):
  program = str(pathlib.Path(rpt_jax.__file__).with_name('main.py'))
  monkeypatch.setattr('sys.argv', [program, '--config=mine.py'])
  c = ml_collections.FrozenConfigDict(rpt.get_config('quicktest').to_dict())
  *_, model = streams_run(rpt.get_config(''), 'latent/corner2', action=4)
  cell = finetune.Cell('rpt', 'finetune', 2)
  tags = cell._asdict() | {'env': 'plate-slide-v3'}
  row = pipeline.row('control', 'success', 0.5, (0.25, 0.75), 2, **tags)
  told = shared.policy(c, model, 'plate-slide-v3', cell, [row])
  assert told['origin']['domain'] == 'plate-slide-v3'
  assert told['origin']['demos'] == 2 and 'revision' not in told['origin']
  assert '| 0.5 | [0.25, 0.75] | 2 |' in told['card']
  assert 'pretrained on coffee-button-v3: Meta-World' in told['card']
  assert 'model.policy()' in told['card']
  assert '| command | rpt_jax/main.py --config=mine.py |' in told['card']


def test_what_pretraining_begins_from_is_an_input(tmp_path):
  """Other weights at the same path: the stage runs again."""
  c = rpt.get_config('quicktest')
  c.pretrain.runs.rpt.init = ConfigDict({'path': str(tmp_path)})

  def wanted():
    (stage,) = [s for s in pipeline.plan(c) if s.name == 'pretrain']
    return stage.settings

  (tmp_path / 'model.safetensors').write_bytes(b'one')
  before = wanted()
  (tmp_path / 'README.md').write_text('of no consequence')
  assert wanted() == before
  (tmp_path / 'model.safetensors').write_bytes(b'two')
  assert wanted() != before
  c.pretrain.runs.rpt.init.path = str(tmp_path / 'gone')
  with pytest.raises(ValueError, match='init.path: .*gone: no such folder'):
    wanted()
