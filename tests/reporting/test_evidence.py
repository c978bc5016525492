"""What a difference must have to be claimed, and that all who show it obey."""

import re

import fake
import pytest

from rpt_jax import results
from rpt_jax.domains.measures import RETURN
from rpt_jax.reporting import evidence, findings, html, plots, sight, simulator
from rpt_jax.results import row


def difference(
  interval=(0.1, 0.3), p=0.01, seeds=5, sample='pipelines', **more
):
  """A judged difference; `p` None: it has none."""
  tags = {'env': 'a', 'demos': 4, 'measure': RETURN.name, 'sample': sample}
  tags |= more
  rows = [row('evaluate', 'paired_difference', 0.2, interval, seeds, **tags)]
  other = tags | {'demos': 1}
  rows.append(row('evaluate', 'paired_difference_p', 0.9, None, 5, **other))
  if p is not None:
    rows.append(row('evaluate', 'paired_difference_p', p, None, 5, **tags))
  return evidence.judged(rows, ['b'] if 'eyes' in more else [])[0]


@pytest.mark.parametrize(
  'change, reason',
  [
    ({}, ''),
    ({'seeds': 9}, ''),
    ({'seeds': 4}, '4 pipelines are too few'),
    ({'sample': 'seeds', 'seeds': 30}, 'seeds of one pipeline'),
    ({'sample': None}, 'seeds of one pipeline'),
    ({'p': 0.05}, 'p is not below 0.05'),
    ({'p': None}, 'p is not below 0.05'),
    ({'eyes': 'state'}, ''),
  ],
)
@pytest.mark.parametrize('side', [1, -1])
def test_what_keeps_a_difference_from_deciding(change, reason, side):
  judged = difference(tuple(sorted((side * 0.1, side * 0.3))), **change)
  doubt = evidence.doubt(judged)
  assert doubt.startswith(reason) and bool(doubt) == bool(reason)
  assert evidence.decided(judged) == (0 if reason else side)
  tone = {1: 'sure above', -1: 'sure below'}[side]
  assert (tone in simulator.difference(judged)) == (not reason)
  picture = plots.forest({'finetune': [judged]}, ['a'], '', (-1, 1), 'x')
  assert (b'fill: #ffffff; stroke' in picture.data) == bool(reason)


def test_zero_within_the_interval_decides_nothing():
  assert evidence.decided(difference((-0.1, 0.3))) == 0
  assert evidence.decided(difference((1e-17, 0.3))) == 0


def test_what_nobody_judged_decides_nothing():
  plain = row('evaluate', 'paired_difference', 0.2, (0.1, 0.3), 5)
  assert evidence.decided(plain) == 0
  assert 'sure' not in simulator.difference(plain)


def visible(ours, edges, env='a'):
  """R^2 of the image model and of edges, within .02, and the gain."""
  gain = ours - edges
  return [
    row('probe', 'visible_r2_over_edges', gain, [gain - 0.03, gain + 0.03], 5,
        env=env, features='latent', sample='pipelines'),
    *(
    row('probe', 'visible_r2', x, [x - 0.02, x + 0.02], 5, env=env,
        features=features, sample='pipelines')
    for features, x in (('latent', ours), ('latent/edges', edges))
    ),
  ]  # fmt: skip


@pytest.mark.parametrize(
  'rows, envs, verdict, text',
  [
    (visible(0.9, 0.7), [], 'fact', 'more than edges do: R² 0.90 [0.88, 0.92]'),
    (visible(0.7, 0.9), ['a'], 'no-effect', 'no more than edges do on a'),
    (visible(0.72, 0.7), ['a'], 'no-effect', 'nothing below is claimed'),
    (
      [*visible(0.9, 0.7), *visible(0.7, 0.7, 'b')],
      ['b'],
      'mixed',
      'on b (what it gains on them is not told from zero)',
    ),
  ],
)
def test_an_image_model_must_see_more_than_edges(rows, envs, verdict, text):
  assert evidence.unseeing(rows) == envs
  (said,) = sight.findings(rows)
  assert said.verdict == verdict and text in said.sentence


def test_nothing_on_acting_is_claimed_of_an_image_model_that_is_blind():
  content = fake.content(envs=fake.ENVS[:1])
  about = fake.MAIN, None, content.runs, content.measures
  seeing = findings.write(content.rows, *about)
  assert 'yes' in {f.verdict for f in seeing}
  blind = [
    r | {'value': 0.0, 'interval': [-0.1, 0.1]}
    if r['name'] == 'visible_r2_over_edges'
    and r['tags']['env'] == fake.ENVS[-1]
    else r
    for r in content.rows
  ]
  said = findings.write(blind, *about)
  assert 'yes' not in {f.verdict for f in said}
  assert said[0].verdict == 'mixed' and 'SpaceInvaders' in said[0].sentence
  assert any('does not see more than edges do (Space' in f[1] for f in said)


def test_runs_without_edges_say_nothing_of_them():
  rows = visible(0.1, 0.9)[1:2]
  assert evidence.unseeing(rows) == [] and sight.findings(rows) == []


def test_the_table_of_sight_marks_the_best_but_not_the_ceiling():
  rows = [
    *visible(0.9, 0.7),
    row('probe', 'visible_r2', 1.0, env='a', features='latent/state'),
    row('probe', 'visible_r2', 0.95, env='a', features='some run'),
    row('probe', 'visible_r2', 0.2, env='a', features='latent/random'),
  ]
  table = sight.section(html.Document(), rows)
  assert re.findall(r'<td class="best">([\d.]+)', table) == ['0.90']
  names = re.findall(r'<td>([a-z ,()]+)</td>', table)
  assert names == [
    'image model, learned', 'image model, untrained', 'edges',
    'true state (ceiling)',
  ]  # fmt: skip
  assert 'the mean over 5 pipelines' in table
  assert sight.section(html.Document(), []) == ''


def test_five_pipelines_are_enough():
  assert results.ENOUGH_PIPELINES == 5
