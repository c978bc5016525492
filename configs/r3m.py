"""R3M: an image model of time and language, judged by few demonstrations.

Experts show eight tasks of Meta-World to one camera; an image model is trained
on their frames and sentences alone by R3M (Nair et al. 2022, arXiv 2203.12601)
and frozen. Two tasks that it has never seen are then learned from 5, 10 or 25
demonstrations by the policy of the paper (BatchNorm, an MLP), and played; so
are they before CLIP, MAE, steepness of grey (`edges`) and an untrained model.

    python -m rpt_jax.main --config=r3m --workdir=runs/r3m
    cp -r runs/r3m runs/clip        frames are not made again
    python -m rpt_jax.main --config=r3m:clip --workdir=runs/clip
    python -m tests.benchmarks.r3m runs/r3m clip=runs/clip mae=runs/mae
    python -m rpt_jax.main --config=r3m --config.image_model.language=0
    python -m rpt_jax.main --config=r3m:quicktest

The third is the protocol; `clip` and `mae` are the same frames, shapes and
frames a step under another objective. Weights `time`, `language`, `l1` and `l2`
of `image_model` leave losses out. `--config.encoder=<r3m.safetensors>` puts the
published ResNet in its place (`launch/pth_to_safetensors.py` converts its
.pth), and `tests.benchmarks.r3m` takes such a file, too: r50=<file>.
Needs `pip install -e '.[metaworld]'` and libosmesa6.
"""

from rpt_jax import settings

# The paper's own tasks, button-press and drawer-open, are kept for policies.
SEEN = (
  'window-open-v3',
  'window-close-v3',
  'door-open-v3',
  'door-close-v3',
  'faucet-open-v3',
  'handle-press-v3',
  'button-press-topdown-v3',
  'plate-slide-v3',
)
UNSEEN = ('button-press-v3', 'drawer-open-v3')
FRAMES = 80  # A step sees: five of each of 16 clips, as in the paper.
OTHERS = ('clip', 'mae')


def get_config(arg=''):
  """`arg`: '' (the default), 'clip', 'mae' or 'quicktest'."""
  arg = settings.argument(arg, (*OTHERS, 'quicktest'))
  config = settings.base()
  config.title = 'R3M on a robot arm'
  config.question = 'Does time and language make frames worth more for acting?'
  config.domains.metaworld = settings.plugin(
    'domains', 'metaworld', tasks=SEEN, unseen=UNSEEN, cameras=('corner2',)
  )
  config.domains.metaworld.update(pretrain=20, heldout=4, demos=25)
  config.frames.update(size=84, error_budget=0.0)
  kind = arg if arg in OTHERS else 'r3m'
  config.image_model = settings.plugin('vision/pretraining', kind)
  model = config.image_model
  model.update(patch=14, width=128, depth=3, num_heads=4, steps=2000)
  model.batch_size = 16 if kind == 'r3m' else FRAMES
  if kind == 'r3m':
    model.learning_rate = 3e-4  # 1e-4 in the paper, for a million steps.
  config.encode.update(output='mean_patch', error_budget=0.0)
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _quicktest(config):
  """Every stage on almost nothing: does it work?"""
  domain = config.domains.metaworld
  domain.update(tasks=SEEN[:2], unseen=UNSEEN[:1], size=32, workers=1)
  domain.update(pretrain=3, heldout=2, demos=2)
  config.saving.log_steps = 1
  config.frames.size = 32
  model = config.image_model
  model.update(patch=16, width=32, depth=1, num_heads=2, steps=4, batch_size=4)
  model.reward_width = 32
