"""Every config has a quicktest and a dry run."""

import pytest

from rpt_jax.envs import metaworld_scene
from tests.commands import ROOT, finish

CONFIGS = sorted(p.stem for p in (ROOT / 'configs').glob('*.py'))


def skip_without_data(config):
  if config in ('rpt', 'scale'):
    if missing := metaworld_scene.missing():
      pytest.skip(missing)
  elif config != 'hubert_units' and not (ROOT.parent / 'shared/data').exists():
    pytest.skip('no recorded data beside the repository')


# What `mae` does, `robot_video` does, too; `scale` is `rpt`.
@pytest.mark.parametrize(
  'config',
  [
    pytest.param(c, marks=pytest.mark.slow if c in ('mae', 'scale') else ())
    for c in CONFIGS
    if c != 'hubert_units'
  ],
)
def test_every_config_has_a_quicktest(config, tmp_path):
  skip_without_data(config)
  finish(config, tmp_path)
  assert (tmp_path / 'report.html').exists()


@pytest.mark.parametrize('config', [c for c in CONFIGS if c != 'hubert_units'])
def test_every_config_has_a_dry_run(config, tmp_path):
  skip_without_data(config)
  output = finish(config, tmp_path, '--dry_run')
  assert 'encode one frame' in output
