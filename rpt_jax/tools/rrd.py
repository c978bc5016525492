"""Episodes, units and rollouts as a file that rerun opens (extra `rerun`).

    rerun <file>    shows it: a step slider, cameras, curves, lanes of units

Names come from datasets: they are given as parts of a path, which rerun
escapes.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rpt_jax import domains, files, settings, target
from rpt_jax.domains.playing import Played
from rpt_jax.episodes.columns import STEP_FIELDS
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.learning import cells, exploring
from rpt_jax.learning.runs import Runs
from rpt_jax.results import Acting
from rpt_jax.stages import plan
from rpt_jax.types import ACTION

_MOST_EPISODES = 20  # Of a dataset, spread evenly.
_QUALITY = 80  # Of JPEG.
_TIMELINE = 'step'
_MAGIC = b'RRF'  # Of a recording.


def of_dataset(source, path: str | os.PathLike) -> pathlib.Path:
  """Some episodes of a source: frames, numbers, and what is to be done.

  Those that cannot be read are left out. Raises ValueError without rerun.
  """
  count = min(len(source), _MOST_EPISODES)
  fields = [f for f in source.streams if f not in STEP_FIELDS or f == ACTION]
  kinds = {name: column.kind for name, column in source.streams.items()}
  with _recording(path, source.name) as log:
    for i in np.unique(np.linspace(0, len(source) - 1, count).astype(int)):
      with contextlib.suppress(CorruptEpisode):
        arrays = source.read(int(i), fields)
        text = source.metadata(int(i))['instruction']
        where = f'episode {i}'
        for name, x in arrays.items():
          if kinds[name] == 'image':
            log.frames(where, {name: x}, range(len(x)))
          elif kinds[name] == 'values':
            log.curves(where, {name: x}, source.labels)
        log.text(where, text)
  return pathlib.Path(path)


def of_run(workdir: str | os.PathLike, path: str | os.PathLike) -> pathlib.Path:
  """Held-out clips of a finished run with their units, and its rollouts.

  Of several pipelines the first's. Raises ValueError without rerun, and where
  a stage has not been made.
  """
  workdir = pathlib.Path(workdir)
  config = settings.saved(settings.Experiment, workdir / 'config.json')
  *_, report = plan.plan(config)
  first = report.arguments['pipeline']
  inputs = {
    name.removeprefix(first): workdir / name
    for name in report.inputs
    if name.startswith(first)
  }
  places = domains.of(config)
  with target.rounding_to(config.precision):
    with _recording(path, config.title) as log:
      if config.quantize:
        seen, recipes = domains.seen(places), config.quantize.recipes
        _clips(log, exploring.gather(seen, recipes, inputs))
      if config.finetune and Acting.STAGE in inputs:
        _films(log, config, domains.acting(places), inputs)
  return pathlib.Path(path)


def _clips(log, explored):
  """Those that have units at every step."""
  for clip in (c for c in explored.clips if c.units):
    where = f'{clip.domain}, clip {clip.number}'
    log.frames(where, {'frames': clip.frames_SHW3}, clip.steps_S)
    log.curves(where, clip.curves)
    log.lanes(where, clip.units)
    log.text(where, clip.text)


def _films(log, config, places, inputs):
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  for domain in places:
    for cell in cells.filmed(config.finetune, runs):
      played = Played.load(
        inputs[Acting.STAGE] / domain.name / f'{cell.name}.npz'
      )
      if played.film is not None:
        where = f'{domain.name}, rollouts'
        frames = {cell.name: played.film}
        log.frames(where, frames, range(len(played.film)))


class _Log:
  """A recording that is written: what a step shows, under a place's name."""

  def __init__(self, rerun, stream):
    self._rr, self._stream = rerun, stream

  def frames(
    self, where: str, cameras: Mapping[str, np.ndarray], steps: Sequence[int]
  ) -> None:
    """Frames [T, H, W, 3] of cameras, shown at `steps`."""
    for name, frames_THW3 in cameras.items():
      for step, frame in zip(steps, frames_THW3, strict=True):
        self._stream.set_time(_TIMELINE, sequence=int(step))
        image = self._rr.Image(np.asarray(frame))
        self._put([where, name], image.compress(jpeg_quality=_QUALITY))

  def curves(
    self,
    where: str,
    numbers: Mapping[str, np.ndarray],
    labels: Mapping[str, Sequence[str]] = {},
  ) -> None:
    """Numbers [T, ...], with names where there are some."""
    for name, x in numbers.items():
      if name in labels:
        lines = self._rr.SeriesLines(names=list(labels[name]))
        self._put([where, name], lines, static=True)
      for step, row in enumerate(np.float64(x).reshape(len(x), -1)):
        self._stream.set_time(_TIMELINE, sequence=step)
        self._put([where, name], self._rr.Scalars(row))

  def lanes(self, where: str, units: Mapping[str, np.ndarray]) -> None:
    """Units [T] by recipe: a strip of colours of all, and each step's own."""
    for name, unit_T in units.items():
      # No unit is 0, which rerun does not draw.
      strip = self._rr.SegmentationImage(np.uint16(unit_T + 1)[None])
      self._put([where, 'units', name], strip, static=True)
    self.curves(f'{where}, units', units)

  def text(self, where: str, text: str) -> None:
    """What is to be done, where anything is said."""
    if text:
      document = self._rr.TextDocument(text)
      self._put([where, 'instruction'], document, static=True)

  def _put(self, parts, shown, static=False):
    self._stream.log(parts, shown, static=static)


@contextlib.contextmanager
def _recording(path, name) -> Iterator[_Log]:
  """Written whole or not at all; ValueError for what it would replace."""
  place = pathlib.Path(path).absolute()
  if place.exists():
    with open(files.regular(place), 'rb') as file:
      is_recording = file.read(len(_MAGIC)) == _MAGIC
    if not is_recording:
      raise ValueError(
        f'--rrd: {path}: found another file, expected none or a recording of '
        'rerun, which is replaced; give another name'
      )
  try:
    import rerun
  except ImportError as error:
    raise ValueError("--rrd needs rerun: pip install -e '.[rerun]'") from error
  place.parent.mkdir(parents=True, exist_ok=True)
  with files.writing(path) as partial:
    with rerun.RecordingStream('rpt_jax') as stream:
      stream.save(partial)
      stream.send_recording_name(name)
      yield _Log(rerun, stream)
      stream.flush()
      stream.disconnect()
