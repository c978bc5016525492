"""Every stage of quicktests, ended by each signal and on a disk that is full.

A run is walked through: it is killed in its first stage, goes on, is ended
there in another way, and so on to its last stage; at its end it must be the
same, to the bit, as one that was let be. Disks are file systems in memory, so
only root can fill one.
"""

import contextlib
import dataclasses
import os
import pathlib
import random
import re
import signal
import threading
import time

from rpt_jax.training import stopping
from tests import commands
from tests.fuzz import disk
from tests.test_quicktest import contents, results

# {config: stages to end (none: all)}. Of the last three what others lack: a
# grid of policies, images with captions, words.
CONFIGS = {
  'hubert_units': (),
  'rpt': (),
  'tests/fuzz/tuned': ('tune',),
  'clip': ('collect', 'see', 'encode'),
  'goals': ('imagine',),
  'text': ('collect', 'encode', 'pretrain'),
}
# Of the disk that a stage needs, what is left when it begins.
_SHARES = (0.0, 0.5)
_TRIES, _HANGS, _PROMPT = 4, 900, 10  # seconds


@dataclasses.dataclass
class Outcome:
  """(stage, how it was ended, seconds until it was) and what went wrong."""

  config: str
  ends: list = dataclasses.field(default_factory=list)
  missed: list = dataclasses.field(default_factory=list)
  wrong: list = dataclasses.field(default_factory=list)

  def summary(self) -> str:
    """Stages, counts and the slowest end; what was over before it was met."""
    signals = [end for end in self.ends if isinstance(end[1], signal.Signals)]
    slowest = max(signals, key=lambda end: end[2], default=('', '', 0))
    stages = list(dict.fromkeys(stage for stage, *_ in self.ends))
    lines = [
      f'stages: {self.config}: {len(stages)} ({", ".join(stages)}), '
      f'{len(signals)} signals, the slowest end {slowest[2]:.1f} s '
      f'({slowest[0]}), {len(self.ends) - len(signals)} full disks, '
      f'{len(self.wrong)} wrong'
    ]
    lines += [f'  over too soon: {each}' for each in self.missed]
    return '\n'.join(lines + [f'  WRONG {each}' for each in self.wrong])


def run(config: str, seed: int, folder: pathlib.Path) -> Outcome:
  """Walks through a config's stages; moments are drawn by a seed."""
  rng, outcome = random.Random(seed), Outcome(config)
  folder = folder / f'{pathlib.Path(config).name}_stages'
  (folder / 'disk').mkdir(parents=True)
  output = commands.finish(config, folder / 'whole')
  usual = re.findall(r'^\[\d+/\d+\] (\S+): done in (.*) s$', output, re.M)
  only, work = CONFIGS.get(config), folder / 'disk' / 'run'
  with disk.small(folder / 'disk', disk.ROOM) as allowed:
    for stage, seconds in usual:
      if only and stage not in only:
        continue
      for number in (signal.SIGKILL, *stopping.SIGNALS):
        moment = float(seconds) * rng.random()
        _end(outcome, config, work, stage, number, _signalled, moment)
      for share in _SHARES if allowed else ():
        need = share * _size(folder / 'whole' / stage)
        _end(outcome, config, work, stage, f'{share:.0%}', _filled, need)
    commands.finish(config, work)
    for compared in (contents, results):
      if compared(folder / 'whole') != compared(work):
        outcome.wrong.append(f'other {compared.__name__} at the end')
  return outcome


def _end(outcome, config, work, stage, how, act, amount):
  """Ends a stage in some way, again and sooner if it was over before that."""
  told = getattr(how, 'name', f'a disk of {how}')
  for attempt in range(_TRIES):
    before = contents(work)
    less = amount * (1 - attempt / (_TRIES - 1))
    over, seconds, fault = act(config, work, stage, how, less)
    if contents(work) | before != contents(work):
      fault = f'lost what was finished: {fault}'
    if fault:
      outcome.wrong.append((stage, told, f'{seconds:.1f} s', fault[-400:]))
    if fault or not over:
      outcome.ends.append((stage, how, seconds))
      return
    (work / stage / 'artifact.json').unlink()  # As if it had been killed.
  outcome.missed.append((stage, told))


@contextlib.contextmanager
def _begun(config, work, stage):
  """A run that has come to a stage; its output goes on in `stdout`."""
  process = commands.start(config, work)
  hanging = threading.Timer(_HANGS, process.kill)
  hanging.start()
  try:
    for line in process.stdout:
      if line.startswith('[') and f'] {stage}: start' in line:
        break
    yield process
    process.wait()
  finally:
    hanging.cancel()
    process.kill()


def _signalled(config, work, stage, number, moment):
  """(whether the stage was over, seconds until the end, what is wrong)."""
  with _begun(config, work, stage) as process:
    time.sleep(moment)
    process.send_signal(number)
    began = time.monotonic()
    output = process.stdout.read()
    code, seconds = process.wait(), time.monotonic() - began
  over = f'] {stage}: done' in output
  if number is signal.SIGKILL and code == -number:
    return over, seconds, ''
  said = number.name in _last(output) and 'goes on' in _last(output)
  said = said or over and 'rpt_jax: done' in output
  if code or seconds > _PROMPT or not said or 'Traceback' in output:
    return over, seconds, f'code {code}: {output}'
  return over, seconds, ''


def _filled(config, work, stage, how, need):
  """As `_signalled`; `need` bytes are left on the disk when a stage begins."""
  del how
  with _begun(config, work, stage) as process:
    process.send_signal(signal.SIGSTOP)
    place = work.parent
    disk.resize(place, int(disk.used(place) + need))
    process.send_signal(signal.SIGCONT)
    began = time.monotonic()
    output = process.stdout.read()
    code, seconds = process.wait(), time.monotonic() - began
    disk.resize(place, disk.ROOM)
  over = f'] {stage}: done' in output
  named = 'rpt_jax: error:' in _last(output) and str(place) in _last(output)
  if (code != 2 or not named) and not (over and code == 0):
    return over, seconds, f'code {code}: {output}'
  return over, seconds, ''


def _last(output):
  return output.strip().rpartition('\n')[2]


def _size(folder):
  """Bytes of disk that a folder takes."""
  return sum(os.stat(p).st_blocks * 512 for p in folder.rglob('*'))
