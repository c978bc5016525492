"""What a compiled program does: its collectives and its traffic with memory.

Read off the scheduled HLO text, as `cost_analysis` counts the body of a loop
once and says nothing of collectives. Loops count as often as they turn; where
that cannot be read they count once. Buffers that the compiler keeps on the
chip cost no traffic; of a large operand that is only sliced, the slice counts.
"""

import math
import re
from typing import NamedTuple

_KINDS = (
  'all-gather',
  'all-reduce',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
_BITS = {'pred': 8, 's4': 4, 'u4': 4, 'bf16': 16, 'c64': 64, 'c128': 128}
_ARRAY = re.compile(r'\b([a-z]+\d*\w*)\[([\d,]*)\](\{[^}]*\})?')
_HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_LINE = re.compile(r'^\s+(ROOT )?%?([\w.\-]+) = (.*)$')
_CALLED = re.compile(r'(calls|body|to_apply)=%?([\w.\-]+)')
_SLICES = ('dynamic-slice', 'slice', 'gather')
# What moves nothing, or whose parts are counted where they are done.
_FREE = (
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while',
  'conditional', 'call', 'after-all', 'partition-id', 'iota',
)  # fmt: skip


class Collective(NamedTuple):
  """One collective of a program, as every device sees it."""

  kind: str
  bytes: int  # of the whole array: what is gathered, reduced or moved
  group: int  # devices that take part together
  times: int  # it runs in one call of the program

  @property
  def traffic(self) -> float:
    """Bytes a device sends in one call, in the best (ring) algorithm."""
    passes = 2 if self.kind == 'all-reduce' else 1
    share = (self.group - 1) / self.group
    if self.kind == 'collective-permute':
      share = 1.0
    return passes * self.bytes * share * self.times


class Program(NamedTuple):
  """What one device does in one call."""

  collectives: tuple[Collective, ...]
  hbm_bytes: float  # read and written
  vector_bytes: float  # of these, by what multiplies no matrices


class _Instruction(NamedTuple):
  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  text: str  # all after the bracket that opens the operands
  root: bool


def read(text: str, devices: int) -> Program:
  """Reads `compiled.as_text()` of a program for so many devices."""
  computations, entry = _computations(text)
  times = {}
  _count(entry, 1, computations, times)
  collectives, seen, moved, vector = [], set(), 0.0, 0.0
  for name, turns in times.items():
    for each in computations[name].values():
      traffic = turns * _traffic(each, computations[name], computations)
      multiplies = False
      moved += traffic
      for part, scatters in _with_fused(each, computations):
        multiplies |= part.opcode in ('convolution', 'dot')
        collective = _collective(part, turns, devices, scatters, seen)
        collectives += [collective] if collective else []
      vector += 0.0 if multiplies else traffic
  return Program(tuple(collectives), moved, vector)


def _computations(text):
  """({name: {name: instruction}}, the name of the entry)."""
  computations, entry, current = {}, None, None
  for line in text.splitlines():
    if head := _HEAD.match(line):
      current = computations[head[2]] = {}
      entry = head[2] if head[1] else entry
    elif current is not None and (match := _LINE.match(line)):
      current[match[2]] = _instruction(*match.groups())
  return computations, entry


def _instruction(root, name, rest):
  shape, rest = _split_shape(rest)
  opcode, _, rest = rest.partition('(')
  operands = re.findall(r'%([\w.\-]+)', _until_closed(rest))
  return _Instruction(name, shape, opcode, tuple(operands), rest, bool(root))


def _split_shape(rest):
  """('f32[2]', 'add(...)'); the shape of a tuple is in brackets."""
  if not rest.startswith('('):
    shape, _, rest = rest.partition(' ')
    return shape, rest
  shape = _until_closed(rest[1:])
  return shape, rest[len(shape) + 3 :]


def _until_closed(text):
  depth = 1
  for i, letter in enumerate(text):
    depth += (letter == '(') - (letter == ')')
    if not depth:
      return text[:i]
  return text


def _count(name, turns, computations, times):
  """Adds `turns` to a computation, and to what its loops and calls run."""
  times[name] = times.get(name, 0) + turns
  for each in computations[name].values():
    if each.opcode not in ('while', 'call', 'conditional', 'async-start'):
      continue
    inner = turns
    if each.opcode == 'while':
      inner *= _trips(each, computations)
    called = [n for kind, n in _CALLED.findall(each.text)]
    if branches := re.search(r'branch_computations=\{([^}]*)\}', each.text):
      called += re.findall(r'[\w.\-]+', branches[1])
    for one in called:
      if one in computations:
        _count(one, inner, computations, times)


def _trips(loop, computations):
  """Turns of a loop: as annotated, or the constant its condition compares."""
  if annotation := re.search(r'known_trip_count[^}]*?(\d+)', loop.text):
    return int(annotation[1])
  condition = re.search(r'condition=%?([\w.\-]+)', loop.text)
  bounds = [
    int(value)
    for each in computations[condition[1]].values()
    if each.opcode == 'constant'
    for value in re.findall(r'^(\d+)\)', each.text)
  ]
  return max(bounds, default=1)


def _with_fused(each, computations):
  """(instruction, does its fusion scatter what it reduces), inner ones too."""
  yield each, False
  if each.opcode == 'fusion':
    called = _calls(each)
    for part in computations[called].values():
      for inner, deeper in _with_fused(part, computations):
        yield inner, deeper or 'all-reduce-scatter' in called


def _collective(each, times, devices, scatters, seen):
  """The collective that an instruction is; None if it is none, or again one
  part of a collective that is spread over several fusions."""
  kind = next((k for k in _KINDS if each.opcode in (k, f'{k}-start')), None)
  if kind is None:
    return None
  chain = re.search(r'chain_id="(\d+)"', each.text)
  channel = re.search(r'channel_id=(\d+)', each.text)
  if chain and channel:
    if (key := (channel[1], chain[1])) in seen:
      return None
    seen.add(key)
  size = sum(_size(*a) for a in _ARRAY.findall(_results(each, kind)))
  group = _group(each.text, devices)
  if kind == 'reduce-scatter':
    size *= group  # Its result is the part of one device.
  kind = 'reduce-scatter' if scatters else kind
  return Collective(kind, int(size), group, times)


def _results(each, kind):
  """The shape of what a collective gives: of a started one, the second half of
  ((operands), (results), flags)."""
  if not each.opcode.endswith('-start') or kind == 'all-reduce':
    return each.shape
  if '), (' in each.shape:
    return each.shape.split('), (')[1]
  return ''.join(m[0] + ' ' for m in list(_ARRAY.finditer(each.shape))[1:2])


def _group(text, devices):
  """Devices of one group of `replica_groups`, in any of its three forms."""
  if mesh := re.search(
    r'replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}', text
  ):
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
    return math.prod(int(sizes[n]) for n in re.findall(r"'(\w+)'", mesh[2]))
  if iota := re.search(r'replica_groups=\[\d+,(\d+)\]', text):
    return int(iota[1])
  if listed := re.search(r'replica_groups=\{\{([\d,]+)\}', text):
    return len(listed[1].split(','))
  return devices


def _size(dtype, dims, *_):
  """Bytes of an array, as `_ARRAY` finds it."""
  bits = _BITS.get(dtype) or int(re.search(r'\d+', dtype)[0])
  return math.prod(int(n) for n in dims.split(',') if n) * bits / 8


def _in_hbm(shape):
  """Bytes of the arrays of a shape that lie in HBM."""
  return sum(
    _size(*array)
    for array in _ARRAY.findall(shape)
    if not re.search(r'S\(\d+\)', array[2])
  )


def _calls(fusion):
  return dict(_CALLED.findall(fusion.text))['calls']


def _traffic(each, siblings, computations):
  """Bytes that an instruction reads from HBM and writes there."""
  if each.opcode in _FREE or each.opcode.endswith('-done'):
    return 0.0
  shapes = [siblings[n].shape for n in each.operands if n in siblings]
  if each.opcode == 'fusion':
    return _fused(each, shapes, computations[_calls(each)])
  if each.opcode in _SLICES:
    return 2 * _in_hbm(each.shape)
  if each.opcode == 'dynamic-update-slice':
    return 2 * _in_hbm(shapes[1])
  return _in_hbm(each.shape) + sum(map(_in_hbm, shapes))


def _fused(each, operands, inside):
  """Traffic of a fusion, of which only operands and results touch HBM.

  What it only hands on (collectives under way) or updates in place costs
  nothing but the update.
  """
  aliased = re.findall(r'\{(\d*)\}: \((\d+), \{\}', each.text)
  results = dict(enumerate(_ARRAY.findall(each.shape)))
  for result, _ in aliased:
    results.pop(int(result or 0))
  moved = 0.0
  for array in results.values():
    moved += _written(array, inside) if _in_hbm(_text(array)) else 0.0
  passed = {int(operand) for _, operand in aliased}
  for part in inside.values():
    if part.opcode == 'parameter':
      index = int(part.text.partition(')')[0])
      users = [e for e in inside.values() if part.name in e.operands]
      read = sum(_read(u, part.name, operands[index]) for u in users)
      whole = 0.0 if index in passed else _in_hbm(operands[index])
      moved += min(whole, read)
  return moved


def _text(array):
  return f'{array[0]}[{array[1]}]{array[2]}'


def _written(array, inside):
  """Bytes of a result; of one that is updated in place, those of the update."""
  for part in inside.values():
    if part.opcode == 'dynamic-update-slice' and part.shape.startswith(
      f'{array[0]}[{array[1]}]'
    ):
      update = inside[part.operands[1]].shape
      return sum(_size(*a) for a in _ARRAY.findall(update))
  return _size(*array)


def _read(user, name, outer):
  """Bytes of a fusion's operand that one of its users reads."""
  first = user.operands[0] == name
  if first and user.opcode == 'dynamic-update-slice':
    return 0.0
  if first and user.opcode in _SLICES:
    return sum(_size(*a) for a in _ARRAY.findall(user.shape))
  return _in_hbm(outer)
