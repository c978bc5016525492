"""Metrics: every row once, whatever the run went through."""

from rpt_jax.training import metrics


def test_rows_after_the_restored_step_are_dropped(tmp_path):
  tmp_path = tmp_path / 'of' / 'a run'
  writer = metrics.Writer(tmp_path)
  for step in (2, 4, 6):
    writer.write(step, {'loss': 1.0 / step})
  writer.close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 8, "lo')  # Killed here.
  assert [r['step'] for r in metrics.read(tmp_path / 'metrics.jsonl')] == [
    2,
    4,
    6,
  ]
  writer = metrics.Writer(tmp_path, resumed=4)
  writer.write(6, {'loss': 0.5})
  writer.close()
  expected = [
    {'step': 2, 'loss': 0.5},
    {'step': 4, 'loss': 0.25},
    {'step': 6, 'loss': 0.5},
  ]
  assert metrics.read(tmp_path / 'metrics.jsonl') == expected == writer.rows
  written = list(tmp_path.glob('events.*'))
  assert written and all(b'loss' in p.read_bytes() for p in written)
