"""Hidden units from real robot video: do they help predict its actions?

Reads recorded datasets where they lie, encodes their frames with a pretrained
image model, clusters the latents into hidden units, pretrains a sequence model
on them without actions, fine-tunes it on few episodes, and scores the actions
it predicts on held-out episodes (open loop) against the same model from
scratch.

    python -m rpt_jax.main --config=configs/robot_video.py
    python -m rpt_jax.main --config=configs/robot_video.py:mae
    python -m rpt_jax.main --config=configs/robot_video.py:bridge
    python -m rpt_jax.main --config=configs/robot_video.py:video
    python -m rpt_jax.main --config=configs/robot_video.py:quicktest

The default is a Unitree G1 picking up a bottle (LeRobot v2.1, 60 episodes, one
camera, 26 actions) through MobileNetV1's ImageNet weights; `mae` has the same
frames through a masked autoencoder trained on them; `bridge` a WidowX with
three cameras and four instructions (RLDS, 25 episodes cut at ten steps);
`video` clips of hands and robots without any actions. All data lie in
`../shared/data`; another dataset is another entry of `config.datasets`.
`bridge` wants its TFRecord files converted first:

    python -m rpt_jax.main --convert=../shared/data/bridge_rlds/1.0.0 \
      --workdir=runs/bridge_rlds

Expected on 2 busy CPU cores: 17 minutes, 1.9 GiB. PNMI(unit; action) 0.46 raw
and 0.55 for clip_mean; fine-tuned minus scratch 0.018 [0.011, 0.024] with four
demonstrations, nothing with one. `mae`: 27 minutes beside other work,
PNMI(unit; velocity) 0.42 for delta_5. `quicktest` takes a minute or two.
"""

import ml_collections

ConfigDict = ml_collections.ConfigDict
DATA = '../shared/data'
MOBILENET = f'{DATA}/weights/mobilenet_v1_1.0_224.safetensors'
ARGUMENTS = ('', 'mae', 'bridge', 'video', 'quicktest')


def get_config(arg=''):
  """`arg`: '' (the default), 'mae', 'bridge', 'video' or 'quicktest'."""
  if arg not in ARGUMENTS:
    raise ValueError(
      f'config argument {arg!r}: expected one of {", ".join(ARGUMENTS[1:])}'
    )
  config = ConfigDict()
  config.title = 'Hidden units from real robot video'
  config.question = 'Do they help predict what the robot does next?'
  config.seed = 0
  config.envs = ()
  config.datasets = ConfigDict({'g1': _g1()})
  config.mesh = ConfigDict({'data': -1, 'fsdp': 1, 'tensor': 1})

  config.encoder = MOBILENET
  config.encode = ConfigDict()
  config.encode.output = 'mean_patch'
  config.encode.layer = -1  # The end, or a block from 0.
  config.encode.image_size = 0  # Pixels; 0: as the model was trained.
  config.encode.batch_size = 64  # Frames.
  config.encode.workers = 1  # Processes that decode; 0: threads.
  config.encode.ahead = 4  # Episodes decoded ahead of their use.
  config.encode.shard_frames = 2000
  config.encode.error_budget = 0.01  # Share of undecodable episodes borne.

  config.iterations = 1
  config.quantize = ConfigDict()
  config.quantize.num_clusters = 100
  config.quantize.levels = 2  # Of residual and product codebooks.
  config.quantize.restarts = 1
  config.quantize.max_iterations = 25  # Passes over the frames.
  config.quantize.batch_size = 512  # Of mini-batch k-means; 0: full Lloyd.
  config.quantize.max_no_improvement = 0  # Mini-batches; 0: go to the end.
  config.quantize.trunk_layer = 2  # What later iterations cluster.
  config.quantize.recipes = _recipes()

  config.pretrain = ConfigDict()
  config.pretrain.width = 128
  config.pretrain.depth = 3
  config.pretrain.num_heads = 4
  config.pretrain.mlp_ratio = 4.0
  config.pretrain.context = 8  # Steps.
  config.pretrain.batch_size = 64  # Windows.
  config.pretrain.steps = 600
  config.pretrain.learning_rate = 1e-3
  config.pretrain.warmup = 0.05  # Share of the steps.
  config.pretrain.weight_decay = 0.01
  config.pretrain.runs = _runs()
  config.pretrain.main = 'next'  # The run that gets the whole demo curve.

  config.finetune = ConfigDict()
  config.finetune.seeds = 5
  config.finetune.demos = (1, 4, 16, 45)
  config.finetune.run_demos = (4,)  # Where all runs are compared.
  config.finetune.chunk = 16  # Actions predicted at once.
  config.finetune.batch_size = 32  # Windows.
  config.finetune.steps = 300
  config.finetune.learning_rate = 1e-3
  config.finetune.probe_learning_rate = 1e-2  # Of a head alone.
  config.finetune.weight_decay = 0.01

  if arg == 'mae':
    _own_image_model(config)
  if arg == 'bridge':
    _bridge(config)
  if arg == 'video':
    _video(config)
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _dataset(path, cameras=('image',), split='all', heldout=0.25, **mapping):
  """A recorded dataset: where, which streams, what is held out."""
  return ConfigDict(
    {
      'path': path,
      'split': split,
      'cameras': cameras,  # Observations that hold frames.
      'mapping': mapping,  # Stream: column; see `--inspect=<path>`.
      'heldout': heldout,  # Share of the episodes.
      'order': 'ordered',  # The last ones; 'hash': by their content.
      'normalise': 'mean_std',  # Of actions; 'quantiles', 'none'.
      'weight': 0.0,  # Share of pretraining windows; 0: by its size.
    }
  )


