"""Which folders are datasets that TFDS wrote, and which is their newest."""

import pathlib
import re

from rpt_jax.episodes.rlds.allowed import INFO

_OTHERS = 'state.json'  # Beside it where Hugging Face's save_to_disk wrote it.


def newest(path: pathlib.Path) -> pathlib.Path:
  """`name/1.10.0` for the folder `name` of versions; else the path itself."""
  return path / max(versions(path), key=_number, default='')


def is_own(folder: pathlib.Path) -> bool:
  """Whether TFDS wrote it."""
  return (folder / INFO).is_file() and not (folder / _OTHERS).is_file()


def versions(path: pathlib.Path) -> list[str]:
  """Folders of a dataset's versions; the only folder, whatever it is called."""
  if (path / INFO).exists():
    return []
  folders = [info.parent for info in path.glob(f'*/{INFO}')]
  names = [folder.name for folder in folders if is_own(folder)]
  # Not '1.0.0.incomplete-...', which TFDS has not ended to write.
  numbered = [n for n in names if re.fullmatch(r'\d+\.\d+\.\d+', n)]
  return numbered or (names if len(names) == 1 else [])


def _number(version):
  return [int(digits) for digits in re.findall(r'\d+', version)]
