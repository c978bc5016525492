"""What is unusual but can be meant is accepted."""

import pytest

from rpt_jax.learning import checks
from tests.settings import variants

H, R, V = 'hubert_units:quicktest', 'rpt:quicktest', 'robot_video:quicktest'
_NEXT = 'pretrain.runs.next'
_READ = f"{_NEXT}.streams=('latent', 'unit')"
_STREAMS = [
  f"{_NEXT}.objective={{'kind': 'next_streams'}}",
  f'{_NEXT}.targets=()',
  f'{_NEXT}.recipe=raw',
]
_RAW = 'quantize.recipes.raw.transforms'
_FROM = 'pretrain.init.path=organisation/name'

ROWS = [
  (H, []),
  (R, []),
  (V, []),
  ('hubert_units:tune', []),
  ('rpt:study', []),
  ('rpt:action_free', []),
  ('rpt:g1', []),
  ('robot_video', []),
  ('robot_video:video', []),
  ('mae:quicktest', []),
  ('scale:quicktest', []),
  ('scale:XL,256', []),  # For devices that are elsewhere.
  # Units that are read do not look ahead.
  (H, [*_STREAMS, _READ]),
  (H, [*_STREAMS, _READ, f"{_RAW}=('delta:1', 'stack:2,2^2')"]),
  (H, [*_STREAMS, _READ, f"{_RAW}=('running_mean', 'whiten:4')"]),
  (H, [f"{_NEXT}.targets=('unit', 'latent')"]),
  (H, [f'{_NEXT}.objective.kind=rpt_jax.objectives.next_units']),
  # Numbers and lists as they are written.
  (H, ['pretrain.learning_rate=1', 'finetune.demos=[1, 4]']),
  (H, ['pretrain.warmup=0', 'pretrain.weight_decay=0',
       'domains.gymnax.nuisance=0']),
  (H, ['iterations=3',
       "evaluate.comparisons={'a': ('next_3:probe', 'next_2:probe')}"]),
  (H, ['quantize.trunk_layer=0', 'quantize.recipes.raw.maker.kind=residual']),
  (H, ["domains.gymnax.envs=('CartPole-v1', 'Pendulum-v1')"]),
  (H, ["domains.more={'kind': 'gymnax', 'envs': ('Pendulum-v1',)}"]),
  (H, ['domains.gymnax.kind=rpt_jax.domains.gymnax']),
  (H, ['~finetune']),
  (H, ['~finetune', '~pretrain', 'iterations=1']),
  (H, ['~finetune', '~pretrain', '~quantize', 'iterations=1']),
  (R, ['~quantize', '~pretrain.runs.units', 'pretrain.main=rpt',
       'iterations=1']),
  # The model and its training.
  (H, ['pretrain.ema=0.99', 'pretrain.accumulate=8',
       'pretrain.trunk.remat=full']),
  (H, ['pretrain.freeze=^trunk', 'finetune.freeze=^stem_latent']),
  (R, ['finetune.freeze=stem_action|trunk']),
  (H, [_FROM, "pretrain.init.new=('head',)",
       r"pretrain.init.rename=(('^a(.)', 'b\\1'),)"]),
  (H, [f'{_NEXT}.init.path=organisation/name',
       f"{_NEXT}.init.skip=('head',)"]),
  (R, [f'{_NEXT}.labelled=0', 'pretrain.context=1']),
  # Judging.
  (H, ['evaluate.episodes=2', 'evaluate.execution=execute:4']),
  (H, ['evaluate.execution=ensemble:-0.01']),
  (H, ['evaluate.execution=ensemble:1e-2']),
  (R, ['finetune.seeds=1', 'pipelines=2']),
  (H, ['pipelines=1', 'finetune.seeds=2', 'precision=bfloat16']),
  (H, ['finetune.scratch.steps=[1, 400]', "eyes=('positions',)"]),
  (H, ["finetune.tuned.modes=('frozen', 'full')",
       'finetune.tuned.demos=(1, 4)']),
  # Image models and data.
  (H, ['encoder=state']),
  (H, ['encoder=pixels', 'encode.output=grid4']),
  (H, ['encode.image_size=64', 'encode.output=mean_patch']),
  (R, ['frames.size=56', 'domains.metaworld.noise=(0.0, 0.0)']),
  ('robot_video', ['domains.g1.normalise=quantiles']),
  ('robot_video', ['domains.g1.heldout=0.9', 'finetune.demos=(6,)',
                   'finetune.run_demos=(6,)']),
  ('robot_video:video', ['domains.robot.weight=1', 'domains.human.weight=3',
                         'domains.human.mapping.fps=2.5']),
]  # fmt: skip


@pytest.mark.parametrize(
  ('spec', 'changes'), ROWS, ids=[' '.join([spec, *c]) for spec, c in ROWS]
)
def test_unusual_settings_are_accepted(spec, changes, monkeypatch):
  variants.skip_without_data(spec)
  monkeypatch.chdir(variants.ROOT)
  checks.experiment(variants.changed(spec, *changes))
