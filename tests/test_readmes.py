"""The pages beside the code: the first is short, and links lead somewhere."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ('.', 'configs', 'launch', 'tests/benchmarks', 'tests/faults')
PAGES = [ROOT / folder / 'README.md' for folder in FOLDERS]
PAGES.append(ROOT / 'CONTRIBUTING.md')


def test_the_first_page_is_short():
  assert len((ROOT / 'README.md').read_text().splitlines()) <= 300


@pytest.mark.parametrize(
  'page', PAGES, ids=lambda p: f'{p.parent.name}-{p.stem}'
)
def test_links_lead_somewhere(page):
  for target in re.findall(r'\]\(([^)]+)\)', page.read_text()):
    path, _, anchor = target.partition('#')
    linked = page.parent / path if path else page
    assert linked.exists(), target
    if anchor:
      assert anchor in _anchors(linked), target


def _anchors(page):
  """What its headings are called in links."""
  headings = re.findall(r'(?m)^#+ (.*)$', page.read_text())
  return {
    re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in headings
  }
