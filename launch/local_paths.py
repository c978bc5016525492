"""Prints what a job reads that lies on this machine alone, a line each.

    python launch/local_paths.py --config=configs/rpt.py:g1 --workdir=gs://...

These are paths of datasets, of an image model and of weights to begin from,
in the config or set by flags, but for gs:// paths, which are mounted. Where the
packages of a config are missing here flags alone are looked at.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAG = re.compile(r'--?(config\.(?:domains\.\w+|pretrain.*\.init)\.path)=(.*)')


def paths(arguments: list[str]) -> dict[str, str]:
  """{key: path} of all that are read from the disk of a host."""
  specs = [a.partition('=')[2] for a in arguments if a.startswith('--config=')]
  read = of_config(specs[-1]) if specs else {}
  read |= dict(m.groups() for m in map(FLAG.fullmatch, arguments) if m)
  return {k: path for k, path in read.items() if path and '://' not in path}


def of_config(spec: str) -> dict[str, str]:
  """The paths of the datasets that a config names; {} where it is not read."""
  sys.path[:0] = ['', str(ROOT)]
  try:
    from rpt_jax import experiments

    domains = experiments.load(spec).domains
    entries = domains.items() if domains else ()
    return {f'config.domains.{k}.path': v.get('path') for k, v in entries}
  except Exception as error:  # The hosts will say what is wrong with it.
    why = ' '.join(str(error).split())[:200]
    print(f'{spec} cannot be looked through here ({why})', file=sys.stderr)
    return {}


if __name__ == '__main__':
  for key, path in paths(sys.argv[1:]).items():
    print(f'{key}={path}')
