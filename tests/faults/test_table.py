"""README.md says of every fault what the tests show."""

from rpt_jax import experiments, settings
from rpt_jax.stages import plan
from tests.commands import ROOT
from tests.faults import __main__ as faults
from tests.fuzz import stages


def test_every_fault_has_one_test():
  numbers = [number for number, *_ in faults.rows()]
  assert numbers == [n for n in range(1, 45) if n != 16]  # It was never built.


def test_the_readme_has_the_table():
  """If not: put what `python -m tests.faults` prints between its markers."""
  readme = (faults.FOLDER / 'README.md').read_text()
  _, _, rest = readme.partition('<!-- faults -->\n')
  found, _, _ = rest.partition('\n<!-- /faults -->')
  assert found == faults.table()


def test_every_stage_is_ended_and_finds_a_full_disk():
  """`python -m tests.fuzz stages --long` walks through all that there are."""
  paths = (ROOT / 'rpt_jax/stages').glob('*.py')
  verbs = {p.stem for p in paths if '\ndef run(config, inputs' in p.read_text()}
  walked = set()
  for config, only in stages.CONFIGS.items():
    if config == 'rpt':  # It wants Meta-World, and has no stage of its own.
      continue
    path = f'{config}.py' if '/' in config else config
    experiment = settings.read(
      settings.Experiment, experiments.load(f'{path}:quicktest')
    )
    every = {s.name.rpartition('/')[2]: s.verb for s in plan.plan(experiment)}
    assert set(only) <= set(every), config
    walked |= {every[name] for name in only or every}
  assert verbs == walked and len(verbs) > 10
