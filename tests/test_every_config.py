"""Every config has a quicktest and a dry run."""

import pytest

from rpt_jax.envs import arrangements
from rpt_jax.envs.dm_control import scene as suite
from rpt_jax.envs.metaworld import scene
from tests import selections
from tests.commands import ROOT, finish
from tests.learning import tiny
from tests.reporting import fake_success

RECORDED = ('mae', 'robot_video')
CONFIGS = sorted(p.stem for p in (ROOT / 'configs').glob('*.py'))


def skip_without_data(config):
  if config in ('r3m', 'rpt', 'scale'):
    if missing := scene.missing():
      pytest.skip(missing)
  elif config == 'relations':
    if missing := arrangements.missing():
      pytest.skip(missing)
  elif config == 'distractors':
    if missing := suite.missing():
      pytest.skip(missing)
  elif config in RECORDED and not (ROOT.parent / 'shared/data').exists():
    pytest.skip('no recorded data beside the repository')


def given(config, folder):
  """What a config wants to be given."""
  return tiny.mine(folder) if config == 'mine' else ()


# What `mae` does, `robot_video` does, too; `scale` is `rpt`, and `study` is
# `hubert_units` with more runs. Of `robot_video` every stage has tests of its
# own on recorded data, and two minutes are much. Heads and trunks of `acting`
# have tests of their own, and rows in `test_doors`.
SLOW = ('acting', 'clip', 'distractors', 'mae', 'mine', 'robot_video', 'scale')
SLOW += ('goals', 'r3m', 'relations', 'study', 'text', 'values')


@pytest.mark.parametrize(
  'config',
  [
    pytest.param(c, marks=pytest.mark.slow if c in SLOW else ())
    for c in CONFIGS
    if c != 'hubert_units'
  ],
)
def test_every_config_has_a_quicktest(config, tmp_path):
  skip_without_data(config)
  output = finish(config, tmp_path, *given(config, tmp_path))
  assert (tmp_path / 'report.html').exists()
  if config == 'mine':  # Of videos there are no policies, as is said.
    assert output.count('videos: left out, as it has no') == 3
    assert (tmp_path / 'evaluate/robot/policy').exists()
  if config in selections.NOT_APPLICABLE:
    selections.check(config, tmp_path, tmp_path / 'again')
  if config == 'rpt':
    made_up = selections.shapes(fake_success.content().rows)
    assert made_up <= selections.shapes(selections.rows(tmp_path))


@pytest.mark.parametrize('config', [c for c in CONFIGS if c != 'hubert_units'])
def test_every_config_has_a_dry_run(config, tmp_path):
  skip_without_data(config)
  output = finish(config, tmp_path, '--dry_run', *given(config, tmp_path))
  # Of documents, and of the true state that some see, none is encoded.
  sees_frames = config not in ('acting', 'text', 'values')
  assert ('encode one frame' in output) == sees_frames
