"""Held-out clips, their units by every recipe, and what each unit is used for.

What the page's explorer shows is gathered here once. Labels are read, as the
page comes after all learning.
"""

import numpy as np

from rpt_jax import domains as rooms
from rpt_jax import files
from rpt_jax.domains import TEXTS
from rpt_jax.learning import pictures
from rpt_jax.reporting.explorer import Action, Clip, Explorer, Unit
from rpt_jax.types import ACTION
from rpt_jax.units import quality

AHEAD = 8  # Frames shown after a frame of a unit.
_PIXELS = 40_000_000  # Of all frames shown together.
_WHOLE_FRAMES = 2000  # Of clips that can be scrubbed.
_STEPS, _CLIPS = 128, 8  # Of such a clip, and of them in a domain, at most.
_NEAREST = 6  # Frames a unit.
_WIDTH = 8  # Numbers of an action or a state that are shown.
_DOMAINS = 4  # In which a unit's actions are told: where it is commonest.


class _Heldout:
  """The held-out clips of all domains, end to end in N rows."""

  def __init__(self, domains, inputs):
    self.domains, self.inputs = domains, inputs
    self.parts = [pictures.Heldout(domain, inputs) for domain in domains]
    self.lengths = np.concatenate([part.lengths for part in self.parts])
    self.starts = np.cumsum(self.lengths) - self.lengths
    counts = [len(part.lengths) for part in self.parts]
    self.domain_C = np.repeat(np.arange(len(domains)), counts)
    self.firsts = np.cumsum(counts) - counts  # The first clip of a domain.
    self.texts = [self._sentences(domain) for domain in domains]
    self.clip_N = np.repeat(np.arange(len(self.lengths)), self.lengths)
    self.domain_N = self.domain_C[self.clip_N]

  def rows(self, domain: int) -> slice:
    """The rows of a domain."""
    at = np.flatnonzero(self.domain_N == domain)
    return slice(int(at[0]), int(at[-1]) + 1)

  def place(self, row) -> tuple[int, int]:
    """(clip, step) of a row."""
    clip = int(self.clip_N[row])
    return clip, int(row - self.starts[clip])

  def ahead(self, clip, step) -> range:
    """A step and those after it that are shown with it."""
    return range(step, min(step + AHEAD, int(self.lengths[clip]) - 1) + 1)

  def pixels(self, clip) -> int:
    """Of a frame of this clip, as it is shown."""
    height, width = self.parts[self.domain_C[clip]].size
    return height * width

  def frames(self, clip, steps_S):
    """Frames [S, h, w, 3] of a clip."""
    domain = self.domain_C[clip]
    part, own = self.parts[domain], clip - self.firsts[domain]
    return part.frames(np.asarray(steps_S) + part.starts[own])

  def felt(self, domain: int):
    """{'action' or 'state': [n, ...]} of a domain's rows; where it has any."""
    place = self.domains[domain]
    fields = [f for f in place.fields if f in (ACTION, 'state', 'proprio')]
    if not fields:
      return {}
    read = rooms.labels(place, self.inputs, 'heldout', tuple(fields))
    return {field: np.asarray(x) for field, x in read.arrays.items()}

  def _sentences(self, domain):
    """What each clip of a domain was told to do."""
    folder = self.inputs['label'] / domain.name / 'heldout'
    return files.read_json(folder / TEXTS, kind=list, most=files.MANIFEST)


def gather(domains, chosen, inputs) -> Explorer:
  """All recipes of `chosen` {name: recipe} beside clips of these domains."""
  heldout = _Heldout(domains, inputs)
  felt = [heldout.felt(d) for d in range(len(domains))]
  lanes, unit_N_of = {}, {}
  for name, recipe in chosen.items():
    units_NL, of_level = pictures.units(domains, name, recipe, inputs)
    for level in range(units_NL.shape[1]):
      lane = f'{name}, level {level + 1}' if level else name
      unit_N_of[lane] = units_NL[:, level]
      lanes[lane] = _units(heldout, felt, units_NL[:, level], of_level(level))
  whole = _whole(heldout)
  steps = _steps(heldout, whole, lanes)
  order = {clip: i for i, clip in enumerate(steps)}
  clips = [
    _clip(heldout, felt, clip, steps[clip], unit_N_of if clip in whole else {})
    for clip in steps
  ]
  return Explorer(
    clips,
    {k: [_pictured(heldout, u, steps, order) for u in v] for k, v in
     lanes.items()},
    AHEAD,
  )  # fmt: skip


def _units(heldout, felt, unit_N, nearest):
  """What each unit of a recipe's level is used for, the commonest first."""
  has_unit_N = unit_N >= 0  # Not all makers give all frames a unit.
  if not has_unit_N.any():
    return []
  clip_N, unit_M = heldout.clip_N[has_unit_N], unit_N[has_unit_N]
  numbers, count_K, share_K = quality.clip_shares(unit_M, clip_N)
  chance_K = np.mean(
    [
      quality.clip_shares(shuffled, clip_N)[2]
      for shuffled in quality.shuffles(unit_M, heldout.domain_N[has_unit_N])
    ],
    axis=0,
  )
  actions = _actions(heldout, felt, unit_N)
  return [
    Unit(
      int(numbers[k]),
      int(count_K[k]),
      _apart(heldout.place(row) for row in nearest(numbers[k])),
      actions.get(int(numbers[k]), []),
      float(share_K[k]),
      float(chance_K[k]),
    )
    for k in np.argsort(-count_K, kind='stable')
  ]


