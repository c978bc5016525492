"""README.md says of every fault what the tests show."""

from tests.faults import __main__ as faults


def test_every_fault_has_one_test():
  assert [number for number, *_ in faults.rows()] == list(range(1, 31))


def test_the_readme_has_the_table():
  """If not: put what `python -m tests.faults` prints between its markers."""
  readme = (faults.FOLDER / 'README.md').read_text()
  _, _, rest = readme.partition('<!-- faults -->\n')
  found, _, _ = rest.partition('\n<!-- /faults -->')
  assert found == faults.table()
