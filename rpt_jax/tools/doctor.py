"""What is installed, what it runs on, and which datasets can be read."""

import importlib.metadata
import os
import pathlib
import platform
import shutil
from collections.abc import Sequence

import jax

from rpt_jax import episodes
from rpt_jax.training import distributed

_CORE = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain')
_CORE += ('numpy', 'tensorflow-datasets', 'array_record', 'safetensors')
_EXTRAS = {
  'av': 'video',
  'pyarrow': 'video',
  'h5py': 'hdf5',
  'imagecodecs': 'zarr',
  'tensorstore': 'zarr',
  'mcap': 'ros',
  'metaworld': 'metaworld',
  'mujoco': 'metaworld',
  'msgpack': 'serve',
  'websockets': 'serve',
  'dm_control': 'dm_control',
  'huggingface_hub': 'hub',
  'tokenizers': 'hub',
  'rerun-sdk': 'rerun',
}
_ROOTS = (
  'data',
  '../shared/data',
  '~/tensorflow_datasets',
  '~/.cache/huggingface/lerobot',
)


def run(roots: Sequence[str] = _ROOTS) -> None:
  """Prints the report."""
  print('\n'.join(report(roots)))


def report(roots: Sequence[str] = _ROOTS) -> list[str]:
  """Lines on packages, devices, memory and the datasets below `roots`."""
  return [*_packages(), '', *_devices(), '', *_datasets(roots)]


def _packages():
  lines = [f'python {platform.python_version()}, {platform.platform()}']
  for name in _CORE:
    lines.append(f'  {name} {version(name) or "MISSING: pip install -e ."}')
  for name, extra in _EXTRAS.items():
    missing = f"not installed: pip install -e '.[{extra}]'"
    lines.append(f'  {name} {version(name) or missing}')
  return lines


def version(package: str) -> str | None:
  """The installed version, or None."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _devices():
  if missing := distributed.missing_platform():
    return [f'devices: none: {missing}']
  devices = jax.devices()
  kinds = sorted({d.device_kind for d in devices})
  free = shutil.disk_usage('.').free / 2**30
  return [
    f'devices: {len(devices)} {devices[0].platform} ({", ".join(kinds)}), '
    f'{jax.process_count()} processes',
    f'  {os.cpu_count()} CPU cores, {_memory() / 2**30:.1f} GiB memory, '
    f'{free:.1f} GiB free here',
  ]


def _memory():
  return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


def _datasets(roots):
  lines = [f'datasets below {", ".join(roots)}:']
  for root in roots:
    folder = pathlib.Path(root).expanduser()
    children = folder.iterdir() if folder.is_dir() else ()
    lines += [line for path in sorted(children) if (line := _dataset(path))]
  return lines if len(lines) > 1 else [*lines, '  none']


def _dataset(path):
  """A line on a dataset, or why it cannot be read; '' where there is none."""
  try:
    source = episodes.open(path)
    names = ', '.join(source.streams)
    return f'  {path}: {len(source)} episodes of {names}'
  except (ValueError, OSError) as error:
    text = str(error)
    if text.startswith(f'{path}: no dataset found'):
      return ''
    return f'  {path}: cannot be read: {text.removeprefix(f"{path}: ")}'
