"""Results of configs/README.md: each names what it was made of, as it is."""

import re
import subprocess

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


HAND = """
## Before

Prose stays.

## Mine

<!-- Made at 1234abc of
a.py@1111111 -->

> Since, 2026-01-02 (`a.py@4444444`): slower, and
> the same numbers.

A verdict stays.

<!-- Tables of mine-quicktest -->
| k | old |
|---|--:|
| 1 | 0.2 |
<!-- End of tables -->

So does this.

## After
"""
NEW = '| k | new |\n| --- | --: |\n| 1 | 0.3 [0.2, 0.4] |'


@pytest.fixture
def clone(tmp_path, monkeypatch):
  """A repository with one file; a function that runs git in it."""

  def git(*arguments):
    who = '-c', 'user.name=a', '-c', 'user.email=b'
    command = ['git', '-C', str(tmp_path), *who, *arguments]
    return subprocess.run(
      command, check=True, capture_output=True, text=True
    ).stdout.strip()

  (tmp_path / 'a.py').write_text('a = 1\n')
  git('init', '-q')
  git('add', '.')
  git('commit', '-q', '-m', 'one')
  monkeypatch.setattr(tables, 'ROOT', tmp_path)
  return git


def a_run(folder, revision):
  command = 'python -m rpt_jax.main --config=configs/mine.py:quicktest --a=b'
  line = f'Made at {revision} by `{command}` on x86_64, 2 cores: jax 0.10.'
  (folder / 'report').mkdir(parents=True)
  (folder / 'report/tables.md').write_text(f'{line}\n\n{NEW}\n')
  return folder


def test_tables_of_a_run_are_put_in_the_place_of_those_before(clone, tmp_path):
  revision = clone('rev-parse', '--short', 'HEAD')
  workdir = a_run(tmp_path / 'run', revision)
  page = tables.paste(HAND, workdir)
  assert f'cores: jax 0.10.\n\n{NEW}\n<!-- End' in page and 'old' not in page
  for prose in (
    'Prose stays.',
    'A verdict stays.',
    'So does this.',
    '## After',
  ):
    assert prose in page
  (mine,) = tables.sections(page)
  assert mine.title == 'Mine' and mine.revision == revision and not mine.since
  assert tables.changes(mine) == {}
  assert tables.at_revision(revision, ['a.py']) == mine.made
  assert tables.paste(page, workdir) == page
  with pytest.raises(ValueError, match='Tables of mine-quicktest'):
    tables.paste(PAGE, workdir)


def test_tables_of_other_code_are_refused(clone, tmp_path):
  revision = clone('rev-parse', '--short', 'HEAD')
  workdir = a_run(tmp_path / 'run', revision)
  dirty = a_run(tmp_path / 'dirty', f'{revision}-dirty')
  with pytest.raises(ValueError, match=r"made at '\w+-dirty', expected a rev"):
    tables.paste(HAND, dirty)
  with pytest.raises(ValueError, match='no revision 1234567'):
    tables.paste(HAND, a_run(tmp_path / 'other', '1234567'))
  (tmp_path / 'a.py').write_text('a = 2\n')
  for _ in ('not committed', 'committed'):
    with pytest.raises(ValueError, match=r"since then \['a.py'\] changed"):
      tables.paste(HAND, workdir)
    clone('commit', '-q', '-a', '-m', 'two', '--allow-empty')


def test_a_revision_that_is_not_there_is_no_digest():
  assert tables.at_revision('0' * 40, ['setup.py']) is None
