"""A quicktest on disks that are too small, which goes on when there is room.

Disks are file systems in memory, so only root can try this.
"""

import contextlib
import dataclasses
import os
import subprocess

from tests import commands
from tests.test_quicktest import contents

ROOM = 2 << 30


@dataclasses.dataclass
class Outcome:
  """What a run said on each disk, and what went wrong."""

  ends: list
  wrong: list

  def summary(self) -> str:
    """Where it ended, by the size of the disk."""
    lines = [f'disks: {len(self.ends)} too small, {len(self.wrong)} wrong']
    lines += [f'  {size / 2**20:.1f} MiB: {end}' for size, end in self.ends]
    return '\n'.join(lines + [f'  WRONG {each}' for each in self.wrong])


def run(config: str, shares, folder) -> Outcome | None:
  """Tries disks of some shares of what a run needs; None without the right."""
  outcome, place = Outcome([], []), folder / 'small'
  place.mkdir()
  with small(place, ROOM) as allowed:
    if not allowed:
      return None
    commands.finish(config, place / 'run')
    whole = contents(place / 'run')
    needed = sum(p.stat().st_blocks * 512 for p in place.rglob('*'))
  for share in shares:
    with small(place, int(share * needed)):
      process = commands.start(config, place / 'run')
      output, _ = process.communicate(timeout=900)
      last = output.strip().splitlines()[-1]
      outcome.ends.append((share * needed, f'{process.returncode}: {last}'))
      named = 'rpt_jax: error:' in last and str(place) in last
      # Before it Orbax may tell of its own what it could not write.
      if process.returncode != 2 or not named:
        outcome.wrong.append((share, process.returncode, output[-500:]))
      resize(place, ROOM)
      commands.finish(config, place / 'run')
      if contents(place / 'run') != whole:
        outcome.wrong.append((share, 'other bits'))
  return outcome


@contextlib.contextmanager
def small(place, size):
  """A disk of that many bytes; gives whether it could be made."""
  mounted = os.getuid() == 0 and _mount(
    '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', place
  )
  try:
    yield mounted
  finally:
    if mounted:
      subprocess.run(['umount', place], check=True)


def resize(place, size: int) -> None:
  """Makes a disk larger or smaller, though not than what is on it."""
  if not _mount('-o', f'remount,size={max(size, 1)}', place):
    raise OSError(f'{place}: cannot be made {size} bytes')


def used(place) -> int:
  """Bytes of a disk that are taken."""
  about = os.statvfs(place)
  return (about.f_blocks - about.f_bfree) * about.f_frsize


def _mount(*arguments):
  done = subprocess.run(['mount', *map(str, arguments)], capture_output=True)
  return done.returncode == 0
