"""The model card: what a reader must know before using somebody's weights."""

from collections.abc import Iterable, Mapping, Sequence

from rpt_jax import settings
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.types import TEXT

# What the Hugging Face hub sorts models by.
_HEADER = '---\nlibrary_name: rpt_jax\npipeline_tag: robotics\n---\n'
_USE = (
  'For research on robot learning. What it was trained on bounds what it can '
  'do: other cameras, robots, rates or light are untested. Inputs are in the '
  'units of the data above; `scales.safetensors` brings them to mean 0 and '
  'deviation 1.'
)
_POLICY = (
  'It moves a robot: set limits of speed and force outside of it, keep a hand '
  'at the emergency stop, and check the first actions by eye.'
)
_LOAD = """```python
import rpt_jax

model = rpt_jax.from_pretrained('path or organisation/name')
{line}
```"""
_LINES = {
  False: 'features_BTD = model.features({stream: x_BTD, ...})',
  True: 'policy = model.policy()  # policy.reset(); policy.act(observation)',
}


def text(
  model: SequenceModel,
  title: str = 'A sequence model of robot streams',
  *,
  data: Sequence[str] = (),
  provenance: Mapping[str, object] | None = None,
  results: Iterable[dict] = (),
  chosen: str = '',
  acts: bool = False,
) -> str:
  """Markdown of a card.

  Args:
    data: a line for each set of episodes it learned from.
    provenance: how: command, revision, versions, settings.
    results: rows as of `results.jsonl`.
    chosen: which of those that were made it is, and by what.
    acts: is it a policy?
  """
  listed = [f'- {line}' for line in data] or ['Not told.']
  how = [f'| {k} | {_cell(v)} |' for k, v in (provenance or {}).items()]
  rows = [_result(row) for row in results]
  sections = {
    'Use': [_LOAD.format(line=_LINES[acts]), *_instructions(model, acts)],
    'Model': _model(model),
    'Data': listed,
    'Made by': _table('what | how', how),
    'Which it is': [chosen],
    'Results': _table('measure | of | value | interval | seeds', rows),
    'Intended use and limits': [_USE, *(['', _POLICY] if acts else [])],
  }
  lines = [_HEADER + f'\n# {title}']
  if not chosen:
    del sections['Which it is']
  for name, content in sections.items():
    lines += [f'\n## {name}\n', *(content or ['Not told.'])]
  return '\n'.join(lines) + '\n'


def _model(model):
  trunk = settings.plain(model.trunk)
  sizes = ', '.join(f'{k} {v}' for k, v in trunk.items())
  line = (
    f'Trunk {settings.kind(model.trunk)} of width {model.width} ({sizes}); '
    f'{model.visibility}, windows of {model.context} steps.'
  )
  streams = [f'| {s.name} | {s.kind} | {_size(s)} |' for s in model.streams]
  heads = ', '.join(
    f'{h.name} ({settings.kind(h.settings)}, {h.steps} steps)'
    for h in model.heads
  )
  table = _table('stream | kind | numbers a step', streams)
  return [line, '', *table, '', f'Heads: {heads or "none"}.']


def _instructions(model, acts):
  """How a model that reads instructions is told one."""
  for spec in model.streams:
    if spec.name == TEXT:
      how = "`policy.reset(instruction='...')`" if acts else "the stream 'text'"
      most = f'of at most {spec.levels} tokens, in any script'
      if spec.dim:
        most = 'that a text tower reads'
      return [
        '',
        f"It is told an instruction {most}, by {how}: '' says nothing; a "
        'longer one is refused.',
      ]
  return []


def _size(spec):
  if not spec.timed and spec.dim:
    return f'{spec.levels} vectors of {spec.dim}, once'
  if not spec.timed:
    return f'{spec.levels} tokens of {spec.vocab}, once'
  if spec.kind == 'discrete':
    return f'{spec.levels} x {spec.vocab} units'
  return f'{spec.dim} and their change' if spec.motion else spec.dim


def _table(head, rows):
  """Markdown lines; none where there are no rows."""
  rule = '|---' * (head.count('|') + 1) + '|'
  return [f'| {head} |', rule, *rows] if rows else []


def _result(row):
  tags = ', '.join(f'{k} {v}' for k, v in row['tags'].items())
  value = '' if row['value'] is None else f'{row["value"]:.4g}'
  interval = row['interval'] or ()
  span = f'[{", ".join(f"{x:.4g}" for x in interval)}]' if interval else ''
  return f'| {row["name"]} | {tags} | {value} | {span} | {row["seeds"] or ""} |'


def _cell(value):
  """One cell of a table: no bar, no line break."""
  return ' '.join(str(value).split()).replace('|', '\\|')
