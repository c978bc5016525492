"""A made-up experiment of the real one's shape, to look at the page with.

`python -m tests.reporting.fake OUT.html` writes it. No number here was
measured. Rows of scores come from the code that makes the real ones;
`test_quicktest.py` holds all others against those of a real run.
"""

import sys

import numpy as np

from rpt_jax import results
from rpt_jax.domains import measures
from rpt_jax.evals import intervals
from rpt_jax.learning import scores
from rpt_jax.reporting import explorer, frames, page
from rpt_jax.results import (
  Cell,
  Costs,
  Pretrain,
  Probe,
  Quantize,
  row,
)
from rpt_jax.units import quality

ENVS = (
  'CartPole-v1', 'Acrobot-v1', 'Pendulum-v1', 'MountainCar-v0',
  'MountainCarContinuous-v0', 'Breakout-MinAtar', 'Freeway-MinAtar',
  'SpaceInvaders-MinAtar',
)  # fmt: skip
RECIPES = (
  'raw', 'clip-mean', 'delta', 'clip-mean + delta', 'stochastic',
  'residual 2 levels', 'iterated, layer 2',
)  # fmt: skip
RUNS = {
  'clip-mean + delta': {
    'recipe': 'clip-mean + delta', 'objective': 'masked_units', 'alpha': 1.0,
  },
  'clip-mean + delta, α .5': {
    'recipe': 'clip-mean + delta', 'objective': 'masked_units', 'alpha': 0.5,
  },
  'clip-mean + delta, α 0': {
    'recipe': 'clip-mean + delta', 'objective': 'masked_units', 'alpha': 0.0,
  },
  'raw': {'recipe': 'raw', 'objective': 'masked_units', 'alpha': 1.0},
  'raw, α .5': {'recipe': 'raw', 'objective': 'masked_units', 'alpha': 0.5},
  'raw, α 0': {'recipe': 'raw', 'objective': 'masked_units', 'alpha': 0.0},
  'next units': {'recipe': 'clip-mean + delta', 'objective': 'next_units'},
  results.ORACLE: {'recipe': 'actions', 'objective': 'next_units'},
}  # fmt: skip
MAIN = 'clip-mean + delta'
PIPELINES, SEEDS, EPISODES = 5, 2, 8
EYES = {'state': 0.45, 'positions': 0.2, 'edges': 0.05}


def mean_row(rng, stage, name, value, **tags):
  """As `compare` writes it: a mean over pipelines with its interval."""
  values = value * (1 + 0.02 * rng.normal(size=PIPELINES))
  mean, *interval = intervals.t_interval(values)
  tags |= {'sample': results.PIPELINES}
  return row(stage, name, mean, interval, PIPELINES, **tags)


def quality_rows(rng):
  rows = []
  for i, recipe in enumerate(RECIPES):
    for env in (results.MEAN, *ENVS):
      jitter = 0.0 if env == results.MEAN else 0.04 * rng.normal()
      gain = (0.0, 0.6, 0.8, 1.0, 0.2, 0.5, 0.9)[i]
      values = {
        Quantize.nmi(Quantize.CLIP): 0.62 - 0.4 * gain + jitter,
        Quantize.nmi(Quantize.ACTION): 0.05 + 0.06 * gain + jitter / 4,
        Quantize.pnmi(Quantize.ACTION): 0.07 + 0.12 * gain + jitter / 2,
        Quantize.pnmi(Quantize.VELOCITY): 0.11 + 0.22 * gain + jitter,
        Quantize.pnmi(Quantize.STATE): 0.20 + 0.16 * gain + jitter,
        Quantize.pnmi(Quantize.CLIP): 0.7 - 0.5 * gain + jitter,
        Quantize.purity(Quantize.CLIP): 0.8 - 0.5 * gain,
        Quantize.PERPLEXITY: 61 + 22 * gain + 9 * jitter,
        Quantize.DEAD: max(0.0, 4 - 4 * gain),
        Quantize.DISTINCT: 3.1 + 12 * gain + jitter,
        Quantize.SEGMENT: 14.2 - 11 * gain + jitter,
      }
      values |= {
        Quantize.threshold(label): 0.15
        for label in (Quantize.CLIP, Quantize.VELOCITY, Quantize.ACTION)
      }
      tags = {'recipe': recipe, 'env': env, 'iteration': 1 + (i == 6)}
      rows += [
        mean_row(rng, Quantize.STAGE, k, x, **tags) for k, x in values.items()
      ]
  return rows


def cells():
  """The curve of the main run, all other runs on four demonstrations."""
  for demos in (1, 4, 16, 64):
    yield Cell(results.NO_RUN, results.SCRATCH, demos)
    for eyes in EYES:
      yield Cell(results.NO_RUN, results.SCRATCH, demos, eyes=eyes)
    yield Cell(MAIN, results.PROBE, demos)
    yield Cell(MAIN, results.FINETUNE, demos)
    yield Cell(MAIN, results.HEAD_FIRST, demos)
  for run in RUNS:
    if run != MAIN:
      yield Cell(run, results.FINETUNE, 4)


