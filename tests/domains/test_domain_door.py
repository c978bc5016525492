"""What every file of `rpt_jax/domains` that is a kind has to have."""

import dataclasses
import inspect

import pytest

from rpt_jax import domains, settings
from rpt_jax.domains import Domain
from rpt_jax.results import Measure
from tests.learning import tiny

# An entry of each kind; what is recorded lies in a folder of the test.
ENTRIES = {
  'arrangements': {},
  'dm_control': {'tasks': ('cheetah-run', 'humanoid-walk'), 'videos': ''},
  'drawings': {},
  'documents': {},
  'gymnax': {'envs': ('CartPole-v1', 'Pendulum-v1')},
  'metaworld': {'tasks': ('door-open-v3',), 'unseen': ('window-open-v3',)},
  'recorded': {
    'cameras': tuple(tiny.SIZES),
    'mapping': {k: k for k in (*tiny.SIZES, 'state', 'action')},
  },
  'tabletop': {},
}
PROTOCOL = [name for name in vars(Domain) if not name.startswith('_')]
ATTRIBUTES = list(Domain.__annotations__)


def file_of(kind):
  """The file of a kind."""
  return settings.module('domains', kind)


def experiment(**entries):
  """An experiment with these entries of `config.domains`."""
  config = settings.base()
  for name, (kind, values) in entries.items():
    config.domains[name] = settings.plugin('domains', kind, **values)
  return settings.read(settings.Experiment, config)


def test_every_kind_is_asked():
  assert settings.kinds('domains') == sorted(ENTRIES)


@pytest.mark.parametrize('kind', ENTRIES)
def test_a_kind_has_its_protocol(kind, tmp_path):
  tiny.write_dataset(tmp_path / 'squares')
  tiny.write_texts(tmp_path / 'texts')
  values = dict(ENTRIES[kind])
  if 'path' in {f.name for f in dataclasses.fields(file_of(kind).Settings)}:
    folder = 'texts' if kind == 'documents' else 'squares'
    values['path'] = str(tmp_path / folder)
  file = file_of(kind)
  assert dataclasses.is_dataclass(file.Settings)
  assert list(inspect.signature(file.domains).parameters) == [
    'name',
    'settings',
    'seed',
  ]
  for domain in domains.of(experiment(one=(kind, values))):
    for name in (*ATTRIBUTES, *PROTOCOL):
      assert hasattr(domain, name), name
    assert any(domain.name in line for line in domain.table())  # A dry run.
    domain.check(as_stream=True)
    for name in ('episodes', 'play', 'score', 'collect', 'source', 'check'):
      expected = inspect.signature(getattr(Domain, name)).parameters
      actual = inspect.signature(getattr(type(domain), name)).parameters
      assert list(actual) == list(expected), name
    assert domain.entry == 'one' and isinstance(domain.measure, Measure)
    assert type(domain.together) is type(domain.sequential) is bool
    hash(domain)


def test_a_name_is_of_one_domain():
  again = ('gymnax', {'envs': ('Pendulum-v1', 'Acrobot-v1')})
  with pytest.raises(ValueError) as refused:
    domains.of(experiment(a=('gymnax', ENTRIES['gymnax']), b=again))
  text = str(refused.value)
  assert text.startswith("config.domains.b: found 'Pendulum-v1', expected ")
  assert 'config.domains.a' in text and '\n' not in text


def test_discrete_actions_share_the_largest_vocabulary():
  """Whichever entries they are of; what is continuous has none."""
  one = ('gymnax', {'envs': ('CartPole-v1', 'Pendulum-v1')})
  other = ('gymnax', {'envs': ('Acrobot-v1',)})
  places = domains.of(experiment(one=one, other=other))
  assert {d.name: (d.num_actions, d.vocab) for d in places} == {
    'CartPole-v1': (2, 3),
    'Pendulum-v1': (0, 0),
    'Acrobot-v1': (3, 3),
  }
  assert domains.discrete_action(places).vocab == 3
