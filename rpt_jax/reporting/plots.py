"""Figures from tidy rows: one small SVG panel each, with matplotlib.

Panels are small so that a page can lay them out in as many columns as the
screen has; legends belong to the page. Colours are Okabe and Ito's, told apart
by every common kind of colour vision, and every series has its own marker too.
Equal rows give equal bytes. The SVG keeps text as text, in the page's fonts.
"""

import contextlib
import io
import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rpt_jax import results
from rpt_jax.reporting import evidence, tidy, words
from rpt_jax.reporting.pictures import Picture
from rpt_jax.results import FINETUNE, HEAD_FIRST, PROBE, SCRATCH

FONTS = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif"
INK, FAINT, GRID = '#222222', '#777777', '#e6e6e6'


class Series(NamedTuple):
  """How one line is drawn, and what the legend calls it."""

  label: str
  colour: str
  marker: str = 'o'
  dash: str = '-'


METHODS = {
  SCRATCH: Series('from scratch', '#6e6e6e', 's', (0, (4, 2))),
  PROBE: Series('frozen trunk, linear probe', '#D17C00', '^', '-'),
  FINETUNE: Series('full fine-tuning', '#0072B2', 'o', '-'),
  HEAD_FIRST: Series('probe, then fine-tuning', '#009E73', 'D', '-'),
}
_CONTROLS = {
  'state': Series('scratch on the true state (ceiling)', INK, '', (0, (5, 2))),
  'positions': Series('scratch on visible state', '#9a9a9a', '', '-'),
  'edges': Series('scratch on edges', '#9a9a9a', '', (0, (1, 1.2))),
}
GROUPS = {
  results.ALL: Series('all', '#0072B2', 'o'),
  words.SEEN: Series('seen in pretraining', '#0072B2', 'o'),
  results.UNSEEN: Series('never seen in pretraining', '#B4558D', 'D'),
}
_CYCLE = (
  ('#0072B2', 'o'), ('#D17C00', '^'), ('#009E73', 's'), ('#B4558D', 'D'),
  ('#4E9FD1', 'v'), ('#A3420A', 'P'), ('#222222', 'X'), ('#9C8F1C', '*'),
)  # fmt: skip
_STYLE = {
  'font.family': 'sans-serif',
  'font.sans-serif': ['DejaVu Sans'],
  'font.size': 8,
  'axes.titlesize': 8.5,
  'axes.titleweight': 'bold',
  'axes.titlelocation': 'left',
  'axes.titlepad': 6,
  'axes.labelsize': 8,
  'axes.labelcolor': INK,
  'axes.edgecolor': '#9a9a9a',
  'axes.linewidth': 0.7,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.axisbelow': True,
  'axes.unicode_minus': True,
  'grid.color': GRID,
  'grid.linewidth': 0.6,
  'text.color': INK,
  'xtick.color': '#9a9a9a',
  'ytick.color': '#9a9a9a',
  'xtick.labelcolor': INK,
  'ytick.labelcolor': INK,
  'xtick.labelsize': 7.5,
  'ytick.labelsize': 7.5,
  'xtick.major.size': 2.5,
  'ytick.major.size': 2.5,
  'lines.linewidth': 1.5,
  'lines.markersize': 5,
  'figure.constrained_layout.use': True,
  'svg.fonttype': 'none',
  'svg.hashsalt': 'rpt_jax',
}


def series(labels: Sequence[str]) -> dict[str, Series]:
  """A colour, marker and dash for each label, in order."""
  by_label = {}
  for i, label in enumerate(labels):
    colour, marker = _CYCLE[i % len(_CYCLE)]
    dash = '-' if i < len(_CYCLE) else (0, (3, 1.5))
    by_label[label] = Series(label, colour, marker, dash)
  return by_label


def control(eyes: str) -> Series:
  """How the policy is drawn that learns from scratch with other eyes."""
  other = Series(f'scratch on {eyes}', '#c4c4c4', '', '-')
  return _CONTROLS.get(eyes, other)


