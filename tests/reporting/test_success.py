"""Pages of Meta-World: success, choices, what pretraining learned, films."""

import dataclasses
import re

import fake
import fake_success
import numpy as np
import pytest
from test_page import outline

from rpt_jax import results
from rpt_jax.domains.measures import PREDICTION, RETURN, SUCCESS
from rpt_jax.reporting import (
  choices,
  findings,
  frames,
  html,
  learned,
  page,
  simulator,
  tidy,
  words,
)
from rpt_jax.results import row

MEASURES = {each.name: each for each in (PREDICTION, RETURN, SUCCESS)}


@pytest.fixture(scope='module')
def content():
  return fake_success.content()


@pytest.fixture(scope='module')
def text(content):
  return page.compose(content)


def section(text, anchor):
  return re.search(f'<section id="{anchor}">.*?</section>', text, re.S)[0]


def lines(table):
  """The rows of a table's body as lists of what cells say."""
  found = re.findall(r'<tr[^>]*>(.*?)</tr>', table.partition('<tbody>')[2])
  return [
    [re.sub('<[^>]+>', ' ', c).strip() for c in re.findall('<td.*?</td>', x)]
    for x in found
  ]


def test_sections_of_a_page_without_units(text):
  assert outline(text).sections == [
    'findings', 'success', 'shown', 'choices', 'learned', 'rollouts',
    'training', 'cost',
  ]  # fmt: skip
  assert len(text.encode()) < 0.2 * page.MAX_BYTES


def test_only_the_group_beside_unseen_ones_is_renamed():
  rows = [
    row('evaluate', 'score', 1, env=env, measure=measure)
    for measure, env in (
      ('success', 'all'),
      ('success', 'a'),
      ('success', 'unseen'),
      ('prediction', 'all'),
    )
  ]
  rows.append(row('pretrain', 'loss', 1))
  rest, acting = words.split(rows)
  assert [r['tags']['env'] for r in acting['success']] == [
    'seen',
    'a',
    'unseen',
  ]
  assert acting['prediction'] == rows[3:4] and rest == rows[4:]
  assert rows[0]['tags']['env'] == 'all'


def succeeded(rows):
  """Rows of success rates, as the page has them."""
  return words.split(rows)[1]['success']


def test_success_table_has_seen_tasks_first_and_unseen_marked(content):
  played = succeeded(list(reversed(content.rows)))
  few, many = simulator.success(
    html.Document(), played, 'rpt', ('door-open-v3',)
  )
  assert 'with 10 demonstrations' in few and 'with 50 demonst' in many
  body = lines(few)
  assert [line[0].split()[0] for line in body[-3:]] == [
    'door-open', 'seen', 'unseen',
  ]  # fmt: skip
  assert [i for i, line in enumerate(body) if '  unseen' in line[0]] == [3]
  drawer = next(line for line in body if line[0] == 'drawer-open')
  assert drawer[1:] == [
    '0.57 [0.49, 0.65]', '0.51 [0.43, 0.59]', '0.71 [0.64, 0.78]',
    '+0.14 [+0.14, +0.14]', '−0.07 [−0.12, −0.01]',
  ]  # fmt: skip
  assert re.findall(r'class="best">([\d.]+)', few)[:4] == [
    '0.83', '0.71', '0.59', '0.75',
  ]  # fmt: skip
  assert 'class="sure' not in few, 'seeds of one pipeline decide nothing'


def test_success_of_enough_pipelines_is_told_apart():
  of_pipelines = succeeded(fake_success.acting_rows(pipelines=5))
  few, _ = simulator.success(html.Document(), of_pipelines, 'rpt')
  assert set(re.findall(r'<td class="sure (\w+)">(.\d)', few)) == {
    ('above', '+0'),
    ('below', '−0'),
  }
  assert 'Student’s, over 5 pipelines' in few and 'Wilson' not in few


def test_other_runs_stay_out_of_the_table(content):
  played = succeeded(content.rows)
  table, _ = simulator.success(html.Document(), played, 'causal')
  assert all(line[2].startswith('0.') for line in lines(table))
  assert 'Probe' not in table, 'no probe of that run'


