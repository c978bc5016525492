"""What fine-tuning made, as the `Policy` that drives a robot."""

from collections.abc import Iterator

import jax

from rpt_jax import policy, sharing
from rpt_jax.stages import domains, encode, finetune, sensorimotor
from rpt_jax.stages.finetune import Cell


def build(
  config, inputs, name: str, cell: Cell, eye
) -> Iterator[policy.Policy]:
  """The policies of a domain's cell, one a seed, all one compiled program.

  `eye` is the image model, as `encode.load_model` gives it.
  """
  model, _ = finetune.policy_model(config, inputs, cell, name)
  params_S = finetune.load(inputs['finetune'], name, cell)
  frames = _frames(config, inputs, name, model)
  scales = sharing.load_scales(inputs['pretrain'] / sensorimotor.FILE)
  played, image_from = execution(config), encode.image_from(config, inputs)
  limit = (-1.0, 1.0) if name in domains.tasks(config) else None
  for seed in range(config.finetune.seeds):
    yield policy.Policy(
      model,
      jax.tree.map(lambda x, i=seed: x[i], params_S),
      scales,
      image=eye if frames else None,
      image_from=image_from if frames else None,
      frames=frames,
      execution=played,
      action_limit=limit,
    )


def _frames(config, inputs, name, model):
  """{camera: (height, width)} of what the model sees."""
  split = domains.demos_split(config, name)
  columns = domains.source(config, inputs['collect'], name, split).streams
  seen = {stream.name for stream in model.streams}
  return {
    camera: tuple(columns[camera].shape[:2])
    for camera in domains.cameras(config, name)
    if f'latent/{camera}' in seen
  }


def exported(config) -> Cell:
  """The cell whose first policy is kept: most demonstrations, fine-tuned."""
  demos = max(config.finetune.demos)
  return Cell(config.pretrain.main, 'finetune', demos)


def execution(config) -> policy.Execution:
  """What `config.evaluate.execution` says: 'execute:k' or 'ensemble:m'.

  Raises ValueError for anything else.
  """
  if 'evaluate' not in config:  # No rollouts: as policies are by default.
    return policy.Execution()
  said = config.evaluate.execution
  kind, _, number = said.partition(':')
  try:
    if kind == 'execute':
      found = policy.Execution(execute=int(number))
    elif kind == 'ensemble':
      found = policy.Execution(ensemble=float(number))
    else:
      raise ValueError('no such kind')
    found.check(config.finetune.chunk)
  except ValueError as error:
    raise ValueError(
      f'config.evaluate.execution: found {said!r}, expected execute:<actions '
      f'of a chunk played> or ensemble:<decay> ({error})'
    ) from error
  return found
