"""What bags compress, which takes no more memory than it declares."""

import functools
import types

from rpt_jax import files
from rpt_jax.episodes.errors import needs

ZSTD = b'\x28\xb5\x2f\xfd'  # How bytes begin that are compressed so.


def unpacked(path, data: bytes, compression: str, size: int | None) -> bytes:
  """Bytes that are `size` long (None: as they say) when decompressed.

  Raises ValueError for others, before memory is taken for them.
  """
  packages = _library()
  if size is None:
    size = max(packages.zstandard.frame_content_size(data), 0)
  files.holds(path, 'what is compressed', size, len(data))
  if compression == '':
    content = data
  elif compression == 'zstd':
    unpack = packages.zstandard.ZstdDecompressor().stream_reader(data)
    content = unpack.read(size)
  elif compression == 'lz4':
    unpack = packages.lz4.LZ4FrameDecompressor()
    content = unpack.decompress(data, max_length=size)
  else:
    raise ValueError(
      f'{path}: compressed by {compression!r}, expected zstd or lz4'
    )
  if len(content) != size:
    raise ValueError(
      f'{path}: found {len(content)} bytes after decompressing, expected '
      f'{size}; copy it again'
    )
  return content


@functools.cache
def _library():
  try:
    import lz4.frame
    import zstandard
  except ImportError as error:
    raise needs('mcap', 'ros') from error  # It brings both.
  return types.SimpleNamespace(lz4=lz4.frame, zstandard=zstandard)
