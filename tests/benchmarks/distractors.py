"""Which units survive distraction: what units and codes say of actions.

    python -m rpt_jax.main --config=distractors:units --workdir=runs/units
    python -m tests.benchmarks.distractors runs/units

Of every recipe and pipeline, on held-out episodes before backgrounds that were
trained on ('seen') and before others:

  unit   R^2 of the mean action of each unit, shrunk, by the table of labelled
         clips alone, as many as grounded units are told: what units are worth
         to whoever has no more labels
  code   R^2 of a linear map of codes (ridge), fitted on all clips: the probe
         of LAOM's ablation, which gives its squared error

A unit is asked what is done from its frame to the next; one of a delta, which
looks back, is asked as of the frame before. Means over pipelines with Student's
95 % intervals.
"""

import pathlib
import sys
from typing import NamedTuple

import numpy as np

from rpt_jax import artifacts, domains, settings
from rpt_jax.episodes import store
from rpt_jax.evals import intervals, probes
from rpt_jax.stages import plan
from rpt_jax.units import labelled, recipes

SPLITS = ('pretrain', 'heldout')
SHRUNK = 2.0  # Frames that a unit's mean is of, before it has any.
KEYS = ('unit seen', 'unit unseen', 'code seen', 'code unseen')
_FEW = 8  # Labelled clips, where no recipe says how many.


class Truth(NamedTuple):
  """What was done: actions [N, A] and clips of frames, by split."""

  action: dict[str, np.ndarray]
  clip: dict[str, np.ndarray]
  labelled_N: np.ndarray  # bool, of pretrain


def main(workdir: str) -> None:
  """Prints the table of the pipelines of a workdir whose units are made."""
  workdir = pathlib.Path(workdir)
  config = settings.saved(settings.Experiment, workdir / 'config.json')
  folders = [
    (workdir / stage.name).parent
    for stage in plan.plan(config)
    if stage.verb == 'quantize' and artifacts.read(workdir / stage.name)
  ]
  told = [told_of(config, folder) for folder in folders]
  print(f'{len(told)} pipelines; R^2 of actions, {", ".join(KEYS)}')
  for name in config.quantize.recipes if told else ():
    print(line(name, [each[name] for each in told]))


def told_of(config, folder: pathlib.Path) -> dict[str, dict]:
  """{recipe: {key: R^2}} of a pipeline; of codes None where there are none."""
  truth = _truth(config, folder)
  return {
    name: _recipe(folder / 'quantize' / name, recipe, config.quantize, truth)
    for name, recipe in config.quantize.recipes.items()
  }


def line(name: str, told: list[dict]) -> str:
  """A row of the table, over pipelines."""
  cells = [_cell([each[key] for each in told]) for key in KEYS]
  return ' '.join([f'{name:16}', *cells])


def _cell(values):
  """'mean [low, high]' over pipelines."""
  if None in values:
    return f'{"":20}'
  if len(values) < 2:
    return f'{values[0]:5.2f}{"":15}'
  mean, low, high = intervals.t_interval(np.array(values))
  return f'{mean:5.2f} [{low:5.2f}, {high:5.2f}]'


def _truth(config, folder):
  makers = [recipe.maker for recipe in config.quantize.recipes.values()]
  told = [m.labelled for m in makers if getattr(m, 'labelled', 0)]
  place, actions, clips = domains.of(config)[0], {}, {}
  for split in SPLITS:
    own = store.load(folder / 'label' / place.name / split, ('action',))
    actions[split], clips[split] = np.asarray(own.arrays['action']), own.clip_N
    if split == 'pretrain':
      row_M, _ = labelled.rows(own, max(told, default=_FEW), 1)
  labelled_N = np.isin(np.arange(len(actions['pretrain'])), row_M)
  return Truth(actions, clips, labelled_N)


def _recipe(folder, recipe, shared, truth):
  """{key: R^2} of one recipe, of what the stage quantize has written."""
  units = {s: np.load(folder / f'{s}.npy')[:, 0] for s in SPLITS}
  codes = None
  if (folder / 'heldout_code.npy').exists():
    codes = {s: np.load(folder / f'{s}_code.npy') for s in SPLITS}
  return scores(recipe, shared, units, codes, truth)


def scores(recipe, shared, units, codes, truth: Truth) -> dict:
  """{key: R^2}; units [N] and codes [N, D] or None, by split."""
  if any(step.startswith(('delta', 'stack')) for step in recipe.transforms):
    if settings.kind(recipe.maker) == 'kmeans':
      units = {s: _before(n_N, truth.clip[s]) for s, n_N in units.items()}
  vocab, _ = recipes.sizes(recipe, shared)
  guesses = {'unit': _table(units, truth, vocab)}
  if codes:
    guesses['code'] = _map(codes, units, truth)
  shown_N = units['heldout'] >= 0
  unseen_N = truth.clip['heldout'] % 2 == 1
  varies_A = truth.action['pretrain'].std(0) > 1e-6  # Some stay at a limit.
  told = dict.fromkeys(KEYS)
  for what, guess_NA in guesses.items():
    for where, chosen_N in (('seen', ~unseen_N), ('unseen', unseen_N)):
      own_N = shown_N & chosen_N
      told[f'{what} {where}'] = probes.pooled_r2(
        truth.action['pretrain'][:, varies_A],
        truth.action['heldout'][own_N][:, varies_A],
        guess_NA[own_N][:, varies_A],
      )
  return told


def _before(unit_N, clip_N):
  """Units of the frames after; -1 at the last one of a clip."""
  last_N = np.append(clip_N[1:] != clip_N[:-1], True)
  return np.where(last_N, -1, np.roll(unit_N, -1))


def _table(units, truth, vocab):
  """The shrunk mean action of every held-out frame's unit [N, A]."""
  told_N = truth.labelled_N & (units['pretrain'] >= 0)
  unit_M, action_MA = (
    units['pretrain'][told_N],
    truth.action['pretrain'][told_N],
  )
  mean_A = action_MA.mean(0)
  total_KA = np.zeros((vocab, action_MA.shape[1]))
  np.add.at(total_KA, unit_M, action_MA - mean_A)
  count_K1 = np.bincount(unit_M, minlength=vocab)[:, None]
  return (mean_A + total_KA / (count_K1 + SHRUNK))[units['heldout']]


def _map(codes, units, truth):
  """What a linear map of codes gives for every held-out frame [N, A]."""
  shown_N = units['pretrain'] >= 0
  fitted = probes.fit(
    codes['pretrain'][shown_N],
    truth.action['pretrain'][shown_N],
    1e-2 * shown_N.sum(),
  )
  return fitted(codes['heldout'])


if __name__ == '__main__':
  main(sys.argv[1])
