"""Messages of ROS 2, read by their definitions; nothing of a file is run.

A definition is what `ros2msg` files hold: a field a line, and after a line of
`=` and `MSG: package/Name` those of the messages within
(https://docs.ros.org/en/rolling/Concepts/Basic/About-Interfaces.html). CDR has
the fields one after the other, every number at a multiple of its own size from
the fifth byte on; the second byte tells which end of a number comes first.
"""

import functools
import re
from typing import Any, NamedTuple

import numpy as np

_NUMBERS = {
  'bool': '?',
  'byte': 'u1',
  'char': 'u1',
  'float32': 'f4',
  'float64': 'f8',
  **{f'int{8 * n}': f'i{n}' for n in (1, 2, 4, 8)},
  **{f'uint{8 * n}': f'u{n}' for n in (1, 2, 4, 8)},
}
_FIELD = re.compile(
  r'(?P<kind>[\w/]+)(<=\d+)?(?P<many>\[(?P<bound><=)?(?P<count>\d{0,12})\])?'
  r'\s+(?P<name>[A-Za-z]\w*)\s*(?P<constant>=?)'
)
# Each takes a byte of the message at least, and 200 of memory.
_MOST_PARTS = 1 << 20
# What bags keep no definitions of (those before ROS 2 Iron) or keep as IDL.
_COMMON = """
builtin_interfaces/Time: int32 sec, uint32 nanosec
builtin_interfaces/Duration: int32 sec, uint32 nanosec
std_msgs/Header: builtin_interfaces/Time stamp, string frame_id
std_msgs/String: string data
std_msgs/MultiArrayDimension: string label, uint32 size, uint32 stride
std_msgs/MultiArrayLayout: MultiArrayDimension[] dim, uint32 data_offset
geometry_msgs/Vector3: float64 x, float64 y, float64 z
geometry_msgs/Point: float64 x, float64 y, float64 z
geometry_msgs/Quaternion: float64 x, float64 y, float64 z, float64 w
geometry_msgs/Pose: Point position, Quaternion orientation
geometry_msgs/PoseStamped: Header header, Pose pose
geometry_msgs/PoseWithCovariance: Pose pose, float64[36] covariance
geometry_msgs/Twist: Vector3 linear, Vector3 angular
geometry_msgs/TwistStamped: Header header, Twist twist
geometry_msgs/TwistWithCovariance: Twist twist, float64[36] covariance
geometry_msgs/Wrench: Vector3 force, Vector3 torque
geometry_msgs/WrenchStamped: Header header, Wrench wrench
nav_msgs/Odometry: Header header, string child_frame_id, \
geometry_msgs/PoseWithCovariance pose, geometry_msgs/TwistWithCovariance twist
sensor_msgs/CompressedImage: Header header, string format, uint8[] data
sensor_msgs/Image: Header header, uint32 height, uint32 width, \
string encoding, uint8 is_bigendian, uint32 step, uint8[] data
sensor_msgs/Imu: Header header, geometry_msgs/Quaternion orientation, \
float64[9] orientation_covariance, geometry_msgs/Vector3 angular_velocity, \
float64[9] angular_velocity_covariance, \
geometry_msgs/Vector3 linear_acceleration, \
float64[9] linear_acceleration_covariance
sensor_msgs/JointState: Header header, string[] name, float64[] position, \
float64[] velocity, float64[] effort
"""


class Field(NamedTuple):
  """A field: NumPy's code of a number, 'string', or the name of a message.

  `count` is None for one, -1 for as many as a message says.
  """

  name: str
  kind: str
  count: int | None


def short(name: str) -> str:
  """`package/Name`, as definitions have it, of `package/msg/Name`."""
  parts = name.split('/')
  return f'{parts[0]}/{parts[-1]}'


@functools.lru_cache(maxsize=256)
def definition(name: str, encoding: str, text: str) -> dict[str, list[Field]]:
  """The fields of a message and of those within, by `package/Name`.

  Raises ValueError where nothing says what the message holds.
  """
  if encoding == 'ros2msg':
    return {**_common(), **_parsed(name, text)}
  if short(name) in _common():
    return _common()
  raise ValueError(
    f'{name}: found {encoding or "no"} definition, expected ros2msg; convert '
    'the bag with a newer ROS 2'
  )


