"""What a run says before and after its work."""

from rpt_jax.reporting import terminal

STAGES = [f'pipeline_{i}/{name}' for i in range(2) for name in ('see', 'probe')]


def test_a_plan_says_what_is_done_and_how_long_the_rest_took():
  chosen, done = [*STAGES, 'report'], {STAGES[0]}
  said = terminal.plan('runs/one', chosen, done, {'probe': 70.0, 'see': 5.0})
  assert ' '.join(said.split()) == (
    'runs/one: 5 stages, 1 done before; to do: 2 x probe, see, report last '
    'time on this machine: probe 1 min 10 s, see 5.0 s; at least 2 min 25 s to '
    'go'
  )
  assert max(map(len, said.splitlines())) <= 80
  assert 'last time' not in terminal.plan('one', chosen, done, {})
  said = terminal.plan('one', chosen, set(chosen), {'see': 5.0})
  assert said == 'one: 5 stages, 5 done before; nothing to do'


def test_the_end_has_three_findings_and_the_page():
  findings = [
    {'verdict': verdict, 'finding': f'{i} holds.'}
    for i, verdict in enumerate(('measured', 'supported', 'measured', 'mixed'))
  ]
  assert terminal.end('report.html', findings).splitlines() == [
    'supported: 1 holds.',
    'mixed: 3 holds.',
    'measured: 0 holds.',
    'page: report.html',
  ]
  assert terminal.end('report.html', []) == 'page: report.html'
