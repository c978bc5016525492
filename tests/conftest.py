"""Eight fake CPU devices and strict JAX, set before anything imports it."""

import os

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.pop('JAX_NUM_CPU_DEVICES', None)
_flag = '--xla_force_host_platform_device_count'
if _flag not in os.environ.get('XLA_FLAGS', ''):
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_flag}=8'

import jax  # noqa: E402
from absl import flags  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
flags.FLAGS.mark_as_parsed()  # grain's workers insist.
