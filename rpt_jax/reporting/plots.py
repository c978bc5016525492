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
_HOVERED = 60  # Places of a learning curve that the pointer can ask about.
INK, FAINT, GRID = '#222222', '#777777', '#e6e6e6'


class Series(NamedTuple):
  """How one line is drawn, and what the legend calls it."""

  label: str
  colour: str
  marker: str = 'o'
  dash: str = '-'


class Plot(NamedTuple):
  """Curves: their picture, and what is said where the pointer is over it.

  about: 'box' (left, top, width and height of the axes, shares of the
    picture), 'x' (its ends), 'at' (places on it), 'names' (of those places) and
    'lines' [label, colour, [text or None at each place]].
  """

  picture: Picture
  about: dict


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


def demo_curves(
  rows_of: dict[str, list[results.Row]],
  controls: dict[str, list[results.Row]],
  title: str,
  limits,
  size=(2.25, 1.8),
) -> Plot:
  """Score against demonstrations, with bands, one environment.

  `rows_of` maps a method to its rows (tag `demos`), `controls` eyes to theirs,
  which are drawn thin. Lines at 0 and 1; `limits` are shared by all panels so
  that they can be compared.
  """
  with _panel(size, title) as (figure, axes):
    for level in (0.0, 1.0):
      axes.axhline(level, color='#b8b8b8', lw=0.8, zorder=0)
    for eyes, rows in controls.items():
      _line(axes, *_curve(rows), control(eyes), width=1.1)
    for method, rows in rows_of.items():
      rows = sorted(rows, key=lambda row: row['tags']['demos'])
      style, (x, y) = METHODS[method], _curve(rows)
      low, high = np.array([_bounds(row) for row in rows]).T
      axes.fill_between(x, low, high, color=style.colour, alpha=0.15, lw=0)
      _line(axes, x, y, style)
    demos = sorted({
      row['tags']['demos'] for rows in rows_of.values() for row in rows
    })  # fmt: skip
    axes.set_xticks(np.log2(demos), [str(n) for n in demos])
    axes.set_xlim(np.log2(demos[0]) - 0.3, np.log2(demos[-1]) + 0.3)
    axes.set_ylim(*limits)
    axes.set_xlabel('demonstrations')
    axes.grid(axis='y')
  lines = [(METHODS[method], rows) for method, rows in rows_of.items()]
  lines += [(control(eyes), rows) for eyes, rows in controls.items()]
  texts = {
    style: {r['tags']['demos']: tidy.with_interval(r) for r in rows}
    for style, rows in lines
  }
  names = {n: tidy.demonstrations(n) for n in demos}
  return _plot(figure, axes, names, texts, np.log2)


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
  with _panel(size, title) as (figure, axes):
    axes.axvline(0.0, color=INK, lw=0.9, zorder=1)
    _dots(axes, lines, envs, [env_label(env) for env in envs])
    alone = sum(env not in words.GROUPS for env in envs)
    if 0 < alone < len(envs):
      axes.axhline(alone - 0.5, color='#b8b8b8', lw=0.7)
    axes.set_xlim(*limits)
    axes.set_xlabel(f'pretrained \N{MINUS SIGN} scratch ({score})')
    axes.grid(axis='x')
  return _picture(figure)


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
  with _panel(size, title) as (figure, axes):
    axes.axvline(0.0, color=INK, lw=0.9, zorder=1)
    _dots(axes, lines, questions, labels)
    axes.set_xlim(*limits)
    axes.locator_params(axis='x', nbins=6)
    axes.set_xlabel(f'first \N{MINUS SIGN} second ({score})')
    axes.grid(axis='x')
  return _picture(figure)


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
  with _panel(size, title) as (figure, axes):
    if scratch is not None:
      colour = METHODS[SCRATCH].colour
      axes.axvspan(*_bounds(scratch), color=colour, alpha=0.13, lw=0)
      axes.axvline(scratch['value'], color=colour, lw=1.2, ls=(0, (4, 2)))
    _dots(axes, lines, runs, labels, filled=True)
    axes.set_xlabel(score)
    axes.grid(axis='x')
  return _picture(figure)


