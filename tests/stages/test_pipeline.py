"""Artifacts: what is skipped, what runs again, what is refused."""

import dataclasses
import json
import os
import pathlib
import shutil

import pytest

from configs import hubert_units
from rpt_jax import files, results, settings
from rpt_jax.learning import checks
from rpt_jax.stages import pipeline
from rpt_jax.stages.plan import Stage
from rpt_jax.stages.plan import plan as real_plan
from rpt_jax.training import owned

CALLS = []


@dataclasses.dataclass(frozen=True)
class Number:
  """The settings of one stage."""

  value: int = settings.key(0, 'what it adds')
  unit: int = settings.key(1, 'what that is divided by')
  workers: int = settings.key(1, 'how it is divided', how=True)


@dataclasses.dataclass(frozen=True)
class Config:
  """The values of all stages."""

  a: int = settings.key(10, 'of a')
  b: int = settings.key(2, 'of b')
  c: int = settings.key(3, 'of c')
  d: int = settings.key(4, 'of d')
  workers: int = settings.key(1, 'of all', how=True)
  precision: str = settings.key('auto', 'of products', how=True)


class Fake(Stage):
  """A stage that writes the sum of its setting and its inputs' numbers."""

  def run(self, inputs, directory):
    CALLS.append(self.name)
    numbers = [int((p / 'number').read_text()) for p in inputs.values()]
    total = self.config.value // self.config.unit + sum(numbers)
    (directory / 'number').write_text(str(total))
    return [results.row(self.name, 'number', total)]


@pytest.fixture(autouse=True)
def plan(monkeypatch):
  """a -> b -> d, a -> c -> d; `a` rounds its value down to tens."""
  CALLS.clear()

  def plan(config):
    def number(name):
      unit = 10 if name == 'a' else 1
      return Number(getattr(config, name), unit, config.workers)

    edges = {'a': (), 'b': ('a',), 'c': ('a',), 'd': ('b', 'c')}
    return tuple(
      Fake(n, n, number(n), {each: each for each in edges[n]}) for n in edges
    )

  monkeypatch.setattr(pipeline, 'plan', plan)


def run(workdir, only=(), overwrite=False, **changes):
  CALLS.clear()
  rows = pipeline.run(Config(**changes), workdir, only, overwrite)
  return ''.join(CALLS), rows


def test_a_second_run_skips_everything(tmp_path):
  assert run(tmp_path)[0] == 'abcd'
  called, rows = run(tmp_path)
  assert called == ''
  numbers = [r['value'] for r in rows if r['name'] == 'number']
  assert numbers == [1, 3, 4, 11]


def test_a_changed_setting_runs_what_depends_on_it(tmp_path):
  run(tmp_path)
  assert run(tmp_path, b=5)[0] == 'bd'
  assert run(tmp_path, b=5, a=20)[0] == 'abcd'


def test_the_same_output_stops_the_wave(tmp_path):
  run(tmp_path)
  assert run(tmp_path, a=12)[0] == 'a'


def test_altered_or_missing_files_run_again(tmp_path):
  run(tmp_path)
  (tmp_path / 'c' / 'number').write_text('99')
  assert run(tmp_path)[0] == 'c'
  (tmp_path / 'b' / 'number').unlink()
  assert run(tmp_path)[0] == 'b'


def test_only_files_of_another_time_are_hashed_again(tmp_path, monkeypatch):
  """A second start reads none of them; a copy of a workdir all, once."""
  run(tmp_path / 'one')
  hashed = []

  def sha256(path, own=files.sha256):
    hashed.append(path)
    return own(path)

  monkeypatch.setattr(files, 'sha256', sha256)
  assert run(tmp_path / 'one')[0] == '' and not hashed
  shutil.copytree(tmp_path / 'one', tmp_path / 'two', copy_function=shutil.copy)
  assert run(tmp_path / 'two')[0] == '' and len(hashed) == 4
  hashed.clear()
  assert run(tmp_path / 'two')[0] == '' and not hashed
  os.utime(tmp_path / 'two/c/number')
  assert run(tmp_path / 'two')[0] == '' and len(hashed) == 1


def test_a_killed_stage_finds_its_directory_again(tmp_path):
  run(tmp_path)
  (tmp_path / 'd' / 'artifact.json').unlink()
  (tmp_path / 'd' / 'checkpoint').write_text('half')
  assert run(tmp_path)[0] == 'd'
  assert (tmp_path / 'd' / 'checkpoint').exists()


def test_what_a_killed_stage_half_wrote_is_removed(tmp_path):
  run(tmp_path)
  content = json.loads((tmp_path / 'd' / 'artifact.json').read_text())[
    'content'
  ]
  (tmp_path / 'd' / 'artifact.json').unlink()
  (tmp_path / 'd' / 'number.partial').write_text('half')
  (tmp_path / 'd' / '.data.partial-7').mkdir()
  run(tmp_path)
  assert sorted(p.name for p in (tmp_path / 'd').iterdir()) == [
    'artifact.json',
    'number',
    'wanted.json',
  ]
  again = json.loads((tmp_path / 'd' / 'artifact.json').read_text())['content']
  assert again == content


