"""Every stage that several processes share, on almost nothing."""

from configs import hubert_units


def get_config():
  """The quicktest of `configs/hubert_units.py`, with one run of each kind."""
  config = hubert_units.get_config('quicktest')
  config.update(pipelines=1, iterations=1, eyes=())
  config.domains.gymnax.envs = ('MountainCar-v0',)
  config.quantize.recipes = {
    'clip_mean_stack': config.quantize.recipes.clip_mean_stack
  }
  config.pretrain.runs = {'next': config.pretrain.runs.next}
  config.finetune.update(seeds=2, demos=(1,), run_demos=(1,), eyes={})
  config.finetune.methods = ('probe', 'finetune')
  return config
