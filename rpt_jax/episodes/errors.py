"""What readers of datasets raise."""


class CorruptEpisode(ValueError):
  """An episode that cannot be read; names its file and what is wrong."""


def needs(package: str, extra: str) -> ValueError:
  """The error for an optional package that is not installed."""
  return ValueError(
    f"this dataset needs {package}: pip install -e '.[{extra}]'"
  )
