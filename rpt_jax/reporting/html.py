"""Pieces of the one self-contained page: text in, escaped HTML out.

Every function takes plain text and escapes it; only arguments named `*_html`
are HTML already. Figures and tables are numbered in the order they are made.
"""

import base64
import hashlib
import html
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rpt_jax.reporting import style, tidy
from rpt_jax.reporting.curves import Plot
from rpt_jax.reporting.pictures import Picture
from rpt_jax.reporting.plots import Series

escape = html.escape
_TEXT = ' class="text"'
_MARKERS = {
  'o': '<circle cx="14" cy="7" r="3.6"/>',
  's': '<path d="M10.6 3.6h6.8v6.8h-6.8z"/>',
  '^': '<path d="M14 2.6l4.2 7.6H9.8z"/>',
  'v': '<path d="M14 11.4L9.8 3.8h8.4z"/>',
  'D': '<path d="M14 2.4L18.6 7 14 11.6 9.4 7z"/>',
  'P': '<path d="M12.5 3h3v2.5H18v3h-2.5V11h-3V8.5H10v-3h2.5z"/>',
  'X': '<path d="M10.5 3.5l7 7m0-7l-7 7" stroke-width="2.4"/>',
  '*': '<path d="M14 2l1.5 3.4 3.6.4-2.7 2.4.8 3.6L14 10l-3.2 1.8.8-3.6'
  '-2.7-2.4 3.6-.4z"/>',
}


class Document:
  """Collects sections; numbers figures and tables as they are made."""

  def __init__(self):
    self._sections: list[tuple[str, str, str]] = []
    self._scripts = ['dom.js', 'page.js']
    self._figures = 0
    self._tables = 0

  def section(self, anchor: str, title: str, parts_html: Sequence[str]):
    """Adds a section unless all its parts are empty."""
    body = '\n'.join(part for part in parts_html if part)
    if body:
      self._sections.append((anchor, title, body))

  def script(self, name: str):
    """Has a file of this folder run in the page."""
    self._scripts = list(dict.fromkeys([*self._scripts, name]))

  def figure(
    self, body_html: str, caption: str, grid: str = 'one', data_html: str = ''
  ) -> str:
    """A panel with a numbered caption below, and the data behind it.

    `grid`: 'small', 'medium', 'wide' or 'one', the width of its columns. The
    caption's first sentence is set in bold.
    """
    self._figures += 1
    label = f'Figure {self._figures}.'
    return (
      f'<figure><div class="panel"><div class="grid {grid}">{body_html}</div>'
      f'</div>{_caption(label, caption)}{data_html}</figure>'
    )

  def table(self, table_html: str, caption: str) -> str:
    """A table in a box of its own that scrolls sideways, numbered."""
    self._tables += 1
    label = f'Table {self._tables}.'
    return (
      f'<figure><div class="scroll">{table_html}</div>'
      f'{_caption(label, caption)}</figure>'
    )

  def render(self, title: str, subtitle: str, footer: str) -> str:
    """The whole page."""
    links = ''.join(
      f'<li><a href="#{escape(anchor)}">{escape(name)}</a></li>'
      for anchor, name, _ in self._sections
    )
    sections = '\n'.join(
      f'<section id="{escape(anchor)}"><h2><span class="no">{i}</span>'
      f'{escape(name)}</h2>\n{body}\n</section>'
      for i, (anchor, name, body) in enumerate(self._sections, 1)
    )
    files = importlib.resources.files(__package__)
    scripts = [(files / name).read_text('utf-8') for name in self._scripts]
    running = '\n'.join(f'<script>{text}</script>' for text in scripts)
    return (
      '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
      '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
      '<meta name="color-scheme" content="light dark">\n'
      f'<meta http-equiv="Content-Security-Policy" '
      f'content="{_policy(scripts)}">\n'
      f'<title>{escape(title)}</title>\n<style>{style.CSS}</style>\n</head>\n'
      '<body>\n<a class="skip" href="#main">To the content</a>\n'
      f'<div class="page">\n<header><h1>{escape(title)}</h1>\n'
      f'<p class="subtitle">{escape(subtitle)}</p></header>\n'
      f'<nav aria-label="Contents"><ol>{links}</ol></nav>\n'
      f'<main id="main">\n{sections}\n</main>\n'
      f'<footer>{escape(footer)} <span class="live">Keys: j and k lead from '
      'section to section, Tab and the arrows through a figure.</span>'
      '</footer>\n'
      f'</div>\n{running}\n</body>\n</html>\n'
    )