def test_a_changed_setting_empties_the_directory(tmp_path):
  run(tmp_path)
  (tmp_path / 'd' / 'artifact.json').unlink()
  (tmp_path / 'd' / 'checkpoint').write_text('half')
  assert run(tmp_path, d=7)[0] == 'd'
  assert not (tmp_path / 'd' / 'checkpoint').exists()


def test_only_some_stages(tmp_path):
  assert run(tmp_path, only=('a', 'b'))[0] == 'ab'
  with pytest.raises(ValueError, match="'c' has no artifact"):
    run(tmp_path, only=('d',))
  with pytest.raises(ValueError, match='unknown'):
    run(tmp_path, only=('e',))


def test_overwrite_starts_anew(tmp_path):
  run(tmp_path)
  assert run(tmp_path, overwrite=True)[0] == 'abcd'


def test_results_hold_rows_and_costs_of_all_stages(tmp_path):
  run(tmp_path)
  lines = (tmp_path / 'results.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  assert {r['stage'] for r in rows} == set('abcd')
  for row in rows:
    assert set(row) == {'stage', 'name', 'value', 'interval', 'seeds', 'tags'}
  costs = [r['name'] for r in rows if r['tags'].get('kind') == 'cost']
  assert costs.count('seconds') == costs.count('peak_memory_gib') == 4


def test_costs_do_not_change_what_dependents_see(tmp_path):
  first, second = tmp_path / 'one', tmp_path / 'two'
  for workdir in (first, second):
    run(workdir)
  contents = [
    [json.loads(pathlib.Path(w, s, 'artifact.json').read_text())['content']]
    for s in 'abcd'
    for w in (first, second)
  ]
  assert contents[::2] == contents[1::2]


def test_a_setting_of_how_makes_nothing_again(tmp_path):
  run(tmp_path)
  assert run(tmp_path, workers=2)[0] == ''
  written = json.loads((tmp_path / 'config.json').read_text())
  assert written['workers'] == 2


def test_settings_of_how_are_no_settings_of_a_stage():
  def stages(**changes):
    config = hubert_units.get_config('quicktest')
    config.pipelines, config.finetune.seeds = 1, 2
    config.encode.update(changes)
    plan = real_plan(checks.experiment(config))
    return {stage.name: stage.settings for stage in plan}

  before = stages()
  assert stages(workers=1, ahead=3, error_budget=0.5) == before
  changed = stages(output='mean_patch')
  differ = {name for name in before if changed[name] != before[name]}
  assert differ == {'encode', 'evaluate', 'compare', 'report'}
  assert before['encode']['encode']['output'] == 'patches'


@pytest.fixture
def reported(monkeypatch):
  """Its stages with the page of all; a config that the folder has."""
  stages = pipeline.plan

  class Page(Fake):
    """Says what it was made from."""

    def run(self, inputs, directory):
      CALLS.append(self.name)
      numbers = [(path / 'number').read_text() for path in inputs.values()]
      page = directory / 'report.html'
      page.write_text(f'{owned._PAGE.decode()}{numbers}')
      return []

  def plan(config):
    every = {stage.name: stage.name for stage in stages(config)}
    return (*stages(config), Page('report', 'report', Number(), every))

  monkeypatch.setattr(pipeline, 'plan', plan)
  monkeypatch.setattr(pipeline, 'Experiment', Config)


def written(workdir):
  """{file: its bytes} of all but the page."""
  return {
    path: path.read_bytes()
    for path in sorted(workdir.rglob('*'))
    if path.is_file() and 'report' not in str(path.relative_to(workdir))
  }


def test_a_page_is_made_again_and_nothing_else(reported, tmp_path):
  run(tmp_path)
  before = written(tmp_path)
  page = tmp_path / 'report.html'
  for path in (page, tmp_path / 'report' / 'report.html'):
    path.write_text(path.read_text().replace('11', '12'))
  CALLS.clear()
  assert pipeline.report_again(tmp_path) == page
  assert CALLS == ['report'] and written(tmp_path) == before
  assert page.read_text().endswith("<h1>['1', '3', '4', '11']")
  assert run(tmp_path)[0] == ''  # It is as the run would make it.


def test_a_page_of_what_is_not_whole_is_refused(reported, tmp_path):
  run(tmp_path)
  page = (tmp_path / 'report' / 'report.html').read_bytes()
  saved = json.loads((tmp_path / 'config.json').read_text())
  (tmp_path / 'config.json').write_text(json.dumps(saved | {'b': 9}))
  with pytest.raises(ValueError, match=r'of other settings.* than now: b\);'):
    pipeline.report_again(tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps(saved))
  for name in ('b', 'd'):
    (tmp_path / name / 'artifact.json').unlink()
  origin = json.loads((tmp_path / 'run.json').read_text())
  command = 'a/main.py --config=x --stages=a,b --overwrite --workdir=y'
  files.write_json(tmp_path / 'run.json', origin | {'command': command})
  with pytest.raises(ValueError) as error:
    pipeline.report_again(tmp_path)
  assert str(error.value).endswith(
    '(stages without an artifact: b, d); run first: python -m rpt_jax.main '
    '--config=x --workdir=y'
  )
  assert (tmp_path / 'report' / 'report.html').read_bytes() == page
  with pytest.raises(ValueError, match='found no run'):
    pipeline.report_again(tmp_path / 'nowhere')
