"""Stands for rpt_jax.main on a host: dies once, then sums over processes."""

import json
import os
import pathlib
import signal
import sys

(workdir,) = (a[10:] for a in sys.argv if a.startswith('--workdir='))
workdir, me = pathlib.Path(workdir), os.environ['RPT_JAX_PROCESS']
workdir.mkdir(parents=True, exist_ok=True)
seen = workdir / f'argv{me}.json'
if not seen.exists():  # The first run: preempted.
  seen.write_text(json.dumps(sys.argv[1:]))
  os.kill(os.getpid(), signal.SIGKILL)

import jax  # noqa: E402
import numpy as np  # noqa: E402

from rpt_jax.training import distributed  # noqa: E402

distributed.initialize()
mesh = jax.make_mesh((2,), ('data',), (jax.sharding.AxisType.Auto,))
sharding = jax.NamedSharding(mesh, jax.P('data'))
mine = np.array([1.0 + jax.process_index()])
x = jax.make_array_from_process_local_data(sharding, mine)
total = jax.jit(lambda x: x.sum())(x)
distributed.wait('the end')
if distributed.is_first():
  print('sum', total)
  print('rpt_jax: done', flush=True)
