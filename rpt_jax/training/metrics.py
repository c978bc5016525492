"""Metrics as JSON lines and TensorBoard events, from process 0 only.

A disk that fails stops no training: it is told once, and the lines that are
missing are written when it works again.
"""

import json
import logging
import os
import pathlib
import time

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from rpt_jax.training import distributed


class Writer:
  """Appends to `directory/metrics.jsonl` and to event files beside it.

  `resumed` is the step training goes on from: rows of later steps, written
  before it was killed, are removed so that none is there twice.
  """

  def __init__(self, directory, resumed: int = 0):
    self.rows: list[dict] = []
    self._path = pathlib.Path(directory) / 'metrics.jsonl'
    self._behind, self._events, self._warned = True, None, False
    if not distributed.is_first():
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    self.rows = [r for r in read(self._path) if r['step'] <= resumed]
    self._try(self._write_lines)
    self._try(self._open_events, resumed + 1)

  def write(self, step: int, values: dict[str, float]) -> None:
    """One row {'step', **values}, on disk when this returns."""
    self.rows.append({'step': step, **values})
    if not distributed.is_first():
      return
    self._try(self._write_lines)
    if self._events is not None:
      self._try(self._write_events, step, values)

  def close(self) -> None:
    """Closes the event file."""
    if self._events is not None:
      self._try(self._events.close)

  def _try(self, write, *arguments):
    try:
      write(*arguments)
    except (OSError, ValueError) as error:
      if not self._warned:
        logging.warning('%s: metrics are not written: %s', self._path, error)
      self._warned = True

  def _write_lines(self):
    """Appends the last row; all rows anew after one that was not written."""
    if self._behind:
      partial = self._path.with_suffix('.partial')
      partial.write_text(''.join(json.dumps(r) + '\n' for r in self.rows))
      os.replace(partial, self._path)
      self._behind = False
      return
    self._behind = True
    with self._path.open('a') as file:
      file.write(json.dumps(self.rows[-1]) + '\n')
    self._behind = False

  def _open_events(self, first):
    """Written at once: tensorboardX's own thread would die of an error, and
    those who wait for it hang."""
    prefix = str(self._path.parent / 'events')
    self._events = event_file_writer.EventsWriter(prefix)
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write_event(first, session_log=start)

  def _write_events(self, step, values):
    for name, value in values.items():
      self._write_event(step, summary=summary.scalar(name, value))
    self._events.flush()

  def _write_event(self, step, **what):
    event = event_pb2.Event(wall_time=time.time(), step=step, **what)
    self._events.write_event(event)


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
