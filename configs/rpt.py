"""RPT: sensorimotor pre-training on robot demonstrations, and what it is for.

Scripted experts show Meta-World tasks to three cameras; a small image model is
pretrained on the frames (MAE) and frozen; a transformer learns to fill in
masked latents, proprioception and actions (arXiv 2306.10007), or to predict
them (generative); it is fine-tuned on few demonstrations to give the next 16
actions, and rolled out against the same model from scratch and a frozen probe,
in the tasks it was pretrained on and in one it has never seen.

    python -m rpt_jax.main --config=configs/rpt.py
    python -m rpt_jax.main --config=configs/rpt.py:study
    python -m rpt_jax.main --config=configs/rpt.py:action_free
    python -m rpt_jax.main --config=configs/rpt.py:g1
    python -m rpt_jax.main --config=configs/rpt.py:quicktest
    python -m rpt_jax.main --config=configs/rpt.py:L --dry_run

Needs `pip install -e '.[metaworld]'` and libosmesa6 (`EXTRA=metaworld bash
launch/local.sh --config=configs/rpt.py` sees to both). `study` is the default
with one pretraining run for every question of the paper; `action_free` asks
what clips without actions are worth; `g1` reads a real robot's log instead
(LeRobot, `EXTRA=video`) and scores actions in open loop; `S`, `B` and `L` are
larger trunks (22M, 86M, 300M) for accelerators.

Expected on 2 CPU cores, 2.3 GiB (kill it and go on as often as you like): 37
minutes with other work beside it; fine-tuned minus scratch with two
demonstrations 0.06 [-0.04, 0.17] in the tasks seen and 0.20 [0.12, 0.29] in the
unseen one. `study` 58 minutes; 0.11 [0.01, 0.21] and -0.24 [-0.41, -0.05].
`action_free` 50 beside much other work; video alone over scratch 0.05
[-0.05, 0.17] and -0.23 [-0.33, -0.12]. `quicktest` takes a minute or two.
"""

import ml_collections

from rpt_jax.models import presets

ConfigDict = ml_collections.ConfigDict
CAMERAS = ('corner2', 'gripperPOV', 'topview')
SIZES = ('S', 'B', 'L')
ARGUMENTS = ('', 'study', 'action_free', 'g1', 'quicktest', *SIZES)


