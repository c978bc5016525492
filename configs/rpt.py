"""RPT: sensorimotor pre-training on robot demonstrations, and what it is for.

Scripted experts show Meta-World tasks to three cameras; a small image model is
pretrained on the frames (MAE) and frozen; a transformer learns to fill in
masked latents, proprioception and actions (arXiv 2306.10007), or to predict
them (generative); it is fine-tuned on few demonstrations to give the next 16
actions, and rolled out against the same model from scratch and a frozen probe,
in the tasks it was pretrained on and in one it has never seen.

    python -m rpt_jax.main --config=configs/rpt.py
    python -m rpt_jax.main --config=configs/rpt.py:conclusive
    python -m rpt_jax.main --config=configs/rpt.py:tune
    python -m rpt_jax.main --config=configs/rpt.py:study
    python -m rpt_jax.main --config=configs/rpt.py:action_free
    python -m rpt_jax.main --config=configs/rpt.py:g1
    python -m rpt_jax.main --config=configs/rpt.py:g1_blind
    python -m rpt_jax.main --config=configs/rpt.py:quicktest
    python -m rpt_jax.main --config=configs/rpt.py:L --dry_run

Needs `pip install -e '.[metaworld]'` and libosmesa6 (`EXTRA=metaworld bash
launch/local.sh --config=configs/rpt.py` sees to both). `conclusive` asks in
twelve whole pipelines whether pretraining is worth anything, and masked or
generative; `tune` how long and fast its policies should learn; `study` is the
default with one pretraining run for every question of the paper; `action_free`
asks what clips without actions are worth; `g1` reads a real robot's log instead
(LeRobot, `EXTRA=video`) and scores actions in open loop, `g1_blind` without
its camera, as datasets that have none are read; `S`, `B` and `L` are
larger trunks (22M, 86M, 300M) for accelerators.

Expected on 2 CPU cores, 2.3 GiB (kill it and go on as often as you like): 37
minutes with other work beside it; fine-tuned minus scratch with two
demonstrations 0.06 [-0.04, 0.17] in the tasks seen and 0.20 [0.12, 0.29] in the
unseen one. `study` 58 minutes; 0.11 [0.01, 0.21] and -0.24 [-0.41, -0.05].
`conclusive` takes 12 minutes a pipeline, 40 beside other work; in twelve
neither way is told from scratch (0.03 [-0.06, 0.13] at most) or from the other.
`tune` takes perhaps 40 (two smaller grids were made: configs/README.md).
`action_free` 50 beside much other work; video alone over scratch 0.05
[-0.05, 0.17] and -0.23 [-0.33, -0.12]. `quicktest` takes a minute or two.
"""

from rpt_jax import settings
from rpt_jax.models import presets

CAMERAS = ('corner2', 'gripperPOV', 'topview')
# Of `conclusive`: what pretraining sees, and what it does not.
SEEN = ('drawer-open-v3', 'window-open-v3', 'faucet-open-v3', 'door-close-v3')
UNSEEN = ('door-open-v3', 'window-close-v3')
# What `tune` chose for it with 2 and with 10 demonstrations, on two seeds.
METHODS = {
  'scratch': ((300, 600), (1e-3, 4e-4)),
  'finetune': ((300, 600), (4e-4,)),
}
SIZES = ('S', 'B', 'L')


def get_config(arg=''):
  """As above: '', 'conclusive', 'tune', 'study', 'action_free', 'g1',
  'g1_blind', 'quicktest', 'S', 'B' or 'L'."""
  change = {
    'conclusive': _conclusive,
    'tune': _tune,
    'study': _study,
    'action_free': _action_free,
    'g1': _g1,
    'g1_blind': _g1_blind,
    'quicktest': _quicktest,
  }
  arg = settings.argument(arg, (*change, *SIZES))
  config = settings.base('pretrain', 'finetune')
  config.title = 'RPT: sensorimotor pre-training'
  config.question = 'Does it help a robot act, and which choice made it so?'
  config.domains.metaworld = settings.plugin(
    'domains',
    'metaworld',
    tasks=('drawer-open-v3', 'window-open-v3'),
    unseen=('door-open-v3',),
  )
  config.frames.update(size=84, error_budget=0.0)
  config.image_model = settings.plugin('vision/pretraining', 'mae', patch=14)
  config.image_model.crop_scale = (0.8, 1.0)
  config.encode.update(output='grid2', batch_size=128)
  config.encode.update(ahead=16, error_budget=0.0)
  config.pretrain.update(presets.SIZES[arg if arg in SIZES else 'paper'])
  config.pretrain.update(context=16, batch_size=64, steps=800)
  config.pretrain.update(learning_rate=4e-4, warmup=0.17)
  config.pretrain.streams = (*_latents(CAMERAS), 'proprio', 'action')
  config.pretrain.runs = {'rpt': _masked()}
  config.pretrain.main = 'rpt'
  config.finetune.update(seeds=3, demos=(2, 10), run_demos=(2,), chunk=16)
  config.finetune.batch_size = 16
  settings.all_methods(config.finetune, steps=150, learning_rate=4e-4)
  config.finetune.probe.learning_rate = (4e-3,)
  config.evaluate.episodes = 50
  config.evaluate.comparisons = {
    'pretraining over scratch': ('rpt', 'none:scratch'),
    'fine-tuning over a linear probe': ('rpt', 'rpt:probe'),
  }
  if arg in change:
    change[arg](config)
  return config


