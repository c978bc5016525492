"""SORNet: how do objects stand, also those that training has never seen?

Draws cubes and cylinders on a table with a drawer and a gripper, and trains an
image model that is asked for each object by a picture of it alone (Yuan et al.
2021, arXiv 2109.03891): is it in the gripper, in the drawer, on, near, left or
in front of another? Two of eight colours and one of three sizes are in no
training scene; the page gives F1 on scenes of known objects and on scenes of
nothing but new ones, and what is said over a film.

    python -m rpt_jax.main --config=relations
    python -m rpt_jax.main --config=relations:cls     CLS and an MLP
    python -m rpt_jax.main --config=relations:quicktest

`cls` is the control whose readouts get the class token and the embedded views,
which have not seen the frame. Needs MuJoCo (`pip install -e '.[metaworld]'`)
and libosmesa6.
"""

from rpt_jax import settings

CLS, QUICKTEST = 'cls', 'quicktest'


def get_config(arg=''):
  """`arg`: '' (the default), 'cls' or 'quicktest'."""
  arg = settings.argument(arg, (CLS, QUICKTEST))
  config = settings.base()
  config.title = 'SORNet on a table'
  config.question = 'Does it see how objects stand that it has never seen?'
  config.domains.arrangements = settings.plugin('domains', 'arrangements')
  config.frames.size = 96
  config.image_model = settings.plugin('vision/pretraining', 'sornet')
  model = config.image_model
  model.update(width=128, depth=4, num_heads=4, readout=128, steps=3000)
  # 1e-4 in the paper, for forty times as many scenes.
  model.update(learning_rate=5e-4, attends=arg != CLS)
  config.encode.output = 'mean_patch'
  if arg == QUICKTEST:
    _quicktest(config)
  return config


def _quicktest(config):
  """Every stage on almost nothing: does it work?"""
  config.domains.arrangements.update(size=32, pretrain=12, heldout=6, views=2)
  config.saving.log_steps = 1
  config.frames.size = 32
  model = config.image_model
  model.update(patch=16, width=32, depth=1, num_heads=2, readout=16)
  model.update(steps=4, batch_size=8)
