"""A quicktest ended at random moments, which goes on to the same bits.

By SIGKILL, SIGTERM, SIGINT and SIGHUP in turn; after all but the first the
process has to say so and to end with 0 in ten seconds.
"""

import dataclasses
import random
import signal
import time

from tests import commands
from tests.test_quicktest import contents, results

SIGNALS = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP


@dataclasses.dataclass
class Outcome:
  """Where a run was killed, and what is wrong with its end."""

  config: str
  moments: list
  wrong: list

  def summary(self) -> str:
    """The stages that were killed, how often, and what differs."""
    stages = sorted({m.split()[1] for m in self.moments if ' ' in m})
    return (
      f'kills: {self.config}: {len(self.moments)} in {len(stages)} stages '
      f'({", ".join(stages)}), {len(self.wrong)} files or rows differ '
      f'{self.wrong[:5]}'
    )


def run(config: str, kills: int, seed: int, folder) -> Outcome:
  """Kills a quicktest `kills` times by a seed; the rest of it is compared.

  Moments are spread over what is left to do: a run is let to do some of it, by
  the lines that it prints, and killed a moment later.
  """
  rng, outcome = random.Random(seed), Outcome(config, [], [])
  whole, work = folder / f'{config}_whole', folder / f'{config}_killed'
  lines = commands.finish(config, whole).splitlines()
  lines = [line for line in lines if line.startswith(('  ', '['))]
  per_kill = max(len(lines) // (kills + 1), 1)
  for index in range(kills):
    process = commands.start(config, work)
    left, stage, over = rng.randrange(1, 2 * per_kill), '', False
    for line in process.stdout:
      if line.startswith('[') and ': start' in line:
        stage = line.strip()
      done_before = 'skipped' in line
      left -= line.startswith(('  ', '[')) and not done_before
      over = over or 'rpt_jax: done' in line  # Before there was a moment.
      if left <= 0:
        break
    time.sleep(rng.random() * 0.5)
    number = SIGNALS[index % len(SIGNALS)]
    began = time.monotonic()
    process.send_signal(number)
    output = process.stdout.read()
    code, seconds = process.wait(), time.monotonic() - began
    outcome.moments.append(f'{stage} {number.name}')
    over = over or 'rpt_jax: done' in output
    soft = number is not signal.SIGKILL and not over
    if soft and (code or seconds > 10 or 'goes on' not in output):
      outcome.wrong.append(
        f'{stage} {number.name}: code {code} after {seconds:.0f} s: '
        f'{output[-300:]}'
      )
  commands.finish(config, work)
  for compared in (contents, results):
    a, b = compared(whole), compared(work)
    if a != b:
      outcome.wrong.append(compared.__name__)
  return outcome
