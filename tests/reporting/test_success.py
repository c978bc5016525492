"""Pages of Meta-World: success, choices, what pretraining learned, films."""

import base64
import dataclasses
import io
import re

import fake
import fake_success
import numpy as np
import pytest
from fake import row
from PIL import Image
from test_page import outline

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
    'findings', 'success', 'choices', 'learned', 'rollouts', 'training',
    'cost',
  ]  # fmt: skip
  assert len(text.encode()) < 0.2 * page.MAX_BYTES


def test_only_the_group_of_control_is_renamed():
  rows = [row('control', 'score', 1, env='all'), row('control', 'score', 1,
          env='a'), row('openloop', 'score', 1, env='all')]  # fmt: skip
  rest, played = words.split(rows)
  assert [r['tags']['env'] for r in played] == ['seen', 'a']
  assert rest == rows[2:] and rows[0]['tags']['env'] == 'all'


def test_success_table_has_seen_tasks_first_and_unseen_marked(content):
  _, played = words.split(list(reversed(content.rows)))
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
    '0.57 [0.49, 0.65]', '0.51 [0.43, 0.59]', '0.71 [0.63, 0.79]',
    '+0.14 [+0.07, +0.21]', '−0.06 [−0.13, +0.01]',
  ]  # fmt: skip
  assert re.findall(r'class="best">([\d.]+)', few)[:4] == [
    '0.83', '0.71', '0.59', '0.75',
  ]  # fmt: skip
  assert set(re.findall(r'<td class="sure (\w+)">(.\d)', few)) == {
    ('above', '+0')
  }


def test_other_runs_stay_out_of_the_table(content):
  _, played = words.split(content.rows)
  table, _ = simulator.success(html.Document(), played, 'causal')
  assert all(line[2].startswith('0.') for line in lines(table))
  assert 'Probe' not in table, 'no probe of that run'


def test_no_method_is_best_where_all_are_equal():
  rows = [
    row('control', 'success', 0.0, [0.0, 0.1], 3, env='t', demos=1,
        method=method, run='none')
    for method in ('scratch', 'finetune')
  ]  # fmt: skip
  (table,) = simulator.success(html.Document(), rows, 'r')
  assert 'class="best"' not in table and '0.00' in table


def test_captions_say_what_is_true(text, content):
  success = section(text, 'success')
  assert 'Mean over 3 seeds and their episodes' in success
  said = outline(text).text
  assert 'IQM' not in said and 'normalised' not in said
  assert 'random acting' not in said
  older = fake.content(envs=fake.ENVS[:1]).rows
  older = [
    *tidy.select(older, 'score', env=('all', 'Acrobot-v1')),
    *tidy.select(older, 'paired_difference', run=fake.MAIN),
  ]
  older = page.compose(page.Content(rows=older, main_run=fake.MAIN))
  assert 'IQM over 5 seeds' in older and 'random acting is 0' in older
  assert 'Environments are not corrected' in older


def test_open_loop_beside_the_simulator_has_its_own_section(content):
  rows = [
    row('openloop', 'score', 0.3, [0.2, 0.4], 3, env='all', demos=10,
        method=method, run=run)
    for run, method in (('none', 'scratch'), ('rpt', 'finetune'))
  ]  # fmt: skip
  text = page.compose(
    dataclasses.replace(content, rows=[*content.rows, *rows], scale='as said')
  )
  assert {'success', 'acting'} <= set(outline(text).sections)
  acting = section(text, 'acting')
  assert 'as said' in acting and 'IQM' in acting
  assert 'as said' not in section(text, 'success')
  assert '0.30' not in section(text, 'success').partition('<figure')[2]


def comparison(interval, env='all', question='a over b', run='a', other='b'):
  tags = {'env': env, 'demos': 10, 'method': 'finetune'}
  return [
    row('control', 'comparison', sum(interval) / 2, list(interval), 3, run=run,
        other=other, question=question, **tags),
    row('control', 'score', 0.7, [0.6, 0.8], 3, run=run, **tags),
    row('control', 'score', 0.5, [0.4, 0.6], 3, run=other, **tags),
  ]  # fmt: skip


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
  _, played = words.split(comparison(interval))
  figure, table, _ = choices.comparisons(html.Document(), played)
  (line,) = lines(table)
  assert line[0] == 'a over b' and line[1] == 'seen' and line[-1] == verdict
  assert line[2:4] == ['0.70 a', '0.50 b']
  assert 'tasks seen in pretraining' in figure
  assert 'never seen' not in figure
  (found,) = choices.findings(played)
  assert found.verdict == kind and word in found.sentence