def get_config(arg=''):
  """`arg`: one of `ARGUMENTS`."""
  if arg not in ARGUMENTS:
    raise ValueError(
      f'config argument {arg!r}: expected one of {", ".join(ARGUMENTS[1:])}'
    )
  config = ConfigDict()
  config.title = 'RPT: sensorimotor pre-training'
  config.question = 'Does it help a robot act, and which choice made it so?'
  config.seed = 0
  config.envs = ()
  config.datasets = ConfigDict()
  config.mesh = ConfigDict({'data': -1, 'fsdp': 1, 'tensor': 1})

  config.metaworld = ConfigDict()
  config.metaworld.tasks = ('drawer-open-v3', 'window-open-v3')
  config.metaworld.unseen = ('door-open-v3',)  # Pretraining never sees it.
  config.metaworld.cameras = CAMERAS
  config.metaworld.size = 84  # Pixels.
  config.metaworld.action_repeat = 5  # Simulator steps of a decision.
  config.metaworld.horizon = 30  # Decisions; experts need up to 20.
  config.metaworld.noise = (0.0, 0.1, 0.3)  # Of actions, episodes in turn.
  config.metaworld.pretrain = 150  # Episodes of a task.
  config.metaworld.heldout = 20
  config.metaworld.demos = 50  # Without noise; what fine-tuning may see.
  config.metaworld.failures = 0  # Deliberate ones, for runs that want them.
  config.metaworld.workers = 2  # Processes that simulate and render.

  config.encoder = 'mae'  # Or any image model: a folder, an id, a control.
  config.encode = ConfigDict()
  config.encode.output = 'grid2'  # 'mean_patch' (the paper), 'cls', 'patches'.
  config.encode.layer = -1  # The normed end, or a block from 0.
  config.encode.image_size = 0  # Pixels; 0: as the model was trained.
  config.encode.batch_size = 128  # Frames.
  config.encode.workers = 0  # Processes that decode; 0: threads.
  config.encode.ahead = 16  # Episodes decoded ahead of their use.
  config.encode.shard_frames = 20_000
  config.encode.error_budget = 0.0  # Share of undecodable episodes borne.

  config.frames = ConfigDict()
  config.frames.size = 84  # Pixels, of what the MAE trains on.
  config.frames.workers = 0
  config.frames.error_budget = 0.0

  config.mae = ConfigDict()
  config.mae.patch = 14  # Pixels.
  config.mae.width = 128
  config.mae.depth = 4
  config.mae.num_heads = 4
  config.mae.decoder_width = 128
  config.mae.decoder_depth = 2
  config.mae.decoder_num_heads = 4
  config.mae.mask_ratio = 0.75
  config.mae.crop_scale = (0.8, 1.0)  # Share of a frame that is looked at.
  config.mae.flip = False
  config.mae.batch_size = 64
  config.mae.steps = 1000
  config.mae.learning_rate = 1e-3
  config.mae.weight_decay = 0.05

  config.iterations = 1
  config.pretrain = ConfigDict(presets.SIZES['paper'])
  config.pretrain.streams = (*_latents(CAMERAS), 'proprio', 'action')
  config.pretrain.context = 16  # Steps.
  config.pretrain.batch_size = 64  # Windows.
  config.pretrain.steps = 800
  config.pretrain.learning_rate = 4e-4
  config.pretrain.warmup = 0.17  # Share of the steps.
  config.pretrain.weight_decay = 0.01
  config.pretrain.runs = ConfigDict({'rpt': _masked()})
  config.pretrain.main = 'rpt'  # The run that gets the whole demo curve.

  config.finetune = ConfigDict()
  config.finetune.seeds = 3
  config.finetune.demos = (2, 10)
  config.finetune.run_demos = (2,)  # Where all runs are compared.
  config.finetune.chunk = 16  # Actions predicted at once.
  config.finetune.batch_size = 16  # Windows.
  config.finetune.steps = 150
  config.finetune.learning_rate = 4e-4
  config.finetune.probe_learning_rate = 4e-3  # Of a head alone.
  config.finetune.weight_decay = 0.01

  config.evaluate = ConfigDict()
  config.evaluate.episodes = 50  # Per seed.
  # Actions of a chunk played before the next, or temporal ensembling.
  config.evaluate.execution = 'execute:1'  # 'ensemble:0.1'
  # The difference is the first's gain; both fine-tuned unless said.
  config.evaluate.comparisons = ConfigDict(
    {
      'pretraining over scratch': ('rpt', 'none:scratch'),
      'fine-tuning over a linear probe': ('rpt', 'rpt:probe'),
    }
  )

  if arg == 'study':
    _study(config)
  if arg == 'action_free':
    _action_free(config)
  if arg == 'g1':
    _g1(config)
  if arg in SIZES:
    config.pretrain.update(presets.SIZES[arg])
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _latents(cameras):
  return tuple(f'latent/{camera}' for camera in cameras)


def _masked(mask='token', ratio=(0.7, 0.9), **settings):
  """A run of RPT; `settings` override what all runs share."""
  return ConfigDict(
    {
      'objective': 'masked_streams',
      'recipe': '',  # Of hidden units, for runs with the stream 'unit'.
      'mask': mask,  # 'token', 'timestep', 'modality', 'causal'.
      'ratio': ratio,  # Drawn per sample.
      **settings,
    }
  )


def _generative(**settings):
  return ConfigDict({'objective': 'next_streams', 'recipe': '', **settings})


def _study(config):
  """One run for every question; comparisons are paired differences.

  A smaller trunk (0.4M), so that twelve runs end in little more than an hour.
  """
  config.title = 'RPT: which choice made it so?'
  config.metaworld.failures = 100
  _smaller(config)
  streams = config.pretrain.streams
  _quantize(config)
  config.pretrain.runs = ConfigDict(
    {
      'rpt': _masked(),
      'ratio_low': _masked(ratio=(0.1, 0.9)),
      'timestep': _masked('timestep'),
      'modality': _masked('modality'),
      'causal': _masked('causal'),
      'next': _generative(),
      'context_1': _masked(context=1),
      'context_4': _masked(context=4),
      'context_8': _masked(context=8),
      'one_camera': _masked(
        streams=(*_latents(CAMERAS[:1]), 'proprio', 'action')
      ),
      'failures': _masked(failures=True),
      'units': _masked(  # Policies never see units: theirs may know the clip.
        recipe='clip_mean', streams=(*streams[:-1], 'unit', 'action')
      ),
    }
  )
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


