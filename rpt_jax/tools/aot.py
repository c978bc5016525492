"""Compiles the steps of a config for a TPU slice that is only described.

libtpu holds the whole compiler, so a CPU machine can tell whether a step
compiles for a slice, fits its memory, and how fast it could be at best. The
estimate is a roofline: arithmetic, HBM and links at their peaks. Products of
matrices take the longer of their arithmetic and their traffic; what is done
between them takes its traffic, one after the other; collectives are hidden
behind all that, unless they take longer. It knows no start-up of kernels and no
matrix unit that is not full: what is measured is slower.
"""

import collections
import functools
import math
import os
import re
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import topologies

from rpt_jax import files, target
from rpt_jax.tools import steps
from rpt_jax.training import costs, hardware, hlo, sharding

_GIB = 2**30
# libtpu looks for the machine it is on, which here is none, and for a lock.
_NO_MACHINE = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_MIN_LOG_LEVEL': '3',
  'TPU_STDERR_LOG_LEVEL': '3',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}
_TWO_CORES = ('v4', 'v5p')  # Whose cores JAX runs as one device.
_FULL = (  # How the compiler says that memory does not do.
  re.compile(r'Used ([\d.]+)([TGMK]) of ([\d.]+)([TGMK]) hbm'),
  re.compile(
    r'total memory required[^(]*\(([\d.]+)([TGMK])\) exceeds[^(]*'
    r'\(([\d.]+)([TGMK])\)'
  ),
)
_UNIT = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


class Estimate(NamedTuple):
  """What a step needs and could do on a slice; all of one device, per call."""

  step: str
  mesh: str
  fits: bool | None = None  # None: it cannot be compiled; see `remark`
  hbm: dict[str, float] = {}  # bytes by category, and their 'total'
  capacity: float = 0.0
  model_flops: float = 0.0  # of all devices
  hbm_bytes: float = 0.0
  collectives: dict[str, float] = {}  # kind -> bytes
  seconds: dict[str, float] = {}  # compute, hbm, links, each alone
  step_seconds: float = 0.0
  mfu: float = 0.0
  remark: str = ''

  @property
  def limit(self) -> str:
    """What takes longest."""
    return max(self.seconds, key=self.seconds.get) if self.seconds else ''


def run(config, topology: str, workdir, shapes: str = '') -> list[Estimate]:
  """Prints what becomes of every step, and writes `<workdir>/aot.json`.

  Args:
    topology: as libtpu calls it: 'v5e:16x16', 'v5p:4x4x4'.
    shapes: meshes to compare, 'data x fsdp x tensor': '16x16x1,1x256x1'; 'all'
      for a handful; '' for that of the config.

  Raises:
    ValueError: no such topology, or a step that cannot be compiled for it (of
      meshes to compare: none that can).
  """
  devices = describe(topology)
  estimates = []
  for sizes in _meshes(config, devices, shapes):
    for name in steps.named(config):
      estimates.append(estimate(config, name, topology, sizes))
      print(tell(estimates[-1]), flush=True)
  if len(estimates) > 1:
    print('\n' + table(estimates))
  workdir.mkdir(parents=True, exist_ok=True)
  rows = [e._asdict() | {'limit': e.limit} for e in estimates]
  written = {'topology': topology, 'steps': rows}
  files.write_json(workdir / 'aot.json', written)
  failed = [e for e in estimates if e.fits is None]
  if failed and (not shapes or len(failed) == len(estimates)):
    raise ValueError(
      f'{topology}: {len(failed)} of {len(estimates)} steps cannot be '
      f'compiled: {failed[0].step} on {failed[0].mesh}: {failed[0].remark}'
    )
  return estimates


@functools.cache
def describe(topology: str) -> list:
  """The devices of a slice by name; ValueError where there is no such slice."""
  for name, value in _NO_MACHINE.items():
    os.environ.setdefault(name, value)
  one_device = topology.split(':')[0] in _TWO_CORES
  more = {'chip_config_name': 'megacore'} if one_device else {}
  try:
    description = topologies.get_topology_desc(
      platform='tpu', topology_name=topology, **more
    )
  except Exception as error:  # Whatever libtpu raises.
    raise ValueError(
      f'--aot: {topology!r} cannot be described ({_first_line(error)}); '
      "expected the likes of 'v5e:2x4', 'v5p:4x4x4', 'v6e:16x16', and libtpu: "
      "pip install -e '.[tpu]'"
    ) from error
  kind = description.devices[0].device_kind
  if hardware.chip(kind) is None:
    raise ValueError(
      f'--aot: {topology!r} is of {kind}, of which '
      'training/hardware.py knows no peaks; choose v4, v5e, v5p, v6e or tpu7x'
    )
  return description.devices


