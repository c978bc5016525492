"""A robot of your own and videos beside it: from two folders to a policy.

Pretrains on a robot dataset (frames, what it feels, what it does) and on a
folder of videos, which have frames alone: what a recording lacks is absent
there and never enters a loss. Fine-tunes on ten demonstrations of the robot,
and scores the actions it predicts on held-out episodes (open loop).

1. Look at the data. The page shows frames, outliers, and what actions are;
   what is printed last is the section to put in the place of `robot` below,
   which is wanted where the robot has more than one camera:

    python -m rpt_jax.main --inspect=path/to/robot
    python -m rpt_jax.main --inspect=path/to/videos,fps=10,clip_steps=100

2. Units, pretraining on both, fine-tuning, and a page (runs/mine/report.html).
   Without videos, leave their path out:

    python -m rpt_jax.main --config=configs/mine.py \
      --config.domains.robot.path=path/to/robot \
      --config.domains.videos.path=path/to/videos

3. Act, in a script of your own (`frame` and `state` as they were recorded, by
   these names or by those of the dataset):

    import rpt_jax
    policy = rpt_jax.from_pretrained('runs/mine/evaluate/robot/policy').policy()
    policy.reset()
    action = policy.act({'image': frame, 'proprio': state})

Expected on 2 CPU cores with much other work beside it, 60 episodes of a G1 and
3 videos: 20 minutes and 2.2 GiB with a tenth to a fifth of all steps (200 of
the image model, 100 of pretraining, 60 of policies, 2 seeds), which is too few
to tell the policies apart; not made at full length yet. `quicktest` does all of
it on almost nothing.
"""

from rpt_jax import settings

QUICKTEST = 'quicktest'


def get_config(arg=''):
  """`arg`: '' (the default) or 'quicktest'."""
  arg = settings.argument(arg, (QUICKTEST,))
  config = settings.base('quantize', 'pretrain', 'finetune')
  config.title = 'A robot of my own, and videos'
  config.question = 'What does pretraining on both make of ten demonstrations?'
  # Streams are those that a dataset has; `mapping` names others.
  config.domains.robot = settings.plugin('domains', 'recorded')
  # At the rate of the robot, so that a step is as long.
  videos = {'fps': 10.0, 'clip_steps': 100, 'size': (120, 160)}
  config.domains.videos = settings.plugin('domains', 'recorded', mapping=videos)
  config.frames.size = 96
  config.image_model = settings.plugin('vision/pretraining', 'mae', steps=2000)
  config.image_model.crop_scale = (0.5, 1.0)  # Hands differ: no flips.
  config.encode.update(output='mean_patch', batch_size=64)
  config.quantize.num_clusters = 100
  config.quantize.recipes = settings.recipes(
    clip_mean=('clip_mean',), delta_5=('delta:5',)
  )
  config.pretrain.update(width=128, batch_size=64, steps=600, main='next')
  config.pretrain.streams = ('latent', 'proprio', 'action')
  config.pretrain.runs = {
    'next': _run('next_streams'),
    'units': _run(
      'next_units',
      recipe='clip_mean',
      streams=('latent',),
      targets=('unit', 'latent'),
    ),
  }
  config.finetune.update(demos=(10,), run_demos=(10,), chunk=16)
  config.finetune.heldout = 0.2  # Two of the ten choose which policy is kept.
  settings.all_methods(config.finetune, steps=300)
  config.evaluate.comparisons = {
    'pretraining on both over none': ('next', 'none:scratch')
  }
  if arg == QUICKTEST:
    _quicktest(config)
  return config


def _run(objective, **how):
  """A pretraining run; `how` it differs from all others."""
  objective = settings.plugin('objectives', objective)
  return settings.section(settings.Run, objective=objective, **how)


def _quicktest(config):
  """Every stage on almost nothing: does it work?"""
  config.saving.update(log_steps=1, save_steps=1)
  config.frames.size = 32
  config.image_model.update(width=32, depth=1, steps=4, batch_size=16)
  config.quantize.update(num_clusters=8, max_iterations=3)
  settings.keep(config.quantize.recipes, 'clip_mean')
  config.pretrain.update(width=32, steps=4, batch_size=8)
  config.pretrain.trunk.depth = 1
  config.finetune.update(seeds=2, demos=(2,), run_demos=(2,), chunk=4)
  config.finetune.update(methods=('finetune',), batch_size=8, heldout=0.5)
  settings.all_methods(config.finetune, steps=4)
