"""Every leaf of every config with a value that it cannot have.

What is refused must say so in one line that begins with a field. What is
accepted is listed: whether it is sound is for a reader to judge.
"""

import collections
import dataclasses
import random

import ml_collections

from rpt_jax.learning import checks
from tests.settings import variants

NAN, INF = float('nan'), float('inf')
# Wrong types, none, huge, negative, not finite, empty, unknown names.
VALUES = (
  None,
  'nowhere',
  '',
  (),
  -1,
  0,
  10**12,
  10**300,
  NAN,
  INF,
  -INF,
  -0.5,
  1.5,
  True,
  {},
  [3],
  ('nowhere',),
  ((),),
  b'x',
  'no\nwhere',
)
UNKNOWN = 'no_such_key'


@dataclasses.dataclass
class Outcome:
  """How many were refused well; what was accepted, and what went wrong."""

  refused: int = 0
  accepted: list = dataclasses.field(default_factory=list)
  wrong: list = dataclasses.field(default_factory=list)

  @property
  def count(self) -> int:
    return self.refused + len(self.accepted) + len(self.wrong)

  def summary(self) -> str:
    """The counts, and every kind of value that was accepted, by its key."""
    lines = [
      f'settings: {self.count} mutants, {self.refused} refused by field, '
      f'{len(self.accepted)} accepted, {len(self.wrong)} wrong'
    ]
    by_key = collections.defaultdict(set)
    for _, path, _, value in self.accepted:
      by_key[path.rpartition('.')[2]].add(repr(value)[:60])
    for key, values in sorted(by_key.items()):
      lines.append(f'  accepted {key}: {", ".join(sorted(values))}')
    lines += [f'  WRONG {each}' for each in self.wrong]
    return '\n'.join(lines)


def leaves(config, path=()):
  """('a.b', value) of everything that is no section, or an empty one."""
  for name, value in config.items():
    section = isinstance(value, (dict, ml_collections.ConfigDict))
    if section and len(value):
      yield '.'.join((*path, name, UNKNOWN)), None
      yield from leaves(value, (*path, name))
    else:
      yield '.'.join((*path, name)), value


def mutants(value):
  """Values that are not this one, a few of them near it."""
  near = []
  if isinstance(value, tuple) and value:
    *rest, _ = value
    near = [value * 2, *((*rest, x) for x in (None, NAN, -1, 10**12, ''))]
  return [
    x for x in (*VALUES, *near) if not (type(x) is type(value) and x == value)
  ]


def run(share: float, seed: int, specs=None) -> Outcome:
  """Tries a share of all mutants of the configs `specs`, drawn by a seed."""
  rng, outcome = random.Random(seed), Outcome()
  for spec in specs or variants.SPECS:
    if spec.startswith(variants.RECORDED) and not variants.DATA.exists():
      continue
    base = variants.changed(spec)
    for path, value in leaves(base):
      for mutant in mutants(value):
        if rng.random() < share:
          _try(outcome, spec, base, path, value, mutant)
  return outcome


def _try(outcome, spec, base, path, value, mutant):
  config = base.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    variants.put(config, path, mutant)
  try:
    checks.experiment(config)
    outcome.accepted.append((spec, path, value, mutant))
  except ValueError as error:
    message = str(error)
    if message.startswith('config.') and '\n' not in message:
      outcome.refused += 1
    else:
      outcome.wrong.append((spec, path, mutant, message[:200]))
  except Exception as error:  # A bare error is what is looked for.
    kind = type(error).__name__
    outcome.wrong.append((spec, path, mutant, f'{kind}: {error}'[:200]))
