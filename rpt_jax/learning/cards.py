"""What a saved model tells of its making: `origin`, and its card.

What differs between two equal runs (command, revision) is in the card alone.
"""

from collections.abc import Sequence

from rpt_jax import provenance, settings
from rpt_jax.domains import Domain
from rpt_jax.learning.cells import learning
from rpt_jax.learning.looks import Kept
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.results import Row
from rpt_jax.sharing import card

_HOW = ('batch_size', 'weight_decay', 'freeze')
_MORE = (*_HOW, 'steps', 'learning_rate', 'ema')
_WORDS = {'pretrain': 'episodes', 'failures': 'deliberate failures'}


def pretrained(
  run: PretrainingRun,
  data: Sequence[tuple[Domain, str, int]],
  model: SequenceModel,
  rows: Sequence[Row],
  seed: int,
) -> dict:
  """`origin` and `card` of a pretraining run, as `folder.write` takes them.

  Args:
    data: (domain, split, episodes) of all that it learned from.
    rows: of results; those with interval null are shown without.
  """
  init = settings.plain(run.init) if run.init.path else {}
  origin = {
    'run': run.name,
    'settings': settings.plain(run.settings),
    'data': {_named(d, split): count for d, split, count in data},
    'init': init,
    **{k: getattr(run.shared, k) for k in _MORE},
    'seed': seed,
  }
  objective = settings.kind(run.settings.objective)
  text = card.text(
    model,
    f'{run.name}: {objective} on {len(model.streams)} streams',
    data=[
      f'{domain.describe()}, {count} {_WORDS[split]}'
      for domain, split, count in data
    ],
    provenance=provenance.for_people() | origin,
    results=rows,
  )
  return {'origin': origin, 'card': text}


def _named(domain, split):
  return domain.name if split == 'pretrain' else f'{domain.name} {split}'


def policy(
  domain: Domain,
  kept: Kept,
  finetune: settings.Finetune,
  model: SequenceModel,
  rows: Sequence[Row],
  learnt_from: Sequence[Domain],
  seed: int,
) -> dict:
  """`origin` and `card` of a domain's policy, as `Policy.save` takes them.

  `learnt_from` are the domains of pretraining.
  """
  cell = kept.cell
  origin = {
    'domain': domain.name,
    **cell.tags,
    'chunk': finetune.chunk,
    **{k: getattr(finetune, k) for k in _HOW},
    **dict(
      zip(('steps', 'learning_rate'), learning(finetune, cell), strict=True)
    ),
    'seed': seed,
  }
  text = card.text(
    model,
    f'A policy for {domain.name}',
    data=[f'{domain.describe()}, {cell.demos} demonstrations']
    + [f'pretrained on {each.describe()}' for each in learnt_from],
    provenance=provenance.for_people() | origin,
    results=rows,
    chosen=kept.why,
    acts=True,
  )
  return {'origin': origin, 'card': text}