def forest(
  rows_of: dict[str, list[results.Row]],
  envs: Sequence[str],
  title: str,
  limits,
  score: str,
) -> Picture:
  """Paired differences with intervals, one row an environment, and zero.

  Markers are filled where a difference decides (`evidence`). Groups of
  environments stand last, under a line. `score` is what the axis is of.
  """
  size = (3.6, 0.62 + 0.27 * len(envs))
  lines = [(METHODS[m], _by(rows, 'env')) for m, rows in rows_of.items()]
  with panel(size, title) as (figure, axes):
    axes.axvline(0.0, color=INK, lw=0.9, zorder=1)
    _dots(axes, lines, envs, [env_label(env) for env in envs])
    alone = sum(env not in words.GROUPS for env in envs)
    if 0 < alone < len(envs):
      axes.axhline(alone - 0.5, color='#b8b8b8', lw=0.7)
    axes.set_xlim(*limits)
    axes.set_xlabel(f'pretrained \N{MINUS SIGN} scratch ({score})')
    axes.grid(axis='x')
  return picture(figure)


def comparisons(
  rows_of: dict[str, list[results.Row]],
  questions: Sequence[str],
  title: str,
  limits,
  score: str,
) -> Picture:
  """Differences between two runs, one row a question, a series a group."""
  labels = [textwrap.fill(question, 24) for question in questions]
  lines = [(GROUPS[g], _by(rows, 'question')) for g, rows in rows_of.items()]
  size = (4.6, 0.62 + 0.36 * len(questions))
  with panel(size, title) as (figure, axes):
    axes.axvline(0.0, color=INK, lw=0.9, zorder=1)
    _dots(axes, lines, questions, labels)
    axes.set_xlim(*limits)
    axes.locator_params(axis='x', nbins=6)
    axes.set_xlabel(f'first \N{MINUS SIGN} second ({score})')
    axes.grid(axis='x')
  return picture(figure)


def variants(
  rows_of: dict[str, list[results.Row]],
  runs: Sequence[str],
  labels: Sequence[str],
  scratch: results.Row | None,
  title: str,
  score: str,
) -> Picture:
  """Score of every pretraining run with intervals, scratch as a line."""
  size = (3.6, 0.62 + 0.27 * len(runs))
  lines = [(METHODS[m], _by(rows, 'run')) for m, rows in rows_of.items()]
  with panel(size, title) as (figure, axes):
    if scratch is not None:
      colour = METHODS[SCRATCH].colour
      axes.axvspan(*bounds(scratch), color=colour, alpha=0.13, lw=0)
      axes.axvline(scratch['value'], color=colour, lw=1.2, ls=(0, (4, 2)))
    _dots(axes, lines, runs, labels, filled=True)
    axes.set_xlabel(score)
    axes.grid(axis='x')
  return picture(figure)


def quality_scatter(
  x_rows: list[results.Row], y_rows: list[results.Row], recipes, xlabel, ylabel
) -> Picture:
  """Clip leakage against what units say of motion, one numbered dot a recipe.

  Numbers are 1 + the position in `recipes`; the first is taken as the base.
  """
  x_of = {row['tags']['recipe']: row['value'] for row in x_rows}
  y_of = {row['tags']['recipe']: row['value'] for row in y_rows}
  with panel((3.5, 2.7), '') as (figure, axes):
    for i, recipe in enumerate(recipes):
      if recipe in x_of and recipe in y_of:
        colour = METHODS[SCRATCH if i == 0 else FINETUNE].colour
        axes.plot(x_of[recipe], y_of[recipe], 'o', ms=11, color=colour,
                  mec='white', mew=1)  # fmt: skip
        axes.annotate(str(i + 1), (x_of[recipe], y_of[recipe]), ha='center',
                      va='center_baseline', color='white', size=7,
                      weight='bold')  # fmt: skip
    axes.margins(0.12)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title('\N{NORTH WEST ARROW} better', color=FAINT, weight='normal')
    axes.grid()
  return picture(figure)