def test_a_decision_stands_where_a_difference_would():
  """And those that have a difference are no share of all tasks."""
  tags = {'env': 'door-open-v3', 'demos': 10, 'measure': 'success'}
  ours = tags | {'run': 'rpt', 'method': 'finetune'}
  scratch = tags | {'run': 'none', 'method': 'scratch'}
  early = [
    row('evaluate', 'success', 0.2, [0.1, 0.3], 3, **scratch),
    row('evaluate', 'score', 0.8, None, 3, **ours),
    row('evaluate', 'decided', 1, None, 3, **ours),
    row('evaluate', 'decided_after', 14, None, 3, **ours),
  ]
  (table,) = simulator.success(html.Document(), early, 'rpt')
  (line,) = lines(table)
  assert line[1:] == [
    '0.20 [0.10, 0.30]',
    '0.80',
    'better after 14 episodes a seed',
  ]
  assert 'sure above' in table and 'decided against scratch' in table
  late = ours | {'env': 'drawer-open-v3'}
  whole = [row('evaluate', 'paired_difference', 0.1, [-0.1, 0.3], 3, **late)]

  def shares(rows):
    findings_ = findings.write(rows, 'rpt', None, measures=MEASURES)
    return [f for f in findings_ if 'beats training from scratch' in f.sentence]

  assert shares(whole) and not shares(early + whole)


def test_no_method_is_best_where_all_are_equal():
  rows = [
    row('evaluate', 'success', 0.0, [0.0, 0.1], 3, env='t', demos=1,
        method=method, run='none')
    for method in ('scratch', 'finetune')
  ]  # fmt: skip
  (table,) = simulator.success(html.Document(), rows, 'r')
  assert 'class="best"' not in table and '0.00' in table


def test_captions_say_what_is_true(text, content):
  success = section(text, 'success')
  assert 'Mean over 3 seeds of one pipeline and their episodes' in success
  assert 'Wilson' in success
  said = outline(text).text
  assert 'IQM' not in said and 'bootstrap' not in said
  assert 'normalised' not in said
  assert 'random acting' not in said
  older = fake.content(envs=fake.ENVS[:1]).rows
  older = [
    *results.select(older, 'score', env=('all', 'Acrobot-v1')),
    *results.select(older, 'paired_difference', run=fake.MAIN),
  ]
  older = page.compose(
    page.Content(rows=older, main_run=fake.MAIN, measures=MEASURES)
  )
  assert 'Mean over 5 pipelines' in older and 'random acting is 0' in older
  assert 'IQM' not in older and 'bootstrap' not in older


def test_open_loop_beside_the_simulator_has_its_own_section(content):
  rows = [
    row('evaluate', 'score', 0.3, [0.2, 0.4], 3, env='all', demos=10,
        method=method, run=run, measure='prediction')
    for run, method in (('none', 'scratch'), ('rpt', 'finetune'))
  ]  # fmt: skip
  text = page.compose(
    dataclasses.replace(content, rows=[*content.rows, *rows], measures=MEASURES)
  )
  assert {'success', 'prediction'} <= set(outline(text).sections)
  acting = section(text, 'prediction')
  assert 'mean action is 0' in acting and 'Open-loop score' in acting
  assert 'mean action' not in section(text, 'success')
  assert '0.30' not in section(text, 'success').partition('<figure')[2]


def comparison(
  interval, env='all', question='a over b', run='a', other='b', pipelines=5
):
  tags = {'env': env, 'demos': 10, 'method': 'finetune'}
  tags |= {'measure': 'success', 'sample': 'pipelines'}
  pair = {'run': run, 'other': other, 'other_method': 'finetune'}
  pair |= tags | {'question': question}
  value = sum(interval) / 2
  return [
    row('evaluate', 'comparison', value, list(interval), pipelines, **pair),
    row('evaluate', 'comparison_p', 0.01, None, pipelines, **pair),
    row('evaluate', 'score', 0.7, [0.6, 0.8], pipelines, run=run, **tags),
    row('evaluate', 'score', 0.5, [0.4, 0.6], pipelines, run=other, **tags),
  ]


@pytest.mark.parametrize(
  'interval, verdict, kind, word',
  [
    ((0.1, 0.3), 'better', 'yes', 'paired difference of +0.20 [+0.10, +0.30]'),
    ((-0.3, -0.1), 'worse', 'no-effect', 'difference of −0.20'),
    ((-0.1, 0.3), 'unclear', 'mixed', 'Not told apart'),
    ((1e-17, 0.2), 'unclear', 'mixed', 'Not told apart'),
    ((0.0, 0.2), 'unclear', 'mixed', 'Not told apart'),
  ],
)
def test_a_choice_and_its_verdict(interval, verdict, kind, word):
  played = succeeded(comparison(interval))
  figure, table, _ = choices.comparisons(html.Document(), played, SUCCESS)
  (line,) = lines(table)
  assert line[0] == 'a over b' and line[1] == 'all' and line[-1] == verdict
  assert line[2:4] == ['0.70 a', '0.50 b']
  assert 'seen in pretraining' not in figure
  (found,) = choices.findings(played, SUCCESS)
  assert found.verdict == kind and word in found.sentence


