"""The page of one dataset: streams, sample frames, histograms, warnings."""

import numpy as np

from rpt_jax.reporting import behind, html, pictures, plots

_MAX_DIMS = 32  # Histograms a stream.
_MAX_WARNINGS = 200
_MAX_TOLD = 30


def render(survey, section: str, footer: str) -> str:
  """One self-contained HTML page of an `episodes.survey.Survey`.

  `section` is the part of a config that reads the dataset.
  """
  page = html.Document()
  page.section('streams', 'Streams', [_streams(page, survey)])
  page.section('warnings', 'Suspicious values', [_warnings(survey)])
  page.section('config', 'For a config', _config(survey, section))
  page.section('frames', 'Sample frames', _frames(page, survey))
  page.section('values', 'Histograms', _histograms(page, survey))
  page.section('episodes', 'Episodes', _episodes(page, survey))
  return page.render(survey.name, subtitle(survey), footer)


def subtitle(survey) -> str:
  """Where it lies and how much there is, in a line."""
  lengths = survey.lengths
  rate = f', {survey.fps:g} steps a second' if survey.fps else ''
  if not len(lengths):
    return f'{survey.path}: no readable episode'
  return (
    f'{survey.path}: {len(lengths)} episodes, {lengths.sum():,} steps '
    f'({lengths.min()} to {lengths.max()} each, median '
    f'{np.median(lengths):g}){rate}'
  )


def rows(survey) -> list[tuple[str, ...]]:
  """(stream, kind, a step, least, largest, mean, standard deviation)."""
  return [
    (name, s.kind, f'{s.dtype}{list(s.shape)}', *_range(s.statistics))
    for name, s in survey.streams.items()
  ]


HEAD = ('stream', 'kind', 'one step', 'min', 'max', 'mean', 'std')


def _range(one):
  if one is None:
    return ('',) * 4
  summary = (one.min.min(), one.max.max(), one.mean.mean(), one.std.mean())
  return tuple(f'{x:.4g}' for x in summary)


def _streams(page, survey):
  body = [''.join(html.cell(text) for text in row) for row in rows(survey)]
  return page.table(
    html.table(HEAD, body),
    'What one step holds. Mean and standard deviation are averaged over '
    'dimensions; those of a camera are of the mean brightness of its frames '
    'in the episodes looked at.',
  )


def _warnings(survey):
  warnings = survey.warnings
  if not warnings:
    return html.paragraph('Nothing suspicious was found.')
  lines = warnings[:_MAX_WARNINGS]
  if len(warnings) > len(lines):
    lines = [*lines, f'... and {len(warnings) - len(lines)} more']
  return html.pre('\n'.join(lines))


def _config(survey, section):
  """What actions are, what follows from that, and what to paste."""
  said = [html.paragraph(line) for line in (*survey.actions, *survey.advice)]
  return [*said, html.pre(section)]


def _ends(page, camera, episodes):
  """The first frames of the episodes looked at, and their last."""
  tiles = []
  for at, word in ((0, 'first'), (-1, 'last')):
    frames = np.stack([frames[at] for frames in episodes.values()])
    sheet = pictures.contact_sheet(frames, len(frames))
    alt = f'{camera}, {word} frames of {len(frames)} episodes'
    tiles.append(html.tile(pictures.encode(sheet), alt, f'{word} frames'))
  caption = f'Camera {camera}. How episodes begin and how they end, in order.'
  return page.figure(''.join(tiles), caption)


def _frames(page, survey):
  parts = []
  for camera, episodes in survey.frames.items():
    tiles = []
    for index, frames in episodes.items():
      sheet = pictures.contact_sheet(frames, len(frames))
      alt = f'{camera}, episode {index}, {len(frames)} frames'
      under = html.escape(f'episode {index}')
      tiles.append(html.tile(pictures.encode(sheet), alt, under))
    if tiles:
      if len({frames.shape[1:] for frames in episodes.values()}) == 1:
        parts.append(_ends(page, camera, episodes))
      caption = f'Camera {camera}. Frames spread evenly over each episode.'
      parts.append(page.figure(''.join(tiles), caption))
  return parts


def _histograms(page, survey):
  parts = []
  order = sorted(survey.streams, key=lambda name: name != 'action')
  for name in order:
    stream = survey.streams[name]
    if stream.kind != 'values' or stream.rows is None:
      continue
    columns = stream.rows.T[:_MAX_DIMS]
    images = [
      html.image(
        plots.histogram(x, f'{name}[{i}]'),
        f'histogram of {name}[{i}]{_named(survey, name, i)}',
        'plot',
      )
      for i, x in enumerate(columns)
    ]
    left_out = stream.rows.shape[1] - len(columns)
    more = f' {left_out} more dimensions are not drawn.' if left_out else ''
    caption = f'{name}. Counts are on a logarithmic axis.{more}'
    data = _quantities(stream.statistics, survey.labels.get(name, ()))
    parts.append(page.figure(''.join(images), caption, 'small', data))
  return parts


def _named(survey, stream, i):
  names = survey.labels.get(stream)
  return f', {names[i]}' if names else ''


def _quantities(one, names):
  """What each number of a stream ranges over, as a table."""
  columns = one.min, one.q01, one.mean, one.std, one.q99, one.max
  body = []
  for i, values in enumerate(zip(*columns, strict=True)):
    label = f'{i}: {names[i]}' if names else f'{i}'
    cells = [f'<td class="text">{html.escape(label)}</td>']
    body.append(''.join(cells + [html.cell(f'{x:.4g}') for x in values]))
  head = ['number', 'min', '1 %', 'mean', 'std', '99 %', 'max']
  return behind.table(head, body, 1)


def _lengths(lengths):
  """How many episodes have how many steps, as a table."""
  steps, counts = np.unique(lengths, return_counts=True)
  body = [
    html.cell(str(n)) + html.cell(str(count))
    for n, count in zip(steps[:_MAX_TOLD], counts[:_MAX_TOLD], strict=True)
  ]
  if len(steps) > len(body):
    rest = int(counts[len(body) :].sum())
    body.append(
      html.cell(f'over {steps[len(body) - 1]}') + html.cell(str(rest))
    )
  return behind.table(['steps', 'episodes'], body, 0)


def _episodes(page, survey):
  parts = []
  if len(survey.lengths):
    picture = plots.histogram(survey.lengths, 'steps an episode', (3.2, 1.8))
    image = html.image(picture, 'histogram of lengths', 'plot')
    caption, data = 'Lengths. Steps of each episode.', _lengths(survey.lengths)
    parts.append(page.figure(image, caption, data_html=data))
  instructions = [
    (text or '(none)', str(count))
    for text, count in survey.instructions.items()
  ]
  body = [
    ''.join(html.cell(text) for text in row) for row in instructions[:_MAX_TOLD]
  ]
  table = html.table(('instruction', 'episodes'), body)
  caption = f'Instructions. {len(instructions)} different ones.'
  return [*parts, page.table(table, caption)]
