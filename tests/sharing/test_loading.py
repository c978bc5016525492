"""Every parameter of a saved model is accounted for when it is loaded."""

import functools

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax import sharing
from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import masked_streams
from rpt_jax.sharing import Surgery, loading
from rpt_jax.training import checkpoint
from rpt_jax.training import sharding as meshes
from rpt_jax.types import StreamSpec

CONTEXT = 4


def model(*cameras, action=2):
  streams = tuple(
    StreamSpec(f'latent/{name}', 'continuous', dim=4) for name in cameras
  ) + (StreamSpec('action', 'continuous', dim=action),)
  heads = masked_streams.heads({}, streams, streams)
  return sequence.SequenceModel(
    streams, heads, transformer.Settings(1, 2), 8, CONTEXT
  )


def initial(*cameras, seed=0, **settings):
  """Parameters as if they were trained; nothing is compiled for them."""
  init = functools.partial(sequence.init, model(*cameras, **settings))
  shapes = jax.eval_shape(init, jax.random.key(0))
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: rng.normal(size=x.shape).astype('f4'), shapes)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """Parameters of a model with one camera, and their file."""
  path = tmp_path_factory.mktemp('saved') / 'model.safetensors'
  params = initial('front')
  checkpoint.save_params(path, params)
  return params, path


def flat(params):
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {loading.path_name(path): x for path, x in leaves}


def test_the_same_model_is_loaded_bit_for_bit(saved):
  params, path = saved
  found, plan = sharing.load(path, jax.eval_shape(lambda: params))
  jax.tree.map(np.testing.assert_array_equal, found, params)
  count = sum(x.size for x in jax.tree.leaves(params))
  told = f'loaded {len(flat(params))} ({count / 1e6:.2f}M numbers)'
  assert str(plan) == told and plan.numbers == count


def test_all_that_does_not_fit_is_named_at_once(saved):
  _, path = saved
  other = initial('corner', action=3)
  with pytest.raises(ValueError, match='does not fit the model') as error:
    sharing.load(path, other)
  said = str(error.value)
  kinds = {p.split()[0]: p for p in said.split(': ', 2)[2].split('; ')}
  for kind, camera in (('missing', 'corner'), ('extra', 'front')):
    for name in ('stem', 'mask', 'head'):
      assert f'{name}_latent_{camera}' in kinds[kind]
  assert 'stem_action/project/kernel [2, 8]' in kinds['misshaped']
  assert '(the model has [3, 8])' in kinds['misshaped']
  assert 'head_action/project/bias [2]' in kinds['misshaped']
  assert 'trunk' not in said and 'time' not in said


def test_a_new_camera_starts_untrained_where_the_config_says_so(saved):
  params, path = saved
  mine = initial('front', 'top', seed=1)
  surgery = Surgery(new=('_latent_top',))
  found, plan = sharing.load(path, mine, surgery)
  for name, x in flat(found).items():
    source = mine if '_latent_top' in name else params
    np.testing.assert_array_equal(x, flat(source)[name])
  assert plan.new == (
    'head_latent_top/project/bias',
    'head_latent_top/project/kernel',
    'mask_latent_top',
    'stem_latent_top/project/bias',
    'stem_latent_top/project/kernel',
  )
  assert plan.left_out == () and str(plan).endswith(
    f'; new 5: {", ".join(plan.new)}'
  )


def test_another_action_space_is_begun_anew(saved):
  params, path = saved
  mine = initial('front', action=3, seed=1)
  found, plan = sharing.load(path, mine, Surgery(new=('^(stem|head)_action',)))
  for name, x in flat(found).items():
    new = name.startswith(('stem_action', 'head_action'))
    np.testing.assert_array_equal(x, flat(mine if new else params)[name])
  assert set(plan.left_out) == set(plan.new) and len(plan.new) == 4
  np.testing.assert_array_equal(found['mask_action'], params['mask_action'])


def test_a_camera_is_renamed_and_another_left_out(saved):
  params, path = saved
  rename = (('_latent_front', '_latent_top'),)
  found, plan = sharing.load(path, initial('top'), Surgery(rename=rename))
  np.testing.assert_array_equal(
    found['mask_latent_top'], params['mask_latent_front']
  )
  assert 'renamed 5: ' in str(plan)
  assert 'mask_latent_front as mask_latent_top' in str(plan)
  found, plan = sharing.load(path, initial(), Surgery(skip=('_front',)))
  assert len(plan.left_out) == 5 and 'left out 5: head_latent' in str(plan)
  assert plan.loaded.keys() == flat(initial()).keys()


@pytest.mark.parametrize('what', ['new', 'skip', 'rename'])
def test_what_is_listed_but_not_there_is_an_error(saved, what):
  params, path = saved
  pattern = ('lateral', 'latent') if what == 'rename' else 'lateral'
  surgery = Surgery(**{what: (pattern,)})
  message = f"model.safetensors: {what} 'lateral' finds none of the"
  with pytest.raises(ValueError, match=message):
    sharing.load(path, params, surgery)


def test_two_parameters_cannot_become_one(saved):
  params, path = saved
  rename = (('_latent_front', '_action'),)
  with pytest.raises(ValueError, match="rename makes 'head_action/.* both"):
    sharing.load(path, params, Surgery(rename=rename))


def test_parameters_are_placed_as_those_they_replace(saved):
  params, path = saved
  mesh = meshes.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  like = jax.device_put(
    params, meshes.state_shardings(params, mesh, sequence.sharding(model()))
  )
  found, _ = sharing.load(path, like)
  jax.tree.map(np.testing.assert_array_equal, found, params)
  kernels = [t['trunk']['blocks']['up']['kernel'] for t in (found, like)]
  assert kernels[0].sharding == kernels[1].sharding
  assert not kernels[0].sharding.is_fully_replicated


@pytest.mark.parametrize(
  'value, message',
  [
    (
      np.full((CONTEXT, 8), np.nan, np.float32),
      'time/embedding has .* not finite',
    ),
    (
      np.zeros((CONTEXT, 8), np.int32),
      'time/embedding is I32, expected one of',
    ),
  ],
)
def test_what_are_no_weights_is_refused(saved, tmp_path, value, message):
  params, path = saved
  other = tmp_path / 'other.safetensors'
  safetensors.save_file(
    safetensors.load_file(path) | {'trunk/time/embedding': value}, other
  )
  with pytest.raises(ValueError, match=message):
    sharing.load(other, params)
