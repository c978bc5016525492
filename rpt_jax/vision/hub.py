"""Published models from Hugging Face: json and safetensors, nothing else."""

import pathlib

# Not every *.safetensors: some repositories hold several copies of a model.
FILES = (
  'config.json',
  'preprocessor_config.json',
  'model.safetensors',
  'model-*.safetensors',
  'model.safetensors.index.json',
)


def download(repository: str) -> pathlib.Path:
  """The folder of 'organisation/name' in the cache, fetched where absent.

  Raises ValueError without the extra, the network, or the repository.
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
      repository, allow_patterns=list(FILES)
    )
  except Exception as error:
    raise ValueError(
      f'{repository}: no such folder, and Hugging Face did not give it: '
      f'{type(error).__name__}: {str(error).splitlines()[0]}'
    ) from error
  return pathlib.Path(folder)
