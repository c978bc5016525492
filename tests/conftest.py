"""Eight fake CPU devices and strict JAX, set before anything imports it.

All processes of a test run share what they compile, without which the suite
takes twice as long, and compile in a hurry: unoptimised, which halves what most
tests take, and by the older emitter of loops, which takes two fifths off what
is left. With 3 and true for these two in XLA_FLAGS they compile as users do.
"""

import atexit
import os
import shutil
import tempfile

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.pop('JAX_NUM_CPU_DEVICES', None)
for _flag, _value in (
  ('--xla_force_host_platform_device_count', 8),
  ('--xla_backend_optimization_level', 0),
  ('--xla_cpu_use_fusion_emitters', 'false'),
):
  _flags = os.environ.get('XLA_FLAGS', '')
  if _flag not in _flags:
    os.environ['XLA_FLAGS'] = f'{_flags} {_flag}={_value}'

# Nothing of this user's is read or written.
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='rpt_jax_cache_')
atexit.register(shutil.rmtree, os.environ['XDG_CACHE_HOME'], ignore_errors=True)

if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _cache = tempfile.mkdtemp(prefix='rpt_jax_compiled_')
  atexit.register(shutil.rmtree, _cache, ignore_errors=True)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.2'

import jax  # noqa: E402
from absl import flags  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
flags.FLAGS.mark_as_parsed()  # grain's workers insist.

# Files of few tests that take minutes each, with two workers and a file at a
# time: begun first, as what begins last is waited for alone.
_LONG = ('test_two_processes.py', 'test_quicktest.py', 'test_every_config.py')


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: item.path.name not in _LONG)