def _apart(places):
  """The first of these (clip, step), without those shown after another."""
  kept = []
  for clip, step in places:
    if all(c != clip or abs(s - step) > AHEAD for c, s in kept):
      kept.append((clip, step))
    if len(kept) == _NEAREST:
      break
  return kept


def _actions(heldout, felt, unit_N):
  """{unit: its actions}, in the domains where it is commonest."""
  by_unit = {}
  for d, arrays in enumerate(felt):
    if ACTION not in arrays:
      continue
    name, own_n = heldout.domains[d].name, unit_N[heldout.rows(d)]
    names = rooms.number_names(heldout.domains[d]).get(ACTION, ())
    x_nA, discrete = arrays[ACTION], heldout.domains[d].discrete
    if discrete:
      x_nA = np.eye(int(x_nA.max()) + 1)[x_nA.reshape(-1)]
    x_nA = np.float64(x_nA.reshape(len(x_nA), -1))
    counted_n = (own_n >= 0) & np.isfinite(x_nA).all(1)
    numbers, unit_m = np.unique(own_n[counted_n], return_inverse=True)
    x_mA = x_nA[counted_n]
    for k, rows in enumerate(_groups(unit_m, len(numbers))):
      x_kA = x_mA[rows]
      spread = None if discrete else x_kA.std(0)
      action = Action(name, len(x_kA), x_kA.mean(0), spread, names)
      by_unit.setdefault(int(numbers[k]), []).append(action)
  return {
    unit: sorted(each, key=lambda a: -a.count)[:_DOMAINS]
    for unit, each in by_unit.items()
  }


def _groups(ids_M, count):
  """The places of every id."""
  order = np.argsort(ids_M, kind='stable')
  return np.split(order, np.cumsum(np.bincount(ids_M, minlength=count))[:-1])


def _whole(heldout):
  """{clip: steps} of those that can be scrubbed: each domain's longest, others.

  The longest comes first, the others are spread evenly over its domain.
  """
  share = _WHOLE_FRAMES // len(heldout.parts)
  steps = int(np.clip(share, 16, _STEPS))
  count, whole = int(np.clip(share // steps, 1, _CLIPS)), {}
  for first, part in zip(heldout.firsts, heldout.parts, strict=True):
    spread = np.linspace(0, len(part.lengths) - 1, count).round().astype(int)
    order = dict.fromkeys([int(part.lengths.argmax()), *spread.tolist()])
    for own in [*order][:count]:
      clip = int(first) + own
      whole[clip] = min(steps, int(heldout.lengths[clip]))
  return whole


def _steps(heldout, whole, lanes):
  """{clip: its steps with a frame}: whole clips, and what units need.

  The nearest frame of every unit comes before the second of any, and common
  units before rare ones, until there are as many pixels as a page can hold.
  """
  steps = {clip: {*range(count)} for clip, count in whole.items()}
  left = _PIXELS - sum(n * heldout.pixels(clip) for clip, n in whole.items())
  every = sorted((u for lane in lanes.values() for u in lane),
                 key=lambda u: -u.count)  # fmt: skip
  for rank in range(_NEAREST):
    for unit in (u for u in every if rank < len(u.nearest)):
      clip, step = unit.nearest[rank]
      more = {*heldout.ahead(clip, step)} - steps.get(clip, set())
      left -= len(more) * heldout.pixels(clip)
      if left < 0:
        return steps
      steps.setdefault(clip, set()).update(more)
  return steps


def _pictured(heldout, unit, steps, order):
  """A unit with those of its frames that are shown, clips by their place."""
  nearest = [
    (order[clip], step)
    for clip, step in unit.nearest
    if clip in steps and steps[clip] >= {*heldout.ahead(clip, step)}
  ]
  return unit._replace(nearest=nearest)


def _clip(heldout, felt, clip, steps, unit_N_of):
  """A clip with frames of some steps; with units and curves of the first."""
  domain, start = int(heldout.domain_C[clip]), int(heldout.starts[clip])
  own = clip - int(heldout.firsts[domain])
  steps_S = sorted(steps)
  count = next((i for i, s in enumerate(steps_S) if s != i), len(steps_S))
  within = start - heldout.rows(domain).start
  curves = {
    field: np.float64(x.reshape(len(x), -1)[within : within + count, :_WIDTH])
    for field, x in (felt[domain] if unit_N_of else {}).items()
  }
  return Clip(
    heldout.domains[domain].name,
    int(heldout.parts[domain].episodes[own]),
    steps_S,
    heldout.frames(clip, steps_S),
    {lane: x[start : start + count] for lane, x in unit_N_of.items()},
    curves,
    heldout.texts[domain][own],
  )