def score_rows(rng):
  """As `compare` writes them, of made-up scores [P, S, episodes]."""
  lift = {
    results.SCRATCH: 0.0, results.PROBE: -0.03, results.FINETUNE: 0.1,
    results.HEAD_FIRST: 0.14,
  }  # fmt: skip
  made_up = {}
  for e, env in enumerate(ENVS):
    for cell in cells():
      base = 0.25 + 0.11 * np.log2(cell.demos) + 0.05 * np.sin(3 * e)
      weight = 1.2 - 0.16 * (results.NO_RUN, *RUNS).index(cell.run)
      gain = weight * lift[cell.method] * (1.4 - 0.1 * np.log2(cell.demos))
      mean = base + gain + EYES.get(cell.eyes, 0.0)
      mean_P11 = mean + 0.03 * rng.normal(size=(PIPELINES, 1, 1))
      noise = 0.04 * rng.normal(size=(PIPELINES, SEEDS, EPISODES))
      made_up[env, cell] = (mean_P11 + noise).clip(max=1.02)
  of_all = measures.RETURN, made_up, {results.ALL: ENVS}
  return [
    *scores.score_rows(*of_all),
    *scores.difference_rows(*of_all),
    *scores.worth_rows(*of_all),
  ]


# R^2 of what a frame shows of the state.
SEEN = {
  results.LATENT: 0.86, f'{results.LATENT}/random': 0.55,
  f'{results.LATENT}/pixels': 0.61, f'{results.LATENT}/edges': 0.72,
  f'{results.LATENT}/state': 0.99,
}  # fmt: skip


def other_rows(rng):
  rows = []
  for features, mean in (
    (results.LATENT, 0.71), (results.RANDOM, 0.55), (MAIN, 0.83), ('raw', 0.68),
    ('raw, α .5', 0.64), ('raw, α 0', 0.60), ('clip-mean + delta, α .5', 0.82),
    ('clip-mean + delta, α 0', 0.78),
  ):  # fmt: skip
    for env in ENVS:
      r2 = mean + 0.06 * rng.normal()
      tags = {'features': features, 'env': env}
      rows.append(mean_row(rng, Probe.STAGE, Probe.STATE_R2, r2, **tags))
  for features, mean in SEEN.items():
    for env in ENVS:
      tags = {'features': features, 'env': env}
      rows.append(mean_row(rng, Probe.STAGE, Probe.VISIBLE_R2, mean, **tags))
  for env in ENVS:
    gain = SEEN[results.LATENT] - SEEN[results.EDGES]
    tags = {'features': results.LATENT, 'env': env}
    rows.append(mean_row(rng, Probe.STAGE, Probe.OVER_EDGES, gain, **tags))
  for i, (run, described) in enumerate(RUNS.items()):
    # Over all domains, and the last one alone.
    for tags in ({'run': run}, {'run': run, 'env': ENVS[-1]}):
      off = 0.3 if 'env' in tags else 0.0
      rows += [
        mean_row(rng, Pretrain.STAGE, name, value - off, **tags)
        for name, value in learned(i, described).items()
      ]
  for run in RUNS:
    tags = {'kind': results.COST, 'run': run}
    rows.append(row(Pretrain.STAGE, Costs.FLOPS, 4.1e11, **tags))
  for stage, seconds, memory in (
    ('collect', 41, 1.9), ('see', 118, 1.4), ('encode', 37, 1.1),
    ('quantize', 65, 2.2), ('pretrain', 171, 1.2), ('finetune', 214, 1.6),
    ('evaluate', 96, 1.8), ('report', 8.4, 0.6),
  ):  # fmt: skip
    rows.append(row(stage, Costs.SECONDS, seconds, kind=results.COST))
    rows.append(row(stage, Costs.MEMORY, memory, kind=results.COST))
  return rows


def learned(i, described):
  """What the objective of the i-th run measures beside its loss."""
  if described['objective'] == 'next_units':
    return {Pretrain.ACCURACY: 0.4, Pretrain.NEXT_ACCURACY: 0.5}
  alpha = described['alpha']
  return {
    Pretrain.LOSS_BITS: 2.0 + 0.1 * i,
    Pretrain.MASKED_ACCURACY: 0.46 - 0.03 * i,
    Pretrain.UNMASKED_ACCURACY: 0.95 - 0.9 * (alpha == 1),
  }


def clip(rng, length, speed=0.12):
  """A pendulum over a textured background, uint8 [T, 64, 64, 3]."""
  y, x = np.mgrid[:64, :64]
  waves = np.sin(x * rng.uniform(0.1, 0.5) + y * rng.uniform(0.1, 0.5))
  colour = rng.uniform(60, 220, size=3)
  background = colour + 22 * waves[..., None] * rng.uniform(-1, 1, size=3)
  frames = np.empty((length, 64, 64, 3), np.uint8)
  for t in range(length):
    angle = 2.2 * np.cos(speed * t + rng.uniform(0, 0.02))
    dx, dy = np.sin(angle), np.cos(angle)
    along = ((x - 32) * dx + (y - 26) * dy).clip(0, 22)
    distance = np.hypot(x - 32 - along * dx, y - 26 - along * dy)
    ink = (3.2 - distance).clip(0, 1)[..., None]
    frame = background * (1 - ink) + np.array([190, 60, 40]) * ink
    frames[t] = frame.clip(0, 255)
  return frames


