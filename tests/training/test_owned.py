"""A run empties and replaces what it made itself, and nothing else."""

import json
import shutil

import pytest

from rpt_jax.reporting import page
from rpt_jax.stages import pipeline
from rpt_jax.training import owned
from tests.stages.test_pipeline import CALLS, Config, plan, run

_ = plan  # The stages a, b, c and d, of fakes.


def content(folder):
  return {
    p.relative_to(folder).as_posix(): p.read_bytes()
    for p in sorted(folder.rglob('*'))
    if p.is_file() and p.name != 'lock'
  }


def refused(workdir, words, **options):
  """The run does nothing at all, and says in one line why."""
  before = content(workdir)
  with pytest.raises(ValueError, match=words) as error:
    run(workdir, **options)
  text = str(error.value)
  assert '\n' not in text and 'give another --workdir' in text
  assert content(workdir) == before and CALLS == []


@pytest.mark.parametrize('overwrite', [False, True])
@pytest.mark.parametrize('name', ['a', 'd'])
@pytest.mark.parametrize(
  'file, text',
  [
    ('thesis.tex', 'years of work'),
    ('deep/below/notes.txt', ''),
    ('wanted.json', '{"milk": 1}'),
    ('wanted.json', '["settings", "inputs"]'),
    ('artifact.json', 'not json'),
  ],
)
def test_a_folder_of_another_is_refused(tmp_path, file, text, name, overwrite):
  path = tmp_path / name / file
  path.parent.mkdir(parents=True)
  path.write_text(text)
  refused(tmp_path, f'{tmp_path / name}: found', overwrite=overwrite)


@pytest.mark.parametrize('overwrite', [False, True])
@pytest.mark.parametrize('target', ['foreign', 'ours', 'nothing'])
def test_a_link_is_not_followed(tmp_path, target, overwrite):
  workdir, other = tmp_path / 'work', tmp_path / 'other'
  if target == 'ours':
    run(tmp_path / 'other')
    other = other / 'b'
  elif target == 'foreign':
    other.mkdir()
    (other / 'thesis.tex').write_text('years of work')
  workdir.mkdir()
  (workdir / 'b').symlink_to(other)
  before = content(tmp_path / 'other')
  refused(workdir, 'work/b: found a link', overwrite=overwrite)
  assert content(tmp_path / 'other') == before


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
  (tmp_path / 'c').write_text('mine')
  refused(tmp_path, 'c: found a file')


@pytest.mark.parametrize(
  'name, text',
  [
    ('report.html', '<html><body>my own</body></html>'),
    ('config.json', '{"port": 80}'),
    ('results.jsonl', '{}'),
    ('run.json', '{"command": "make"}'),
  ],
)
@pytest.mark.parametrize('overwrite', [False, True])
def test_a_file_of_another_is_not_replaced(tmp_path, name, text, overwrite):
  (tmp_path / name).write_text(text)
  refused(tmp_path, f'{name}: found', overwrite=overwrite)


def test_a_page_of_another_beside_a_run_is_not_replaced(tmp_path):
  run(tmp_path)
  (tmp_path / 'report.html').write_text('my own')
  refused(tmp_path, 'report.html: found')
  (tmp_path / 'report.html').unlink()
  (tmp_path / 'report.html').mkdir()
  refused(tmp_path, 'report.html: found')


def test_a_page_that_was_published_is_replaced(tmp_path):
  run(tmp_path)
  page.write(tmp_path / 'report.html', page.Content())
  page.write(tmp_path / 'report' / 'report.html', page.Content(title='New'))
  run(tmp_path)
  assert '<h1>New</h1>' in (tmp_path / 'report.html').read_text()


def test_what_does_not_run_is_nobodys_business(tmp_path):
  (tmp_path / 'd').mkdir()
  (tmp_path / 'd' / 'thesis.tex').write_text('years of work')
  (tmp_path / 'notes').mkdir()
  (tmp_path / 'notes' / 'one.txt').write_text('mine')
  assert run(tmp_path, only=('a', 'b'), overwrite=True)[0] == 'ab'
  assert (tmp_path / 'd' / 'thesis.tex').exists()
  assert (tmp_path / 'notes' / 'one.txt').exists()


