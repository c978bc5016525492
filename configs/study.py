"""Which form of pretraining is worth what: units or not, which, and how.

Ten whole pipelines as in `hubert_units`, in which every form of action-free
pretraining gets the same latents, trunk, windows and number of steps, and is
then probed and fine-tuned with the same steps and rates on the same few
demonstrations. `oracle` learns from the true actions of the same clips, and
`scratch` from nothing.

    python -m rpt_jax.main --config=configs/study.py
    python -m rpt_jax.main --config=configs/study.py:small
    python -m rpt_jax.main --config=configs/study.py:horizon
    python -m rpt_jax.main --config=configs/study.py:codes
    python -m rpt_jax.main --config=configs/study.py:encoders
    python -m rpt_jax.main --config=configs/study.py:quicktest

Expected on 2 CPU cores without AMX: 70 minutes (by the pace of three of its
pipelines), 2.7 GiB; kill it and go on as often as you like. One demonstration,
gain of a frozen probe over scratch: `next` 0.15 [0.10, 0.20], `next_raw` 0.02
[-0.02, 0.07], `next_latent` 0.03 [-0.02, 0.09], `masked` -0.06 [-0.12, 0.00].
`small` has two pipelines and 100 steps (10 minutes, and decides nothing);
`horizon` asks how far ahead to look, and whether units may see the whole clip;
`codes` what becomes of the code of a latent action, among others finite scalar
quantisation (190 s of CPU a pipeline: what is quantised does what units of
frames do, +0.00 [-0.02, 0.02] with four demonstrations); `encoders` has three
forms that matter, to be run with `--config.encoder=edges` and others (260 s of
CPU a pipeline: with one of `edges` they come in the same order).
"""

from rpt_jax import settings

ENVS = ('Acrobot-v1', 'MountainCar-v0', 'Pendulum-v1')
DEMOS = (1, 4, 16)
STACK = ('clip_mean', 'stack:1')
# {form: (objective, recipe, what it predicts)}
FORMS = {
  'next': ('next_units', 'clip_mean_stack', ('unit',)),
  'next_raw': ('next_units', 'raw', ('unit',)),
  'next_delta': ('next_units', 'delta', ('unit',)),
  'next_stochastic': ('next_units', 'stochastic', ('unit',)),
  'latent_action': ('next_units', 'latent_action', ('unit',)),
  'unit_latent': ('next_units', 'clip_mean_stack', ('unit', 'latent')),
  'next_latent': ('latent_regression', '', ('latent',)),
  'teacher': ('latent_regression', '', ('latent',)),
  'next_stream': ('next_streams', '', ('latent',)),
  'next_causal': ('next_units', 'causal', ('unit',)),
  'generate': ('generate_units', 'causal', ('unit',)),
  'masked': ('masked_units', 'clip_mean_stack', ('unit',)),
  'masked_stream': ('masked_streams', '', ('latent',)),
  'oracle': ('next_units', 'actions', ('unit',)),
}
QUESTIONS = {
  'subtracting the mean of the clip, with a change': ('next', 'next_raw'),
  'what a frame shows, or its change': ('next', 'next_delta'),
  'the nearest unit, or one drawn': ('next', 'next_stochastic'),
  'latent actions, or units of frames': ('latent_action', 'next'),
  'units, or latents': ('next', 'next_latent'),
  'units and latents, or units': ('unit_latent', 'next'),
  'latents, or features of a teacher': ('next_latent', 'teacher'),
  'unit after unit, or k steps at once': ('generate', 'next_causal'),
  'generative, or masked: units': ('next', 'masked'),
  'generative, or masked: latents': ('next_stream', 'masked_stream'),
  'a second iteration': ('next_2', 'next'),
  'true actions, or units': ('oracle', 'next'),
}
# Of `horizon`: {run: (recipe, steps ahead)}, and what is asked of them.
HORIZONS = {
  'clip_4': ('clip_mean_stack', 4),
  'clip_8': ('clip_mean_stack', 8),
  'past_4': ('causal', 4),
  'past_8': ('causal', 8),
}
OF_HORIZONS = {
  '8 steps ahead, or 4: units that see the clip': ('clip_8', 'clip_4'),
  '8 steps ahead, or 4: units that see its past': ('past_8', 'past_4'),
  'the past, or the clip: 4 steps ahead': ('past_4', 'clip_4'),
  'the past, or the clip: 8 steps ahead': ('past_8', 'clip_8'),
}
# Of `codes`: {form: settings of its maker}, as many updates as those of
# `latent_action`; 5^3 codes are units as they are. What is asked of them.
CODES = {
  'lapo': {'horizon': 1, 'code_width': 3},
  'lapo_fsq': {'horizon': 1, 'code_width': 3, 'levels': 5},
}
OF_CODES = {
  'latent actions, or units of frames': ('latent_action', 'next'),
  'latent actions of FSQ, or units of frames': ('lapo_fsq', 'next'),
  'quantised by FSQ, or bounded, with noise': ('lapo_fsq', 'latent_action'),
  'quantised by FSQ, or not': ('lapo_fsq', 'lapo'),
}
# Of `encoders`, under any encoder.
OF_ENCODERS = {
  'units, or latents': ('next', 'next_latent'),
  'generative, or masked: units': ('next', 'masked'),
}
# Methods that are asked about: (in words, how their policies' names end).
PROBE, TUNED = ('probe', ':probe'), ('fine-tuned', '')
# What `hubert_units:tune` chose for DEMOS.
METHODS = {
  'scratch': ((100, 100, 250), (1e-3, 3e-3, 3e-3)),
  'probe': ((100, 100, 250), (1e-2, 3e-2, 1e-2)),
  'finetune': ((100, 100, 250), (1e-3,)),
}


