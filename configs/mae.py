"""Masked autoencoding of frames: an image model of one's own.

Decodes the frames of any datasets, pretrains a vision transformer on them by
masked autoencoding (He et al. 2021; MVP, Xiao et al. 2022), shows what it
fills in on held-out frames, and probes its latents: state, velocity and
actions regressed linearly. `<workdir>/see/model` is a folder that
`vision.load`, `--config.encoder=` and transformers' ViTMAEForPreTraining read.

    python -m rpt_jax.main --config=configs/mae.py
    python -m rpt_jax.main --config=configs/mae.py:S
    python -m rpt_jax.main --config=configs/mae.py:B
    python -m rpt_jax.main --config=configs/mae.py:L
    python -m rpt_jax.main --config=configs/mae.py:quicktest

The default is a small model at 96 pixels on the recorded data beside the
repository. `S`, `B` and `L` are the published recipe at 224 pixels, for
accelerators: give `config.domains` and check with `--dry_run` what a step
costs. Only `quicktest` was timed here: a minute, R^2 of the G1's state 0.50
after four steps.
"""

from rpt_jax import settings

DATA = '../shared/data'
# Said where they are missing.
ORIGIN = (
  'g1 is every third frame of YifanTian07/G1-policy-train of Hugging Face '
  '(LeRobot v2.1), human and robot are videos of github.com/facebookresearch/'
  'sam2, huggingface/lerobot and ARISE-Initiative/robomimic; others are read '
  'by --config.domains.<name>.path=<folder>'
)
# width, depth, heads (ViT, Touvron et al. 2021; Dosovitskiy et al. 2020).
SIZES = {'S': (384, 12, 6), 'B': (768, 12, 12), 'L': (1024, 24, 16)}


def get_config(arg=''):
  """`arg`: '' (the default), 'S', 'B', 'L' or 'quicktest'."""
  arg = settings.argument(arg, (*SIZES, 'quicktest'))
  config = settings.base()
  config.title = 'Masked autoencoding of robot frames'
  config.question = 'What does an image model learn from these frames alone?'
  config.origin = ORIGIN
  config.domains = {
    'g1': _dataset(
      'g1_lerobot_v21',
      image='observation.images.cam_high',
      state='observation.state',
      action='action',
    ),
    'human': _dataset('human_video', fps=10, clip_steps=25, size=(96, 96)),
    'robot': _dataset('robot_video', clip_steps=14, size=(96, 96)),
  }
  config.frames.update(size=96, workers=1)
  config.image_model = settings.plugin('vision/pretraining', 'mae', steps=4000)
  config.image_model.update(width=192, depth=6, num_heads=3)
  # No flips: left and right arms differ.
  config.image_model.crop_scale = (0.5, 1.0)
  config.encode.update(output='mean_patch', shard_frames=2000)
  config.encode.update(workers=1, ahead=4)
  if arg in SIZES:
    _published(config, *SIZES[arg])
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _dataset(path, **mapping):
  path = f'{DATA}/{path}'
  return settings.plugin('domains', 'recorded', path=path, mapping=mapping)


def _published(config, width, depth, num_heads):
  """The recipe of MAE and MVP: 224 pixels, batches of 4096, 0.75 masked."""
  config.frames.size = 224
  model = config.image_model
  model.update(width=width, depth=depth, num_heads=num_heads)
  model.update(decoder_width=512, decoder_depth=8, decoder_num_heads=16)
  model.update(crop_scale=(0.2, 1.0), flip=True, batch_size=4096)
  model.learning_rate = 1.5e-4 * model.batch_size / 256
  model.steps = 250_000  # 800 epochs of 1.28 million frames.


def _quicktest(config):
  """Every stage on almost nothing: does it work?"""
  del config.domains['human']
  config.domains.g1.heldout = 0.05
  config.frames.update(size=32, workers=0)
  config.image_model.update(width=32, depth=1, num_heads=2, batch_size=16)
  config.image_model.update(decoder_width=32, decoder_depth=1, steps=4)
  config.encode.workers = 0