def bars(
  rows: list[results.Row], labels, xlabel: str, texts=None, colours=None
) -> Picture:
  """Horizontal bars with intervals, each with its number at the end."""
  values = [row['value'] for row in rows]
  texts = texts or [tidy.number(value) for value in values]
  colours = colours or [METHODS[FINETUNE].colour] * len(rows)
  with panel((4.6, 0.55 + 0.25 * len(rows)), '') as (figure, axes):
    axes.barh(range(len(rows)), values, color=colours, height=0.62)
    reach = max([0.0, *(bounds(row)[1] for row in rows)])
    for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
      low, high = bounds(row)
      if high > low:
        axes.plot([low, high], [i, i], color=INK, lw=1.0)
      axes.annotate(text, (max(high, 0.0), i), xytext=(4, 0), va='center',
                    textcoords='offset points', size=7.5)  # fmt: skip
    axes.set_xlim(right=(reach or 1.0) * 1.2)
    axes.axvline(0.0, color='#9a9a9a', lw=0.7)
    _names_down(axes, labels)
    axes.set_xlabel(xlabel)
    axes.grid(axis='x')
  return picture(figure)


def histogram(values, title: str, size=(1.7, 1.25)) -> Picture:
  """How often one quantity takes its values; a log axis for the counts."""
  with panel(size, title) as (figure, axes):
    axes.hist(np.asarray(values), bins=40, color=METHODS[FINETUNE].colour)
    axes.set_yscale('log')
    axes.set_yticks([])
    axes.minorticks_off()
    axes.spines['left'].set_visible(False)
    axes.locator_params(axis='x', nbins=4)
    return picture(figure)


def env_label(env: str) -> str:
  """An environment's name as figures print it."""
  return re.sub(r'-v\d+$', '', env).removesuffix('-MinAtar')


def span_of(rows: Sequence[results.Row], include=()):
  """Limits that hold every interval and the values in `include`."""
  ends = [bound for row in rows for bound in bounds(row)] + list(include)
  low, high = min(ends), max(ends)
  pad = 0.06 * ((high - low) or 1.0)
  return low - pad, high + pad


@contextlib.contextmanager
def panel(size, title):
  """A figure of `size` inches with one pair of axes, in the page's style."""
  with mpl.rc_context(_STYLE):
    figure = Figure(figsize=size)
    axes = figure.add_subplot()
    if title:
      axes.set_title(title)
    yield figure, axes


def picture(figure) -> Picture:
  """A figure as SVG, the same bytes each time."""
  with mpl.rc_context(_STYLE):
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', metadata={'Date': None})
  text = buffer.getvalue().replace("'DejaVu Sans'", FONTS)
  width, height = (round(96 * inches) for inches in figure.get_size_inches())
  return Picture('image/svg+xml', text.encode(), width, height)


def line(axes, x, y, style: Series, width=1.5):
  """Draws a curve."""
  axes.plot(x, y, color=style.colour, ls=style.dash, marker=style.marker,
            mec='white', mew=0.6, lw=width)  # fmt: skip


def _dot(axes, row, y, style: Series, filled: bool | None = None):
  """A value with its interval on row y; hollow where it does not decide."""
  low, high = bounds(row)
  if filled is None:
    filled = evidence.decided(row) != 0
  axes.plot([low, high], [y, y], color=style.colour, lw=1.4,
            solid_capstyle='round')  # fmt: skip
  axes.plot(row['value'], y, style.marker, color=style.colour, ms=4.8,
            mew=1.2, mfc=style.colour if filled else 'white')  # fmt: skip


def _dots(axes, lines, names, labels, filled: bool | None = None):
  """Rows of named values: `lines` are (how one is drawn, {name: row})."""
  offsets = _offsets(len(lines), 0.13)
  for offset, (style, by_name) in zip(offsets, lines, strict=True):
    for i, name in enumerate(names):
      if name in by_name:
        _dot(axes, by_name[name], i + offset, style, filled)
  _names_down(axes, labels)


def _by(rows, tag):
  """Rows by one of their tags; later ones replace earlier ones."""
  return {row['tags'][tag]: row for row in rows}


def _names_down(axes, names):
  axes.set_yticks(range(len(names)), names)
  axes.set_ylim(len(names) - 0.5, -0.5)
  axes.tick_params(axis='y', length=0)


def _offsets(count, step):
  return step * (np.arange(count) - (count - 1) / 2) * 2


def bounds(row) -> tuple[float, float]:
  """The interval of a row of results; its value twice where it has none."""
  return tuple(row.get('interval') or (row['value'], row['value']))