def _policy(scripts):
  """Nothing is loaded from elsewhere, and no script runs but these."""
  hashes = (hashlib.sha256(text.encode()).digest() for text in scripts)
  allowed = ' '.join(
    f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes
  )
  return (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    f'script-src {allowed}'
  )


def data(name: str, value: Any) -> str:
  """A block of JSON that a script of the page reads by its id."""
  text = json.dumps(value, separators=(',', ':'), allow_nan=False)
  for character in '<>&':  # None of them may end the element.
    text = text.replace(character, f'\\u{ord(character):04x}')
  return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def image(picture: Picture, alt: str, kind: str = '') -> str:
  """A picture inside the page as a data URI; `kind` 'plot' fills its column."""
  kind = f' class="{kind}"' if kind else ''
  return (
    f'<img{kind} src="{picture.uri}" width="{picture.width}" '
    f'height="{picture.height}" alt="{escape(alt)}">'
  )


def plot(drawn: Plot, alt: str, kind: str = '') -> str:
  """Curves, with their numbers for the pointer; `kind` 'first' is larger."""
  about = escape(json.dumps(drawn.about, separators=(',', ':')))
  return (
    f'<div class="hover {kind}" data-plot="{about}">'
    f'{image(drawn.picture, alt, "plot")}</div>'
  )


def tile(picture: Picture, alt: str, under_html: str) -> str:
  """A picture with a line of text under it."""
  return (
    f'<div class="tile">{image(picture, alt)}'
    f'<span class="under">{under_html}</span></div>'
  )


def legend(entries: Sequence[Series]) -> str:
  """A line of swatches: dash, marker (none where it is '') and name."""
  items = []
  for entry in entries:
    dash = '' if entry.dash == '-' else ' stroke-dasharray="5 3"'
    marker = _MARKERS.get(entry.marker, '')
    items.append(
      f'<li><svg width="28" height="14" aria-hidden="true" '
      f'stroke="{entry.colour}" fill="{entry.colour}"><path d="M0 7h28" '
      f'stroke-width="2"{dash}/>{marker}</svg>{escape(entry.label)}</li>'
    )
  return f'<ul class="legend">{"".join(items)}</ul>'


def measured(row: Mapping | None, digits: int = 2) -> str:
  """The cell of a row: its value and its interval, a dash where it is None."""
  row = row or {'value': None}
  span = tidy.span(row.get('interval'), digits)
  return cell(tidy.number(row['value'], digits), span)


def cell(text: str, interval: str = '', best: bool = False, tone='') -> str:
  """A table cell: a number, its interval in small under it."""
  kind = ' '.join(k for k in ('best' if best else '', tone) if k)
  open_tag = f'<td class="{kind}">' if kind else '<td>'
  below = f'<span class="interval">{escape(interval)}</span>'
  return f'{open_tag}{escape(text)}{below if interval else ""}</td>'


def table(
  head_html: Sequence[str],
  rows_html: Sequence[str],
  groups_html: str = '',
  text: Sequence[str] = (),
) -> str:
  """A table of ready cells; `groups_html` is a row above the head.

  Heads in `text` stand to the left, as the cells of their columns do.
  """
  head = ''.join(
    f'<th scope="col"{_TEXT if name in text else ""}>{name}</th>'
    for name in head_html
  )
  body = '\n'.join(
    row if row.startswith('<tr') else f'<tr>{row}</tr>' for row in rows_html
  )
  above = f'<tr class="group">{groups_html}</tr>' if groups_html else ''
  return (
    f'<table><thead>{above}<tr>{head}</tr></thead>\n'
    f'<tbody>{body}</tbody></table>'
  )


def paragraph(text: str) -> str:
  """A paragraph."""
  return f'<p>{escape(text)}</p>'


def details(summary: str, body_html: str, kind: str = '') -> str:
  """A block that folds."""
  kind = f' class="{kind}"' if kind else ''
  return (
    f'<details{kind}><summary>{escape(summary)}</summary>'
    f'<div>{body_html}</div></details>'
  )


def pre(text: str) -> str:
  """Text as it is, line by line."""
  return f'<pre>{escape(text)}</pre>'


def _caption(label: str, caption: str) -> str:
  first, stop, rest = caption.partition('. ')
  return (
    f'<figcaption><b>{label} {escape(first)}{stop.strip()}</b> '
    f'{escape(rest)}</figcaption>'
  )
