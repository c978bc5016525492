"""Finished workdirs, as they are read to be laid beside each other.

Nothing of them is believed: settings are read as `settings.saved` does, rows
are checked, and arrays hold numbers alone.
"""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rpt_jax import domains, files, provenance, results, settings
from rpt_jax.learning import cells
from rpt_jax.learning.runs import Runs
from rpt_jax.results import Acting, Cell, Row
from rpt_jax.stages import plan


class Workdir(NamedTuple):
  """What a run was asked for, and what it came to."""

  name: str  # What tables call it.
  path: pathlib.Path
  command: str
  revision: str
  values: dict[str, Any]  # {'finetune.seeds': value}.
  essence: dict[str, Any]  # Those that change results.
  entries: dict[str, Any]  # {domain: what of its settings changes results}.
  seeds: list[int]  # Of its pipelines.
  places: tuple[domains.Domain, ...]  # That are acted in.
  rows: list[Row]
  # {(domain, cell): {seed of a pipeline: scores [seeds, episodes]}}
  scores: dict[tuple[str, Cell], dict[int, np.ndarray]]


def read(paths: Sequence[str | os.PathLike]) -> list[Workdir]:
  """All of them; ValueError naming one that is no finished run."""
  paths = [pathlib.Path(os.path.abspath(path)) for path in paths]
  names = [path.name for path in paths]
  twice = len(set(names)) < len(names)
  return [_read(path, str(path) if twice else path.name) for path in paths]


def _read(path, name):
  if not (path / 'config.json').exists():
    raise ValueError(
      f'{path}: found no run (config.json), expected the --workdir of one'
    )
  origin = files.read_json(path / 'run.json', 'command', 'revision')
  command = provenance.typed(str(origin['command']))
  mend = f'run first: {provenance.finishing(str(origin["command"]))}'
  experiment = settings.saved(settings.Experiment, path / 'config.json')
  if not (path / 'results.jsonl').exists():
    raise ValueError(f'{path}: not finished; {mend}')
  acts = experiment.finetune and not experiment.tune
  try:
    places = domains.acting(domains.of(experiment)) if acts else ()
  except ValueError as error:  # Of what is not on this machine.
    raise ValueError(f'{path / "config.json"}: {error}') from error
  seeds = plan.seeds(experiment)
  scores = _scores(path, experiment, seeds, places, mend) if places else {}
  whole, essence = (
    dict(settings.leaves(settings.plain(experiment, essence=each)))
    for each in (False, True)
  )
  entries = {
    d.name: settings.plain(experiment.domains[d.entry], essence=True)
    for d in places
  }
  about = path, command, str(origin['revision']), whole, essence, entries
  rows = _rows(path / 'results.jsonl')
  return Workdir(name, *about, seeds, places, rows, scores)


def _rows(path):
  """The rows of all stages, checked."""
  rows = []
  for i, line in enumerate(files.read_text(path).splitlines(), 1):
    try:
      row = json.loads(line)
      numbers = (row['value'], *(row['interval'] or ()))
      if not all(x is None or isinstance(x, int | float) for x in numbers):
        raise ValueError(f'found {numbers}, expected numbers')
      if not isinstance(row['stage'], str) or not isinstance(row['name'], str):
        raise ValueError('its stage or its name is no text')
      results.check([row])
      rows.append(row | {'tags': dict(row['tags'])})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
      raise ValueError(
        f'{path}: line {i}: no row of results ({files.words(error)})'
      ) from error
  return rows


def _numbers(file, key, scores):
  """Scores as f64; ValueError for what is none of [seeds, episodes]."""
  is_table = scores.ndim == 2 and scores.size and scores.dtype.kind in 'biuf'
  if not is_table:
    raise ValueError(
      f'{file}: {key}: found {scores.dtype}{list(scores.shape)}, expected '
      'numbers [seeds, episodes]'
    )
  return scores.astype(np.float64)


def _scores(path, experiment, seeds, places, mend):
  """Of every cell, by domain and by the seed of a pipeline."""
  runs = Runs(experiment.pretrain, experiment.quantize, experiment.iterations)
  entries = cells.cells(experiment.finetune, runs)
  scores = {}
  for i, seed in enumerate(seeds):
    folder = path / f'{plan.PIPELINE}{i}' if len(seeds) > 1 else path
    file = folder / Acting.STAGE / Acting.SCORES
    if not file.exists():
      raise ValueError(
        f'{path}: not finished (no {file.relative_to(path)}); {mend}'
      )
    arrays = files.read_arrays(file)
    for domain in places:
      for cell in entries:
        key = f'{domain.name}/{cell.name}'
        if key in arrays:
          own = scores.setdefault((domain.name, cell), {})
          own[seed] = _numbers(file, key, arrays[key])
  # What not all pipelines have is no result.
  return {k: own for k, own in scores.items() if len(own) == len(seeds)}
