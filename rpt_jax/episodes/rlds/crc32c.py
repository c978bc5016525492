"""CRC-32C (Castagnoli) of long byte strings, in NumPy.

The register is linear over GF(2). A message is cut into lanes that go through
the table together, two bytes a step; neighbouring lanes are then joined,
`crc(ab) = shift(crc(a), len(b)) ^ crc(b)`, until one is left (RFC 3720, B.4).
"""

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Reflected.
_ONES = 0xFFFFFFFF
_BLOCK = 1 << 20  # Bytes whose lanes stay in cache.
_SHORT = 2048  # Below, a plain loop is faster.


def crc32c(data: bytes) -> int:
  """The checksum of `data`; 0xE3069283 for b'123456789'."""
  crc, view = _ONES, memoryview(data)
  for start in range(0, len(view), _BLOCK):
    block = view[start : start + _BLOCK]
    step = _by_byte if len(block) < _SHORT else _by_lane
    crc = step(crc, block)
  return crc ^ _ONES


def masked(data: bytes) -> int:
  """TFRecord's form of it: rotated right by 15 bits, plus a constant."""
  crc = crc32c(data)
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ONES


def _by_byte(crc, block):
  table = _table_of_bytes()
  for byte in block:
    crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
  return crc


def _by_lane(crc, block):
  """The register after a block: many lanes at a time, then joined."""
  size = len(block)
  lane = 2 << max(size.bit_length() // 2 - 4, 1)  # Bytes, a power of two.
  lanes = -(-size // lane)
  # Zeros in front leave a zero register zero; the one before the block is
  # added to its first four bytes instead.
  padded = np.zeros(lanes * lane, np.uint8)
  message = padded[lanes * lane - size :]
  message[:] = block
  message[:4] ^= np.frombuffer(crc.to_bytes(4, 'little'), np.uint8)
  words_KL = padded.view('<u2').reshape(lanes, lane // 2)
  crc_K = np.zeros(lanes, np.uint32)
  table = _table_of_pairs()
  for words_K in np.ascontiguousarray(words_KL.T):
    crc_K = table[(crc_K & 0xFFFF) ^ words_K] ^ (crc_K >> 16)
  while len(crc_K) > 1:
    if len(crc_K) % 2:
      crc_K = np.concatenate([np.zeros(1, np.uint32), crc_K])
    crc_K = _apply(_shift(lane), crc_K[0::2]) ^ crc_K[1::2]
    lane *= 2
  return int(crc_K[0])


@functools.cache
def _table_of_bytes() -> list[int]:
  table = []
  for crc in range(256):
    for _ in range(8):
      crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    table.append(crc)
  return table


@functools.cache
def _table_of_pairs() -> np.ndarray:
  """[65536]: what two bytes in the low half of a register leave."""
  table = np.array(_table_of_bytes(), np.uint32)
  pair = np.arange(1 << 16, dtype=np.uint32)
  once = table[pair & 0xFF] ^ pair >> 8
  return table[once & 0xFF] ^ once >> 8


@functools.cache
def _shift(size: int) -> np.ndarray:
  """[4, 256]: what each byte of a register becomes after `size` zeros."""
  byte = np.arange(256, dtype=np.uint32)
  places = byte << np.array([[0], [8], [16], [24]], np.uint32)
  if size > 1:  # A power of two.
    half = _shift(size // 2)
    return _apply(half, _apply(half, places))
  return np.array(_table_of_bytes(), np.uint32)[places & 0xFF] ^ places >> 8


def _apply(shift, crc):
  """Registers [...] after as many zero bytes as `shift` was made for."""
  low, second = shift[0][crc & 0xFF], shift[1][crc >> 8 & 0xFF]
  return low ^ second ^ shift[2][crc >> 16 & 0xFF] ^ shift[3][crc >> 24]
