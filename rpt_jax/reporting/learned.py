"""Section on what pretraining learned: its errors beside guesses without it.

Takes rows of the stage `pretrain` named `<measure>/<stream>`.
"""

from typing import NamedTuple

from rpt_jax import results
from rpt_jax.reporting import html, tidy
from rpt_jax.reporting.words import Finding
from rpt_jax.results import Pretrain

GUESSES = {
  Pretrain.COPY_LAST: 'copying the last step',
  Pretrain.INTERPOLATION: 'interpolation',
  Pretrain.LINEAR: 'linear continuation',
}


class Stream(NamedTuple):
  """How well a run predicts one stream of held-out episodes."""

  run: str
  name: str
  error: float
  guesses: dict[str, float]  # By what they are called; without NaN.

  @property
  def best_guess(self) -> str | None:
    """The guess with the least error."""
    return min(self.guesses, key=self.guesses.get, default=None)

  @property
  def beats(self) -> bool | None:
    """Is the error below that of every guess? None where there is none."""
    guess = self.best_guess
    return None if guess is None else self.error < self.guesses[guess]


def streams(rows, run: str | None = None) -> list[Stream]:
  """Every stream of every run, over all domains together; `run` first.

  The error of units is `wrong/<stream>`, the share named wrongly: what copying
  is measured by.
  """
  values = {
    (results.tag(row, 'run'), *Pretrain.parts(row['name'])): row['value']
    for row in results.select(rows, env=None)
    if row['stage'] == Pretrain.STAGE
  }
  all_streams = []
  for (name, measure, stream), error in values.items():
    if measure != Pretrain.ERROR or error is None or error != error:
      continue
    error = values.get((name, Pretrain.WRONG, stream), error)
    guesses = {g: values.get((name, g, stream)) for g in GUESSES}
    guesses = {g: x for g, x in guesses.items() if x is not None and x == x}
    all_streams.append(Stream(name, stream, error, guesses))
  return sorted(all_streams, key=lambda s: s.run != run)


def section(doc: html.Document, rows, run: str | None) -> list[str]:
  """The streams of the main run; those of all others, folded."""
  all_streams = streams(rows, run)
  if not all_streams:
    return []
  main = all_streams[0].run
  own = [s for s in all_streams if s.run == main]
  others = [s for s in all_streams if s.run != main]
  table = doc.table(
    _table(own, rows),
    f'What “{main}” predicts of held-out episodes. Mean squared error of the '
    'steps it had to fill in or foresee, where 1 is always giving the mean; '
    'of units, the share named wrongly. Beside it guesses that need no '
    'learning, on the same steps: the last step seen, and a straight line '
    'between the steps seen before and after (of a run that foresees: the '
    'line through the last two). '
    'A model that does not beat them has learnt nothing of that stream.',
  )
  if not others:
    return [table]
  rest = f'<div class="scroll">{_table(others, rows)}</div>'
  return [table, html.details('All other runs', rest)]


def findings(rows, run) -> list[Finding]:
  """Has pretraining learnt more of proprioception than guessing gives?"""
  proprio = [s for s in streams(rows, run) if s.name == 'proprio']
  proprio = [s for s in proprio if s.beats is not None]
  if not proprio:
    return []
  main, *others = proprio
  guess = main.best_guess
  said = (
    'it has learnt more than that.'
    if main.beats
    else 'it has learnt nothing of it that this guess does not know.'
  )
  behind = [f'“{s.run}”' for s in others if not s.beats]
  rest = ''
  if others:
    rest = (
      ' Other runs that beat every such guess: '
      f'{len(others) - len(behind)} of {len(others)}'
    )
    rest += f', not {", ".join(behind)}.' if behind else '.'
  return [
    Finding(
      'fact' if main.beats else 'no-effect',
      f'Pretraining “{main.run}” predicts proprioception it has not seen with '
      f'an error of {tidy.number(main.error, 4)} (1: always the mean), '
      f'{GUESSES[guess]} with {tidy.number(main.guesses[guess], 4)}: '
      f'{said}{rest}',
    )
  ]


def _table(streams, rows) -> str:
  kinds = [g for g in GUESSES if any(g in s.guesses for s in streams)]
  body, before = [], None
  for stream in streams:
    new = stream.run != before
    before = stream.run
    tags = {'run': stream.run, 'env': None}
    masked = results.latest(rows, Pretrain.MASKED_FRACTION, **tags)
    under = f'{100 * masked["value"]:.0f} % masked' if masked else ''
    line = [html.cell(stream.run, under) if new else '<td></td>']
    line.append(f'<td class="text">{html.escape(stream.name)}</td>')
    errors = [stream.error, *(stream.guesses.get(kind) for kind in kinds)]
    best = min(x for x in errors if x is not None)
    line += [html.cell(tidy.number(x, 4), best=x == best) for x in errors]
    word, tone = {
      True: ('yes', 'above'),
      False: ('no', 'below'),
      None: ('–', ''),
    }[stream.beats]
    line.append(html.cell(word, tone=tone))
    rule = ' class="rule"' if new else ''
    body.append(f'<tr{rule}>{"".join(line)}</tr>')
  heads = {k: GUESSES[k].capitalize() for k in kinds}
  head = ('Run', 'Stream', 'Error', *heads.values(), 'Beats them')
  return html.table(head, body, text=('Stream',))
