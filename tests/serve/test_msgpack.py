"""Messages: what goes out comes in, and what nobody wrote is refused."""

import struct
import tracemalloc

import msgpack
import numpy as np
import pytest

from rpt_jax.serve import messages

ARRAYS = [
  np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
  np.float32([1.5, -2.0]),
  np.zeros((0, 3)),
  np.asfortranarray(np.arange(6.0).reshape(2, 3)),
  np.array(True),
]


def array(**changed):
  """An array as a client writes it, but for what is changed."""
  entries = {
    b'__ndarray__': True,
    b'data': bytes(8),
    b'dtype': '<f4',
    b'shape': [2],
  }
  entries |= {key.encode(): value for key, value in changed.items()}
  return msgpack.packb({'x': entries})


@pytest.mark.parametrize('x', ARRAYS, ids=lambda x: f'{x.dtype}-{x.ndim}')
def test_an_array_arrives_as_it_was_sent(x):
  value = {'x': x, 'text': 'a', 'list': [1, 2.5, None, {'deep': x}]}
  read = messages.unpack(messages.pack(value))
  assert read['text'] == 'a' and read['list'][:3] == [1, 2.5, None]
  for given in (read['x'], read['list'][3]['deep']):
    assert given.dtype == x.dtype
    np.testing.assert_array_equal(given, x)


def test_bytes_are_those_of_openpis_clients():
  """Written out by hand: a map, a text, and an array of one f4."""
  data = b'\x81\xa1x\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x04'
  data += struct.pack('<f', 1.5) + b'\xc4\x05dtype\xa3<f4\xc4\x05shape\x91\x01'
  assert messages.pack({'x': np.float32([1.5])}) == data
  number = b'\x83\xc4\x0d__npgeneric__\xc3\xc4\x04data\x07\xc4\x05dtype\xa3<i4'
  assert messages.unpack(number) == np.int32(7)
  assert messages.pack(np.int32(7)) == number


NOBODYS = [
  (b'', 'message'),
  (b'\xc1', 'message'),
  (b'\x81\xa1x', 'message'),  # Cut off.
  (msgpack.packb({'x': 1}) + b'\x00', 'message'),
  (msgpack.packb({1: 2}), 'message'),
  (msgpack.packb(msgpack.ExtType(5, b'code')), 'extension'),
  (b'\x91' * 100_000, 'message'),  # Deep.
  (b'\xa2\xff\xff', 'message'),  # No text.
  (array(dtype='|O'), 'dtype'),
  (array(dtype='<U8'), 'dtype'),
  (array(dtype=['<f4']), 'dtype'),
  (array(dtype=None), 'dtype'),
  (array(shape=[3]), 'declares 12 bytes, holds 8'),
  (array(shape=[2**40, 2**40]), 'declares'),
  (array(shape=[-2]), 'shape'),
  (array(shape=[2.0]), 'shape'),
  (array(shape=[1] * 9 + [2]), 'shape'),
  (array(shape=2), 'shape'),
  (array(data='text'), 'data are str'),
  (array(data=[0, 0]), 'data are list'),
  (
    msgpack.packb({b'__npgeneric__': 1, b'data': 300, b'dtype': '|u1'}),
    'message',
  ),
  (
    msgpack.packb({b'__npgeneric__': 1, b'data': 'a', b'dtype': '<f4'}),
    'number',
  ),
]


@pytest.mark.parametrize('data, words', NOBODYS, ids=range(len(NOBODYS)))
def test_what_nobody_wrote_is_refused(data, words):
  with pytest.raises(ValueError, match=words):
    messages.unpack(data)


def test_a_short_message_cannot_ask_for_much_memory():
  size = 200_000
  lists = b'\xdd' + struct.pack('>I', size)  # Each of as many as bytes come.
  data = lists * 400
  data += b'\xc0' * (size - len(data))
  tracemalloc.start()
  with pytest.raises(ValueError, match='message'):
    messages.unpack(data)
  _, most = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert most < 10 * size


@pytest.mark.parametrize(
  'value', [np.array(['a']), np.array([None]), np.array([1j]), {1, 2}]
)
def test_what_cannot_be_sent_is_said(value):
  with pytest.raises((TypeError, ValueError), match='message|serialize'):
    messages.pack({'x': value})
