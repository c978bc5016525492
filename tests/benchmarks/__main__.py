"""Speed against peers, side by side in one process, medians of turns taken.

    pip install -e '.[bench]'
    python -m tests.benchmarks              all of them, about ten minutes
    python -m tests.benchmarks kmeans       one: encode, kmeans, ...
    python -m tests.benchmarks encode trunk --json=gpu.json

A ratio above 1 says that rpt_jax is faster. Run it on a quiet machine; on one
with a GPU, `encode` and `trunk` run there, and so do their peers.
"""

import importlib
import json
import pathlib
import sys

import jax

from rpt_jax.provenance import provenance
from rpt_jax.training import memory

NAMES = (
  'encode',
  'kmeans',
  'policy',
  'rollouts',
  'saving',
  'start',
  'trunk',
  'video',
  'windows',
)


def main(names, path=''):
  """Prints one line for every comparison of the benchmarks named.

  `path`: of a JSON file that gets them, too, with what they were made on.
  """
  memory.keep_freed_memory()
  rows = []
  for name in names or NAMES:
    for row in importlib.import_module(f'tests.benchmarks.{name}').run():
      target = f'target {row["target"]}' if row.get('target') else ''
      print(
        f'{row["name"]:48} {row["ratio"]:7.2f}x  ours {row["ours"]:.4g} '
        f'peer {row["peer"]:.4g}  {target}',
        flush=True,
      )
      rows.append(row)
  if path:
    made_on = provenance() | {'device': jax.devices()[0].device_kind}
    text = json.dumps({'made_on': made_on, 'rows': rows}, indent=1)
    pathlib.Path(path).write_text(text + '\n')


if __name__ == '__main__':
  options = [a for a in sys.argv[1:] if a.startswith('--json=')]
  main(
    [a for a in sys.argv[1:] if a not in options],
    *(a.removeprefix('--json=') for a in options),
  )