def alpha_curve(
  lines: dict[str, list[tuple[float, results.Row]]],
  title: str,
  ylabel: str,
  limits,
) -> Plot:
  """A measure against HuBERT's alpha, one line a recipe: (alpha, row) pairs.

  `limits` are shared by all panels of a `ylabel`.
  """
  with _panel((2.25, 1.8), title) as (figure, axes):
    styles = series(list(lines))
    ticks = sorted({alpha for pairs in lines.values() for alpha, _ in pairs})
    for label, pairs in lines.items():
      pairs = sorted(pairs, key=lambda pair: pair[0])
      x = [alpha for alpha, _ in pairs]
      low, high = np.array([_bounds(row) for _, row in pairs]).T
      axes.fill_between(x, low, high, color=styles[label].colour, alpha=0.13,
                        lw=0)  # fmt: skip
      _line(axes, x, [row['value'] for _, row in pairs], styles[label])
    axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    axes.set_xlabel('\N{GREEK SMALL LETTER ALPHA}')
    axes.set_ylim(*limits)
    axes.set_ylabel(ylabel)
    axes.grid(axis='y')
  texts = {
    styles[label]: {alpha: tidy.with_interval(row) for alpha, row in pairs}
    for label, pairs in lines.items()
  }
  names = {tick: f'\N{GREEK SMALL LETTER ALPHA} = {tick:g}' for tick in ticks}
  return _plot(figure, axes, names, texts)


def quality_scatter(
  x_rows: list[results.Row], y_rows: list[results.Row], recipes, xlabel, ylabel
) -> Picture:
  """Clip leakage against what units say of motion, one numbered dot a recipe.

  Numbers are 1 + the position in `recipes`; the first is taken as the base.
  """
  x_of = {row['tags']['recipe']: row['value'] for row in x_rows}
  y_of = {row['tags']['recipe']: row['value'] for row in y_rows}
  with _panel((3.5, 2.7), '') as (figure, axes):
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
  return _picture(figure)


def training_curves(
  curves: dict[str, list[tuple]], styles: dict[str, Series], key: str, title
) -> Plot:
  """One logged quantity against the step, one line a run: (step, value) pairs.

  Over 60 points the raw curve goes faint behind an exponential average.
  """
  with _panel((3.5, 2.2), title) as (figure, axes):
    for run, points in curves.items():
      x, y = np.array(points, np.float64).T
      if len(x) > 60:
        axes.plot(x, y, color=styles[run].colour, alpha=0.22, lw=0.7)
        y = _smooth(y, len(y) / 60)
      axes.plot(x, y, color=styles[run].colour, ls=styles[run].dash, lw=1.4)
    axes.set_xlabel('step')
    axes.set_ylabel(key.replace('_', ' '))
    axes.grid(axis='y')
  steps = sorted({step for points in curves.values() for step, _ in points})
  picks = np.linspace(0, len(steps) - 1, min(len(steps), _HOVERED))
  names = {steps[round(i)]: f'step {steps[round(i)]:g}' for i in picks}
  texts = {
    styles[run]: {
      step: tidy.number(value, 4) for step, value in points if step in names
    }
    for run, points in curves.items()
  }
  return _plot(figure, axes, names, texts)


