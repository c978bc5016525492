"""Hidden units from action-free clips: do they help a policy learn?

Collects episodes from gymnax environments, pretrains a small image model on
their frames (MAE), clusters its latents into hidden units, pretrains a
sequence model on them without actions, fine-tunes it on few demonstrations,
and rolls the policies out against the same model from scratch.

    python -m rpt_jax.main --config=configs/hubert_units.py
    python -m rpt_jax.main --config=configs/hubert_units.py:all
    python -m rpt_jax.main --config=configs/hubert_units.py:quicktest

Expected on 2 CPU cores: 13.5 minutes, 3 GiB. NMI(unit; clip) 0.87 raw and 0.23
for clip_mean_stack; with one demonstration, probe minus scratch 0.67 [0.63,
0.71] on Acrobot, 0.15 [0.03, 0.26] on MountainCar; CartPole is learned by
nobody. `all` has eight environments and has not been timed; `quicktest` takes
a minute.
"""

import ml_collections

ConfigDict = ml_collections.ConfigDict


def get_config(arg=''):
  """`arg`: '' (the default), 'all' (eight environments) or 'quicktest'."""
  if arg not in ('', 'all', 'quicktest'):
    raise ValueError(f'config argument {arg!r}: expected all or quicktest')
  config = ConfigDict()
  config.title = 'Hidden units from action-free clips'
  config.question = 'Do they help a policy learn from few demonstrations?'
  config.seed = 0
  config.envs = ('CartPole-v1', 'Acrobot-v1', 'Pendulum-v1', 'MountainCar-v0')
  config.datasets = ConfigDict()  # Recorded ones, as in robot_video.py.
  config.nuisance = 1.0  # Strength of the look that is constant over a clip.
  config.mesh = ConfigDict({'data': -1, 'fsdp': 1, 'tensor': 1})

  config.collect = ConfigDict()
  config.collect.pretrain_clips = 192  # Per environment, mixed behaviour.
  config.collect.heldout_clips = 32  # Likewise; never trained on.
  config.collect.clip_length = 48  # Decisions; episodes may end earlier.
  config.collect.demos = 64  # Whole expert episodes per environment.
  config.collect.score_episodes = 1024  # For the random and expert returns.

  config.encoder = 'mae'  # A saved model, or controls: random, pixels, state.
  config.encode = ConfigDict()
  config.encode.output = 'patches'  # 'cls', 'mean_patch', 'grid2'.
  config.encode.layer = -1  # The normed end, or a block from 0.
  config.encode.image_size = 0  # Pixels; 0: as the model was trained.
  config.encode.batch_size = 256  # Frames.
  config.encode.workers = 0  # Processes that decode; 0: threads.
  config.encode.ahead = 32  # Episodes decoded ahead of their use.
  config.encode.shard_frames = 20_000
  config.encode.error_budget = 0.01  # Share of undecodable episodes borne.

  config.frames = ConfigDict()
  config.frames.size = 64  # Pixels, of what the MAE trains on.
  config.frames.workers = 0
  config.frames.error_budget = 0.01

  config.mae = ConfigDict()
  config.mae.patch = 16  # Pixels.
  config.mae.width = 64
  config.mae.depth = 2
  config.mae.num_heads = 2
  config.mae.decoder_width = 64
  config.mae.decoder_depth = 1
  config.mae.decoder_num_heads = 2
  config.mae.mask_ratio = 0.75
  config.mae.crop_scale = (1.0, 1.0)  # Share of a frame that is looked at.
  config.mae.flip = False
  config.mae.batch_size = 128
  config.mae.steps = 1000
  config.mae.learning_rate = 1.5e-3
  config.mae.weight_decay = 0.05

  config.iterations = 2  # 2: cluster the trunk's own features and go again.
  config.quantize = ConfigDict()
  config.quantize.num_clusters = 128
  config.quantize.levels = 2  # Of residual and product codebooks.
  config.quantize.restarts = 1
  config.quantize.max_iterations = 20
  config.quantize.batch_size = 0  # Of mini-batch k-means; 0: full Lloyd.
  config.quantize.max_no_improvement = 10  # Mini-batches; 0: go to the end.
  config.quantize.trunk_layer = 2  # What later iterations cluster.
  config.quantize.recipes = _recipes()

  config.pretrain = ConfigDict()
  config.pretrain.width = 64
  config.pretrain.depth = 3
  config.pretrain.num_heads = 4
  config.pretrain.mlp_ratio = 4.0
  config.pretrain.context = 8  # Steps.
  config.pretrain.batch_size = 128  # Windows.
  config.pretrain.steps = 1200
  config.pretrain.learning_rate = 1e-3
  config.pretrain.warmup = 0.05  # Share of the steps.
  config.pretrain.weight_decay = 0.01
  config.pretrain.runs = _runs()
  config.pretrain.main = 'next'  # The run that gets the whole demo curve.

  config.finetune = ConfigDict()
  config.finetune.seeds = 5
  config.finetune.demos = (1, 4, 16, 64)
  config.finetune.run_demos = (4,)  # Where all runs are compared.
  config.finetune.chunk = 4  # Actions predicted at once.
  config.finetune.batch_size = 32  # Windows.
  config.finetune.steps = 100
  config.finetune.learning_rate = 1e-3
  config.finetune.probe_learning_rate = 1e-2  # Of a head alone.
  config.finetune.weight_decay = 0.01

  config.evaluate = ConfigDict()
  config.evaluate.episodes = 256  # Per seed.

  if arg == 'all':
    config.envs += (
      'MountainCarContinuous-v0',
      'Breakout-MinAtar',
      'Freeway-MinAtar',
      'SpaceInvaders-MinAtar',
    )
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _recipes():
  """Ways of making units; the report's table has one line for each."""

  def recipe(*transforms, codebook='single', temperature=0.0):
    return ConfigDict(
      {
        'transforms': transforms,
        'codebook': codebook,  # 'residual', 'product'.
        'temperature': temperature,  # Of stochastic assignment; 0: nearest.
      }
    )

  return ConfigDict(
    {
      'raw': recipe(),
      'raw_stochastic': recipe(temperature=1.0),
      'clip_mean': recipe('clip_mean'),
      'delta': recipe('delta:1'),
      'stack': recipe('stack:1'),
      'clip_mean_stack': recipe('clip_mean', 'stack:1'),
      'clip_mean_stack_whiten': recipe('clip_mean', 'stack:1', 'whiten:64'),
      'clip_mean_residual': recipe('clip_mean', codebook='residual'),
    }
  )


