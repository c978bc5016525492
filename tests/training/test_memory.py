"""Freed memory is kept: the same large array faults in no pages again."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import sys
from rpt_jax.training import memory
size = lambda: 4096 * int(open('/proc/self/statm').read().split()[0])
begun = size()
if sys.argv[1] == 'keep':
  assert memory.keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
  before = faults()
  bytearray(64 << 20)
print(faults() - before)
assert size() - begun < 1 << 30, 'more is asked for than is used'
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs glibc')
def test_freed_memory_is_kept():
  def last_faults(mode):
    command = [sys.executable, '-c', SCRIPT, mode]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)

  assert last_faults('keep') < 100 < last_faults('leave')