def bars(
  rows: list[results.Row], labels, xlabel: str, texts=None, colours=None
) -> Picture:
  """Horizontal bars with intervals, each with its number at the end."""
  values = [row['value'] for row in rows]
  texts = texts or [tidy.number(value) for value in values]
  colours = colours or [METHODS[FINETUNE].colour] * len(rows)
  with _panel((4.6, 0.55 + 0.25 * len(rows)), '') as (figure, axes):
    axes.barh(range(len(rows)), values, color=colours, height=0.62)
    reach = max([0.0, *(_bounds(row)[1] for row in rows)])
    for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
      low, high = _bounds(row)
      if high > low:
        axes.plot([low, high], [i, i], color=INK, lw=1.0)
      axes.annotate(text, (max(high, 0.0), i), xytext=(4, 0), va='center',
                    textcoords='offset points', size=7.5)  # fmt: skip
    axes.set_xlim(right=(reach or 1.0) * 1.2)
    axes.axvline(0.0, color='#9a9a9a', lw=0.7)
    _names_down(axes, labels)
    axes.set_xlabel(xlabel)
    axes.grid(axis='x')
  return _picture(figure)


def histogram(values, title: str, size=(1.7, 1.25)) -> Picture:
  """How often one quantity takes its values; a log axis for the counts."""
  with _panel(size, title) as (figure, axes):
    axes.hist(np.asarray(values), bins=40, color=METHODS[FINETUNE].colour)
    axes.set_yscale('log')
    axes.set_yticks([])
    axes.minorticks_off()
    axes.spines['left'].set_visible(False)
    axes.locator_params(axis='x', nbins=4)
    return _picture(figure)


def env_label(env: str) -> str:
  """An environment's name as figures print it."""
  return re.sub(r'-v\d+$', '', env).removesuffix('-MinAtar')


def span_of(rows: Sequence[results.Row], include=()):
  """Limits that hold every interval and the values in `include`."""
  ends = [bound for row in rows for bound in _bounds(row)] + list(include)
  low, high = min(ends), max(ends)
  pad = 0.06 * ((high - low) or 1.0)
  return low - pad, high + pad


@contextlib.contextmanager
def _panel(size, title):
  with mpl.rc_context(_STYLE):
    figure = Figure(figsize=size)
    axes = figure.add_subplot()
    if title:
      axes.set_title(title)
    yield figure, axes


def _picture(figure) -> Picture:
  with mpl.rc_context(_STYLE):
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', metadata={'Date': None})
  text = buffer.getvalue().replace("'DejaVu Sans'", FONTS)
  width, height = (round(96 * inches) for inches in figure.get_size_inches())
  return Picture('image/svg+xml', text.encode(), width, height)


def _plot(figure, axes, names, texts, scale=lambda x: x) -> Plot:
  """`names` {place: its name}, `texts` {style: {place: what is said there}}.

  `scale` is what places are drawn at.
  """
  picture = _picture(figure)  # Which lays the axes out.
  left, bottom, width, height = axes.get_position().bounds
  box = left, 1 - bottom - height, width, height
  about = {
    'box': [round(float(x), 4) for x in box],
    'x': [round(float(x), 4) for x in axes.get_xlim()],
    'at': [round(float(scale(x)), 4) for x in names],
    'names': list(names.values()),
    'lines': [
      [style.label, style.colour, [own.get(x) for x in names]]
      for style, own in texts.items()
    ],
  }
  return Plot(picture, about)


def _curve(rows):
  """log2 of demonstrations and scores, in that order."""
  rows = sorted(rows, key=lambda row: row['tags']['demos'])
  x = np.log2([row['tags']['demos'] for row in rows])
  return x, [row['value'] for row in rows]


def _line(axes, x, y, style: Series, width=1.5):
  axes.plot(x, y, color=style.colour, ls=style.dash, marker=style.marker,
            mec='white', mew=0.6, lw=width)  # fmt: skip


def _dot(axes, row, y, style: Series, filled: bool | None = None):
  """A value with its interval on row y; hollow where it does not decide."""
  low, high = _bounds(row)
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


def _bounds(row) -> tuple[float, float]:
  return tuple(row.get('interval') or (row['value'], row['value']))


def _smooth(y, window):
  """Exponential average without a start-up bias."""
  decay, total, weight, out = 1 - 1 / max(window, 1.0), 0.0, 0.0, []
  for value in y:
    total = decay * total + (1 - decay) * value
    weight = decay * weight + (1 - decay)
    out.append(total / weight)
  return np.array(out)