def test_every_question_is_named_and_counted():
  rows = [
    *comparison((0.1, 0.3), question='x over y'),
    *comparison((-0.1, 0.3), 'unseen', question='x over y'),
    *comparison((-0.1, 0.3), question='u over v'),
    *comparison((-0.1, 0.3), 'unseen', question='u over v'),
    *comparison((-0.1, 0.3), 'task-v3', question='u over v'),
  ]
  _, played = words.split(rows)
  clear, unclear = choices.findings(played)
  assert clear.sentence.startswith('X over y: in the tasks seen in pretrain')
  assert 'x over y (unseen); u over v (seen and unseen).' in unclear.sentence
  assert '4 intervals' in unclear.sentence and 'about 0.2' in unclear.sentence
  figure, table, by_task = choices.comparisons(html.Document(), played)
  assert [line[0] for line in lines(table)] == ['x over y', '', 'u over v', '']
  assert 'never seen' in figure
  assert 'task' in by_task and '[−0.10, +0.30]' in by_task


def test_headlines_on_tasks(content):
  said = [
    f.sentence for f in findings.write(content.rows, 'rpt', None, content.runs)
  ]
  assert 'on 4 of 4 tasks (button-press-topdown,' in said[0]
  (seen,) = [
    s
    for s in said
    if s.startswith('In the tasks seen') and ', fine-tuning succ' in s
  ]
  assert 'rate of 0.71 [0.63, 0.79] against 0.57 [0.49, 0.65]' in seen
  (never,) = [
    s
    for s in said
    if s.startswith('In the tasks never') and ', fine-tuning succ' in s
  ]
  assert 'rate of 0.75' in never and '+0.14 [+0.07, +0.21]' in never
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
    (0.1, 'yes', 'interpolation with 0.2000: it has learnt more'),
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


def gifs(text):
  pictures = re.findall(r'data:image/gif;base64,([\w+/=]+)', text)
  return [Image.open(io.BytesIO(base64.b64decode(p))) for p in pictures]


def test_rollouts_say_how_they_ended(content):
  old = frames.Rollout(content.rollouts[0].frames_THW3, 'g', 'scratch', 4, 0.5)
  played, other = frames.rollouts(html.Document(), [old, *content.rollouts])
  assert played.count('<br>failed') == len(fake_success.TASKS)
  assert played.count('<br>succeeded') == 2 * len(fake_success.TASKS)
  assert 'how it ended' in played and 'normalised' not in played
  assert 'normalised score' in other and 'how it ended' not in other
  assert gifs(played)[0].info['duration'] == 60  # 16 a second, in 1/100 s.


def test_many_rollouts_are_thinned(monkeypatch):
  clip = np.random.default_rng(0).integers(256, size=(30, 8, 8, 3))
  rolls = [
    frames.Rollout(clip.astype(np.uint8), f't{i}', 'probe', 1, 0, 16, 'failed')
    for i in range(4)
  ]
  (whole,) = frames.rollouts(html.Document(), rolls)
  assert [g.n_frames for g in gifs(whole)] == [30] * 4
  monkeypatch.setattr(frames, '_MAX_PIXELS', 4 * 64 * 10)
  (thin,) = frames.rollouts(html.Document(), rolls)
  assert [g.n_frames for g in gifs(thin)] == [10] * 4


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
    row('control', 'success', 0.5, [0.4, 0.6], 3, env=evil, demos=10,
        method='finetune', run=evil),
    row('collect', 'kept', 0.5, [0.4, 0.6], env=evil, split=evil),
    row('pretrain', f'error/{evil}', 0.5, run=evil),
    row('pretrain', f'linear/{evil}', 0.5, run=evil),
  ]  # fmt: skip
  clip = np.zeros((2, 8, 8, 3), np.uint8)
  rolls = [frames.Rollout(clip, evil, evil, 1, 0.5, 16, evil)]
  text = page.compose(
    page.Content(rows=rows, rollouts=rolls, main_run=evil, unseen=(evil,))
  )
  found = outline(text)
  assert '<script' not in text
  assert {'success', 'choices', 'learned'} <= set(found.sections)
  assert found.text.count(evil) > 12


def test_sides_of_rates_are_not_decided_by_rounding():
  assert tidy.side({'interval': [1e-17, 0.2]}) == 0
  assert tidy.side({'interval': [-0.2, -1e-17]}) == 0
  assert tidy.side({'interval': [0.001, 0.2]}) == 1
  assert tidy.side({'interval': [-0.2, -0.001]}) == -1
  assert tidy.side({}) == 0
