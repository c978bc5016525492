"""The kill test: which units survive what moves, without an image model.

    python -m tests.benchmarks.moving            cheetah-run, three seeds
    python -m tests.benchmarks.moving 5 walker-run

Latents are principal components of grey frames of 32 pixels, so that nothing
is learned but units; makers and transforms are those of `distractors:units`,
and the table is that of `tests.benchmarks.distractors`. Conditions: `clean`;
`all` (backgrounds, camera and colours); `agent`, the same of which all but the
robot's own pixels are black, by the simulator's mask; and `many`, `all` with
every labelled clip shown three times more before other backgrounds (what
augmentation could do at best). Everything is drawn anew for every seed.
"""

import dataclasses
import pathlib
import sys
import tempfile

import jax
import numpy as np

from rpt_jax import experiments, settings
from rpt_jax.domains import backgrounds
from rpt_jax.envs import dm_control
from rpt_jax.envs.dm_control import Start
from rpt_jax.envs.dm_control import distractors as distracting
from rpt_jax.episodes.windows import Clips
from rpt_jax.units import labelled, recipes
from tests.benchmarks import distractors
from tests.benchmarks.distractors import Truth, line, scores

STEPS, CLIPS, HELDOUT, LABELLED, MORE = 100, 40, 16, 8, 3
SIDE, WIDTH = 32, 128
TRAINED = 200  # Updates of what learns.
TOLD = [i * CLIPS // LABELLED for i in range(LABELLED)]
CONDITIONS = ('clean', 'all', 'agent', 'many')
ONLY = {
  'clean': (
    'raw',
    'clip_mean',
    'delta_3',
    'grounded',
    'lapo_fsq',
    'lapo',
    'multi_step',
    'laom',
  ),
  'agent': ('delta_3', 'grounded'),
  'many': ('grounded', 'laom_labels'),
}


def main(seeds: int = 3, task: str = 'cheetah-run') -> None:
  """Prints a table for every condition."""
  told = {condition: [] for condition in CONDITIONS}
  for seed in range(seeds):
    for condition, frames, action in _data(task, seed):
      told[condition].append(_scores(condition, frames, action, seed))
      print(f'seed {seed} {condition}', flush=True)
      for name, each in told[condition][-1].items():
        print(' ', line(name, [each]), flush=True)
  for condition, each in told.items():
    print(f'{condition}: R^2 of actions, {", ".join(distractors.KEYS)}')
    for name in each[0]:
      print(' ', line(name, [x[name] for x in each]))


def _data(task, seed):
  """Yields (condition, {split: frames}, {split: actions})."""
  with tempfile.TemporaryDirectory() as folder:
    parts = backgrounds.split(
      backgrounds.sources(backgrounds.WHEEL, 24), 0.25, seed
    )
    seen, unseen = (
      tuple(
        backgrounds.write(x, f'{k}_{i}', 64, pathlib.Path(folder))
        for i, x in enumerate(part)
      )
      for k, part in zip('su', parts, strict=True)
    )
    plain = dm_control.Settings(64, STEPS)
    moving = plain._replace(
      camera=0.1, colour=0.1, backgrounds=seen, unseen=unseen
    )
    yield 'clean', *_episodes(task, plain, seed, 0)[:2]
    frames, action, agent = _episodes(task, moving, seed, MORE)
    most = CLIPS * STEPS
    yield 'all', {s: x[:most] for s, x in frames.items()}, action
    yield 'agent', {s: x[:most] for s, x in agent.items()}, action
    yield 'many', frames, action


def _episodes(task, chosen, seed, more):
  """Frames, actions and frames of the robot alone, by split.

  Behind those of pretrain the labelled clips come again `more` times: the same
  states and actions under other distractors.
  """
  lanes, first = dm_control.Lanes(task, chosen), (seed + 1) << 20
  starts = {
    'pretrain': [Start(first + i) for i in range(CLIPS)],
    'heldout': [
      Start(first + (1 << 16) + i, i % 2 == 1) for i in range(HELDOUT)
    ],
  }
  again = [starts['pretrain'][i] for i in TOLD] * more
  frames, action, agent = {}, {}, {}
  for split, own in starts.items():
    played = [_play(lanes, start) for start in own]
    action[split] = np.concatenate([a for _, a, _ in played])
    if split == 'pretrain':
      played += [_play(lanes, x, i + 1) for i, x in enumerate(again)]
    frames[split] = np.concatenate([f for f, _, _ in played])
    agent[split] = np.concatenate([m for _, _, m in played if len(m)] or [[]])
  lanes.close()
  return frames, action, agent


def _play(lanes, start, other=0):
  """(grey frames [T, 1024], actions [T, A], frames of the robot alone).

  What distracts is drawn by `other` where that is not 0.
  """
  lanes.reset(0, start)
  if other:
    lane, c = lanes._lanes[0], lanes.settings
    rng = np.random.default_rng([start.seed, other, 3])
    lane._camera = distracting.camera(rng, STEPS, c.camera)
    materials = len(lane._colour_M3)
    lane._shift = distracting.colours(rng, STEPS, c.colour, materials)
    lane._frames = distracting.background(rng, lane._videos[False])
  frames, actions, agents = [], [], []
  for _ in range(STEPS):
    image = lanes.observe(0)['image'].astype(np.float32).mean(-1) / 255
    frames.append(_small(image))
    if lanes.settings.camera and not other:
      agents.append(_small(image * lanes.mask(0)))
    actions.append(lanes.expert(0))
    lanes.step(0, actions[-1])
  return np.stack(frames), np.stack(actions), np.array(agents)


def _small(image):
  fold = len(image) // SIDE
  return image.reshape(SIDE, fold, SIDE, fold).mean((1, 3)).ravel()


def _scores(condition, frames, action, seed):
  """{recipe: {key: R^2}} of one condition and seed."""
  config = settings.read(
    settings.Experiment, experiments.load('distractors:units')
  )
  latent = _components(frames)
  rows, _ = labelled.rows(_clips(action['pretrain']), LABELLED, 1)
  truth = Truth(
    action,
    {s: _clips(x).clip_N for s, x in action.items()},
    np.isin(np.arange(CLIPS * STEPS), rows),
  )
  told = {}
  for name in ONLY.get(condition, config.quantize.recipes):
    recipe = config.quantize.recipes[name]
    told[name] = _of(recipe, config.quantize, latent, truth, seed)
  return told


def _clips(x, **more):
  """Clips of so many steps each, with these arrays."""
  return Clips(more, np.full(len(x) // STEPS, STEPS))


def _components(frames):
  """The first principal components of pretrain's frames, of all splits."""
  x = frames['pretrain'][: CLIPS * STEPS]
  mean = x.mean(0)
  _, basis = np.linalg.eigh((x - mean).T @ (x - mean))
  return {s: (x - mean) @ basis[:, -WIDTH:] for s, x in frames.items()}


def _of(recipe, shared, latent, truth, seed):
  """{key: R^2} of a recipe; clips that come again are labelled, too."""
  key, count = jax.random.key(seed), CLIPS * STEPS
  x_ND, action_NA = latent['pretrain'], truth.action['pretrain']
  maker = recipe.maker
  if hasattr(maker, 'steps'):
    maker = dataclasses.replace(maker, steps=TRAINED)
  if len(x_ND) > count:
    chosen = np.concatenate([np.arange(STEPS) + i * STEPS for i in TOLD])
    x_ND = np.concatenate([x_ND[chosen], x_ND[count:]])
    action_NA = np.tile(action_NA[chosen], (1 + MORE, 1))
    maker = dataclasses.replace(maker, labelled=len(x_ND) // STEPS)
  recipe = dataclasses.replace(recipe, maker=maker)
  told = _clips(x_ND, latent=x_ND, action=action_NA)
  fitted = recipes.fit(recipe, told, key, shared)
  made = {
    s: recipes.apply(recipe, fitted, _clips(x, latent=x), key)
    for s, x in (
      ('pretrain', latent['pretrain'][:count]),
      ('heldout', latent['heldout']),
    )
  }
  units = {s: np.asarray(x.unit_NL)[:, 0] for s, x in made.items()}
  codes = {s: np.asarray(x.code_ND) for s, x in made.items()}
  with_codes = made['heldout'].code_ND is not None
  return scores(recipe, shared, units, codes if with_codes else None, truth)


if __name__ == '__main__':
  main(*map(int, sys.argv[1:2]), *sys.argv[2:])
