"""A dataset as flags name it: a path, and how it is read."""

import pathlib

_NUMBERS = {'fps': float, 'clip_steps': int}
_EXPECTED = {
  'fps': 'a number',
  'clip_steps': 'a whole number',
  'size': 'height x width, as in 96x128',
}


def parse(spec: str, flag: str = '--inspect') -> tuple[str, dict]:
  """`path,key=value,...` as (path, arguments of `episodes.open`).

  A path may hold commas: the longest one that exists is taken. ValueError names
  the flag that it is of.
  """
  parts = spec.split(',')
  paths = [','.join(parts[:count]) for count in range(len(parts), 0, -1)]
  path = next(filter(_exists, paths), parts[0])
  pairs = parts[path.count(',') + 1 :]
  settings = {}
  for pair in pairs:
    key, equals, value = pair.partition('=')
    if not equals or not value:
      raise ValueError(f'{flag}: found {pair!r}, expected key=value')
    try:
      settings[key] = _value(key, value)
    except ValueError as error:
      raise ValueError(
        f'{flag}: {key}: found {value!r}, expected {_EXPECTED[key]}'
      ) from error
  return path, settings


def _exists(path):
  return pathlib.Path(path).expanduser().exists()


def _value(key, value):
  if key == 'size':
    height, width = map(int, value.split('x'))
    if min(height, width) < 1:
      raise ValueError(value)
    return height, width
  return _NUMBERS.get(key, str)(value)
