"""A sample of what `python -m tests.fuzz` tries, the same every time."""

from tests.fuzz import files, settings


def test_settings_that_cannot_be_are_refused_by_field():
  outcome = settings.run(0.03, seed=1)
  assert not outcome.wrong, outcome.summary()
  assert outcome.count > 1000
  assert len(outcome.accepted) < 0.05 * outcome.count


def test_damaged_files_are_named(tmp_path):
  outcome = files.run(200, seed=3, folder=tmp_path)
  assert not outcome.wrong, outcome.summary()
  assert outcome.ends.total() == 200
