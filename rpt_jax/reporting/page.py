"""Composes the report: content in, one self-contained HTML file out."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from rpt_jax.reporting import (
  acting,
  choices,
  findings,
  frames,
  html,
  learned,
  measures,
  simulator,
  tidy,
  words,
)

MAX_BYTES = 8_000_000


@dataclasses.dataclass(frozen=True)
class Content:
  """What a report shows. Every part is optional; missing parts are left out.

  rows: tidy results of all stages (`reporting.tidy`), which make the tables,
    the plots and the headline sentences.
  losses: run -> its log, dicts with 'step' and 'loss...' or 'accuracy...' keys;
    a run is named 'mae', or 'pretrain/<run>'.
  runs: pretraining run -> {'label', 'recipe', 'objective', 'alpha'}, each
    optional; two runs of a recipe with different 'alpha' make the alpha curve.
  main_run: the pretraining run of the curves; the one with most scores if None.
  base_recipe: the recipe others are compared with; the first one if None.
  scale: what scores of 0 and 1 are, in words; of success rates it is known.
  unseen: tasks of a simulator that no pretraining has seen.
  config, versions: nested dicts of plain values, shown folded.
  command: what makes the page again.
  notes: paragraphs of plain text, shown below the headline.
  """

  title: str = 'Action-free pre-training for acting'
  subtitle: str = ''
  rows: Sequence[tidy.Row] = ()
  losses: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
  runs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  main_run: str | None = None
  scale: str = 'random acting is 0 and the expert 1'
  unseen: Sequence[str] = ()
  base_recipe: str | None = None
  timelines: Sequence[frames.Timeline] = ()
  galleries: Sequence[frames.Gallery] = ()
  reconstructions: frames.Reconstructions | None = None
  rollouts: Sequence[frames.Rollout] = ()
  config: dict[str, Any] = dataclasses.field(default_factory=dict)
  versions: dict[str, Any] = dataclasses.field(default_factory=dict)
  command: str = ''
  notes: Sequence[str] = ()


def write(path: str | os.PathLike, content: Content) -> int:
  """Writes the page atomically and returns its size in bytes.

  Equal content gives equal bytes. Raises ValueError for malformed rows or
  frames, and for a page over `MAX_BYTES` (show fewer or smaller pictures).
  """
  data = compose(content).encode()
  if len(data) > MAX_BYTES:
    raise ValueError(
      f'report: found {len(data)} bytes, expected at most {MAX_BYTES}: give '
      'fewer rollouts, galleries or timelines'
    )
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(path.name + '.part')
  part.write_bytes(data)
  os.replace(part, path)
  return len(data)


def compose(content: Content) -> str:
  """The page as text."""
  rows = tidy.check(list(content.rows))
  run = content.main_run or findings.main_run(rows)
  recipes = tidy.unique(rows, 'recipe')
  base = content.base_recipe or (recipes[0] if recipes else None)
  found = findings.write(rows, run, base, content.runs)
  rest, played = words.split(rows)
  doc = html.Document()
  notes = [html.paragraph(note) for note in content.notes]
  doc.section('findings', 'Findings', [acting.headline(found), *notes])
  _acting(doc, content, rest, played, run)
  doc.section(
    'units', 'What the units say', measures.unit_quality(doc, rows, base)
  )
  doc.section(
    'choices',
    'Which choice made it so',
    [
      *choices.comparisons(doc, played),
      *acting.variants(doc, played, content.runs, words.SUCCESS),
      *acting.variants(doc, rest, content.runs),
    ],
  )
  doc.section(
    'learned',
    'What pretraining learned',
    learned.section(doc, rest, run),
  )
  _pictures(doc, content, rest, run)
  doc.section('training', 'Training', [measures.training(doc, content.losses)])
  doc.section('cost', 'Cost', [measures.costs(doc, rows)])
  doc.section('again', 'Making it again', _again(content))
  return doc.render(content.title, content.subtitle, _footer(rows))


def _acting(doc, content, rest, played, run):
  success = words.SUCCESS
  doc.section(
    'success',
    'Success in the simulator',
    [
      *simulator.success(doc, played, run, content.unseen),
      *acting.demo_curves(doc, played, run, words.SUCCESS_SCALE, success),
      acting.paired_differences(doc, played, run, success),
      acting.tuned(doc, played),
      simulator.shown(rest),
    ],
  )
  doc.section(
    'acting',
    'Acting from few demonstrations',
    [
      *acting.demo_curves(doc, rest, run, content.scale),
      acting.paired_differences(doc, rest, run),
      acting.tuned(doc, rest),
    ],
  )


def _pictures(doc, content, rest, run):
  doc.section(
    'timelines', 'Units in time', [frames.timelines(doc, content.timelines)]
  )
  doc.section(
    'galleries',
    'What a unit looks like',
    frames.galleries(doc, content.galleries),
  )
  doc.section(
    'probes', 'What the features know', measures.probes(doc, rest, run)
  )
  doc.section(
    'reconstructions',
    'The image model',
    [frames.reconstructions(doc, content.reconstructions)],
  )
  doc.section('rollouts', 'Rollouts', frames.rollouts(doc, content.rollouts))


def _again(content: Content) -> list[str]:
  parts = []
  if content.command:
    parts.append(html.pre(content.command))
  if content.config:
    parts.append(html.details('Configuration', html.pre(_tree(content.config))))
  if content.versions:
    parts.append(html.details('Versions', html.pre(_tree(content.versions))))
  return parts


def _footer(rows) -> str:
  count = f' from {len(rows)} rows of results.jsonl' if rows else ''
  return f'Made by rpt_jax{count}. This page needs no other file.'


def _tree(value: dict, indent: int = 0) -> str:
  """A nested dict as indented lines."""
  lines = []
  for key, item in value.items():
    if isinstance(item, dict) and item:
      lines.append(f'{"  " * indent}{key}:')
      lines.append(_tree(item, indent + 1))
    else:
      lines.append(f'{"  " * indent}{key}: {item}')
  return '\n'.join(lines)
