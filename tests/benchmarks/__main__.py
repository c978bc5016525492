"""Speed against peers, side by side in one process, medians of turns taken.

    pip install -e '.[bench]'
    python -m tests.benchmarks              all of them, about ten minutes
    python -m tests.benchmarks kmeans       one: encode, kmeans, ...

A ratio above 1 says that rpt_jax is faster. Run it on a quiet machine.
"""

import importlib
import sys

from rpt_jax.training import memory

NAMES = ('encode', 'kmeans', 'policy', 'rollouts', 'trunk')


def main(names):
  """Prints one line for every comparison of the benchmarks named."""
  memory.keep_freed_memory()
  for name in names or NAMES:
    for row in importlib.import_module(f'tests.benchmarks.{name}').run():
      target = f'target {row["target"]}' if row.get('target') else ''
      print(
        f'{row["name"]:48} {row["ratio"]:7.2f}x  ours {row["ours"]:.4g} '
        f'peer {row["peer"]:.4g}  {target}',
        flush=True,
      )


if __name__ == '__main__':
  main(sys.argv[1:])