def _action_free(config):
  """Generative runs on the same clips, of which some are but video."""
  config.title = 'RPT: what are clips without actions worth?'
  _smaller(config)
  config.pretrain.runs = ConfigDict(
    {
      'next': _generative(),
      'next_quarter': _generative(known=0.25),  # Share of clips with actions.
      'next_video': _generative(known=0.0),
    }
  )
  config.pretrain.main = 'next'
  config.evaluate.comparisons = ConfigDict(
    {
      'pretraining over scratch': ('next', 'none:scratch'),
      'a quarter of the actions over none': ('next_quarter', 'next_video'),
      'all actions over a quarter': ('next', 'next_quarter'),
      'video alone over scratch': ('next_video', 'none:scratch'),
    }
  )


def _smaller(config):
  """A trunk of 0.4M, for experiments of many runs."""
  config.pretrain.update(width=128, depth=3, steps=600)
  config.evaluate.episodes = 25


def _quantize(config):
  """Hidden units, for the run that has them as one more stream."""
  config.quantize = ConfigDict()
  config.quantize.num_clusters = 64
  config.quantize.levels = 2  # Of residual and product codebooks.
  config.quantize.restarts = 1
  config.quantize.max_iterations = 20
  config.quantize.batch_size = 0  # Of mini-batch k-means; 0: full Lloyd.
  config.quantize.max_no_improvement = 10  # Mini-batches; 0: go to the end.
  config.quantize.trunk_layer = 2  # What later iterations cluster.
  config.quantize.recipes = ConfigDict(
    {
      'clip_mean': ConfigDict(
        {
          'transforms': ('clip_mean',),
          'codebook': 'single',
          'temperature': 0.0,
        }
      )
    }
  )


def _g1(config):
  """A recorded robot in the place of the simulator: one camera, 26 joints."""
  config.question = 'Does it help predict what a real robot does next?'
  del config['metaworld'], config['evaluate']
  config.datasets.g1 = ConfigDict(
    {
      'path': '../shared/data/g1_lerobot_v21',
      'split': 'all',
      'cameras': ('image',),
      'mapping': {
        'image': 'observation.images.cam_high',
        'state': 'observation.state',
        'action': 'action',
      },
      'heldout': 0.25,  # Share of the episodes.
      'order': 'ordered',  # The last ones; 'hash': by their content.
      'normalise': 'mean_std',  # Of actions; 'quantiles', 'none'.
      'weight': 0.0,  # Share of pretraining windows; 0: by its size.
    }
  )
  config.encode.workers = 1
  streams = (*_latents(('image',)), 'proprio', 'action')
  config.pretrain.streams = streams
  config.pretrain.runs = ConfigDict(
    {'rpt': _masked(), 'next': _generative(), 'causal': _masked('causal')}
  )
  config.finetune.update(demos=(1, 4, 16, 45), run_demos=(4,))


def _quicktest(config):
  """Every stage and kind of run on almost nothing: does it work?"""
  _study(config)
  config.metaworld.update(
    tasks=('coffee-button-v3',),  # Its expert needs 8 decisions.
    unseen=('plate-slide-v3',),
    cameras=CAMERAS[:2],
    size=32,
    horizon=16,
    pretrain=3,
    heldout=2,
    demos=2,
    failures=2,
  )
  config.frames.size = 28
  config.mae.update(width=32, depth=1, steps=4, batch_size=16)
  config.quantize.update(num_clusters=8, restarts=1, max_iterations=3)
  latents = _latents(CAMERAS[:2])
  config.pretrain.update(width=32, depth=1, steps=4, batch_size=8)
  config.pretrain.context = 4
  config.pretrain.streams = (*latents, 'proprio', 'action')
  config.pretrain.runs = ConfigDict(
    {
      'rpt': _masked(),
      'next': _generative(known=0.5, failures=True),
      'units': _masked(
        'causal',
        context=2,
        recipe='clip_mean',
        streams=(*latents[:1], 'proprio', 'unit', 'action'),
      ),
    }
  )
  config.finetune.update(seeds=2, demos=(1, 2), run_demos=(1,), steps=4)
  config.finetune.update(chunk=4, batch_size=8)
  config.evaluate.episodes = 2
  config.evaluate.comparisons = ConfigDict(
    {'masked over generative': ('rpt', 'next')}
  )
