"""A dataset at a glance: printed, and as a page of frames and histograms."""

import os
import pathlib

from rpt_jax import episodes, files
from rpt_jax.episodes import survey as survey_lib
from rpt_jax.reporting import dataset, section
from rpt_jax.settings import datasets
from rpt_jax.training import live, owned

_MAX_PRINTED = 20


def run(
  spec: str, workdir: str | os.PathLike = '', recording: str = ''
) -> pathlib.Path:
  """Surveys a dataset, prints the summary and writes `dataset.html`.

  `spec` is `path[,key=value,...]` with what `episodes.open` takes, as in
  `data/bridge,card=bridge` or `clips,fps=10,size=96x128`. The page goes to
  `workdir`, by default `runs/inspect-<name>`; with `recording` episodes go to a
  file for rerun.
  """
  path, settings = datasets.parse(spec)
  source = episodes.open(path, **settings)
  folder = pathlib.Path(workdir or pathlib.Path('runs') / _slug(source.name))
  page = folder / 'dataset.html'
  owned.check_page(page)
  survey = survey_lib.survey(source)
  folder.mkdir(parents=True, exist_ok=True)
  command = f'python -m rpt_jax.main --inspect={spec}'
  pasted = section.write(source, settings, survey)
  files.write_text(page, dataset.render(survey, pasted, f'Made by {command}'))
  print(live.plain('\n'.join(summary(survey))))
  print(live.plain(f'for a config:\n{pasted}'))
  print(f'page: {page}')
  if recording:
    from rpt_jax.tools import rrd

    print(f'rerun {rrd.of_dataset(source, recording)}')
  return page


def summary(survey: survey_lib.Survey) -> list[str]:
  """The lines that are printed."""
  table = [dataset.HEAD, *dataset.rows(survey)]
  widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
  lines = [dataset.subtitle(survey)]
  for row in table:
    cells = (text.ljust(w) for text, w in zip(row, widths, strict=True))
    lines.append('  ' + '  '.join(cells).rstrip())
  for stream, names in survey.labels.items():
    lines.append(f'{stream}: {", ".join(names)}')
  instructions = [text for text in survey.instructions if text]
  lines.append(f'instructions: {len(instructions)} different')
  lines += [f'  {text}' for text in instructions[:_MAX_PRINTED]]
  lines += [*survey.actions, *survey.advice]
  lines.append(f'suspicious: {len(survey.warnings)}')
  lines += [f'  {text}' for text in survey.warnings[:_MAX_PRINTED]]
  return lines


def _slug(name):
  kept = ''.join(c if c.isalnum() or c in '-_.' else '-' for c in name)
  return f'inspect-{kept}'
