"""Hidden units from action-free clips: do they help a policy learn?

Five whole pipelines, each with a seed of its own: collects episodes from
gymnax environments, pretrains a small image model on what moves in their
frames, clusters its latents into hidden units, pretrains a sequence model on
them without actions, fine-tunes it on few demonstrations, and rolls the
policies out against the same model from scratch. Steps and rates of every
method were chosen by `tune`, on other seeds.

    python -m rpt_jax.main --config=configs/hubert_units.py
    python -m rpt_jax.main --config=configs/hubert_units.py:tune
    python -m rpt_jax.main --config=configs/hubert_units.py:quicktest

Expected on 2 CPU cores without AMX: 13 minutes, 3.3 GiB. R2 of the visible
state 0.86, 0.98, 0.99. One demonstration, all environments: scratch 0.28,
frozen probe 0.46, difference 0.17 [0.07, 0.28]; 64: 0.86, 0.64, fine-tuned
0.86. `tune` takes 20 minutes, `quicktest` a minute or two.
"""

from rpt_jax import settings

ENVS = ('Acrobot-v1', 'MountainCar-v0', 'Pendulum-v1')
DEMOS = (1, 4, 16, 64)
# What `tune` chose, for each of DEMOS: of all steps and learning rates within
# 0.02 of the best score the fewest steps, and of those the best rate.
METHODS = {
  'scratch': ((100, 100, 250, 600), (1e-3, 3e-3, 3e-3, 3e-3)),
  'probe': ((100, 100, 250, 250), (1e-2, 3e-2, 1e-2, 3e-2)),
  'finetune': ((100, 100, 250, 600), (1e-3, 1e-3, 1e-3, 3e-3)),
  'head_first': ((100, 100, 100, 600), (1e-3,)),
}
EYES = {
  'state': ((250, 250, 600, 600), (1e-2, 1e-2, 3e-3, 3e-3)),
  'positions': ((600,), (3e-3,)),
  'edges': ((100, 100, 600, 600), (1e-2, 1e-2, 3e-3, 3e-3)),
}


def get_config(arg=''):
  """`arg`: '' (the default), 'tune' or 'quicktest'."""
  arg = settings.argument(arg, ('tune', 'quicktest'))
  config = settings.base('quantize', 'pretrain', 'finetune')
  config.title = 'Hidden units from action-free clips'
  config.question = 'Do they help a policy learn from few demonstrations?'
  config.domains.gymnax = settings.plugin('domains', 'gymnax', envs=ENVS)
  config.pipelines = 5
  config.eyes = ('random', 'pixels', 'edges', 'state')
  config.image_model = settings.plugin('vision/pretraining', 'foreground')
  stack = ('clip_mean', 'stack:1')
  config.quantize.recipes = settings.recipes(raw=(), clip_mean_stack=stack)
  config.quantize.recipes.update(settings.recipes('actions', actions=()))
  config.pretrain.main = 'next'
  config.pretrain.runs = {
    'next': _run('next_units', 'clip_mean_stack'),
    'oracle': _run('next_units', 'actions'),
  }
  config.pretrain.steps, config.image_model.steps = 300, 1000
  config.domains.gymnax.score_episodes = 256
  config.finetune.update(seeds=1, batch_size=16, demos=DEMOS)
  config.finetune.methods = ('probe', 'finetune', 'head_first')
  config.finetune.run_methods = ('probe',)
  config.finetune.update({k: _method(*how) for k, how in METHODS.items()})
  config.finetune.eyes = {k: _method(*how) for k, how in EYES.items()}
  if arg != 'tune':  # Ceilings and controls cost as much as all else.
    config.finetune.head_first.demos = (1, 4, 16)
    config.finetune.eyes.state.demos = (64,)
    config.finetune.eyes.positions.demos = (64,)
    config.finetune.eyes.edges.demos = (4, 64)
  config.evaluate.episodes = 48
  if arg == 'tune':
    config.update(seed=9000, pipelines=1)
    config.pretrain.steps = 600
    config.domains.gymnax.score_episodes = 1024
    config.tune = settings.section(settings.Tune)
    settings.keep(config.pretrain.runs, 'next')
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _method(steps, rates):
  """How long and how fast."""
  return settings.section(settings.Method, steps=steps, learning_rate=rates)


def _run(objective, recipe, **how):
  """To name the hidden units of a recipe, or those to come."""
  objective = settings.plugin('objectives', objective, **how)
  run = {'objective': objective, 'recipe': recipe, 'targets': ('unit',)}
  return settings.section(settings.Run, **run)


def _quicktest(config):
  """Every stage and kind of run on almost nothing: does it work?"""
  config.pipelines = 2
  gymnax = config.domains.gymnax
  gymnax.update(envs=ENVS[:1], demos=4, score_episodes=32)
  gymnax.update(pretrain_clips=8, heldout_clips=4, clip_length=16)
  config.saving.update(log_steps=1, save_steps=1)
  config.image_model.update(steps=4, frames=4)
  config.quantize.update(num_clusters=8, max_iterations=3, trunk_layer=1)
  settings.keep(config.quantize.recipes, 'raw', 'clip_mean_stack')
  config.pretrain.update(steps=4, batch_size=8, trunk={'depth': 1})
  config.pretrain.runs = {
    'next': _run('next_units', 'clip_mean_stack'),
    'masked_raw': _run('masked_units', 'raw'),
  }
  config.finetune.update(demos=(1, 4), batch_size=8)
  settings.keep(config.finetune.eyes, 'state')
  config.finetune.eyes.state.demos = config.finetune.head_first.demos = ()
  settings.all_methods(config.finetune, steps=4, learning_rate=1e-3)
  config.evaluate.episodes = 8
