"""Messages: msgpack, with NumPy arrays as openpi's clients write them.

An array is a map of `__ndarray__`, `dtype`, `shape` and `data`, a number of
NumPy's one of `__npgeneric__`, `dtype` and `data`, keys being bytes. What is
read runs no code: dtypes are of a list, sizes are compared with the bytes that
came before anything is allocated, and extension types are refused, but for
msgpack's own of a time, which is a number.
"""

import math
from typing import Any

import msgpack
import numpy as np

_ARRAY, _NUMBER = b'__ndarray__', b'__npgeneric__'
_DTYPES = ('|b1', '|u1', '|i1', '<u2', '<i2', '<u4', '<i4', '<u8', '<i8')
_DTYPES += ('<f2', '<f4', '<f8')
_MOST_DIMS = 8
# A list or a map takes memory for as many entries as it declares, and a short
# message may declare one in another 500 times.
_MOST_ENTRIES = 1024


def pack(value: Any) -> bytes:
  """The bytes of a value of dicts, lists, texts, numbers and arrays.

  Raises ValueError for arrays of other dtypes, TypeError for other objects.
  """
  return msgpack.packb(value, default=_packed)


def unpack(data: bytes) -> Any:
  """The value of a message; its arrays are views of the bytes, read-only.

  Raises ValueError for whatever `pack` would not have written.
  """
  try:
    return msgpack.unpackb(
      data,
      object_hook=_read,
      ext_hook=_refuse,
      timestamp=1,
      max_array_len=_MOST_ENTRIES,
      max_map_len=_MOST_ENTRIES,
    )
  except (ValueError, TypeError, OverflowError, RecursionError) as error:
    text = ' '.join(str(error).split())[:300]
    raise ValueError(
      f'message: not msgpack of numbers, texts and arrays ({text})'
    ) from error


def _packed(value):
  if not isinstance(value, np.ndarray | np.generic):
    raise TypeError(f'message: found {type(value).__name__}, expected arrays')
  dtype = value.dtype.str
  if dtype not in _DTYPES:
    raise ValueError(f'message: found dtype {dtype}, expected one of {_DTYPES}')
  if isinstance(value, np.generic):
    return {_NUMBER: True, b'data': value.item(), b'dtype': dtype}
  return {
    _ARRAY: True,
    b'data': value.tobytes(),
    b'dtype': dtype,
    b'shape': value.shape,
  }


def _read(entries):
  """What a map says: itself, or an array or number."""
  if _ARRAY in entries:
    return _array(entries)
  return _number(entries) if _NUMBER in entries else entries


def _array(entries):
  dtype, data = _dtype(entries), entries.get(b'data')
  shape = entries.get(b'shape')
  sound = isinstance(shape, list) and len(shape) <= _MOST_DIMS
  if not sound or any(type(n) is not int or n < 0 for n in shape):
    raise ValueError(f'an array of shape {str(shape)[:100]}')
  if not isinstance(data, bytes):
    raise ValueError(f'an array whose data are {type(data).__name__}')
  declared = math.prod(shape) * dtype.itemsize
  if declared != len(data):
    raise ValueError(f'an array declares {declared} bytes, holds {len(data)}')
  return np.frombuffer(data, dtype).reshape(shape)


def _number(entries):
  dtype, data = _dtype(entries), entries.get(b'data')
  if type(data) not in (bool, int, float):
    raise ValueError(f'a number that is {type(data).__name__}')
  return dtype.type(data)


def _dtype(entries):
  dtype = entries.get(b'dtype')
  if not isinstance(dtype, str) or dtype not in _DTYPES:
    raise ValueError(f'dtype {str(dtype)[:100]!r}, expected one of {_DTYPES}')
  return np.dtype(dtype)


def _refuse(code, data):
  del data
  raise ValueError(f'extension type {code}')
