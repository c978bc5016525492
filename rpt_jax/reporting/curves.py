"""Curves from tidy rows: pictures of them, and what the pointer finds there."""

from typing import NamedTuple

import numpy as np

from rpt_jax import results
from rpt_jax.reporting import plots, tidy
from rpt_jax.reporting.pictures import Picture

_HOVERED = 60  # Places of a learning curve that the pointer can ask about.


class Plot(NamedTuple):
  """Curves: their picture, and what is said where the pointer is over it.

  about: 'box' (left, top, width and height of the axes, shares of the
    picture), 'x' (its ends), 'at' (places on it), 'names' (of those places) and
    'lines' [label, colour, [text or None at each place]].
  """

  picture: Picture
  about: dict


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
  with plots.panel(size, title) as (figure, axes):
    for level in (0.0, 1.0):
      axes.axhline(level, color='#b8b8b8', lw=0.8, zorder=0)
    for eyes, rows in controls.items():
      plots.line(axes, *_curve(rows), plots.control(eyes), width=1.1)
    for method, rows in rows_of.items():
      rows = sorted(rows, key=lambda row: row['tags']['demos'])
      style, (x, y) = plots.METHODS[method], _curve(rows)
      low, high = np.array([plots.bounds(row) for row in rows]).T
      axes.fill_between(x, low, high, color=style.colour, alpha=0.15, lw=0)
      plots.line(axes, x, y, style)
    demos = sorted({
      row['tags']['demos'] for rows in rows_of.values() for row in rows
    })  # fmt: skip
    axes.set_xticks(np.log2(demos), [str(n) for n in demos])
    axes.set_xlim(np.log2(demos[0]) - 0.3, np.log2(demos[-1]) + 0.3)
    axes.set_ylim(*limits)
    axes.set_xlabel('demonstrations')
    axes.grid(axis='y')
  lines = [(plots.METHODS[method], rows) for method, rows in rows_of.items()]
  lines += [(plots.control(eyes), rows) for eyes, rows in controls.items()]
  texts = {
    style: {r['tags']['demos']: tidy.with_interval(r) for r in rows}
    for style, rows in lines
  }
  names = {n: tidy.demonstrations(n) for n in demos}
  return _plot(figure, axes, names, texts, np.log2)


def alpha_curve(
  lines: dict[str, list[tuple[float, results.Row]]],
  title: str,
  ylabel: str,
  limits,
) -> Plot:
  """A measure against HuBERT's alpha, one line a recipe: (alpha, row) pairs.

  `limits` are shared by all panels of a `ylabel`.
  """
  with plots.panel((2.25, 1.8), title) as (figure, axes):
    styles = plots.series(list(lines))
    ticks = sorted({alpha for pairs in lines.values() for alpha, _ in pairs})
    for label, pairs in lines.items():
      pairs = sorted(pairs, key=lambda pair: pair[0])
      x = [alpha for alpha, _ in pairs]
      low, high = np.array([plots.bounds(row) for _, row in pairs]).T
      axes.fill_between(x, low, high, color=styles[label].colour, alpha=0.13,
                        lw=0)  # fmt: skip
      plots.line(axes, x, [row['value'] for _, row in pairs], styles[label])
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


def training_curves(
  curves: dict[str, list[tuple]],
  styles: dict[str, plots.Series],
  key: str,
  title,
) -> Plot:
  """One logged quantity against the step, one line a run: (step, value) pairs.

  Over 60 points the raw curve goes faint behind an exponential average.
  """
  with plots.panel((3.5, 2.2), title) as (figure, axes):
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


def _plot(figure, axes, names, texts, scale=lambda x: x) -> Plot:
  """`names` {place: its name}, `texts` {style: {place: what is said there}}.

  `scale` is what places are drawn at.
  """
  picture = plots.picture(figure)  # Which lays the axes out.
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


def _smooth(y, window):
  """Exponential average without a start-up bias."""
  decay, total, weight, out = 1 - 1 / max(window, 1.0), 0.0, 0.0, []
  for value in y:
    total = decay * total + (1 - decay) * value
    weight = decay * weight + (1 - decay)
    out.append(total / weight)
  return np.array(out)
