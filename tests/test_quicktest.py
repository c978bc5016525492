"""The whole path on almost nothing: run, run again, killed and resumed."""

import html.parser
import json
import pathlib
import signal
import time

import pytest

from tests import selections
from tests.commands import finish, start
from tests.reporting import fake


def contents(workdir):
  """Stage -> hash of all its files; the page holds timings and is left out."""
  artifacts = pathlib.Path(workdir).glob('*/artifact.json')
  found = {p.parent.name: json.loads(p.read_text()) for p in artifacts}
  return {k: v['content'] for k, v in found.items() if k != 'report'}


def results(workdir):
  lines = (workdir / 'results.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return [r for r in rows if r['tags'].get('kind') != 'cost']


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('uninterrupted')
  finish('hubert_units', workdir)
  return workdir


def test_the_page_is_there_and_whole(uninterrupted):
  page = (uninterrupted / 'report.html').read_text()
  parser = html.parser.HTMLParser()
  parser.feed(page)
  assert 'http://' not in page.replace('http://www.w3.org', '')
  for words in (
    'Acting from few demonstrations',
    'Units in time',
    'Rollouts',
    'Of 3 pretraining runs',
  ):
    assert words in page


def test_results_have_every_kind_of_row(uninterrupted):
  names = {(r['stage'], r['name']) for r in results(uninterrupted)}
  assert names >= {
    ('collect', 'expert_return'),
    ('collect', 'random_return'),
    ('see', 'heldout_loss'),
    ('quantize', 'nmi_clip'),
    ('quantize', 'pnmi_velocity'),
    ('pretrain', 'loss'),
    ('probe', 'state_r2'),
    ('finetune', 'loss'),
    ('evaluate', 'score'),
    ('evaluate', 'paired_difference'),
  }


def test_all_methods_and_controls_are_scored(uninterrupted):
  rows = [r for r in results(uninterrupted) if r['name'] == 'score']
  methods = {r['tags']['method'] for r in rows}
  assert methods == {'scratch', 'probe', 'finetune', 'head_first'}
  assert {r['tags'].get('eyes') for r in rows} == {None, 'state'}


def test_the_report_asks_for_what_was_written(uninterrupted, tmp_path):
  selections.check('hubert_units', uninterrupted, tmp_path)


def test_rows_of_the_fake_page_are_like_real_ones(uninterrupted):
  made_up = selections.shapes(fake.content(envs=fake.ENVS[:1]).rows)
  assert made_up <= selections.shapes(selections.rows(uninterrupted))


def test_a_second_run_does_nothing_again(uninterrupted):
  before = contents(uninterrupted)
  output = finish('hubert_units', uninterrupted)
  assert ': start' not in output
  assert contents(uninterrupted) == before


@pytest.mark.slow  # Of stages that are made up `test_pipeline.py` asks it.
def test_a_changed_setting_runs_only_what_depends_on_it(uninterrupted):
  output = finish('hubert_units', uninterrupted, '--config.evaluate.episodes=9')
  ran = [line.split()[1] for line in output.splitlines() if ': start' in line]
  assert ran == ['evaluate:', 'compare:', 'report:']
  finish('hubert_units', uninterrupted)


@pytest.mark.slow  # `python -m tests.fuzz` does it at random moments, too.
def test_killed_again_and_again_it_ends_with_the_same_bits(
  uninterrupted, tmp_path
):
  """kill -9 in the middle of a training, of a stage, and between stages."""
  moments = ('see 3/4', 'quantize_2: start', 'Pendulum-v1 next-probe-1')
  for moment in moments:
    process = start('hubert_units', tmp_path)
    for line in process.stdout:
      if moment in line:
        break
    else:
      pytest.fail(f'never saw {moment!r}')
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
  finish('hubert_units', tmp_path)
  assert contents(tmp_path) == contents(uninterrupted)
  assert results(tmp_path) == results(uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize('encoder', ['random', 'pixels', 'edges', 'state'])
def test_every_control_encoder_runs(encoder, tmp_path):
  output = finish('hubert_units', tmp_path, f'--config.encoder={encoder}')
  assert '] see' not in output
  assert (tmp_path / 'report.html').exists()


def test_dry_run_writes_nothing(tmp_path):
  output = finish('hubert_units', tmp_path / 'none', '--dry_run')
  assert not (tmp_path / 'none').exists()
  for words in ('GFLOP', 'latent[0] #..', 'trunk/blocks/qkv/kernel', 'mesh'):
    assert words in output
