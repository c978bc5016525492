"""RLDS: folders that TFDS wrote, or datasets that it keeps, by name."""

import pathlib
import re

MARK = 'a folder with a dataset_info.json, or a name that TFDS knows'
_INFO = 'dataset_info.json'
_OTHERS = 'state.json'  # Beside it where Hugging Face's save_to_disk wrote it.
_NAME = re.compile(r'[a-z]\w*(/\w+)*([:/]\d+\.\d+\.\d+)?')


def sniff(path: pathlib.Path) -> float:
  """Sure of TFDS's own file, and of what can only be a name."""
  is_name = not path.exists() and _NAME.fullmatch(path.as_posix())
  return float(bool(is_name or _versions(path)) or _is_own(path))


def open(path: pathlib.Path, split: str, size=None):
  """The episodes; of a folder of versions those of the newest."""
  from rpt_jax.episodes.rlds import reader

  return reader.RldsStore(newest(path), split)


def newest(path: pathlib.Path) -> pathlib.Path:
  """`name/1.10.0` for the folder `name` of a dataset's versions."""
  return path / max(_versions(path), key=_number, default='')


def _is_own(folder):
  return (folder / _INFO).is_file() and not (folder / _OTHERS).is_file()


def _versions(path):
  """Folders of a dataset's versions; the only folder, whatever it is called."""
  if (path / _INFO).exists():
    return []
  folders = [info.parent for info in path.glob(f'*/{_INFO}')]
  names = [folder.name for folder in folders if _is_own(folder)]
  # Not '1.0.0.incomplete-...', which TFDS has not ended to write.
  versions = [n for n in names if re.fullmatch(r'\d+\.\d+\.\d+', n)]
  return versions or (names if len(names) == 1 else [])


def _number(version):
  return [int(digits) for digits in re.findall(r'\d+', version)]
