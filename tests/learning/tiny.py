"""Small experiments, and recorded episodes as the stages leave them."""

import pathlib

import jax
import numpy as np
from PIL import Image

from rpt_jax import domains, settings, sharing
from rpt_jax.episodes import windows
from rpt_jax.learning import (
  acting,
  checks,
  demonstrations,
  policies,
  pretraining,
  streams,
)
from rpt_jax.learning import runs as runs_lib
from rpt_jax.learning.runs import Runs
from rpt_jax.models import sequence
from rpt_jax.settings import Experiment
from rpt_jax.sharing import folder
from rpt_jax.stages import collect, encode, label
from rpt_jax.training import checkpoint
from rpt_jax.vision.pretraining import mae

# Not in the order of the alphabet, nor of one size.
SIZES = {'right': (24, 20), 'left': (16, 16)}
EPISODES, STEPS = 6, 9


def run(objective, **values):
  """A run with the defaults of its objective."""
  chosen = settings.plugin('objectives', objective)
  return settings.section(settings.Run, objective=chosen, **values)


def config(**changes):
  """Units and policies of two environments; `changes` by 'section__key'."""
  c = settings.base('quantize', 'pretrain', 'finetune')
  envs = ('CartPole-v1', 'Pendulum-v1')
  c.domains.gymnax = settings.plugin('domains', 'gymnax', envs=envs)
  c.image_model = settings.plugin('vision/pretraining', 'mae')
  c.iterations = 2
  c.saving.update(log_steps=1, save_steps=10)
  c.quantize.update(num_clusters=8, max_iterations=3, trunk_layer=1)
  c.quantize.recipes = settings.recipes(raw=(), clip_mean=('clip_mean',))
  c.pretrain.update(width=16, steps=3, batch_size=8, main='next')
  c.pretrain.trunk.depth = 1
  c.pretrain.runs = {
    'next': run('next_units', recipe='clip_mean', targets=('unit',)),
    'masked_raw': run('masked_units', recipe='raw', targets=('unit',)),
  }
  c.finetune.update(seeds=2, demos=(1, 4), batch_size=8)
  settings.all_methods(c.finetune, steps=4)
  return changed(c, changes)


def recorded(path: pathlib.Path, **changes):
  """Policies of one recorded robot with two cameras and an MAE of them."""
  c = settings.base('pretrain', 'finetune')
  c.domains.squares = settings.plugin(
    'domains',
    'recorded',
    path=str(path),
    cameras=tuple(SIZES),
    mapping={k: k for k in (*SIZES, 'state', 'action')},
    heldout=0.34,
  )
  c.frames.size = 16
  c.image_model = settings.plugin('vision/pretraining', 'mae', patch=8)
  c.image_model.update(width=16, depth=2, num_heads=2, decoder_width=16)
  c.image_model.update(decoder_depth=1, decoder_num_heads=2)
  c.encode.update(output='mean_patch', batch_size=16)
  c.pretrain.update(width=16, context=4, steps=3, batch_size=8)
  c.pretrain.trunk.depth = 1
  c.pretrain.runs = {'next': run('next_streams')}
  c.pretrain.main = 'next'
  c.finetune.update(seeds=2, demos=(1,), run_demos=(1,), batch_size=8)
  settings.all_methods(c.finetune, steps=4)
  c.finetune.chunk = 3
  return changed(c, changes)


def experiment(**changes) -> Experiment:
  """`config`, read and checked."""
  return checks.experiment(config(**changes))


def runs(config: Experiment) -> Runs:
  """The pretraining runs of an experiment."""
  return Runs(config.pretrain, config.quantize, config.iterations)


def changed(config, changes):
  """A config with {'section__key': value} set."""
  for name, value in changes.items():
    *place, last = name.split('__')
    section = config
    for part in place:
      section = section[part]
    section[last] = value
  return config


