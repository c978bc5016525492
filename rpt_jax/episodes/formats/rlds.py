"""RLDS: folders that TFDS wrote, or datasets that it keeps, by name."""

import pathlib
import re

from rpt_jax.episodes.rlds import versions

MARK = 'a folder with a dataset_info.json, or a name that TFDS knows'
_NAME = re.compile(r'[a-z]\w*(/\w+)*([:/]\d+\.\d+\.\d+)?')


def sniff(path: pathlib.Path) -> float:
  """Sure of TFDS's own file, and of what can only be a name."""
  is_name = not path.exists() and _NAME.fullmatch(path.as_posix())
  is_ours = versions.versions(path) or versions.is_own(path)
  return float(bool(is_name or is_ours))


def open(path: pathlib.Path, split: str, size=None):
  """The episodes; of a folder of versions those of the newest."""
  from rpt_jax.episodes.rlds import reader

  return reader.RldsStore(versions.newest(path), split)