def _latents(cameras):
  return tuple(f'latent/{camera}' for camera in cameras)


def _masked(mask='token', ratio=(0.7, 0.9), **how):
  """A run of RPT; `how` overrides what all runs share."""
  how_masked = {'mask': mask, 'ratio': ratio}
  objective = settings.plugin('objectives', 'masked_streams', **how_masked)
  return settings.section(settings.Run, objective=objective, **how)


def _generative(**how):
  objective = settings.plugin('objectives', 'next_streams')
  return settings.section(settings.Run, objective=objective, **how)


def _study(config):
  """One run for every question; comparisons are paired differences.

  A smaller trunk (0.4M), so that twelve runs end in little more than an hour.
  """
  config.title = 'RPT: which choice made it so?'
  config.domains.metaworld.failures = 100
  _smaller(config)
  streams = config.pretrain.streams
  with_units = (*streams[:-1], 'unit', 'action')
  _quantize(config)
  config.pretrain.runs = {
    'rpt': _masked(),
    'ratio_low': _masked(ratio=(0.1, 0.9)),
    'timestep': _masked('timestep'),
    'modality': _masked('modality'),
    'causal': _masked('causal'),
    'next': _generative(),
    'context_1': _masked(context=1),
    'context_4': _masked(context=4),
    'context_8': _masked(context=8),
    'one_camera': _masked(streams=(streams[0], 'proprio', 'action')),
    'failures': _masked(failures=True),
    # Policies never see units: theirs may know the whole clip.
    'units': _masked(recipe='clip_mean', streams=with_units),
  }
  config.evaluate.comparisons.update(
    {
      'masks of 70-90 % over 10-90 %': ('rpt', 'ratio_low'),
      'token over timestep masks': ('rpt', 'timestep'),
      'token over modality masks': ('rpt', 'modality'),
      'causal over random masks': ('causal', 'rpt'),
      'masked over generative': ('rpt', 'next'),
      'context 16 over 1': ('rpt', 'context_1'),
      'context 16 over 4': ('rpt', 'context_4'),
      'context 16 over 8': ('rpt', 'context_8'),
      'three cameras over one': ('rpt', 'one_camera'),
      'failures added over none': ('failures', 'rpt'),
      'units added over none': ('units', 'rpt'),
    }
  )


def _conclusive(config):
  """Is RPT worth anything, and is masked or generative the better way?

  Twelve whole pipelines, as intervals must hold how pretrainings differ. No
  cell ends early: what decides in one pipeline would bias the mean over all.
  """
  config.title = 'RPT: masked, generative, or nothing'
  config.pipelines = 12
  tasks = config.domains.metaworld
  tasks.update(tasks=SEEN, unseen=UNSEEN, cameras=CAMERAS[:2], size=64)
  tasks.update(pretrain=75, heldout=10, demos=10)
  config.frames.size, config.image_model.patch = 64, 16
  _smaller(config)
  config.pretrain.streams = (*_latents(CAMERAS[:2]), 'proprio', 'action')
  config.pretrain.runs = {'rpt': _masked(), 'next': _generative()}
  config.finetune.update(seeds=1, methods=('finetune',), run_demos=(2, 10))
  config.pretrain.batch_size, config.image_model.steps = 32, 600
  config.finetune.batch_size = 8
  for method, (steps, rates) in METHODS.items():
    config.finetune[method].update(steps=steps, learning_rate=rates)
  config.evaluate.comparisons = {
    'masked pretraining, or none': ('rpt', 'none:scratch'),
    'generative pretraining, or none': ('next', 'none:scratch'),
    'masked, or generative': ('rpt', 'next'),
  }