def test_a_choice_of_few_pipelines_is_unclear():
  played = succeeded(comparison((0.1, 0.3), pipelines=4))
  _, table, _ = choices.comparisons(html.Document(), played, SUCCESS)
  assert lines(table)[0][-1] == 'unclear'
  (found,) = choices.findings(played, SUCCESS)
  assert found.verdict == 'mixed'
  assert found.sentence.endswith('; but 4 pipelines are too few to decide.')


def test_every_question_is_named():
  rows = [
    *comparison((0.1, 0.3), question='x over y'),
    *comparison((-0.1, 0.3), 'unseen', question='x over y'),
    *comparison((-0.1, 0.3), question='u over v'),
    *comparison((-0.1, 0.3), 'unseen', question='u over v'),
    *comparison((-0.1, 0.3), 'task-v3', question='u over v'),
  ]
  played = succeeded(rows)
  clear, unclear = choices.findings(played, SUCCESS)
  assert clear.sentence.startswith('X over y: in the tasks seen in pretrain')
  assert 'x over y (unseen); u over v (seen and unseen).' in unclear.sentence
  figure, table, by_task = choices.comparisons(html.Document(), played, SUCCESS)
  assert [line[0] for line in lines(table)] == ['x over y', '', 'u over v', '']
  assert 'never seen' in figure
  assert 'task' in by_task and '[−0.10, +0.30]' in by_task


def test_headlines_on_tasks(content):
  said = [
    f.sentence
    for f in findings.write(content.rows, 'rpt', None, content.runs, MEASURES)
  ]
  assert 'on 0 of 4 tasks; it lies above zero on button-press-t' in said[0]
  assert 'but seeds of one pipeline say nothing of another one.' in said[0]
  (seen,) = [
    s
    for s in said
    if s.startswith('In the tasks seen') and ', fine-tuning succ' in s
  ]
  assert 'rate of 0.71 [0.64, 0.78] against 0.57 [0.50, 0.64]' in seen
  (never,) = [
    s
    for s in said
    if s.startswith('In the tasks never') and ', fine-tuning succ' in s
  ]
  assert 'rate of 0.75' in never and '+0.14 [+0.01, +0.27]' in never
  probes = [s for s in said if 'of the frozen trunk succeeds' in s]
  assert len(probes) == 2 and all('do not overlap' in s for s in probes)
  assert any('mean over the tasks seen in pretraining' in s for s in said)


def stream_rows(run, error, **guesses):
  values = {'error': error} | guesses
  return [
    row('pretrain', f'{name}/proprio', value, run=run)
    for name, value in values.items()
  ]


@pytest.mark.parametrize(
  'error, verdict, words_of',
  [
    (0.1, 'fact', 'interpolation with 0.2000: it has learnt more'),
    (0.2, 'no-effect', 'it has learnt nothing'),
    (0.5, 'no-effect', 'it has learnt nothing'),
  ],
)
def test_a_model_must_beat_guessing(error, verdict, words_of):
  rows = [
    *stream_rows('next', 0.3, copy_last=0.25, linear=0.9),
    *stream_rows('ok', 0.1, copy_last=0.25, linear=float('nan')),
    *stream_rows('rpt', error, copy_last=0.3, interpolation=0.2),
    row('pretrain', 'error/proprio', 9.0, run='rpt', env='one-task'),
  ]
  (found,) = learned.findings(rows, 'rpt')
  assert found.verdict == verdict and words_of in found.sentence
  assert 'every such guess: 1 of 2, not “next”.' in found.sentence
  main, *_ = learned.streams(rows, 'rpt')
  assert (main.run, main.error, main.best_guess) == (
    'rpt',
    error,
    'interpolation',
  )


