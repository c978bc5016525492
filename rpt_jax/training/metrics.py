"""Metrics as JSON lines and TensorBoard events, from process 0 only."""

import json
import os
import pathlib

import jax
import tensorboardX


class Writer:
  """Appends to `directory/metrics.jsonl` and to event files beside it.

  `resumed` is the step training goes on from: rows of later steps, written
  before it was killed, are removed so that none is there twice.
  """

  def __init__(self, directory, resumed: int = 0):
    self.rows: list[dict] = []
    self._events = None
    self._path = pathlib.Path(directory) / 'metrics.jsonl'
    if jax.process_index():
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    self.rows = [r for r in read(self._path) if r['step'] <= resumed]
    partial = self._path.with_suffix('.partial')
    partial.write_text(''.join(json.dumps(r) + '\n' for r in self.rows))
    os.replace(partial, self._path)
    self._events = tensorboardX.SummaryWriter(
      str(self._path.parent), purge_step=resumed + 1
    )

  def write(self, step: int, values: dict[str, float]) -> None:
    """One row {'step', **values}, on disk when this returns."""
    row = {'step': step, **values}
    self.rows.append(row)
    if self._events is None:
      return
    with self._path.open('a') as file:
      file.write(json.dumps(row) + '\n')
    for name, value in values.items():
      self._events.add_scalar(name, value, step)

  def close(self) -> None:
    if self._events is not None:
      self._events.close()


def read(path) -> list[dict]:
  """Rows of a metrics file; a last line cut by a kill is left out."""
  path = pathlib.Path(path)
  rows = []
  lines = path.read_text().splitlines() if path.exists() else []
  for line in lines:
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return rows
