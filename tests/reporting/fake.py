"""A made-up experiment of the real one's shape, to look at the page with.

`python -m tests.reporting.fake OUT.html` writes it. No number here was
measured.
"""

import sys

import numpy as np

from rpt_jax.reporting import frames, page

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
}  # fmt: skip
MAIN = 'clip-mean + delta'


def row(stage, name, value, interval=None, seeds=None, **tags):
  return {
    'stage': stage, 'name': name, 'value': float(value), 'interval': interval,
    'seeds': seeds, 'tags': tags,
  }  # fmt: skip


def quality_rows(rng):
  rows = []
  for i, recipe in enumerate(RECIPES):
    for env in ('mean', *ENVS):
      jitter = 0.0 if env == 'mean' else 0.04 * rng.normal()
      gain = (0.0, 0.6, 0.8, 1.0, 0.2, 0.5, 0.9)[i]
      values = {
        'nmi_clip': 0.62 - 0.4 * gain + jitter,
        'nmi_action': 0.05 + 0.06 * gain + jitter / 4,
        'pnmi_action': 0.07 + 0.12 * gain + jitter / 2,
        'pnmi_velocity': 0.11 + 0.22 * gain + jitter,
        'pnmi_state': 0.20 + 0.16 * gain + jitter,
        'perplexity': 61 + 22 * gain + 9 * jitter,
        'dead_units': max(0.0, 4 - 4 * gain),
        'distinct_per_clip': 3.1 + 12 * gain + jitter,
        'segment_length': 14.2 - 11 * gain + jitter,
      }
      for name, value in values.items():
        rows.append(row('quantize', name, value, recipe=recipe, env=env))
  return rows


def score_rows(rng):
  rows = []
  lift = {'scratch': 0.0, 'probe': -0.03, 'finetune': 0.1}
  for r, run in enumerate(('none', *RUNS)):
    methods = ('scratch',) if run == 'none' else ('probe', 'finetune')
    weight = 1.2 - 0.16 * r
    for method in methods:
      for e, env in enumerate(('all', *ENVS)):
        for demos in (1, 4, 16, 64):
          base = 0.25 + 0.11 * np.log2(demos) + 0.05 * np.sin(3 * e)
          gain = weight * lift[method] * (1.4 - 0.1 * np.log2(demos))
          gain += 0.0 if env == 'all' else 0.05 * rng.normal()
          half = 0.03 if env == 'all' else 0.05 + 0.03 * rng.random()
          score = min(base + (gain if run != 'none' else 0.0), 1.02)
          tags = {'env': env, 'method': method, 'demos': demos, 'run': run}
          rows.append(row('evaluate', 'score', score,
                          [score - half, score + half], 5, **tags))  # fmt: skip
          if run != 'none':
            interval = [gain - 0.8 * half, gain + 0.8 * half]
            rows.append(row('evaluate', 'paired_difference', gain, interval, 5,
                            **tags))  # fmt: skip
  return rows


def other_rows(rng):
  rows = []
  for features, mean in (
    ('latent', 0.71), ('random_trunk', 0.55), (MAIN, 0.83), ('raw', 0.68),
    ('raw, α .5', 0.64), ('raw, α 0', 0.60), ('clip-mean + delta, α .5', 0.82),
    ('clip-mean + delta, α 0', 0.78),
  ):  # fmt: skip
    for env in ENVS:
      rows.append(row('probe', 'state_r2', mean + 0.06 * rng.normal(),
                      features=features, env=env))  # fmt: skip
  for i, run in enumerate(RUNS):
    rows.append(
      row('pretrain', 'accuracy_masked', 0.46 - 0.03 * i, run=run, env='all')
    )
  for stage, seconds, memory in (
    ('collect', 41, 1.9), ('mae', 118, 1.4), ('encode', 37, 1.1),
    ('quantize', 65, 2.2), ('pretrain', 171, 1.2), ('finetune', 214, 1.6),
    ('evaluate', 96, 1.8), ('report', 8.4, 0.6),
  ):  # fmt: skip
    rows.append(row(stage, 'seconds', seconds, kind='cost'))
    rows.append(row(stage, 'peak_memory_gib', memory, kind='cost'))
  return rows


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
  found = {'mae': [
    {'step': s, 'loss': 0.4 + 0.6 * np.exp(-s / 300) + 0.02 * rng.normal()}
    for s in range(0, 1500, 10)
  ]}  # fmt: skip
  for i, run in enumerate(RUNS):
    found[f'pretrain/{run}'] = [
      {
        'step': s,
        'loss': 2.2 + 0.1 * i + 2.3 * np.exp(-s / 400) + 0.05 * rng.normal(),
        'accuracy_masked': 0.46 - 0.03 * i - 0.4 * np.exp(-s / 500),
        'lr': 1e-3,
      }
      for s in range(0, 2000, 20)
    ]
  return found


def content(seed=0, envs=ENVS):
  rng = np.random.default_rng(seed)
  rows = quality_rows(rng) + score_rows(rng) + other_rows(rng)
  clips = [
    frames.Timeline(f'{env} clip {i}', clip(rng, 90), {
      'raw': units(rng, 90, 60), 'clip-mean': units(rng, 90, 9),
      'clip-mean + delta': units(rng, 90, 3),
      'residual 2 levels': np.stack([units(rng, 90, 6), units(rng, 90, 2)], 1),
    })
    for i, env in enumerate(envs[:3])
  ]  # fmt: skip
  nearest = np.stack([
    np.stack([clip(rng, 1, 0.0)[0] for _ in range(8)]) for _ in range(12)
  ])  # fmt: skip
  original = np.stack([clip(rng, 1)[0] for _ in range(8)])
  keep = rng.random((8, 4, 4)) < 0.25
  masked = np.where(
    np.kron(keep, np.ones((1, 16, 16)))[..., None] > 0, original, 205
  ).astype(np.uint8)
  blurred = (original // 24) * 24
  rolls = [
    frames.Rollout(clip(rng, 120, speed), env, method, demos, score)
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
    timelines=clips,
    galleries=[frames.Gallery(
      recipe, list(range(3, 99, 8)), nearest, list(range(4021, 9, -330))[:12]
    ) for recipe in ('raw', 'clip-mean + delta')],
    reconstructions=frames.Reconstructions(original, masked, blurred),
    rollouts=rolls,
    config={'seed': 0, 'units': {'clusters': 100, 'recipes': RECIPES}},
    versions={'jax': '0.10.2', 'note': '<b>"quoted" & escaped</b>'},
    command='python -m rpt_jax.main --config=configs/hubert_units.py',
    notes=('All numbers on this page are made up.',),
  )  # fmt: skip


if __name__ == '__main__':
  print(page.write(sys.argv[1], content()))
