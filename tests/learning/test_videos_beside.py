"""A robot and videos in one run: what videos lack is absent, and no more."""

import functools

import jax
import numpy as np
import pytest

from rpt_jax import domains, settings
from rpt_jax.domains import recorded
from rpt_jax.episodes import listing
from rpt_jax.learning import checks, policies, pretraining
from rpt_jax.models import sequence
from rpt_jax.stages import collect, pretrain
from rpt_jax.training import sharding
from tests.learning import tiny
from tests.settings import variants

FELT = ('proprio', 'action')


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
  monkeypatch.setattr(listing, 'CACHE', tmp_path / 'cache')
  monkeypatch.setattr(recorded, 'CACHE', tmp_path / 'statistics')


def mine(*flags):
  return variants.parsed('mine:quicktest', *flags)


def test_what_videos_lack_is_absent_and_never_enters_a_loss(tmp_path):
  config = checks.experiment(mine(*tiny.mine(tmp_path)))
  inputs = tiny.encoded(config, tmp_path / 'work')
  run = tiny.runs(config).of(1)['next']
  corpus = pretrain._Corpus(domains.of(config), inputs, {'next': run})
  clips, _ = corpus.clips(run, 'pretrain', 0)
  mesh = sharding.make_mesh({'data': 8, 'fsdp': 1, 'tensor': 1})
  of_videos = slice(6, 9)  # Clips; those of the robot come first.
  batches = functools.partial(
    pretraining.batches, run, clips, mesh, 0, corpus.scales
  )
  batch = batches(chosen=of_videos)(0)
  there_M = np.asarray(batch['present']).any((0, 1))
  assert dict(zip(run.streams, there_M, strict=True)) == {
    'latent': True, 'proprio': False, 'action': False
  }  # fmt: skip
  assert np.asarray(batches(chosen=slice(6))(0)['present']).all()
  model = run.model(corpus.specs)
  loss = jax.jit(pretraining.loss_fn(run, model, {}))
  params, key = sequence.init(model, jax.random.key(0)), jax.random.key(1)
  value, metrics = loss(params, batch, key)
  nonsense = {name: batch[name] + np.nan for name in FELT}
  again, _ = loss(params, batch | nonsense, key)
  assert np.isfinite(value) and value == again
  assert all(metrics[f'error/{name}'][1] == 0 for name in FELT)


def test_a_policy_sees_what_its_robot_has(tmp_path):
  tiny.write_dataset(tmp_path / 'lab')
  tiny.write_videos(tmp_path / 'films')
  config = tiny.recorded(tmp_path / 'lab')
  films = {'path': str(tmp_path / 'films'), 'mapping': {'phone': 'image'}}
  config.domains.films = settings.plugin(
    'domains', 'recorded', cameras=('phone',), **films
  )
  config.pretrain.streams = ('latent/phone', 'latent/left', *FELT)
  experiment = checks.experiment(config)
  inputs = tiny.encoded(experiment, tmp_path / 'work')
  tiny.pretrained(experiment, inputs)
  of_all = policies.Policies(experiment.finetune, tiny.runs(experiment), inputs)
  robot = domains.acting(domains.of(experiment))[0]
  cell = policies.Cell('next', 'finetune', 1)
  names = [s.name for s in of_all.model(robot, cell).streams]
  assert names == ['latent/left', *FELT]


def test_what_is_to_be_given_is_said_in_one_line(tmp_path):
  with pytest.raises(ValueError) as error:
    checks.experiment(mine())
  assert str(error.value).startswith(
    "config.domains.robot.path, config.domains.videos.path: found '', expected "
    'a folder or file: give it, as in --config.domains.robot.path='
  )
  where = {'robot': tmp_path / 'lab', 'videos': 'films'}  # Or a name of TFDS.
  flags = [f'--config.domains.{k}.path={path}' for k, path in where.items()]
  with pytest.raises(ValueError) as error:
    checks.experiment(mine(*flags))
  for text, (name, path) in zip(
    str(error.value).split('; config.'), where.items(), strict=True
  ):
    said = f'domains.{name}: {path}: no such file or folder'
    assert text.removeprefix('config.').startswith(said)


def test_an_entry_without_a_path_is_left_out_and_named(tmp_path, capsys):
  flags = tiny.mine(tmp_path)
  config = checks.experiment(mine(flags[0]))
  collect.run(config, {}, tmp_path / 'collect')
  said = capsys.readouterr().out
  assert 'videos: left out, as config.domains.videos.path is empty' in said
  assert [d.name for d in domains.of(config)] == ['robot']
  with pytest.raises(ValueError, match=r"of \['videos'\]"):
    checks.experiment(mine(flags[1]))


def test_streams_are_those_of_the_dataset_unless_some_are_named(tmp_path):
  tiny.write_robot(tmp_path / 'lab')

  def fields(**mapping):
    path = str(tmp_path / 'lab')
    whole = recorded.Settings(path=path, mapping=mapping)
    return recorded.Recorded('lab', whole).fields

  assert fields() == fields(size=(8, 8)) == ('state', 'action')
  assert fields(image='image') == ()
  assert fields(image='image', action='action') == ('action',)