def get_config(arg=''):
  """`arg`: '' (all), 'small', 'horizon', 'codes', 'encoders', 'quicktest'."""
  change = {
    'small': _small,
    'horizon': _horizon,
    'codes': _codes,
    'encoders': _encoders,
    'quicktest': _quicktest,
  }
  arg = settings.argument(arg, tuple(change))
  config = settings.base('quantize', 'pretrain', 'finetune')
  config.title = 'Forms of pretraining'
  config.question = 'Which one makes few demonstrations go furthest?'
  config.domains.gymnax = settings.plugin('domains', 'gymnax', envs=ENVS)
  config.pipelines = 10
  config.iterations = 2
  config.eyes = ('edges',)
  config.image_model = settings.plugin('vision/pretraining', 'foreground')
  config.image_model.steps = 800
  config.domains.gymnax.score_episodes = 256
  config.quantize.recipes = _recipes()
  config.pretrain.main, config.pretrain.steps = 'next', 300
  config.pretrain.runs = {k: _run(*form) for k, form in FORMS.items()}
  config.pretrain.runs.teacher.objective.teacher = 0.99
  config.pretrain.runs.next_causal.objective.horizon = 8
  config.pretrain.runs.generate.streams = ('latent', 'unit')
  config.finetune.update(seeds=1, batch_size=16, demos=DEMOS)
  config.finetune.update(run_demos=(1, 4), run_methods=('probe', 'finetune'))
  for name, (steps, rates) in METHODS.items():
    how = {'steps': steps, 'learning_rate': rates}
    config.finetune[name] = settings.section(settings.Method, **how)
  config.evaluate.episodes = 64
  config.evaluate.comparisons = _asked(QUESTIONS, PROBE, TUNED)
  if arg:
    change[arg](config)
  return config


def _asked(questions, *methods):
  """Every question of policies of some methods."""
  return {
    f'{question} ({words})': tuple(f'{run}{method}' for run in runs)
    for question, runs in questions.items()
    for words, method in methods
  }


def _small(config):
  """A first look at every form."""
  config.pipelines, config.pretrain.steps = 2, 100
  config.finetune.run_demos = (4,)


def _horizon(config):
  """How far ahead `next` looks, and what its units may see."""
  config.update(pipelines=5, iterations=1)
  settings.keep(config.quantize.recipes, 'clip_mean_stack', 'causal')
  config.pretrain.main, config.pretrain.runs = 'clip_4', {}
  for name, (recipe, steps) in HORIZONS.items():
    config.pretrain.runs[name] = _run('next_units', recipe, ('unit',))
    config.pretrain.runs[name].objective.horizon = steps
  config.evaluate.comparisons = _asked(OF_HORIZONS, PROBE, TUNED)


def _codes(config):
  """Latent actions, by what becomes of their code."""
  _few(config, 'next', 'latent_action')
  recipes = config.quantize.recipes
  settings.keep(recipes, 'clip_mean_stack', 'latent_action')
  alike = ('steps', 'batch_size', 'learning_rate', 'hidden_width')
  alike = {k: recipes.latent_action.maker[k] for k in alike}
  for name, values in CODES.items():
    recipes.update(settings.recipes('laom', **{name: ('clip_mean',)}))
    recipes[name].maker.update(**alike, **values)
    config.pretrain.runs[name] = _run('next_units', name, ('unit',))
  config.evaluate.comparisons = _asked(OF_CODES, PROBE)


def _encoders(config):
  """Whether the order of forms depends on what sees: give an `encoder`."""
  _few(config, 'next', 'next_latent', 'masked')
  settings.keep(config.quantize.recipes, 'clip_mean_stack')
  config.evaluate.comparisons = _asked(OF_ENCODERS, PROBE)


def _few(config, *forms):
  """Some forms, by frozen probes of one and four demonstrations."""
  config.update(pipelines=5, iterations=1, eyes=())
  settings.keep(config.pretrain.runs, *forms)
  config.finetune.demos = config.finetune.run_demos
  config.finetune.methods = config.finetune.run_methods = ('probe',)
  for name, (steps, rates) in METHODS.items():
    how = {'steps': steps[:2], 'learning_rate': rates[:2]}
    config.finetune[name] = settings.section(settings.Method, **how)


def _recipes():
  """All ways of making units, of as many each."""
  recipes = settings.recipes(
    clip_mean_stack=STACK, raw=(), delta=('delta:1',), stochastic=STACK
  )
  recipes |= settings.recipes(causal=('running_mean', 'stack:1'))
  recipes['stochastic'].maker.temperature = 0.25
  recipes |= settings.recipes('latent_action', latent_action=('clip_mean',))
  return recipes | settings.recipes('actions', actions=())


def _run(objective, recipe, targets):
  """One form of pretraining, which reads latents."""
  objective = settings.plugin('objectives', objective)
  run = {'objective': objective, 'recipe': recipe, 'targets': targets}
  return settings.section(settings.Run, **run)


def _quicktest(config):
  """Every stage and form on almost nothing: does it work?"""
  config.pipelines = 2
  gymnax = config.domains.gymnax
  gymnax.update(envs=ENVS[:1], demos=4, score_episodes=32)
  gymnax.update(pretrain_clips=8, heldout_clips=4, clip_length=16)
  config.saving.update(log_steps=1, save_steps=1)
  config.image_model.update(steps=4, frames=4)
  config.quantize.update(num_clusters=8, max_iterations=3, trunk_layer=1)
  config.quantize.recipes.latent_action.maker.steps = 4
  config.pretrain.update(steps=4, batch_size=8, trunk={'depth': 1})
  config.finetune.update(demos=(1, 4), run_demos=(4,), batch_size=8)
  settings.all_methods(config.finetune, steps=4, learning_rate=1e-3)
  config.evaluate.episodes = 8
