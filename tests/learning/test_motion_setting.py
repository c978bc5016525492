"""`config.pretrain.motion`: whose change is read, by trunk and policy alike."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from rpt_jax import settings
from rpt_jax.learning import policies
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.models import sequence
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import next_streams
from rpt_jax.sharing import folder
from rpt_jax.types import StreamSpec

DIMS = {'latent': 6, 'latent/top': 3, 'latent/side': 3, 'proprio': 2}
SPECS = {k: StreamSpec(k, 'continuous', dim=n) for k, n in DIMS.items()}
SPECS['action'] = StreamSpec('action', 'discrete', vocab=5)


def run_of(streams, *motion):
  objective = next_streams.Settings()
  trunk = transformer.Settings(1, 2)
  shared = settings.Pretrain(width=8, trunk=trunk, context=4)
  shared = dataclasses.replace(shared, **({'motion': motion} if motion else {}))
  return PretrainingRun('r', settings.Run(objective, streams=streams), shared)


def stems(model):
  """{stream's parameter: numbers its stem reads}."""
  shapes = jax.eval_shape(lambda: sequence.init(model, jax.random.key(0)))
  return {
    name: part['project']['kernel'].shape[0]
    for name, part in shapes.items()
    if name.startswith('stem') and 'project' in part
  }


@pytest.mark.parametrize(
  ('motion', 'read'),
  [
    ((), {'latent_top': 6, 'latent_side': 6, 'proprio': 2}),
    (('proprio',), {'latent_top': 3, 'latent_side': 3, 'proprio': 4}),
    (('latent/side',), {'latent_top': 3, 'latent_side': 6, 'proprio': 2}),
  ],
)
def test_trunk_and_policy_read_the_same(motion, read):
  """Without a word of it in the config the change of all latents is read."""
  run = run_of(('latent/top', 'latent/side', 'proprio', 'action'), *motion)
  trunk = run.model(SPECS)
  assert stems(trunk) == {f'stem_{k}': n for k, n in read.items()}
  c = settings.Finetune(head=linear.Settings())
  policy = policies.model(run, SPECS, SPECS['action'], c)
  assert stems(policy) == stems(trunk)
  # What is predicted is values alone.
  assert not [h for h in (*trunk.heads, *policy.heads) if h.target.motion]
  assert {h.target.dim for h in trunk.heads} == {3, 2, 0}


def test_all_cameras_side_by_side_are_read_likewise():
  assert stems(run_of(('latent',)).model(SPECS)) == {'stem_latent': 12}


def test_older_configs_and_folders_are_without(tmp_path):
  """Their hashes and their parameters are those of models that read values."""
  assert 'motion' in settings.essence(settings.Pretrain())
  none = dataclasses.replace(settings.Pretrain(), motion=())
  assert 'motion' not in settings.essence(none)
  model = run_of(('latent',)).model(SPECS)
  streams = tuple(dataclasses.replace(s, motion=False) for s in model.streams)
  params = sequence.init(model.clone(streams=streams), jax.random.key(0))
  scales = {'latent': (jnp.zeros(6), jnp.ones(6))}
  folder.write(tmp_path, model.clone(streams=streams), params, scales)
  config = json.loads((tmp_path / folder.CONFIG).read_text())
  for stream in (*config['streams'], *(h['target'] for h in config['heads'])):
    assert stream.pop('motion') is False
  (tmp_path / folder.CONFIG).write_text(json.dumps(config))
  assert folder.read(tmp_path)['model'].streams == streams