def units(rng, length, mean_run, vocabulary=100):
  labels = []
  while len(labels) < length:
    labels += [int(rng.integers(vocabulary))] * (1 + rng.poisson(mean_run))
  return np.array(labels[:length], np.int32)


def losses(rng):
  curves = {'see': [
    {'step': s, 'loss': 0.4 + 0.6 * np.exp(-s / 300) + 0.02 * rng.normal()}
    for s in range(0, 1500, 10)
  ]}  # fmt: skip
  for i, (run, described) in enumerate(RUNS.items()):
    curves[f'pretrain/{run}'] = [
      {
        'step': s,
        'loss': 2.2 + 0.1 * i + 2.3 * np.exp(-s / 400) + 0.05 * rng.normal(),
        'learning_rate': 1e-3,
      }
      | {
        name: value - 0.4 * np.exp(-s / 500)
        for name, value in learned(i, described).items()
      }
      for s in range(0, 2000, 20)
    ]
  return curves


def explored(rng, envs, length=40, text='reach the handle'):
  """Two clips an environment, a recipe of them with two levels."""
  runs = {'raw': 60, 'clip-mean': 9, 'clip-mean + delta': 3,
          'residual 2 levels': 6, 'residual 2 levels, level 2': 2}  # fmt: skip
  clips = [
    explorer.Clip(
      env, i, range(length), clip(rng, length),
      {lane: units(rng, length, run, 12) for lane, run in runs.items()},
      {'action': rng.normal(size=(length, 2)).round(3)}, text,
    )
    for env in envs for i in range(2)
  ]  # fmt: skip
  return explorer.Explorer(clips, {lane: uses(clips, lane) for lane in runs})


def uses(clips, lane):
  """Units of a lane as these clips have them; their actions are made up."""
  unit_N = np.concatenate([c.units[lane] for c in clips])
  clip_N = np.repeat(np.arange(len(clips)), len(clips[0].units[lane]))
  used = []
  for number, count, share in zip(*quality.clip_shares(unit_N, clip_N),
                                  strict=True):  # fmt: skip
    at = np.flatnonzero(unit_N == number)[[0, -1]]
    nearest = [(int(clip_N[n]), int(n % len(clips[0].steps_S))) for n in at]
    action = explorer.Action(
      clips[0].domain,
      int(count),
      np.array([0.5, -1.0]),
      np.array([0.1, 0.2]),
      ('<i>x</i>', ''),
    )
    used.append(
      explorer.Unit(int(number), int(count), nearest, [action], share, 0.3)
    )
  return sorted(used, key=lambda unit: -unit.count)


def content(seed=0, envs=ENVS):
  rng = np.random.default_rng(seed)
  rows = quality_rows(rng) + score_rows(rng) + other_rows(rng)
  original = np.stack([clip(rng, 1)[0] for _ in range(8)])
  keep = rng.random((8, 4, 4)) < 0.25
  masked = np.where(
    np.kron(keep, np.ones((1, 16, 16)))[..., None] > 0, original, 205
  ).astype(np.uint8)
  blurred = (original // 24) * 24
  rolls = [
    frames.Rollout(
      clip(rng, 120, speed), env, method, demos, score, measures.RETURN
    )
    for env in envs
    for method, demos, score, speed in (
      ('expert', None, 1.0, 0.1), ('scratch', 4, 0.31, 0.3),
      ('probe', 4, 0.35, 0.2), ('finetune', 4, 0.62, 0.15),
    )
  ]  # fmt: skip
  return page.Content(
    title='Hidden units from action-free clips, and what they are worth',
    subtitle='Eight environments, rendered with nuisance; scratch against the '
    'same trunk pretrained on units, at 1 to 64 demonstrations.',
    rows=rows,
    losses=losses(rng),
    runs=RUNS,
    measures={measures.RETURN.name: measures.RETURN},
    explored=explored(rng, envs[:3]),
    main_recipe='clip-mean + delta',
    samples=frames.Samples(
      {'original': original, 'masked': masked, 'output': blurred}, 'Filled in.'
    ),
    rollouts=rolls,
    config={'seed': 0, 'units': {'clusters': 100, 'recipes': RECIPES}},
    versions={'jax': '0.10.2', 'note': '<b>"quoted" & escaped</b>'},
    command='python -m rpt_jax.main --config=configs/hubert_units.py',
    notes=('All numbers on this page are made up.',),
  )  # fmt: skip


if __name__ == '__main__':
  print(page.write(sys.argv[1], content()))
