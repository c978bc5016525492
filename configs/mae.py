"""Masked autoencoding of frames: an image model of one's own.

Decodes the frames of any datasets, pretrains a vision transformer on them by
masked autoencoding (He et al. 2021; MVP, Xiao et al. 2022), shows what it
fills in on held-out frames, and probes its latents: state, velocity and
actions regressed linearly. `<workdir>/mae/model` is a folder that
`vision.load`, `--config.encoder=` and transformers' ViTMAEForPreTraining read.

    python -m rpt_jax.main --config=configs/mae.py
    python -m rpt_jax.main --config=configs/mae.py:S
    python -m rpt_jax.main --config=configs/mae.py:B
    python -m rpt_jax.main --config=configs/mae.py:L
    python -m rpt_jax.main --config=configs/mae.py:quicktest

The default is a small model at 96 pixels on the recorded data beside the
repository. `S`, `B` and `L` are the published recipe at 224 pixels, for
accelerators: give `config.datasets` and check with `--dry_run` what a step
costs. Only `quicktest` was timed here: a minute, R^2 of the G1's state 0.50
after four steps.
"""

import ml_collections

ConfigDict = ml_collections.ConfigDict
DATA = '../shared/data'
# width, depth, heads (ViT, Touvron et al. 2021; Dosovitskiy et al. 2020).
SIZES = {'S': (384, 12, 6), 'B': (768, 12, 12), 'L': (1024, 24, 16)}
ARGUMENTS = ('', *SIZES, 'quicktest')


def get_config(arg=''):
  """`arg`: '' (the default), 'S', 'B', 'L' or 'quicktest'."""
  if arg not in ARGUMENTS:
    raise ValueError(
      f'config argument {arg!r}: expected one of {", ".join(ARGUMENTS[1:])}'
    )
  config = ConfigDict()
  config.title = 'Masked autoencoding of robot frames'
  config.question = 'What does an image model learn from these frames alone?'
  config.seed = 0
  config.envs = ()
  config.datasets = _datasets()
  config.mesh = ConfigDict({'data': -1, 'fsdp': 1, 'tensor': 1})

  config.frames = ConfigDict()
  config.frames.size = 96  # Pixels.
  config.frames.workers = 1  # Processes that decode; 0: threads.
  config.frames.error_budget = 0.01  # Share of undecodable episodes borne.

  config.mae = ConfigDict()
  config.mae.patch = 16  # Pixels.
  config.mae.width = 192
  config.mae.depth = 6
  config.mae.num_heads = 3
  config.mae.decoder_width = 128
  config.mae.decoder_depth = 2
  config.mae.decoder_num_heads = 4
  config.mae.mask_ratio = 0.75
  config.mae.crop_scale = (0.5, 1.0)  # Share of a frame that is looked at.
  config.mae.flip = False  # Left and right arms differ.
  config.mae.batch_size = 64
  config.mae.steps = 4000
  config.mae.learning_rate = 1e-3
  config.mae.weight_decay = 0.05

  config.encoder = 'mae'
  config.encode = ConfigDict()
  config.encode.output = 'mean_patch'
  config.encode.layer = -1  # The normed end, or a block from 0.
  config.encode.image_size = 0  # Pixels; 0: as the model was trained.
  config.encode.batch_size = 256  # Frames.
  config.encode.workers = 1  # Processes that decode; 0: threads.
  config.encode.ahead = 4  # Episodes decoded ahead of their use.
  config.encode.shard_frames = 2000
  config.encode.error_budget = 0.01

  if arg in SIZES:
    _published(config, *SIZES[arg])
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _datasets():
  """Frames of a robot with its actions, and of hands and robots without."""

  def dataset(path, **mapping):
    return ConfigDict(
      {
        'path': f'{DATA}/{path}',
        'split': 'all',
        'cameras': ('image',),  # Observations that hold frames.
        'mapping': mapping,  # Stream: column; see `--inspect=<path>`.
        'heldout': 0.25,  # Share of the episodes.
        'order': 'ordered',  # The last ones; 'hash': by their content.
        'normalise': 'mean_std',  # Of actions; 'quantiles', 'none'.
        'weight': 0.0,  # Share of pretraining windows; 0: by its size.
      }
    )

  g1 = dataset(
    'g1_lerobot_v21',
    image='observation.images.cam_high',
    state='observation.state',
    action='action',
  )
  return ConfigDict(
    {
      'g1': g1,
      'human': dataset('human_video', fps=10, clip_steps=25, size=(96, 96)),
      'robot': dataset('robot_video', clip_steps=14, size=(96, 96)),
    }
  )


def _published(config, width, depth, num_heads):
  """The recipe of MAE and MVP: 224 pixels, batches of 4096, 0.75 masked."""
  config.frames.size = 224
  config.mae.update(width=width, depth=depth, num_heads=num_heads)
  config.mae.update(decoder_width=512, decoder_depth=8, decoder_num_heads=16)
  config.mae.crop_scale = (0.2, 1.0)
  config.mae.flip = True
  config.mae.batch_size = 4096
  config.mae.learning_rate = 1.5e-4 * config.mae.batch_size / 256
  config.mae.steps = 250_000  # 800 epochs of 1.28 million frames.


def _quicktest(config):
  """Every stage on almost nothing: does it work?"""
  del config.datasets['human']
  config.datasets.g1.heldout = 0.05
  config.frames.update(size=32, workers=0)
  config.mae.update(width=32, depth=1, num_heads=2, steps=4, batch_size=16)
  config.mae.update(decoder_width=32, decoder_depth=1)
  config.encode.workers = 0
