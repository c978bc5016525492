"""The exact versions that launch scripts install."""

import runpy

import cloud
import pytest
import setuptools
from packaging import requirements, utils

LOCK = cloud.ROOT / 'launch/requirements.lock'


def declared(monkeypatch):
  """What setup.py asks for, of the core and of all extras but cuda."""
  monkeypatch.setattr(setuptools, 'setup', lambda **_: None)
  names = runpy.run_path(str(cloud.ROOT / 'setup.py'))
  texts = [*names['CORE']]
  for extra, each in names['EXTRAS'].items():
    texts += each if extra != 'cuda' else []
  return [requirements.Requirement(text) for text in texts]


@pytest.mark.parametrize('python', ('3.11', '3.12'))
def test_the_lock_has_one_version_of_everything(python, monkeypatch):
  place = {'python_version': python, 'python_full_version': f'{python}.9'}
  locked = {}
  for line in LOCK.read_text().splitlines():
    if line and not line.startswith('#'):
      one = requirements.Requirement(line)
      if one.marker is None or one.marker.evaluate(place):
        (exact,) = one.specifier
        assert exact.operator == '==' and one.name not in locked
        locked[utils.canonicalize_name(one.name)] = exact.version
  for wanted in declared(monkeypatch):
    version = locked[utils.canonicalize_name(wanted.name)]
    assert version in wanted.specifier, wanted


def test_scripts_install_by_it_unless_told_otherwise():
  text = (cloud.ROOT / 'launch/environment.sh').read_text()
  assert 'versions=(--constraint launch/requirements.lock)' in text
  assert '"${LOCKED:-1}" = 0 ]' in text
  assert text.count('"${versions[@]}" -e ".$extra"') == 1 == text.count(' -e ')
