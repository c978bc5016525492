"""Warnings: what sees a failure coming, and how often it is wrong.

A point goes round an obstacle to a goal (`Detour-v0`, on either side); a trunk
is pretrained to foresee what is seen and done next (`next_streams`), and
becomes a policy that draws chunks of actions from a flow. Monitors watch it:
whether chunks agree with those before (STAC), whether what happens surprises
the pretrained model (own), how widely draws scatter (the control). Thresholds
are of successful episodes, at most `delta` of the others are to raise an alarm;
failures are those of a changed world, with late, weak, pushed or reversed
actions, with measurements that are off or scatter, with a goal that was moved.

A critic chooses among 10, 50 or 100 chunks that the policy draws, having
learned from demonstrations and the policy's own episodes; one that was shuffled
and a choice at random are the controls.

    python -m rpt_jax.main --config=configs/values.py
    python -m rpt_jax.main --config=configs/values.py:study
    python -m rpt_jax.main --config=configs/values.py:guided
    python -m rpt_jax.main --config=configs/values.py:critics
    python -m rpt_jax.main --config=configs/values.py:deployment
    python -m rpt_jax.main --config=configs/values.py:quicktest

`study` is the same in ten pipelines, `guided` without monitors. `critics`
learns values alone, by CQL and Cal-QL on Pendulum and MountainCarContinuous,
from recorded episodes and then from its own. `deployment` clones few
demonstrations, deploys that with an expert who takes over, and asks what each
step of it should count (Sirius). All see the true state.

Expected: False alarms keep their rate; STAC sees slow failures, surprise those
of other actions, and nothing the failures of the world as it was. The best of
10 draws succeeds in 0.99 of episodes, one in 0.70. After three deployments 0.95
succeed with all steps alike, 0.99 weighed, 0.65 without them. A pipeline took
171 s of CPU on 2 cores, critics and monitors included. See configs/README.md.
"""

from rpt_jax import settings

DEMOS = 64
WORLDS = ('late:4', 'weak', 'pushed', 'reversed', 'shifted', 'noisy', 'moved')
# Small enough for a minute of CPU.
CRITIC = {
  'width': 48,
  'batch_size': 64,
  'tau': 0.01,
  'learning_rate': 2e-3,
  'recorded': 128,
  'offline': 640,
  'rounds': 16,
  'switch': 4,
  'seeds': 10,
  'envs': ('Pendulum-v1', 'MountainCarContinuous-v0'),
}

DEPLOY = {'envs': ('Gate-v0',), 'seeds': 10}


def get_config(arg=''):
  """`arg`: '', 'study', 'guided', 'critics', 'deployment' or 'quicktest'."""
  variants = 'study', 'guided', 'critics', 'deployment', 'quicktest'
  arg = settings.argument(arg, variants)
  config = settings.base('pretrain', 'finetune')
  config.title = 'Values and warnings'
  config.question = 'What sees a failure coming, and how often is it wrong?'
  config.pipelines = 10 if arg == 'study' else 3
  config.domains.gymnax = settings.plugin(
    'domains', 'gymnax', envs=('Detour-v0',), demos=DEMOS, demo_noise=0.0
  )
  config.domains.gymnax.update(pretrain_clips=256, heldout_clips=32)
  config.domains.gymnax.update(clip_length=32, score_episodes=256)
  config.encoder = 'state'
  objective = settings.plugin('objectives', 'next_streams')
  run = {'objective': objective, 'streams': ('latent', 'action')}
  config.pretrain.update(context=2, steps=800, batch_size=128, motion=())
  config.pretrain.runs = {'next': settings.section(settings.Run, **run)}
  config.pretrain.main = 'next'
  config.finetune.update(seeds=1, demos=(DEMOS,), run_demos=(DEMOS,))
  config.finetune.update(chunk=8, batch_size=64, methods=('finetune',))
  config.finetune.head = settings.plugin('models/heads', 'flow')
  settings.all_methods(config.finetune, steps=2500, learning_rate=2e-3)
  config.evaluate.update(episodes=256, execution='execute:4')
  config.evaluate.watch.monitors = _monitors(samples=32)
  config.evaluate.watch.update(worlds=WORLDS, calibration=200, episodes=384)
  config.evaluate.guide.update(samples=(10, 50, 100))
  if arg == 'guided':
    config.evaluate.watch.monitors = {}
  if arg in ('critics', 'deployment'):
    _next_to_nothing(config)
  if arg == 'critics':
    config.finetune.critic = settings.section(settings.Critic, **CRITIC)
  if arg == 'deployment':
    config.finetune.deploy = settings.section(settings.Deploy, **DEPLOY)
    config.finetune.deploy.trunk.update(depth=1, num_heads=2)
  if arg == 'quicktest':
    _quicktest(config)
  return config


def _monitors(samples):
  """Those of the paper, ours, and the control."""

  def of(kind, **how):
    return settings.plugin('policy/monitors', kind, **how)

  return {
    'stac': of('stac', samples=samples),
    'surprise': of('surprise'),
    'surprise_seen': of('surprise', streams=('latent',)),
    'spread': of('spread', samples=samples),
  }


def _next_to_nothing(config):
  """Of all that is pretrained, cloned and watched."""
  config.pipelines, config.finetune.seeds = 1, 2
  config.pretrain.steps = 2
  settings.all_methods(config.finetune, steps=2)
  config.evaluate.episodes = 2
  config.evaluate.watch.monitors = {}
  config.evaluate.guide.samples = ()


def _quicktest(config):
  """Every monitor, a critic that chooses, and values: does it work?

  A policy of one side only learns in a moment to succeed at times.
  """
  config.pipelines, config.finetune.seeds = 1, 2
  gymnax = config.domains.gymnax
  gymnax.update(envs=('OneWay-v0',), demos=16, score_episodes=32)
  gymnax.update(pretrain_clips=8, heldout_clips=4)
  config.saving.update(log_steps=100, save_steps=100)
  config.pretrain.update(width=32, batch_size=8, steps=4, trunk={'depth': 1})
  config.finetune.update(demos=(16,), run_demos=(16,), batch_size=64)
  config.finetune.head.update(width=32, depth=1)
  settings.all_methods(config.finetune, steps=300, learning_rate=5e-3)
  small = {'width': 8, 'depth': 1, 'recorded': 8, 'batch_size': 16}
  config.finetune.critic = settings.section(
    settings.Critic, **small, seeds=2, offline=8, rounds=2, switch=1
  )
  config.finetune.critic.update(episodes=2, updates=4)
  config.finetune.deploy = settings.section(
    settings.Deploy, seeds=2, rounds=1, episodes=2, updates=4, judged=4
  )
  config.finetune.deploy.update(width=8, trunk={'depth': 1, 'num_heads': 1})
  config.evaluate.episodes = 8
  config.evaluate.guide.update(small, samples=(4,), episodes=32, steps=20)
  config.evaluate.watch.monitors = _monitors(samples=4)
  del config.evaluate.watch.monitors.surprise_seen
  config.evaluate.watch.update(worlds=('weak',), delta=0.4)
  config.evaluate.watch.update(calibration=9, episodes=32)
