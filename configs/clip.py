"""CLIP: frames and captions in one space, on drawings.

Draws shapes of six colours, two sizes and four places, each with a caption, and
trains an image and a text tower by the loss of CLIP (arXiv 2103.00020). Six of
thirty pairs of a colour and a shape are kept for the end: the page says how
often a held-out frame is given its own caption of all held-out ones, none of
which was ever seen. `<workdir>/see/model` is a folder that `vision.load`,
`vision.load_text` and transformers' CLIPModel read.

    python -m rpt_jax.main --config=clip
    python -m rpt_jax.main --config=clip --config.image_model.batch_size=16
    python -m rpt_jax.main --config=clip --config.domains.drawings.shuffled=True
    python -m tests.benchmarks.clip runs/clip       zero-shot by attribute
    python -m rpt_jax.main --config=clip:quicktest

The second is told less of what a frame is not; the third is a control, whose
captions are those of other drawings. Captions of a dataset of your own are the
instructions of its episodes.
"""

from rpt_jax import settings

QUICKTEST = 'quicktest'


def get_config(arg=''):
  """`arg`: '' (the default) or 'quicktest'."""
  arg = settings.argument(arg, (QUICKTEST,))
  config = settings.base()
  config.title = 'CLIP on drawings'
  config.question = 'Does it name what it has not seen together?'
  config.domains.drawings = settings.plugin('domains', 'drawings')
  config.frames.size = 32
  config.image_model = settings.plugin('vision/pretraining', 'clip')
  model = config.image_model
  model.update(width=64, depth=3, num_heads=4, steps=800)
  model.update(text_width=64, text_depth=2, text_num_heads=4, text_length=56)
  config.encode.output = 'projected'
  if arg == QUICKTEST:
    _quicktest(config)
  return config


def _quicktest(config):
  """Every stage on almost nothing: does it work?"""
  config.domains.drawings.update(size=16, pretrain=24, heldout=12)
  config.saving.update(log_steps=1, save_steps=1)
  config.frames.size = 16
  model = config.image_model
  model.update(width=32, depth=1, num_heads=2, steps=4, batch_size=16)
  model.update(text_width=32, text_depth=1, text_num_heads=2)
