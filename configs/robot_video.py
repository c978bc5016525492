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
`../shared/data`, which is no part of the repository (`ORIGIN` says where they
are from); another dataset is another entry of `config.domains`.
`bridge` wants its TFRecord files converted first:

    python -m rpt_jax.main --convert=../shared/data/bridge_rlds/1.0.0 \
      --workdir=runs/bridge_rlds

Expected on 2 busy CPU cores: 17 minutes, 1.9 GiB. PNMI(unit; action) 0.46 raw
and 0.55 for clip_mean; fine-tuned minus scratch 0.018 [0.011, 0.024] with four
demonstrations, nothing with one. `mae`: 27 minutes beside other work,
PNMI(unit; velocity) 0.42 for delta_5. `quicktest` takes a minute or two.
"""

from rpt_jax import settings

DATA = '../shared/data'
# Said where they are missing.
ORIGIN = {
  'g1': 'g1 is every third frame of YifanTian07/G1-policy-train of Hugging '
  'Face (LeRobot v2.1), which --config.domains.g1.path=<folder> reads, too; '
  'the weights are mobilenet_v1_1.0_224 of google-coral/test_data, for which '
  '--config.encoder=mae trains an image model',
  'bridge': 'bridge is the debug dataset of github.com/octo-models/octo, '
  'converted once by --convert=<its folder of tfrecords> '
  '--workdir=runs/bridge_rlds; --config.domains.bridge.path=<folder> reads '
  'any other Bridge dataset of Open X-Embodiment',
  'video': 'the videos are of the demo gallery of github.com/'
  'facebookresearch/sam2, and of github.com/huggingface/lerobot and '
  'ARISE-Initiative/robomimic; --config.domains.human.path=<folder> and '
  '--config.domains.robot.path=<folder> read any others',
}
MOBILENET = f'{DATA}/weights/mobilenet_v1_1.0_224.safetensors'


def get_config(arg=''):
  """`arg`: '' (the default), 'mae', 'bridge', 'video' or 'quicktest'."""
  arg = settings.argument(arg, ('mae', 'bridge', 'video', 'quicktest'))
  config = settings.base('quantize', 'pretrain', 'finetune')
  config.title = 'Hidden units from real robot video'
  config.question = 'Do they help predict what the robot does next?'
  config.origin = ORIGIN[arg if arg in ORIGIN else 'g1']
  config.domains.g1 = _dataset(
    f'{DATA}/g1_lerobot_v21',
    image='observation.images.cam_high',
    state='observation.state',
    action='action',
  )
  config.encoder = MOBILENET
  config.encode.update(output='mean_patch', batch_size=64, shard_frames=2000)
  config.encode.update(workers=1, ahead=4)
  config.quantize.update(num_clusters=100, max_iterations=25)
  config.quantize.update(batch_size=512, max_no_improvement=0)
  config.quantize.recipes = settings.recipes(
    raw=(),
    clip_mean=('clip_mean',),
    delta_1=('delta:1',),
    delta_5=('delta:5',),
    delta_10=('delta:10',),
    clip_mean_stack_5=('clip_mean', 'stack:5'),
  )
  config.pretrain.update(width=128, batch_size=64, steps=600, main='next')
  config.pretrain.runs = {
    'next': _run('next_units', 'clip_mean', 'unit', 'latent'),
    'next_raw': _run('next_units', 'raw', 'unit', 'latent'),
    'masked': _run('masked_units', 'clip_mean', 'unit'),
    'masked_motion': _run('masked_units', 'clip_mean_stack_5', 'unit'),
  }
  config.finetune.update(demos=(1, 4, 16, 45), chunk=16)
  settings.all_methods(config.finetune, steps=300)
  if arg in ('mae', 'quicktest'):
    _own_image_model(config)
  if arg == 'bridge':
    _bridge(config)
  if arg == 'video':
    _video(config)
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _dataset(path, cameras=('image',), **mapping):
  """A recorded dataset: where, and which column is which stream."""
  values = {'path': path, 'cameras': cameras, 'mapping': mapping}
  return settings.plugin('domains', 'recorded', **values)


def _run(objective, recipe, *targets):
  """To name hidden units, or those (and latents) to come."""
  objective = settings.plugin('objectives', objective)
  run = {'objective': objective, 'recipe': recipe, 'targets': targets}
  return settings.section(settings.Run, **run)


def _own_image_model(config):
  """A masked autoencoder on the frames of the training episodes."""
  config.encoder = 'trained'
  config.frames.size = 96
  config.image_model = settings.plugin('vision/pretraining', 'mae', steps=2000)
  config.image_model.crop_scale = (0.5, 1.0)  # Hands differ: no flips.
  # Policies that train on through the image model; 'frozen' is the control.
  config.finetune.tuned.update(modes=('frozen', 'lora:8'), demos=(4,))
  config.finetune.tuned.augment.update(shift=6, brightness=0.2, contrast=0.2)


def _bridge(config):
  """Three cameras, four instructions, few frames."""
  cameras = ('image_0', 'image_1', 'image_2')
  bridge = _dataset(
    'runs/bridge_rlds',  # What --convert made of the TFRecord files.
    cameras=cameras,
    state='observation/state',
    action='action',
    instruction='language_instruction',
    **{camera: f'observation/{camera}' for camera in cameras},
  )
  config.domains = {'bridge': bridge}
  _few(config)
  config.pretrain.context = 4
  config.finetune.update(demos=(1, 4, 16), chunk=4)


def _video(config):
  """Without actions there are units, but nothing to fine-tune on."""
  human = {'fps': 10, 'clip_steps': 25, 'size': (126, 224)}
  robot = {'clip_steps': 14, 'size': (128, 224)}
  config.domains = {
    'human': _dataset(f'{DATA}/human_video', **human),
    'robot': _dataset(f'{DATA}/robot_video', **robot),
  }
  _few(config)
  del config['finetune']


def _few(config):
  """Few frames: full Lloyd, fewer units, recipes and runs."""
  config.quantize.update(num_clusters=32, batch_size=0)
  settings.keep(config.quantize.recipes, 'raw', 'clip_mean', 'delta_1')
  settings.keep(config.pretrain.runs, 'next', 'next_raw', 'masked')
  config.pretrain.steps = 200


def _quicktest(config):
  """Every stage and kind of run on almost nothing: does it work?"""
  config.domains.g1.heldout = 0.05
  config.saving.update(log_steps=1, save_steps=1)
  config.frames.size = 32
  config.image_model.update(width=32, depth=1, steps=4, batch_size=16)
  config.encode.workers = 0
  config.quantize.update(num_clusters=8, max_iterations=3)
  settings.keep(config.quantize.recipes, 'raw', 'clip_mean')
  config.pretrain.update(width=32, steps=4, batch_size=8)
  config.pretrain.trunk.depth = 1
  settings.keep(config.pretrain.runs, 'next', 'masked')
  config.finetune.update(seeds=2, demos=(1, 4), batch_size=8)
  settings.all_methods(config.finetune, steps=4)
  config.finetune.tuned.update(steps=2, batch_size=4)