def _tune(config):
  """How long and how fast `conclusive` should learn, on a seed of its own."""
  _conclusive(config)
  config.update(seed=9000, pipelines=1)
  config.domains.metaworld.update(tasks=SEEN[:2], unseen=UNSEEN[:1])
  config.tune = settings.section(settings.Tune, steps=(150, 300, 600))
  config.tune.learning_rate = (4e-4, 1e-3, 3e-3)


def _action_free(config):
  """Generative runs on the same clips, of which some are but video."""
  config.title = 'RPT: what are clips without actions worth?'
  _smaller(config)
  config.pretrain.runs = {
    'next': _generative(),
    'next_quarter': _generative(labelled=0.25),
    'next_video': _generative(labelled=0.0),
  }
  config.pretrain.main = 'next'
  config.evaluate.comparisons = {
    'pretraining over scratch': ('next', 'none:scratch'),
    'a quarter of the actions over none': ('next_quarter', 'next_video'),
    'all actions over a quarter': ('next', 'next_quarter'),
    'video alone over scratch': ('next_video', 'none:scratch'),
  }


def _smaller(config):
  """A trunk of 0.4M, for experiments of many runs."""
  config.pretrain.update(width=128, steps=600, trunk={'depth': 3})
  config.evaluate.episodes = 25


def _quantize(config):
  """Hidden units, for the run that has them as one more stream."""
  config.quantize = settings.section(settings.Quantize, num_clusters=64)
  config.quantize.recipes = settings.recipes(clip_mean=('clip_mean',))


def _g1(config):
  """A recorded robot in the place of the simulator: one camera, 26 joints."""
  config.question = 'Does it help predict what a real robot does next?'
  config.evaluate.comparisons = {}
  mapping = {
    'image': 'observation.images.cam_high',
    'state': 'observation.state',
    'action': 'action',
  }
  path = '../shared/data/g1_lerobot_v21'
  config.origin = (
    'g1 is every third frame of YifanTian07/G1-policy-train of Hugging Face '
    '(LeRobot v2.1), which --config.domains.g1.path=<folder> reads, too'
  )
  how = {'path': path, 'mapping': mapping}
  config.domains = {'g1': settings.plugin('domains', 'recorded', **how)}
  config.encode.workers = 1
  config.pretrain.streams = (*_latents(('image',)), 'proprio', 'action')
  config.pretrain.runs = {
    'rpt': _masked(),
    'next': _generative(),
    'causal': _masked('causal'),
  }
  config.finetune.update(demos=(1, 4, 16, 45), run_demos=(4,))


def _g1_blind(config):
  """What the robot feels and does is all there is."""
  _g1(config)
  config.domains.g1.cameras = ()
  del config.domains.g1.mapping['image']
  config.encoder = 'state'
  config.image_model = None
  config.pretrain.streams = ('proprio', 'action')


def _quicktest(config):
  """Every stage and kind of run on almost nothing: does it work?"""
  _study(config)
  tasks = config.domains.metaworld
  tasks.tasks = ('coffee-button-v3',)  # It takes 8 decisions.
  tasks.unseen = ('plate-slide-v3',)
  tasks.update(cameras=CAMERAS[:2], size=32, horizon=16)
  tasks.update(pretrain=3, heldout=2, demos=2, failures=2)
  config.saving.update(log_steps=1, save_steps=1)
  config.frames.size = 28
  config.image_model.update(width=32, depth=1, steps=4, batch_size=16)
  config.iterations = 2
  config.quantize.update(num_clusters=8, max_iterations=3, trunk_layer=1)
  latents = _latents(CAMERAS[:2])
  config.pretrain.update(width=32, steps=4, batch_size=8, context=4)
  config.pretrain.trunk.depth = 1
  config.pretrain.streams = (*latents, 'proprio', 'action')
  config.pretrain.main = 'units'
  units = (*latents[:1], 'proprio', 'unit', 'action')
  config.pretrain.runs = {
    'rpt': _masked(),
    'next': _generative(labelled=0.5, failures=True),
    'units': _masked('causal', context=2, recipe='clip_mean', streams=units),
  }
  config.finetune.update(seeds=2, demos=(1, 2), run_demos=(1,))
  settings.all_methods(config.finetune, steps=4)
  config.finetune.update(chunk=4, batch_size=8)
  config.evaluate.episodes = 2
  config.evaluate.comparisons = {'masked over generative': ('rpt', 'next')}
