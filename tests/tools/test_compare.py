"""Finished runs beside each other: what is paired, and what is not."""

import json
import re

import numpy as np
import pytest

from rpt_jax import domains, files, settings
from rpt_jax.evals import intervals
from rpt_jax.learning import cells, scores
from rpt_jax.learning.runs import Runs
from rpt_jax.results import ALL, PROBE
from rpt_jax.stages import plan
from rpt_jax.tools import compare, workdirs
from tests.settings import variants

ENVS = "domains.gymnax.envs=('Acrobot-v1', 'Pendulum-v1')"


def finished(path, *changes, gain=0.0, row=None):
  """A workdir as a run leaves it; `gain` is what probes have over others."""
  config = variants.changed(
    'hubert_units:quicktest', 'pipelines=6', ENVS, *changes
  )
  experiment = settings.read(settings.Experiment, config)
  judged = domains.acting(domains.of(experiment))
  runs = Runs(experiment.pretrain, experiment.quantize, experiment.iterations)
  entries, seeds = (
    cells.cells(experiment.finetune, runs),
    plan.seeds(experiment),
  )
  score = {
    (domain.name, cell): np.stack(
      [drawn(seed, cell, gain, experiment.evaluate.episodes) for seed in seeds]
    )
    for domain in judged
    for cell in entries
  }
  for i in range(len(seeds)):
    folder = path / f'pipeline_{i}' / 'evaluate'
    folder.mkdir(parents=True)
    own = {f'{env}/{c.name}': x_PSN[i] for (env, c), x_PSN in score.items()}
    files.write_arrays(folder / 'scores.npz', own)
  groups = {ALL: [domain.name for domain in judged]}
  rows = scores.score_rows(judged[0].measure, score, groups)
  lines = [json.dumps(each) for each in (*rows, *([row] if row else []))]
  (path / 'results.jsonl').write_text('\n'.join(lines))
  files.write_json(path / 'config.json', settings.plain(experiment))
  about = {'command': 'x/main.py --config=a', 'revision': 'abc'}
  files.write_json(path / 'run.json', about)
  return path


def drawn(seed, cell, gain, episodes):
  """Scores of a pipeline [1, episodes]: the same of the same seed."""
  rng = np.random.default_rng([seed, cell.demos])
  noise = np.random.default_rng(int(1000 * gain) + seed).normal(0, 0.02)
  own = gain + noise if cell.method == PROBE and gain else 0.0
  return rng.normal(0.4, 0.3, (1, episodes)) + own


def between(first, other):
  """{(place, cell's name): difference} of two workdirs."""
  return {
    (line.place, line.cell.name): line.differences[0]
    for table in compare.of(workdirs.read([first, other])).tables
    for line in table.lines
  }


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  return finished(tmp_path_factory.mktemp('runs') / 'first')


def test_pipelines_of_the_same_seeds_are_pairs(first, tmp_path):
  other = finished(tmp_path / 'other', 'pretrain.steps=8', gain=0.2)
  said = compare.of(workdirs.read([first, other]))
  assert said.settings == [('pretrain.steps', (4, 8))]
  alone = next(t for t in said.tables if t.title.endswith('one by one'))
  p_of = []
  for line in alone.lines:
    one, key = line.differences[0], f'{line.place}/{line.cell.name}'
    theirs_P, ours_P = (
      [load(path, i, key).mean() for i in range(6)] for path in (first, other)
    )
    expected = intervals.paired_difference(ours_P, theirs_P)
    np.testing.assert_allclose((one.value, *one.interval), expected, atol=1e-12)
    p_of.append(intervals.t_test(np.subtract(ours_P, theirs_P)))
    assert one.side == int(line.cell.method == PROBE)
  adjusted = [line.differences[0].p for line in alone.lines]
  np.testing.assert_allclose(adjusted, intervals.holm(p_of))
  together = between(first, other)[ALL, 'next-probe-1']
  assert together.side == 1 and 0.15 < together.value < 0.25


def load(path, pipeline, key):
  with np.load(path / f'pipeline_{pipeline}/evaluate/scores.npz') as arrays:
    return arrays[key]


@pytest.mark.parametrize(
  'change, pipelines, words',
  [
    ('seed=1', 0, 'no pipeline of the same seed'),
    ('evaluate.episodes=9', 6, 'another number of episodes'),
    ('domains.gymnax.demo_noise=0.5', 6, 'settings of the domain differ'),
    ('pipelines=4', 4, '4 pipelines are too few to decide'),
    ('pretrain.steps=8', 6, 'p is not below 0.05 once corrected'),
  ],
)
def test_what_does_not_match_has_no_interval(
  change, pipelines, words, first, tmp_path
):
  other = finished(tmp_path / 'other', change)
  for one in between(first, other).values():
    assert words in one.doubt and one.side == 0
    assert one.pipelines == pipelines
    paired = 'pipelines are' in words or 'p is' in words
    assert bool(one.interval) == paired == (one.p is not None)


def test_a_page_and_lines(first, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  row = {
    'stage': 'probe', 'name': '<script>', 'value': 1.25, 'interval': None,
    'seeds': None, 'tags': {'env': 'a'},
  }  # fmt: skip
  other = finished(tmp_path / 'the <b> run', 'seed=1', row=row)
  page = compare.run([str(first), str(other)])
  assert page.name == 'compare.html' and page.parent.parent.name == 'runs'
  html, said = page.read_text(), capsys.readouterr().out
  assert '<script>, env a' not in html and '<b> run' not in html
  assert '&lt;script&gt;, env a' in html and '1.25' in html
  assert 'no pipeline of the same seed' in html and 'no interval' in said
  assert re.search(r'\n  seed +0 +1\n', said)
  assert said.endswith(f'page: {page}\n')


def test_what_cannot_be_compared_is_named(first, tmp_path):
  with pytest.raises(ValueError, match='expected two workdirs or more'):
    compare.run([str(first), str(first)])
  with pytest.raises(ValueError, match='found no run'):
    workdirs.read([first, tmp_path])
  other = finished(tmp_path / 'other', row={'stage': 1})
  with pytest.raises(ValueError, match='results.jsonl: line .*: no row of'):
    workdirs.read([first, other])
  (other / 'pipeline_3' / 'evaluate' / 'scores.npz').unlink()
  (other / 'results.jsonl').write_text('')
  with pytest.raises(
    ValueError, match='no pipeline_3/.*; run first: python -m'
  ):
    workdirs.read([first, other])
