"""Nonsense at random: settings, files, kills, stages, disks. Seeds are printed.

python -m tests.fuzz                 about five minutes
python -m tests.fuzz --long          two hours: everything, 20 kills each, every
                                     stage ended by signals and by full disks
python -m tests.fuzz kills --long    of the parts that are named
python -m tests.fuzz --seed=7        other draws
"""

import pathlib
import sys
import tempfile
import time

from tests.fuzz import disk, files, kills, settings, stages

# Of the disk that a run needs.
SHARES = (0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.97)


def main(arguments) -> int:
  """Prints counts and what went wrong; 1 where something did."""
  long = '--long' in arguments
  seeds = [a.partition('=')[2] for a in arguments if a.startswith('--seed=')]
  named = [a for a in arguments if not a.startswith('--')]
  seed = int(seeds[0]) if seeds else 0
  print(f'seed {seed}', flush=True)
  folder = pathlib.Path(tempfile.mkdtemp(prefix='rpt_jax_fuzz_'))
  begin, wrong = time.monotonic(), 0
  for name, part in _parts(long, seed, folder):
    if named and name not in named:
      continue
    if outcome := part():
      print(outcome.summary(), flush=True)
      wrong += len(outcome.wrong)
  print(f'{time.monotonic() - begin:.0f} s, {wrong} wrong', flush=True)
  return int(wrong > 0)


def _parts(long, seed, folder):
  """(name, what it does) of all parts, in order."""
  yield 'settings', lambda: settings.run(1.0 if long else 0.1, seed)
  yield 'files', lambda: files.run(20_000 if long else 1000, seed, folder)
  times = 20 if long else 4
  for config in ('hubert_units', 'rpt') if long else ('hubert_units',):
    yield 'kills', lambda c=config: kills.run(c, times, seed, folder)
  for config in stages.CONFIGS if long else ():
    yield 'stages', lambda c=config: stages.run(c, seed, folder)
  if long:
    yield 'disks', lambda: disk.run('hubert_units', SHARES, folder)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
