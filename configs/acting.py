"""How actions are given, where demonstrations differ and where they do not.

A point goes round an obstacle to a goal. In `Detour-v0` its demonstrators go
left and right in equal shares, and nothing that is seen says which; in
`OneWay-v0` all go left. The same trunk learns from the same demonstrations by
every head: their mean (`linear`), a mixture of Gaussians, bins, FAST's tokens,
a flow with three distributions of its times, an energy. Chunks of 8 actions, of
which 4 are played before the next: a mean of left and right runs into the
obstacle.

    python -m rpt_jax.main --config=configs/acting.py
    python -m rpt_jax.main --config=configs/acting.py:study
    python -m rpt_jax.main --config=configs/acting.py:quicktest
    python -m tests.benchmarks.delay runs/acting

All see the true position, one step of it, so that nothing but the head differs;
the trunk is not pretrained to speak of (one update). `study` is the same in ten
pipelines. The last command plays the flow policies of a workdir again with
every delay: chunks that go on from the one before (real-time chunking), chunks
that take over as they are, and ensembling.
"""

from rpt_jax import settings

ENVS = ('Detour-v0', 'OneWay-v0')
DEMOS = 64
# Name of a run: the kind of its head, and what differs from the defaults.
HEADS = {
  'flow': ('flow', {}),
  'flow_uniform': ('flow', {'alpha': 1.0}),
  'flow_normal': ('flow', {'times': 'logit_normal'}),
  'flow_normal_5': ('flow', {'times': 'logit_normal', 'euler': 5}),
  'flow_uniform_5': ('flow', {'alpha': 1.0, 'euler': 5}),
  'mean': ('linear', {}),
  'mixture': ('mixture', {}),
  'bins': ('bins', {}),
  'fast': ('fast', {'vocab': 256}),
  'energy': ('energy', {'negatives': 64, 'candidates': 512}),
}


def get_config(arg=''):
  """`arg`: '' (the default), 'study' or 'quicktest'."""
  arg = settings.argument(arg, ('study', 'quicktest'))
  config = settings.base('pretrain', 'finetune')
  config.title = 'Acting where demonstrators differ'
  config.question = 'Which head keeps what demonstrators do apart?'
  config.pipelines = 10 if arg == 'study' else 3
  config.domains.gymnax = settings.plugin('domains', 'gymnax', envs=ENVS)
  # The side is seen in nothing: neither in a past nor in a way back.
  config.domains.gymnax.update(demos=DEMOS, demo_noise=0.0, score_episodes=256)
  config.domains.gymnax.update(pretrain_clips=32, heldout_clips=8)
  config.encoder = 'state'
  config.pretrain.update(context=1, steps=1, batch_size=32, motion=())
  config.pretrain.runs = {
    name: _run(kind, **how) for name, (kind, how) in HEADS.items()
  }
  config.pretrain.main = 'flow'
  config.finetune.update(seeds=1, demos=(DEMOS,), run_demos=(DEMOS,))
  config.finetune.update(chunk=8, batch_size=128, methods=('finetune',))
  config.finetune.head = settings.plugin('models/heads', 'linear')
  settings.all_methods(config.finetune, steps=1500, learning_rate=1e-3)
  config.evaluate.update(episodes=128, execution='execute:4')
  config.evaluate.comparisons = {
    'a flow, or the mean': ('flow', 'mean'),
    'a mixture of Gaussians, or the mean': ('mixture', 'mean'),
    'bins, or the mean': ('bins', 'mean'),
    'tokens (FAST), or the mean': ('fast', 'mean'),
    'an energy, or the mean': ('energy', 'mean'),
    'a flow, or bins': ('flow', 'bins'),
    'a flow, or an energy': ('flow', 'energy'),
    'FAST, or bins': ('fast', 'bins'),
    'logit-normal times, or even ones': ('flow_normal', 'flow_uniform'),
    'the same with 5 Euler steps': ('flow_normal_5', 'flow_uniform_5'),
    'Beta times, or logit-normal ones': ('flow', 'flow_normal'),
  }
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _run(kind, **how):
  """Policies with a head of that kind, on a trunk of one update."""
  objective = settings.plugin('objectives', 'latent_regression', horizon=1)
  head = settings.plugin('models/heads', kind, **how)
  return settings.section(settings.Run, objective=objective, head=head)


def _quicktest(config):
  """Heads of every way to draw on almost nothing: does it work?"""
  config.pipelines, config.finetune.seeds = 1, 2
  gymnax = config.domains.gymnax
  gymnax.update(envs=ENVS[:1], demos=2, score_episodes=32)
  gymnax.update(pretrain_clips=4, heldout_clips=4, clip_length=8)
  config.saving.update(log_steps=1, save_steps=1)
  config.pretrain.update(width=32, batch_size=8, trunk={'depth': 1})
  settings.keep(config.pretrain.runs, 'flow', 'mean', 'fast', 'energy')
  for run in config.pretrain.runs.values():
    small = {'width': 16, 'depth': 1, 'candidates': 16, 'negatives': 4}
    run.head.update({k: v for k, v in small.items() if k in run.head})
  config.pretrain.runs.fast.head.vocab = 64
  config.finetune.update(demos=(2,), run_demos=(2,), batch_size=8)
  settings.all_methods(config.finetune, steps=4)
  config.evaluate.episodes = 8
  comparisons = config.evaluate.comparisons
  settings.keep(
    comparisons,
    *(
      q
      for q, pair in comparisons.items()
      if set(pair) <= set(config.pretrain.runs)
    ),
  )
