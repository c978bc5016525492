"""Every kind behind a door, from a config to the end of a quicktest.

A row is what one adds to try a file behind a door: a config and a flag or two.
Kinds that the quicktest of a config has at its default need none.
"""

import jax
import pytest

from rpt_jax import settings
from rpt_jax.learning import checks
from rpt_jax.models import heads
from rpt_jax.tools import steps
from rpt_jax.training import optimizer, sharding
from rpt_jax.types import StreamSpec
from tests.commands import finish
from tests.settings import variants
from tests.test_architecture import DOORS

CONTINUOUS = "--config.domains.gymnax.envs=('Pendulum-v1',)"
# Kind: (config, flags).
ROWS = {
  'actions': (
    'hubert_units',
    [
      '--config.quantize.recipes.clip_mean_stack.maker.kind=actions',
      # Actions of several kinds side by side.
      "--config.domains.gymnax.envs=('CartPole-v1', 'Pendulum-v1')",
    ],
  ),
  'bins': (
    'hubert_units',
    ['--config.finetune.head.kind=bins', CONTINUOUS],
  ),
  'energy': (
    'hubert_units',
    ['--config.finetune.head.kind=energy', CONTINUOUS],
  ),
  'fast': (
    'hubert_units',
    ['--config.finetune.head.kind=fast', CONTINUOUS],
  ),
  'generate_units': (
    'hubert_units',
    [
      '--config.pretrain.runs.next.objective.kind=generate_units',
      "--config.pretrain.runs.next.streams=('latent', 'unit')",
      '--config.pretrain.runs.next.recipe=raw',  # It does not look ahead.
    ],
  ),
  'latent_regression': (
    'hubert_units',
    [
      '--config.pretrain.runs.next.objective.kind=latent_regression',
      "--config.pretrain.runs.next.targets=('latent',)",
      '--config.pretrain.runs.next.recipe=',
      '--config.iterations=1',
      '--config.pretrain.runs.masked_raw.objective.kind=latent_regression',
      '--config.pretrain.runs.masked_raw.objective.teacher=0.9',
      "--config.pretrain.runs.masked_raw.targets=('latent',)",
      '--config.pretrain.runs.masked_raw.recipe=',
    ],
  ),
  'mingru': (
    'hubert_units',
    [
      '--config.pretrain.trunk.kind=mingru',
      # It can do what is causal, and nothing else.
      '--config.pretrain.runs.masked_raw.objective.kind=next_units',
    ],
  ),
  'mixture': (
    'hubert_units',
    ['--config.finetune.head.kind=mixture', CONTINUOUS],
  ),
  'minlstm': (
    'hubert_units',
    [
      '--config.pretrain.trunk.kind=minlstm',
      '--config.pretrain.runs.masked_raw.objective.kind=next_units',
    ],
  ),
  'latent_action': (
    'hubert_units',
    ['--config.quantize.recipes.clip_mean_stack.maker.kind=latent_action'],
  ),
  'product': (
    'hubert_units',
    ['--config.quantize.recipes.clip_mean_stack.maker.kind=product'],
  ),
  'residual': (
    'hubert_units',
    ['--config.quantize.recipes.clip_mean_stack.maker.kind=residual'],
  ),
  'siamese_mae': (
    'hubert_units',
    [
      '--config.image_model.kind=siamese_mae',
      '--config.image_model.steps=4',
      '--config.image_model.batch_size=16',
      '--config.image_model.width=64',
      '--config.image_model.depth=1',
      '--config.image_model.num_heads=2',
    ],
  ),
  'time_contrastive': (
    'hubert_units',
    [
      '--config.image_model.kind=time_contrastive',
      # What belongs to another kind is dropped, and so are small sizes.
      '--config.image_model.steps=4',
      '--config.image_model.batch_size=16',
      '--config.image_model.width=64',
      '--config.image_model.depth=1',
      '--config.image_model.num_heads=2',
    ],
  ),
}


LARGE = 64 * 64  # Numbers; the width of the trunk is 64.
every_row = pytest.mark.parametrize('kind', ROWS)


def experiment(config, *flags):
  """The settings of a quicktest, read and checked as the command line does."""
  return checks.experiment(variants.parsed(f'{config}:quicktest', *flags))


def kinds_of(config):
  """All kinds that a config names."""
  pairs = settings.leaves(settings.plain(config))
  return {value for name, value in pairs if name.rpartition('.')[2] == 'kind'}


def test_every_kind_is_in_a_config_or_has_a_row(monkeypatch):
  variants.skip_without_data('robot_video')
  monkeypatch.chdir(variants.ROOT)
  names = 'hubert_units', 'rpt', 'robot_video', 'distractors', 'clip', 'r3m'
  names += ('relations', 'text')
  at_default = set().union(*(kinds_of(experiment(name)) for name in names))
  streams = (StreamSpec('x', kind) for kind in ('continuous', 'discrete'))
  at_default |= {settings.kind(heads.usual(stream)) for stream in streams}
  # Heads of these have rows as heads of policies.
  for name in ('goals', 'values'):
    at_default |= kinds_of(experiment(name)) - set(ROWS)
  kinds = {kind for door in DOORS for kind in settings.kinds(door)}
  assert kinds - at_default == set(ROWS)


@every_row
def test_a_kind_is_traced_on_shapes(kind):
  """What a dry run does, of every program; large parameters are split."""
  config, flags = ROWS[kind]
  chosen = experiment(config, *flags)
  assert kind in kinds_of(chosen)
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  for make in steps.named(chosen).values():
    step = make(mesh)
    jax.eval_shape(step.function, *step.arguments)
    if 'optimizer state' in step.parts:  # Something is trained on the mesh.
      params = step.parts['parameters']
      assert not [
        optimizer.path_name(path)
        for path, x in jax.tree_util.tree_leaves_with_path(params)
        if '/blocks/' in optimizer.path_name(path)
        and x.sharding.is_fully_replicated
        and x.size >= LARGE
      ]


@pytest.mark.slow
@every_row
def test_a_kind_goes_all_the_way(kind, tmp_path):
  config, flags = ROWS[kind]
  assert 'rpt_jax: done' in finish(config, tmp_path, *flags)
