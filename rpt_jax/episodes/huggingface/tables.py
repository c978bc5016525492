"""Which files a dataset of Hugging Face has, by split.

`save_to_disk` names its Arrow streams in `state.json`; a repository of the hub
tells splits by the names of Parquet files, `<split>-00000-of-00002.parquet`.
"""

import pathlib
import re
from collections.abc import Iterator

from rpt_jax import files
from rpt_jax.episodes import listing
from rpt_jax.episodes.errors import no_split

DICT, STATE, INFO = 'dataset_dict.json', 'state.json', 'dataset_info.json'
_MEND = 'copy the dataset again'
_SHARD = re.compile(r'(.+)-(\d{5})-of-(\d{5})(-\w+)?')


def is_saved(path: pathlib.Path) -> bool:
  """Whether `save_to_disk` wrote a folder."""
  return (path / STATE).is_file() and (path / INFO).is_file()


def parquet_files(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Parquet files at a path, in a folder or right below it; none hidden."""
  for file in listing.visible(path, '.parquet'):
    if file.parent in (path, path.parent) or file.parent.parent == path:
      yield file


def chosen(path: pathlib.Path, split: str) -> list[list[pathlib.Path]]:
  """The files of a split, or of each of all.

  Raises ValueError where there is no such split, or a file of it is missing.
  """
  splits = _splits(path)
  if not splits or split != 'all' and split not in splits:
    raise no_split(path, split, splits, 'a Parquet file or Arrow stream')
  return [*splits.values()] if split == 'all' else [splits[split]]


def _splits(path) -> dict[str, list[pathlib.Path]]:
  if (path / DICT).is_file():
    names = files.read_json(path / DICT, 'splits', mend=_MEND)['splits']
    if not isinstance(names, list):
      raise ValueError(f'{path / DICT}: splits is {names}, expected a list')
    folders = {str(name): files.inside(path, name) for name in names}
    return {name: _saved(folder)[1] for name, folder in folders.items()}
  if is_saved(path):
    return dict([_saved(path)])
  return _of_names(path)


def _saved(folder):
  """(split, files) of a folder that `save_to_disk` wrote."""
  state = files.read_json(folder / STATE, '_data_files', mend=_MEND)
  if state.get('_indices_data_files') or state.get('_indices_files'):
    raise ValueError(
      f'{folder / STATE}: rows are chosen by another file, expected them as '
      'they are; write it again with dataset.flatten_indices().save_to_disk()'
    )
  try:
    names = [file['filename'] for file in state['_data_files']]
  except (TypeError, KeyError) as error:
    raise ValueError(
      f'{folder / STATE}: _data_files is no list of file names'
    ) from error
  return str(state.get('_split') or 'train'), [
    files.regular(files.inside(folder, name)) for name in names
  ]


def _of_names(path):
  """{split: Parquet files} by what they are called."""
  splits, shards = {}, {}
  for file in sorted(parquet_files(path)):
    if path.is_dir():
      files.inside(path, file.relative_to(path).as_posix())
    shard = _SHARD.fullmatch(file.stem)
    split = shard[1] if shard else re.sub(r'[-_]?\d+$', '', file.stem)
    split = split or (file.parent.name if file.parent != path else 'train')
    splits.setdefault(split, []).append(files.regular(file))
    if shard:
      total = file.parent / f'{split}-*-of-{shard[3]}'
      shards.setdefault(total, set()).add(int(shard[2]))
  for split, group in splits.items():
    if group[0].parent != group[-1].parent:
      raise ValueError(
        f'{path}: the split {split!r} lies in {group[0].parent} and in '
        f'{group[-1].parent}; give one of these folders'
      )
  for total, numbers in shards.items():
    lacking = set(range(int(total.name[-5:]))) - numbers
    if lacking and path.is_dir():
      name = str(total).replace('*', f'{min(lacking):05d}')
      raise ValueError(f'{name}.parquet: missing; copy the dataset again')
  return splits