def estimate(config, name: str, topology: str, sizes=None) -> Estimate:
  """Compiles the step `name` for a mesh of a slice; see `Estimate`.

  `sizes` of the mesh's axes; None: those of the config.
  """
  devices = describe(topology)
  sizes = sizes or dict(sharding.make_mesh(config.mesh.sizes, devices).shape)
  chip = hardware.chip(devices[0].device_kind)
  label = 'x'.join(str(sizes[axis]) for axis in sharding.AXES)
  empty = Estimate(name, label, capacity=chip.hbm_bytes)
  with target.compiling_for('tpu'):
    try:
      mesh = sharding.make_mesh(sizes, devices)
      step = steps.named(config)[name](mesh)
      flops = functools.partial(costs.flops, step.function, *step.arguments)
      empty = empty._replace(model_flops=flops())
      compiled = step.function.lower(*step.arguments).compile()
    except Exception as error:  # Whatever tracing or the compiler raises.
      return _refused(empty, error, config)
    run_flops = flops(recomputed=True)
  traffic = hlo.read(compiled.as_text(), mesh.size)
  hbm = _memory(step, compiled.memory_analysis())
  sides = [int(n) for n in re.findall(r'\d+', topology.partition(':')[2])]
  links = sum(
    c.traffic / _bandwidth(c.group, chip, sides) for c in traffic.collectives
  )
  seconds = {
    'compute': run_flops / mesh.size / chip.flops,
    'hbm': traffic.hbm_bytes / chip.hbm_bandwidth,
    'links': links,
  }
  between = traffic.vector_bytes / chip.hbm_bandwidth
  products = max(seconds['compute'], seconds['hbm'] - between)
  step_seconds = max(products + between, seconds['links'])
  return empty._replace(
    fits=True,
    hbm=hbm,
    hbm_bytes=traffic.hbm_bytes,
    collectives=_moved(traffic.collectives),
    seconds=seconds,
    step_seconds=step_seconds,
    mfu=empty.model_flops / (mesh.size * chip.flops * step_seconds),
  )


def _moved(collectives):
  """Bytes by kind of collective."""
  moved = collections.Counter()
  for each in collectives:
    moved[each.kind] += each.bytes * each.times
  return dict(moved)


