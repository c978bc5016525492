"""Published models from Hugging Face: json and safetensors, nothing else."""

import os
import pathlib
import re
from collections.abc import Sequence

# Not every *.safetensors: some repositories hold several copies of a model.
FILES = (
  'config.json',
  'preprocessor_config.json',
  'model.safetensors',
  'model-*.safetensors',
  'model.safetensors.index.json',
)


ID = re.compile(r'[\w-][\w.-]*/[\w-][\w.-]*')


def find(
  path_or_id: str | os.PathLike, files: Sequence[str] = FILES
) -> pathlib.Path:
  """A folder as it is, or that of an id 'organisation/name' of Hugging Face.

  Raises ValueError for what is neither, else as `download`.
  """
  folder = pathlib.Path(path_or_id)
  if folder.is_dir():
    return folder
  if ID.fullmatch(str(path_or_id)):
    return download(str(path_or_id), files)
  raise ValueError(
    f'{path_or_id}: no such folder; expected one, or an id '
    "'organisation/name' of Hugging Face"
  )


def download(repository: str, files: Sequence[str] = FILES) -> pathlib.Path:
  """The folder of 'organisation/name' in the cache, fetched where absent.

  `files` are patterns of what is fetched. Raises ValueError without the extra,
  the network, the repository, or weights in it that are safe to open.
  """
  try:
    import huggingface_hub
  except ImportError as error:
    raise ValueError(
      f'{repository}: no such folder, and to fetch it from Hugging Face needs '
      "the extra 'hub': pip install -e '.[hub]'"
    ) from error
  try:
    folder = huggingface_hub.snapshot_download(
      repository, allow_patterns=list(files)
    )
  except Exception as error:
    raise ValueError(
      f'{repository}: no such folder, and Hugging Face did not give it: '
      f'{type(error).__name__}: {str(error).splitlines()[0]}'
    ) from error
  has_weights = any(pathlib.Path(folder).rglob('*.safetensors'))
  if not has_weights and any('safetensors' in pattern for pattern in files):
    raise ValueError(
      f'{repository}: it holds no *.safetensors, and no other weights are '
      'opened; give the folder that save_pretrained of transformers writes of '
      'it, or another id'
    )
  return pathlib.Path(folder)
