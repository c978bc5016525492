"""README.md says of every fault what the tests show."""

from tests.faults import __main__ as faults


def test_every_fault_has_one_test():
  numbers = [number for number, *_ in faults.rows()]
  assert numbers == [n for n in range(1, 42) if n != 16]  # It was never built.


def test_the_readme_has_the_table():
  """If not: put what `python -m tests.faults` prints between its markers."""
  readme = (faults.FOLDER / 'README.md').read_text()
  _, _, rest = readme.partition('<!-- faults -->\n')
  found, _, _ = rest.partition('\n<!-- /faults -->')
  assert found == faults.table()