def test_folders_that_a_killed_run_leaves_are_its_own(tmp_path):
  for name in 'ab':
    (tmp_path / name).mkdir()  # Killed before it wrote,
  (tmp_path / 'b' / 'wanted.json.partial').write_text('{"sett')  # or while.
  assert run(tmp_path)[0] == 'abcd'
  (tmp_path / 'c' / 'artifact.json').unlink()
  (tmp_path / 'd' / 'wanted.json').unlink()
  (tmp_path / 'config.json').unlink()
  assert run(tmp_path)[0] == 'c'
  assert run(tmp_path, d=5)[0] == 'd'


@pytest.mark.parametrize('finished', [True, False])
def test_killed_while_it_empties_a_folder(tmp_path, monkeypatch, finished):
  """At each of its removals; what is left is never taken for another's."""
  names = ('number', 'wanted.json', 'artifact.json', 'zzz', 'checkpoints')
  run(tmp_path / 'whole')
  (tmp_path / 'whole/d/zzz').write_text('last by name')
  (tmp_path / 'whole/d/checkpoints').mkdir()
  if not finished:
    (tmp_path / 'whole/d/artifact.json').unlink()
  removals = len(names) - (not finished)
  for at in range(removals):
    workdir = tmp_path / f'killed-{at}'
    shutil.copytree(tmp_path / 'whole', workdir)
    with monkeypatch.context() as patch:
      _die_at(patch, at)
      with pytest.raises(KeyboardInterrupt):
        run(workdir, overwrite=True, only=('d',))
    left = {p.name for p in (workdir / 'd').iterdir()}
    assert len(left) == removals - at
    is_whole = {'number', 'artifact.json'} <= left
    assert run(workdir)[0] == ('' if is_whole else 'd')
    assert (workdir / 'd' / 'number').read_text() == '11'


def _die_at(patch, at):
  """The removal of this number does not happen any more."""
  count = [0]

  def counted(remove):
    def removed(path, *args, **kwargs):
      if count[0] == at:
        raise KeyboardInterrupt
      count[0] += 1
      return remove(path, *args, **kwargs)

    return removed

  path = type(owned.pathlib.Path())
  patch.setattr(path, 'unlink', counted(path.unlink))
  patch.setattr(owned.shutil, 'rmtree', counted(owned.shutil.rmtree))


def test_links_in_a_folder_are_removed_and_not_followed(tmp_path):
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other' / 'thesis.tex').write_text('years of work')
  run(tmp_path / 'work')
  (tmp_path / 'work' / 'b' / 'link').symlink_to(tmp_path / 'other')
  assert 'b' in run(tmp_path / 'work', overwrite=True)[0]
  assert not (tmp_path / 'work' / 'b' / 'link').exists()
  assert (tmp_path / 'other' / 'thesis.tex').exists()


def test_the_whole_report_stage_is_looked_at(tmp_path, monkeypatch):
  """It is planned like any other."""
  stages = pipeline.plan(Config())
  report = stages[0]._replace(name='report')
  monkeypatch.setattr(pipeline, 'plan', lambda config: (*stages, report))
  (tmp_path / 'report').mkdir()
  (tmp_path / 'report' / 'mine.html').write_text('')
  refused(tmp_path, 'report: found')


@pytest.mark.parametrize(
  ('before', 'now', 'refused'),
  [
    ('a.py --config=configs/rpt.py', 'a.py --config=configs/rpt.py', False),
    ('a.py --config=x/rpt.py --seed=1', 'b.py --config=configs/rpt.py', False),
    ('a.py --config=rpt.py', 'a.py --config=rpt.py:study', True),
    ('a.py --config=rpt.py', 'a.py --config configs/study.py', True),
    ('a.py --config=rpt.py', 'pytest', False),  # Called as a library.
    ('notebook', 'a.py --config=rpt.py', False),
  ],
)
def test_stages_of_another_config_stay(before, now, refused, tmp_path):
  run = {'command': before, 'revision': '', 'versions': {}}
  (tmp_path / 'run.json').write_text(json.dumps(run))
  if not refused:
    owned.check(tmp_path, ['collect'], now)
    return
  with pytest.raises(ValueError, match='another --workdir, or --overwrite'):
    owned.check(tmp_path, ['collect'], now)
  owned.check(tmp_path, ['collect'])  # As with --overwrite.
