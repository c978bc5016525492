"""The scale table of README.md: sizes of the trunk on slices of TPUs.

    python -m tests.benchmarks.scale                       # half an hour
    python -m tests.benchmarks.scale --sizes=XL --slices=v5e:16x16

Nothing is run: the pretraining step of `configs/scale.py` is compiled for each
slice (`rpt_jax/tools/aot.py`). Needs the extra `tpu` and no TPU.
"""

import argparse
import os
import runpy

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

from rpt_jax.learning import checks  # noqa: E402
from rpt_jax.tools import aot  # noqa: E402

SIZES = ('S', 'B', 'L', 'XL')
SLICES = ('v5e:2x4', 'v5e:16x16', 'v5p:4x4x4', 'v6e:2x4', 'v6e:16x16')


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--sizes', default=','.join(SIZES))
  parser.add_argument('--slices', default=','.join(SLICES))
  asked = parser.parse_args()
  get_config = runpy.run_path('configs/scale.py')['get_config']
  print(
    '| trunk | slice | mesh | fits | HBM a chip (GiB) | step at best (ms) | '
    'MFU at most | limited by |\n|---|---|---|---|--:|--:|--:|---|'
  )
  for size in asked.sizes.split(','):
    for topology in asked.slices.split(','):
      chips = len(aot.describe(topology))
      config = checks.experiment(get_config(f'{size},{chips}'))
      found = aot.estimate(config, 'pretrain rpt', topology)
      cells = f'{size} | {topology} | {found.mesh} | {aot.cells(found)}'
      print(f'| {cells} |', flush=True)


if __name__ == '__main__':
  main()
