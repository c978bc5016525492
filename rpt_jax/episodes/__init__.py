"""Episodes: stored as RLDS datasets, read as windows and batches."""

import os


def open(path_or_name: str | os.PathLike, *, split: str, **mapping: str):
  """Opens a dataset's split: `len(source)`, `source[i]` -> Episode.

  See `rpt_jax.episodes.rlds.open_source`; TFDS is imported at the first call.
  """
  from rpt_jax.episodes import rlds

  return rlds.open_source(path_or_name, split=split, **mapping)
