"""The numbered tables of a page as Markdown, to stand in a README."""

import html
import html.parser
import re
from collections.abc import Sequence


def tables(page_html: str, origin: str) -> str:
  """All numbered tables of a page, each beneath its caption.

  `origin` is the line that says what they were made with. Intervals stand
  behind their numbers, a group of columns before the names in it.
  """
  reader = _Reader()
  reader.feed(page_html)
  return '\n\n'.join([_plain(origin), *reader.tables]) + '\n'


# As numbers of a page begin, or stand where there is none.
_NUMBER = re.compile(r'(\*\*)?(&[lg]t; |[≤≥] )?[+−-]?\d|–?$')


class _Reader(html.parser.HTMLParser):
  """Tables as they end; those that fold, and are not numbered, are left out."""

  def __init__(self):
    super().__init__()
    self.tables: list[str] = []
    self._rows, self._heads = [], 0
    self._text: list[str] | None = None  # Of the cell or caption being read.
    self._span, self._is_best = 1, False

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    if tag == 'table':
      self._rows, self._heads = [], 0
    elif tag == 'tr':
      self._rows.append([])
    elif tag in ('th', 'td', 'figcaption'):
      self._text, self._span = [], int(attrs.get('colspan') or 1)
      self._is_best = 'best' in (attrs.get('class') or '').split()
    elif tag == 'span' and self._text is not None:
      self._text.append(' ')  # An interval, beneath its number.

  def handle_endtag(self, tag):
    if tag == 'span' and self._text is not None:
      self._text.append(' ')
    elif tag == 'thead':
      self._heads = len(self._rows)
    elif tag in ('th', 'td'):
      text = self._words().replace('|', '\\|')
      text = f'**{text}**' if text and self._is_best else text
      self._rows[-1] += [text, *[''] * (self._span - 1)]
    elif tag == 'figcaption':
      caption = self._words()
      if caption.startswith('Table ') and self._rows:
        self.tables.append(f'{caption}\n\n{_table(self._rows, self._heads)}')
      self._rows = []

  def handle_data(self, data):
    if self._text is not None:
      self._text.append(data)

  def _words(self):
    text, self._text = ' '.join(''.join(self._text).split()), None
    return _plain(text)


def _plain(text):
  """Text that no reader of Markdown takes for HTML."""
  return html.escape(text, quote=False)


def _table(rows: Sequence[Sequence[str]], heads: int) -> str:
  """Lines of a table, its rows of heads as one."""
  *above, head = rows[:heads]
  for group in above:
    names = _spread(group)
    head = [f'{a} {b}'.strip() for a, b in zip(names, head, strict=True)]
  width = max(map(len, (head, *rows[heads:])))
  sides = ['---', *(_side(i, rows[heads:]) for i in range(1, width))]
  lines = [head, sides, *rows[heads:]]
  return '\n'.join(
    f'| {" | ".join([*line, *[""] * (width - len(line))])} |' for line in lines
  )


def _side(column, rows):
  """Numbers stand to the right."""
  cells = [row[column] for row in rows if column < len(row)]
  return '--:' if all(map(_NUMBER.match, cells)) else '---'


def _spread(group):
  """A name in every column that it is above."""
  names, last = [], ''
  for name in group:
    last = name or last
    names.append(last)
  return names
