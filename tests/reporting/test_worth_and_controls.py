"""The exchange rate with its censoring; controls beside what they bound."""

import json
import re

import fake
import numpy as np
import pytest

from rpt_jax import results
from rpt_jax.domains.measures import RETURN
from rpt_jax.learning import scores
from rpt_jax.reporting import (
  controls,
  curves,
  html,
  page,
  variants,
  words,
  worth,
)
from rpt_jax.results import Cell

DEMOS = (1, 4, 16)


def rows_of(gain, pipelines=5):
  """Of a curve of scratch that rises, and a run that scores `gain` at 4."""
  rng = np.random.default_rng(0)
  noise = 0.01 * rng.normal(size=(pipelines, 1, 2))
  made_up = {
    ('a', Cell('none', 'scratch', n)): 0.1 * i + noise
    for i, n in enumerate(DEMOS)
  }
  own = 0.01 * rng.normal(size=(pipelines, 1, 2))
  made_up['a', Cell('r', 'finetune', 4)] = gain + own
  return scores.worth_rows(RETURN, made_up, {'all': ['a']})


@pytest.mark.parametrize(
  'gain, value, text',
  [
    (0.15, 'within', r'(7\.\d|8\.\d) \[\d\.\d, [\d.]+\]'),
    (0.5, None, '> 16'),
    (-0.5, 0, '≤ 1'),
    (0.2, 'either', r'.* \[\d+, > 16\]'),
    (0.0, 'either', r'.* \[≤ 1, [\d.]+\]'),
  ],
)
def test_the_rate_says_where_its_curve_ends(gain, value, text):
  of_env, of_all = rows_of(gain)
  assert of_env['tags'] | {'least': 1, 'most': 16} == of_env['tags']
  assert of_all['tags']['env'] == 'all'
  assert re.fullmatch(text, worth.text(of_env)), worth.text(of_env)
  if value not in ('within', 'either'):
    assert of_env['value'] == value
  (said,) = worth.findings([of_env, of_all], 'r', RETURN)
  assert said.verdict == 'fact' and 'With 4 demonstrations' in said.sentence
  both = f'all together {worth.text(of_all)}; a {worth.text(of_env)}.'
  assert said.sentence.endswith(f'(95 % interval over 5 pipelines): {both}')
  assert worth.text(of_env).split(' [')[0] in html_text(of_env)


def html_text(row):
  section = worth.section(html.Document(), [row], 'r', RETURN)
  return section.replace('&gt;', '>')


def test_rows_are_strict_json():
  rows = [*rows_of(0.5), results.row('a', 'b', float('nan'))]
  assert rows[0]['value'] is None and rows[0]['interval'] == [None, None]
  assert rows[-1]['value'] is None
  json.dumps(rows, allow_nan=False)


def test_the_rate_is_of_the_main_run_alone():
  assert worth.section(html.Document(), rows_of(0.1), 'other', RETURN) == ''
  assert worth.findings(rows_of(0.1), 'other', RETURN) == []


@pytest.fixture(scope='module')
def scored():
  rows = fake.content(envs=fake.ENVS[:1]).rows
  return words.split(rows)[1][RETURN.name]


def test_controls_have_a_table_with_what_they_gain(scored):
  table = controls.section(html.Document(), scored, RETURN)
  first = re.findall('<tr.*?</tr>', table.partition('<tbody>')[2])
  labels = [re.findall('<td.*?</td>', line)[1] for line in first[:4]]
  assert [re.sub('<[^>]+>', '', label) for label in labels] == [
    'scratch on the true state (ceiling)',
    'scratch on visible state',
    'scratch on edges',
    'oracle, full fine-tuning',
  ]
  tags = {'env': 'all', 'demos': 1, 'eyes': 'state'}
  gain = results.latest(scored, 'paired_difference', **tags)
  assert f'+{gain["value"]:.2f}' in first[0] and 'sure above' in first[0]
  assert controls.section(html.Document(), [], RETURN) == ''


def test_controls_stand_beside_the_curves_and_in_no_other_place(scored):
  by_eyes = controls.curves(scored, 'all')
  assert list(by_eyes) == ['state', 'positions', 'edges']
  demos = [row['tags']['demos'] for row in by_eyes['state']]
  assert demos == [1, 4, 16, 64]
  few = {'scratch': results.select(scored, 'score', env='all', demos=4)[:1]}
  bare, with_controls = (
    curves.demo_curves(few, each, '', (0, 1)).picture.data
    for each in ({}, by_eyes)
  )
  assert with_controls.count(b'stroke-dasharray') > bare.count(
    b'stroke-dasharray'
  )
  assert 'eyes' not in results.select(scored, 'score')[0]['tags']


def test_the_ceiling_is_a_finding(scored):
  (said,) = controls.findings(scored, RETURN)
  assert 'with 64 demonstrations is 1.02' in said.sentence
  assert said.sentence.endswith('at least 0.9 on 8 of 8 environments.')
  low = [
    row | {'value': 0.89} if row['tags']['env'] == fake.ENVS[0] else row
    for row in scored
  ]
  (said,) = controls.findings(low, RETURN)
  assert said.sentence.endswith('at least 0.9 on 7 of 8 environments.')
  assert controls.findings([], RETURN) == []


def test_the_oracle_is_no_rival(scored):
  better = [
    row | {'value': 5.0} if row['tags'].get('run') == 'oracle' else row
    for row in scored
  ]
  (said,) = variants.best(better, RETURN)
  assert 'Of 7 pretraining runs' in said.sentence
  assert 'oracle' not in said.sentence


def test_a_probe_and_then_fine_tuning_is_a_method_everywhere(scored):
  content = page.Content(
    rows=scored, measures={RETURN.name: RETURN}, main_run=fake.MAIN
  )
  text = page.compose(content)
  # In the legends of curves and differences, and in the table of the rate.
  seen = re.sub(r' data-plot="[^"]*"', '', text)
  assert seen.count('probe, then fine-tuning') == 2 + len(fake.ENVS) + 1
  assert 'a probe followed by fine-tuning' in text
