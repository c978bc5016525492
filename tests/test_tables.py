"""Results of configs/README.md: each names what it was made of, as it is."""

import re

import pytest

from tests import tables

SECTIONS = tables.sections(tables.PAGE.read_text())
PAGE = """
## Fits

<!-- Made at 1234abc of
a.py@1111111
b@2222222 -->

> Since, 2026-01-02 (`b@3333333`
> `a.py@4444444`): slower, and
> the same numbers.

| k | loss |
|--:|--:|
| 1 | 0.2 |

## Words

| k | kind |
|---|---|
| 1 | 2 |
"""


@pytest.fixture(params=SECTIONS, ids=lambda section: section.title)
def section(request):
  return request.param


def test_it_names_its_revision_and_its_files(section):
  assert section.revision, f'{section.title}: see tests/tables.py'
  assert section.made
  missing = [p for p in section.made if not (tables.ROOT / p).exists()]
  assert not missing, f'{section.title}: there is no {missing} any more'
  strangers = section.judged.keys() - section.made.keys()
  assert not strangers, f'{section.title}: made of no {strangers}'


def test_it_says_what_changed_since(section):
  changed = tables.changes(section)
  assert not changed, (
    f'{section.title}: changed since {section.revision}: {changed}; make its '
    'numbers again, or say what the change means for them (python -m '
    'tests.tables prints the line)'
  )


def test_its_files_were_so_at_its_revision(section):
  made = tables.at_revision(section.revision, list(section.made))
  if made is None:
    pytest.skip(
      f'this clone has no {section.revision} (it is shallow, or no clone): '
      'what the files were then cannot be looked up'
    )
  assert made == section.made


def test_a_page_is_read():
  (fits,) = tables.sections(PAGE)
  assert fits.title == 'Fits' and fits.revision == '1234abc'
  assert fits.made == {'a.py': '1111111', 'b': '2222222'}
  assert fits.judged == {'a.py': '4444444', 'b': '3333333'}
  assert fits.since[0][::2] == ('2026-01-02', 'slower, and')
  bare = re.sub(r'(?s)<!--.*?-->', '', PAGE)
  assert tables.sections(bare)[0].revision == ''


def test_a_digest_is_of_what_runs():
  source = 'def f(x):\n  """One."""\n  y = x + 1  # More.\n  return y\n'
  alike = (
    source.replace('One', 'Two').replace('y', 'more').replace('  # More.', '')
  )
  for other, same in (
    (alike, True),
    (source.replace('1', '2'), False),
    (source.replace('def f', 'def g'), False),
    (source.replace('f(x)', 'f(x, z=1)'), False),
    (source.replace('x', 'z'), False),  # Callers may name it.
  ):
    digests = {tables.digest({'a.py': s.encode()}) for s in (source, other)}
    assert (len(digests) == 1) == same
  assert tables.digest({}) == tables.ABSENT
  nested = 'def _f(x):\n  def g(y):\n    return x - y\n  return g\n'
  own = tables.meaning(nested)
  assert tables.meaning(nested.replace('x', 'z').replace('y', 'x')) == own
  assert tables.meaning(nested.replace('x - y', 'y - x')) != own


def test_a_revision_that_is_not_there_is_no_digest():
  assert tables.at_revision('0' * 40, ['setup.py']) is None
