"""ArrayRecord files, with errors of Python's own."""

import contextlib
import os
import pathlib

from rpt_jax.episodes.rlds import chunks


class Writer:
  """Writes records in order, in groups of one: any can be read alone.

  Raises OSError, naming the file, where it cannot be written, also at its end.
  """

  def __init__(self, path: str | os.PathLike):
    self.path = pathlib.Path(path)
    self._writer = self._calling(
      _module().ArrayRecordWriter, str(path), 'group_size:1'
    )

  def write(self, record: bytes) -> None:
    """Adds a record."""
    self._calling(self._writer.write, record)

  def close(self) -> None:
    """Ends the file, which is whole only then."""
    self._calling(self._writer.close)

  def __enter__(self):
    return self

  def __exit__(self, kind, *_):
    if kind is None:
      self.close()
      return
    with contextlib.suppress(RuntimeError):  # What came before it matters.
      self._writer.close()

  def _calling(self, call, *arguments):
    try:
      return call(*arguments)
    except RuntimeError as error:  # With the file's name and C++'s own words.
      raise OSError(f'{self.path}: cannot be written ({error})') from error


def count(path: str | os.PathLike) -> int:
  """Records of a file; 0 where it is missing or no such file.

  Raises ValueError where it would take far more memory than it holds.
  """
  if not pathlib.Path(path).is_file():
    return 0
  chunks.check_index(path)
  try:
    return _module().ArrayRecordReader(str(path)).num_records()
  except (RuntimeError, ValueError):
    return 0


def _module():
  from array_record.python import array_record_module  # Typos need it not.

  return array_record_module
