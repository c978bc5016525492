"""Nonsense at random: settings, files, kills, disks. Seeds are printed.

python -m tests.fuzz                 about five minutes
python -m tests.fuzz --long          about an hour: everything, 20 kills each
python -m tests.fuzz --seed=7        other draws
"""

import pathlib
import sys
import tempfile
import time

from tests.fuzz import disk, files, kills, settings

# Of the disk that a run needs.
SHARES = (0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.97)


def main(arguments) -> int:
  """Prints counts and what went wrong; 1 where something did."""
  long = '--long' in arguments
  seeds = [a.partition('=')[2] for a in arguments if a.startswith('--seed=')]
  seed = int(seeds[0]) if seeds else 0
  print(f'seed {seed}', flush=True)
  folder = pathlib.Path(tempfile.mkdtemp(prefix='rpt_jax_fuzz_'))
  begin = time.monotonic()
  tried = settings.run(1.0 if long else 0.1, seed)
  print(tried.summary(), flush=True)
  damaged = files.run(20_000 if long else 1000, seed, folder)
  print(damaged.summary(), flush=True)
  wrong = len(tried.wrong) + len(damaged.wrong)
  for config in ('hubert_units', 'rpt') if long else ('hubert_units',):
    killed = kills.run(config, 20 if long else 4, seed, folder)
    print(killed.summary(), flush=True)
    wrong += len(killed.differs)
  if long and (small := disk.run('hubert_units', SHARES, folder)):
    print(small.summary(), flush=True)
    wrong += len(small.wrong)
  print(f'{time.monotonic() - begin:.0f} s, {wrong} wrong', flush=True)
  return int(wrong > 0)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