def decode(
  types: dict[str, list[Field]], name: str, data: bytes
) -> dict[str, Any]:
  """{field: number, array, text, message or list of them} of one message.

  Raises ValueError for another encoding than CDR, and where the bytes are not
  those of the definition, neither more nor less.
  """
  if len(data) < 4 or data[0] or data[1] > 1:
    raise ValueError(
      f'found bytes that begin with {data[:4].hex()!r}, expected CDR (0000 or '
      '0001)'
    )
  cursor = _Cursor(data, '<' if data[1] else '>')
  message = cursor.message(types, short(name))
  if cursor.left > 3:  # What fills up the last four bytes.
    raise ValueError(f'{cursor.left} bytes are left over, expected none')
  return message


class _Cursor:
  """A place in the bytes of one message."""

  def __init__(self, data, order):
    self._data, self._at, self._order = memoryview(data)[4:], 0, order
    self._parts = 0  # Messages and texts in it so far.

  @property
  def left(self) -> int:
    return len(self._data) - self._at

  def message(self, types, name):
    if name not in types:
      raise ValueError(f'{name} has no definition')
    if not types[name]:
      self._numbers('u1', 1)  # IDL knows no empty message.
    return {f.name: self._field(types, f) for f in types[name]}

  def _field(self, types, field):
    if field.count is None:
      if field.kind in _CODES:
        return self._numbers(field.kind, 1)[0]
      return self._other(types, field.kind)
    count = field.count if field.count >= 0 else self._length()
    if field.kind in _CODES:
      return self._numbers(field.kind, count)
    if count > self.left:  # Each takes a byte at least.
      raise ValueError(
        f'{field.name}: found {self.left} bytes, expected {count} values'
      )
    return [self._other(types, field.kind) for _ in range(count)]

  def _other(self, types, kind):
    self._parts += 1
    if self._parts > _MOST_PARTS:
      raise ValueError(
        f'found more than {_MOST_PARTS} messages and texts in one message'
      )
    if kind == 'string':
      text = self._numbers('u1', self._length()).tobytes()
      if text[-1:] not in (b'', b'\0'):
        raise ValueError(f'a text has no end: {text[:40]!r}')
      return text[:-1].decode('utf-8', 'replace')
    return self.message(types, kind)

  def _length(self):
    return int(self._numbers('u4', 1)[0])

  def _numbers(self, code, count):
    dtype = np.dtype(code).newbyteorder(self._order)
    begin = self._at + (-self._at % dtype.itemsize if count else 0)
    end = begin + count * dtype.itemsize
    if end > len(self._data):
      raise ValueError(
        f'{count} numbers end at byte {end} of {len(self._data)}: the message '
        'is cut off, or is not of its definition'
      )
    self._at = end
    if code == '?':
      return np.frombuffer(self._data, np.uint8, count, begin) != 0
    x = np.frombuffer(self._data, dtype, count, begin)
    return x.astype(dtype.newbyteorder('='), copy=False)


_CODES = {*_NUMBERS.values()}


def _parsed(name, text) -> dict[str, list[Field]]:
  types, at = {}, short(name)
  for part in re.split(r'(?m)^={3,}[ \t]*$', text.replace('\r', '')):
    lines = [line.strip() for line in part.splitlines()]
    lines = [line for line in lines if line and not line.startswith('#')]
    if lines and lines[0].startswith('MSG:'):
      at = short(lines.pop(0)[4:].strip())
    package = at.split('/')[0]
    types.setdefault(at, [f for x in lines if (f := _line(x, package))])
  return types


def _line(line, package) -> Field | None:
  """What a line defines; None for a constant."""
  match = _FIELD.match(line)
  if match is None:
    raise ValueError(f'found the line {line[:80]!r}, expected a field')
  if match['constant']:
    return None
  count = None
  if match['many']:
    count = -1 if match['bound'] or not match['count'] else int(match['count'])
  if count == 0:  # Messages of nothing else would take no bytes.
    raise ValueError(f'found the line {line[:80]!r}, expected a length above 0')
  return Field(match['name'], _kind(match['kind'], package), count)


def _kind(word, package):
  if word in _NUMBERS or word == 'string':
    return _NUMBERS.get(word, word)
  if word == 'Header':
    return 'std_msgs/Header'
  return short(word) if '/' in word else f'{package}/{word}'


@functools.cache
def _common():
  lines = [line for line in _COMMON.splitlines() if line]
  for kind in {*_NUMBERS} - {'byte', 'char'}:
    name = f'std_msgs/{kind.capitalize().replace("Uint", "UInt")}'
    lines.append(f'{name}: {kind} data')
    lines.append(f'{name}MultiArray: MultiArrayLayout layout, {kind}[] data')
  types = {}
  for line in lines:
    name, fields = line.split(': ')
    types |= _parsed(name, fields.replace(', ', '\n'))
  return types