def write_dataset(path: pathlib.Path) -> None:
  """Episodes of different lengths; actions are where a bright square is."""
  path.mkdir()
  for seed in range(EPISODES):
    rng = np.random.default_rng(seed)
    place_T = np.clip(np.cumsum(rng.integers(-2, 3, STEPS + seed)) + 6, 0, 12)
    action = np.stack([place_T, -place_T], 1).astype(np.float32) / 8
    arrays = {'action': action, 'state': np.roll(action, 1, 0) + 1}
    for camera, (height, width) in SIZES.items():
      shape = (len(place_T), height, width, 3)
      arrays[camera] = rng.integers(64, size=shape, dtype=np.uint8)
      for frame, place in zip(arrays[camera], place_T, strict=True):
        frame[4:10, place : place + 6, camera == 'left' :] = 255
    np.savez(path / f'{seed}.npz', **arrays)


def write_robot(path: pathlib.Path) -> None:
  """Episodes of one camera that keeps its default name."""
  path.mkdir()
  for seed in range(8):
    rng = np.random.default_rng(seed)
    state = np.cumsum(rng.normal(size=(10 + seed, 3)), axis=0)
    np.savez(
      path / f'{seed}.npz',
      image=rng.integers(256, size=(len(state), 16, 20, 3), dtype=np.uint8),
      state=state.astype(np.float32),
      action=np.diff(state, axis=0, append=state[-1:]).astype(np.float32),
    )


def write_videos(path: pathlib.Path) -> None:
  """Films of noise, at ten frames a second."""
  path.mkdir()
  for seed in range(3):
    rng = np.random.default_rng(seed)
    noise = rng.integers(256, size=(12, 16, 20, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    how = {'save_all': True, 'append_images': others, 'duration': 100}
    first.save(path / f'{seed}.gif', **how)


def write_texts(path: pathlib.Path) -> None:
  """Documents that say the same things in another order."""
  path.mkdir()
  said = 'the cat sat', 'on the mat', 'a dog ran', 'to the café\n'
  for seed in range(8):
    order = np.random.default_rng(seed).integers(4, size=40)
    text = ', '.join(said[i] for i in order)
    (path / f'{seed}.txt').write_text(text, 'utf-8')


def mine(folder: pathlib.Path) -> list[str]:
  """The flags of `configs/mine.py`: a robot and videos, made in a folder."""
  write_robot(folder / 'lab')
  write_videos(folder / 'films')
  named = {'robot': folder / 'lab', 'videos': folder / 'films'}
  return [f'--config.domains.{k}.path={path}' for k, path in named.items()]


def encoded(config: Experiment, workdir: pathlib.Path) -> dict:
  """The folders of collect, see and encode of a `recorded` experiment."""
  names = (
    'collect',
    'see',
    'encode',
    'label',
    'pretrain',
    'finetune',
    'evaluate',
  )
  inputs = {name: workdir / name for name in names}
  for path in inputs.values():
    path.mkdir(parents=True)
  model = mae.model(config.image_model, config.frames.size)
  mae.save(model, model.init(jax.random.key(5)), inputs['see'] / 'model')
  collect.run(config, {}, inputs['collect'])
  encode.run(config, inputs, inputs['encode'])
  label.run(config, inputs, inputs['label'])
  return inputs


def pretrained(config: Experiment, inputs: dict) -> None:
  """Adds what pretraining leaves, though no step was trained."""
  places = domains.seen(domains.of(config))
  named = runs(config).of(1)
  names = pretraining.needed(named)
  parts = [streams.read(d, inputs, 'pretrain', names) for d in places]
  scales = streams.measure(parts)
  sharing.save_scales(inputs['pretrain'] / runs_lib.SCALES, scales)
  for i, (name, each) in enumerate(named.items()):
    model = each.model(streams.specs(scales))
    path = inputs['pretrain'] / name / runs_lib.PRETRAINED / folder.MODEL
    path.parent.mkdir(parents=True)
    checkpoint.save_params(path, sequence.init(model, jax.random.key(i)))


def demos(lengths, **data) -> demonstrations.Demos:
  """Demonstrations of these lengths, all of their split."""
  table = windows.windows(lengths, 1)
  episodes = np.arange(len(lengths))
  return demonstrations.Demos(data, table, episodes, len(lengths))


def actors(config: Experiment, inputs: dict) -> acting.Actors:
  """The policies of an experiment, as the stages that judge them have them."""
  return acting.actors(
    policies.Policies(config.finetune, runs(config), inputs),
    config.evaluate,
    config.encoder,
    config.encode,
  )
