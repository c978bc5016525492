"""Memory that is kept rather than returned and faulted in again every step.

XLA on CPU allocates all temporaries of a step at once and frees them after it.
glibc gives such blocks back to the kernel, which then zeroes every page again:
a step of a small trunk spent 28 of its 47 ms so (jax 0.10.2, 62 MB).
"""

import ctypes
import os
import platform

import jax

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1


def of_device(device: jax.Device) -> float:
  """Bytes that a device has; of a CPU, which is several, its share."""
  stats = device.memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  whole = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  return whole / jax.local_device_count()


def keep_freed_memory() -> bool:
  """Tells glibc's malloc to keep what is freed; False where there is none.

  Call it once, before the first computation. The process then stays as large
  as it was at its peak.
  """
  if platform.libc_ver()[0] != 'glibc':
    return False
  mallopt = ctypes.CDLL(None).mallopt
  settings = (
    (_M_TRIM_THRESHOLD, _NEVER),
    (_M_MMAP_THRESHOLD, _NEVER),
    (_M_MMAP_MAX, 0),
  )
  return all([mallopt(*setting) == 1 for setting in settings])