def _meshes(config, devices, shapes):
  """Sizes of the meshes asked for."""
  configured = dict(sharding.make_mesh(config.mesh.sizes, devices).shape)
  count = len(devices)
  if not shapes:
    return [configured]
  if shapes != 'all':
    return [_sizes(shape) for shape in shapes.split(',')]
  side = 2 ** (int(math.log2(count)) // 2)
  shapes = [(count, 1, 1), (count // side, side, 1), (1, count, 1)]
  shapes += [(count // side, side // 2, 2), (1, count // 4, 4)]
  meshes = [
    dict(zip(sharding.AXES, s, strict=True))
    for s in dict.fromkeys(shapes)
    if math.prod(s) == count
  ]
  return [configured, *(mesh for mesh in meshes if mesh != configured)]


def _sizes(shape):
  """{axis: size} of '16x16x1'."""
  try:
    sizes = [int(n) for n in shape.split('x')]
    return dict(zip(sharding.AXES, sizes, strict=True))
  except ValueError:
    raise ValueError(
      f"--aot_meshes: found {shape!r}, expected 'all' or data x fsdp x tensor "
      "as in '16x16x1,1x256x1'"
    ) from None


def _refused(empty, error, config):
  """A step that does not fit, or does not compile."""
  text = str(error)
  full = next(filter(None, (p.search(text) for p in _FULL)), None)
  if full:
    used, capacity = (float(full[i]) * _UNIT[full[i + 1]] for i in (1, 3))
    return empty._replace(
      fits=False,
      hbm={'total': used},
      capacity=capacity,
      remark=_advice(config),
    )
  operation = re.search(r'op_name="([^"]+)"', text)
  where = f' in {operation[1]}' if operation else ''
  return empty._replace(remark=f'{_first_line(error)}{where}')


def _advice(config):
  """What to change where a step does not fit."""
  advice = ['a larger fsdp in config.mesh']
  if config.pretrain and config.pretrain.trunk.remat != 'full':
    advice.append("config.pretrain.trunk.remat='full'")
  advice.append('config.pretrain.accumulate, or a smaller batch')
  return 'try ' + ', '.join(advice)


def _first_line(error):
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return lines[0][:300] if lines else type(error).__name__


def _memory(step, analysis):
  """Bytes of one device by category."""
  memory = {k: _held(tree) for k, tree in step.parts.items() if _held(tree)}
  named = sum(memory.values())
  memory['padding and other'] = max(analysis.argument_size_in_bytes - named, 0)
  memory['output'] = (
    analysis.output_size_in_bytes - analysis.alias_size_in_bytes
  )
  memory['temporaries'] = analysis.temp_size_in_bytes
  memory['program'] = analysis.generated_code_size_in_bytes
  return memory | {'total': sum(memory.values())}


def _held(tree):
  """Bytes of a tree of shapes on one device."""

  def size(x):
    place = getattr(x, 'sharding', None)
    shape = place.shard_shape(x.shape) if place else np.shape(x)
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      return 8
    return math.prod(shape) * x.dtype.itemsize

  return sum(map(size, jax.tree.leaves(tree)))


def _bandwidth(group, chip, sides):
  """What a device can send to a group: over the links of as many axes of the
  slice as the group must span."""
  spanned = 1
  sides = sorted(sides, reverse=True)
  while spanned < len(sides) and math.prod(sides[:spanned]) < group:
    spanned += 1
  return chip.interconnect * spanned / len(sides)


def tell(e: Estimate) -> str:
  """An estimate in words."""
  head = f'\n== {e.step} on data x fsdp x tensor = {e.mesh} =='
  if e.fits is None:
    return f'{head}\ncannot be compiled: {e.remark}'
  total, capacity = e.hbm['total'] / _GIB, e.capacity / _GIB
  verdict = 'fits' if e.fits else f'does not fit: {e.remark}'
  lines = [head, f'HBM {total:.2f} of {capacity:.2f} GiB a chip: {verdict}']
  for name, size in e.hbm.items():
    if name != 'total':
      lines.append(f'  {name:20} {size / _GIB:8.3f} GiB')
  if not e.fits:
    return '\n'.join(lines)
  lines += [
    f'model FLOPs {e.model_flops / 1e12:.3f} T, '
    f'HBM traffic {e.hbm_bytes / 1e9:.2f} GB a chip',
    *(f'  {k:20} {v / 1e9:8.3f} GB' for k, v in e.collectives.items()),
    ', '.join(f'{k} {1e3 * v:.2f} ms' for k, v in e.seconds.items())
    + f': a step takes {1e3 * e.step_seconds:.2f} ms, limited by {e.limit}; '
    f'MFU {e.mfu:.0%}, at best',
  ]
  return '\n'.join(lines)


def table(estimates: list[Estimate]) -> str:
  """Markdown: a row for each estimate."""
  rows = [
    '| step | mesh (data x fsdp x tensor) | fits | HBM a chip (GiB) | '
    'step at best (ms) | MFU at most | limited by |',
    '|---|---|---|--:|--:|--:|---|',
  ]
  return '\n'.join(rows + [f'| {e.step} | {e.mesh} | {cells(e)} |'
                           for e in estimates])  # fmt: skip


def cells(e: Estimate) -> str:
  """Fits, HBM, time, MFU and limit of an estimate, between bars."""
  if e.fits is None:
    return f'cannot be compiled | | | | {e.remark}'
  total = e.hbm['total'] / _GIB
  if not e.fits:
    return f'no | {total:.1f} | | | {e.remark}'
  shown = f'{1e3 * e.step_seconds:.1f} | {e.mfu:.0%} | {e.limit}'
  return f'yes | {total:.1f} | {shown}'
