"""Hidden units from action-free clips: do they help a policy learn?

Collects episodes from gymnax environments, pretrains a small image model on
their frames (MAE), clusters its latents into hidden units, pretrains a
sequence model on them without actions, fine-tunes it on few demonstrations,
and rolls the policies out against the same model from scratch.

    python -m rpt_jax.main --config=configs/hubert_units.py
    python -m rpt_jax.main --config=configs/hubert_units.py:quicktest
"""

import ml_collections

ConfigDict = ml_collections.ConfigDict


def get_config(arg=''):
  """The default experiment; `arg` is '' or 'quicktest' (under a minute)."""
  config = ConfigDict()
  config.seed = 0
  config.envs = (
    'CartPole-v1',
    'Acrobot-v1',
    'Pendulum-v1',
    'MountainCar-v0',
    'Breakout-MinAtar',
    'Freeway-MinAtar',
  )
  config.nuisance = 1.0  # Strength of the look that is constant over a clip.
  config.mesh = ConfigDict({'data': -1, 'fsdp': 1, 'tensor': 1})

  config.collect = ConfigDict()
  config.collect.pretrain_clips = 128  # Per environment, mixed behaviour.
  config.collect.heldout_clips = 32  # Likewise; never trained on.
  config.collect.clip_length = 48  # Decisions; episodes may end earlier.
  config.collect.demos = 64  # Whole expert episodes per environment.
  config.collect.score_episodes = 1024  # For the random and expert returns.

  config.encoder = ConfigDict()
  config.encoder.name = 'mae'  # 'random', 'pixels', 'state', or a folder.
  config.encoder.output = 'patches'  # 'cls', 'mean_patch'.

  config.mae = ConfigDict()
  config.mae.patch = 16  # Pixels.
  config.mae.width = 64
  config.mae.depth = 2
  config.mae.num_heads = 4
  config.mae.mask_ratio = 0.75
  config.mae.batch_size = 128
  config.mae.steps = 2000
  config.mae.learning_rate = 1.5e-3
  config.mae.weight_decay = 0.05

  config.iterations = 1  # 2: cluster the trunk's own features and go again.
  config.quantize = ConfigDict()
  config.quantize.num_clusters = 128
  config.quantize.restarts = 3
  config.quantize.max_iterations = 50
  config.quantize.recipes = recipes()

  return config


def recipes():
  """Ways of making units; the report's table has one line for each."""
  single = {'codebook': 'single', 'temperature': 0.0}

  def recipe(*transforms, **changes):
    return ConfigDict(single | {'transforms': transforms} | changes)

  return ConfigDict(
    {
      'raw': recipe(),
    }
  )