def _g1():
  return _dataset(
    f'{DATA}/g1_lerobot_v21',
    image='observation.images.cam_high',
    state='observation.state',
    action='action',
  )


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
      'clip_mean': recipe('clip_mean'),
      'delta_1': recipe('delta:1'),
      'delta_5': recipe('delta:5'),
      'delta_10': recipe('delta:10'),
      'clip_mean_stack_5': recipe('clip_mean', 'stack:5'),
    }
  )


def _runs():
  """Pretraining runs: an objective with its settings, on one recipe's units."""

  def masked(recipe):
    return ConfigDict(
      {
        'objective': 'masked_units',
        'recipe': recipe,
        'mask_probability': 0.8,
        'span': 3,
        'alpha': 1.0,  # Weight of masked frames; the others get 1 - alpha.
      }
    )

  def generative(recipe):
    return ConfigDict(
      {
        'objective': 'next_units',
        'recipe': recipe,
        'steps': 4,  # How far ahead.
        'latent_weight': 1.0,  # Above 0: predict the latents, too.
      }
    )

  return ConfigDict(
    {
      'next': generative('clip_mean'),
      'next_raw': generative('raw'),
      'masked': masked('clip_mean'),
      'masked_motion': masked('clip_mean_stack_5'),
    }
  )


def _own_image_model(config):
  """A masked autoencoder on the frames of the training episodes."""
  config.encoder = 'mae'
  config.encode.output = 'mean_patch'
  config.frames = ConfigDict()
  config.frames.size = 96  # Pixels, of what it trains on.
  config.frames.workers = 0
  config.frames.error_budget = 0.01
  config.mae = ConfigDict()
  config.mae.patch = 16  # Pixels.
  config.mae.width = 128
  config.mae.depth = 4
  config.mae.num_heads = 4
  config.mae.decoder_width = 128
  config.mae.decoder_depth = 2
  config.mae.decoder_num_heads = 4
  config.mae.mask_ratio = 0.75
  config.mae.crop_scale = (0.5, 1.0)  # Share of a frame that is looked at.
  config.mae.flip = False  # Left and right hands differ.
  config.mae.batch_size = 64
  config.mae.steps = 2000
  config.mae.learning_rate = 1e-3
  config.mae.weight_decay = 0.05
  # Policies that train on through the image model; 'frozen' is the control.
  config.finetune.tuned = ConfigDict()
  config.finetune.tuned.modes = ('frozen', 'lora:8')  # 'last:1', 'full'.
  config.finetune.tuned.demos = (4,)
  config.finetune.tuned.steps = 100
  config.finetune.tuned.learning_rate = 5e-4
  config.finetune.tuned.batch_size = 8  # Windows.
  config.finetune.tuned.augment = ConfigDict(
    {'shift': 6, 'brightness': 0.2, 'contrast': 0.2}  # Pixels and shares.
  )


def _bridge(config):
  cameras = ('image_0', 'image_1', 'image_2')
  mapping = {camera: f'observation/{camera}' for camera in cameras}
  config.datasets = ConfigDict(
    {
      'bridge': _dataset(
        'runs/bridge_rlds',  # What --convert made of the TFRecord files.
        cameras=cameras,
        state='observation/state',
        action='action',
        instruction='language_instruction',
        **mapping,
      )
    }
  )
  config.quantize.num_clusters = 32
  config.quantize.batch_size = 0  # Few frames: full Lloyd.
  _keep(config.quantize.recipes, ('raw', 'clip_mean', 'delta_1'))
  _keep(config.pretrain.runs, ('next', 'next_raw', 'masked'))
  config.pretrain.context = 4
  config.pretrain.steps = 200
  config.finetune.demos = (1, 4, 16)
  config.finetune.chunk = 4


def _video(config):
  """Without actions there are units, but nothing to fine-tune on."""
  config.datasets = ConfigDict(
    {
      'human': _dataset(
        f'{DATA}/human_video', fps=10, clip_steps=25, size=(126, 224)
      ),
      'robot': _dataset(f'{DATA}/robot_video', clip_steps=14, size=(128, 224)),
    }
  )
  config.quantize.num_clusters = 32
  config.quantize.batch_size = 0  # Few frames: full Lloyd.
  _keep(config.quantize.recipes, ('raw', 'clip_mean', 'delta_1'))
  _keep(config.pretrain.runs, ('next', 'next_raw', 'masked'))
  config.pretrain.steps = 200
  del config['finetune']


def _quicktest(config):
  """Every stage and kind of run on almost nothing: does it work?"""
  _own_image_model(config)
  config.datasets.g1.heldout = 0.05
  config.frames.size = 32
  config.mae.update(width=32, depth=1, steps=4, batch_size=16)
  config.encode.workers = 0
  config.quantize.update(num_clusters=8, restarts=1, max_iterations=3)
  _keep(config.quantize.recipes, ('raw', 'clip_mean'))
  config.pretrain.update(width=32, depth=1, steps=4, batch_size=8)
  _keep(config.pretrain.runs, ('next', 'masked'))
  config.finetune.update(seeds=2, demos=(1, 4), steps=4, batch_size=8)
  config.finetune.tuned.update(steps=2, batch_size=4)


def _keep(section, names):
  for name in set(section) - set(names):
    del section[name]
