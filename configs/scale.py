"""RPT at the size of a pod: trunks of 21M to 1B on the streams of a real robot.

The experiment of `configs/rpt.py` at the scale of the paper and beyond: three
cameras read by a ViT-B/16 that MAE pretrains (latents of 768), proprioception
and actions, 16 steps of context, 64 windows a chip. `S`, `B`, `L` and `XL` are
trunks of 21M, 85M, 302M and 1.0B parameters; what follows the comma is how many
chips there are, for which batch and mesh are chosen.

    python -m rpt_jax.main --config=configs/scale.py:XL,256 --aot=v5e:16x16
    python -m rpt_jax.main --config=configs/scale.py:L,8 --aot=v6e:2x4
    python -m rpt_jax.main --config=configs/scale.py:XL,256   # on that slice
    python -m rpt_jax.main --config=configs/scale.py:quicktest
    python -m tests.benchmarks.scale                          # the whole table

Needs what `configs/rpt.py` needs; `--aot` also the extra `tpu`, and no TPU: it
compiles every step on a CPU machine in minutes and says whether it fits and
how fast it could be. The last command makes that of tests/benchmarks/README.md.
"""

import pathlib
import runpy

from rpt_jax.models import presets

SIZES = ('S', 'B', 'L', 'XL')
WINDOWS = 64  # A chip; of 16 steps and 5 streams: 5120 tokens.


def get_config(arg=''):
  """`arg`: a size and how many chips, as 'S', 'B', 'L,8' and 'XL,256', or
  'quicktest'."""
  rpt = pathlib.Path(__file__).with_name('rpt.py')
  get_rpt = runpy.run_path(str(rpt))['get_config']
  if arg == 'quicktest':
    return get_rpt(arg)
  size, _, chips = (arg or 'S').partition(',')
  if size not in SIZES or not (chips or '1').isdigit():
    raise ValueError(
      f"config argument {arg!r}: expected 'quicktest', or one of {SIZES} and a "
      "number of chips, as in 'XL,256'"
    )
  chips = int(chips or 1)
  config = get_rpt()
  config.title = f'RPT at scale: {size}'
  config.domains.metaworld.size = config.frames.size = 224
  model = config.image_model
  model.update(patch=16, width=768, depth=12, num_heads=12)
  model.update(decoder_width=512, decoder_depth=8, decoder_num_heads=16)
  model.batch_size = 64 * chips
  config.encode.output = 'mean_patch'
  config.pretrain.update(presets.SIZES[size])
  config.pretrain.batch_size = WINDOWS * chips
  config.pretrain.trunk.remat = 'dots'
  # The best of the meshes that `--aot` compared; XL has no room for copies.
  if size == 'L' and chips > 8:
    config.mesh.fsdp = 16
  if size == 'XL':
    config.mesh.fsdp = min(max(chips // 2, 1), 16)
  return config