def test_units_are_judged_by_how_many_are_named_wrongly():
  """Their error is an entropy; copying is wrong in a share of them."""
  rows = [
    row('pretrain', 'error/unit', 0.2, run='r'),
    row('pretrain', 'wrong/unit', 0.5, run='r'),
    row('pretrain', 'copy_last/unit', 0.4, run='r'),
  ]
  (stream,) = learned.streams(rows)
  assert stream.error == 0.5 and stream.beats is False


def test_streams_without_a_guess_or_a_number():
  rows = [
    row('pretrain', 'error/unit', 2.5, run='r'),
    row('pretrain', 'copy_last/unit', float('nan'), run='r'),
    row('pretrain', 'error/action', float('nan'), run='r'),
    row('pretrain', 'masked_fraction', 0.8, run='r'),
  ]
  (stream,) = learned.streams(rows)
  assert stream.beats is None and stream.best_guess is None
  assert learned.findings(rows, 'r') == []
  (table,) = learned.section(html.Document(), rows, 'r')
  assert lines(table) == [['r 80 % masked', 'unit', '2.5000', '–']]


def films(text):
  """What `page.js` is told of every film."""
  return [a for tag, key, a in outline(text).attributes if key == 'data-film']


def test_rollouts_say_how_they_ended(content):
  old = frames.Rollout(
    content.rollouts[0].frames_THW3, 'g', 'scratch', 4, 0.5, RETURN
  )
  other, played = frames.rollouts(html.Document(), [old, *content.rollouts])
  assert played.count('<br>failed') == len(fake_success.TASKS)
  assert played.count('<br>succeeded') == 2 * len(fake_success.TASKS)
  assert 'success rate' in played and 'normalised' not in played
  assert 'normalised score' in other and 'success' not in other
  length = len(content.rollouts[0].frames_THW3)
  assert f'"seconds": {length / 16:g}' in films(played)[0]


def test_many_rollouts_are_thinned(monkeypatch):
  clip = np.random.default_rng(0).integers(256, size=(30, 8, 8, 3))
  rolls = [
    frames.Rollout(
      clip.astype(np.uint8), f't{i}', 'probe', 1, 0, SUCCESS, 16, 'failed'
    )
    for i in range(4)
  ]
  (whole,) = frames.rollouts(html.Document(), rolls)
  assert ['"count": 30' in film for film in films(whole)] == [True] * 4
  monkeypatch.setattr(frames, '_MAX_PIXELS', 4 * 64 * 10)
  (thin,) = frames.rollouts(html.Document(), rolls)
  assert ['"count": 10' in film for film in films(thin)] == [True] * 4


def test_what_experts_showed_is_folded(content):
  table = simulator.shown(content.rows)
  assert table.startswith('<details>')
  assert lines(table)[0] == [
    'button-press-topdown', 'pretrain', '50', '700', '14.0',
    '0.96 [0.90, 0.99]',
  ]  # fmt: skip
  assert simulator.shown(fake.content(envs=fake.ENVS[:1]).rows) == ''


def test_text_of_simulator_pages_is_escaped():
  evil = '<script>alert("&")</script>'
  rows = [
    *comparison((0.1, 0.2), 'all', evil, evil, evil),
    *comparison((0.1, 0.2), evil, evil, evil, evil),
    row('evaluate', 'success', 0.5, [0.4, 0.6], 3, env=evil, demos=10,
        method='finetune', run=evil, measure='success'),
    row('collect', 'kept', 0.5, [0.4, 0.6], env=evil, split=evil),
    row('pretrain', f'error/{evil}', 0.5, run=evil),
    row('pretrain', f'linear/{evil}', 0.5, run=evil),
  ]  # fmt: skip
  clip = np.zeros((2, 8, 8, 3), np.uint8)
  rolls = [frames.Rollout(clip, evil, evil, 1, 0.5, SUCCESS, 16, evil)]
  text = page.compose(
    page.Content(
      rows=rows,
      rollouts=rolls,
      main_run=evil,
      measures=MEASURES,
      unseen=(evil,),
    )
  )
  found = outline(text)
  assert evil not in text
  assert {'success', 'choices', 'learned'} <= set(found.sections)
  assert found.text.count(evil) > 12


def test_sides_of_rates_are_not_decided_by_rounding():
  assert tidy.side({'interval': [1e-17, 0.2]}) == 0
  assert tidy.side({'interval': [-0.2, -1e-17]}) == 0
  assert tidy.side({'interval': [0.001, 0.2]}) == 1
  assert tidy.side({'interval': [-0.2, -0.001]}) == -1
  assert tidy.side({}) == 0