def _runs():
  """Pretraining runs: an objective with its settings, on one recipe's units."""

  def masked(recipe, alpha=1.0):
    return ConfigDict(
      {
        'objective': 'masked_units',
        'recipe': recipe,
        'mask_probability': 0.8,
        'span': 3,
        'alpha': alpha,  # Weight of masked frames; the others get 1 - alpha.
      }
    )

  def generative(recipe):
    return ConfigDict(
      {
        'objective': 'next_units',
        'recipe': recipe,
        'steps': 4,  # How far ahead.
        'latent_weight': 0.0,  # Above 0: predict the latents, too.
      }
    )

  return ConfigDict(
    {
      'next': generative('clip_mean_stack'),
      'next_raw': generative('raw'),
      'masked': masked('clip_mean_stack'),
      'masked_raw': masked('raw'),
      'masked_raw_half': masked('raw', alpha=0.5),
      'masked_raw_zero': masked('raw', alpha=0.0),
    }
  )


def _quicktest(config):
  """Every stage and kind of run on almost nothing: does it work?"""
  config.envs = ('CartPole-v1',)
  config.collect.update(
    pretrain_clips=8, heldout_clips=4, clip_length=16, demos=4
  )
  config.collect.score_episodes = 32
  config.mae.update(depth=1, steps=4, batch_size=16)
  config.quantize.update(num_clusters=8, restarts=1, max_iterations=3)
  config.quantize.trunk_layer = 1
  _keep(config.quantize.recipes, ('raw', 'clip_mean_stack'))
  config.pretrain.update(depth=1, steps=4, batch_size=8)
  _keep(config.pretrain.runs, ('next', 'masked_raw'))
  config.finetune.update(seeds=2, demos=(1, 4), steps=4, batch_size=8)
  config.evaluate.episodes = 8


def _keep(section, names):
  for name in set(section) - set(names):
    del section[name]
