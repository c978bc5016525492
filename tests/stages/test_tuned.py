"""Fine-tuning through the image model: what moves, and that nothing else does.

The frozen mode without augmentation must be the training on cached latents,
which knows nothing of frames.
"""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rpt_jax import vision
from rpt_jax.episodes import windows
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import demonstrations, encode, finetune, trunk, tuned
from rpt_jax.training import sharding, step
from rpt_jax.types import StreamSpec
from rpt_jax.vision import tuning
from tests.stages.test_pretrain import tiny_config

LENGTHS = np.array([5, 8, 6, 7])
SIZES = ((24, 20), (16, 16))  # Of two cameras.
DIM, STEPS, WINDOWS = 16, 3, 2
MODES = ('frozen', 'last:1', 'lora:2', 'full')
OFF = ml_collections.ConfigDict()


def config(modes=MODES, augment=OFF, **changes):
  c = tiny_config()
  c.encoder = 'random'
  c.finetune.update(seeds=2, steps=STEPS, batch_size=WINDOWS)
  c.finetune.tuned = ml_collections.ConfigDict(
    {
      'modes': modes,
      'demos': (4,),
      'steps': STEPS,
      'learning_rate': c.finetune.learning_rate,
      'batch_size': WINDOWS,
      'augment': augment,
    }
  )
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return ml_collections.FrozenConfigDict(c.to_dict())


def standardise(latent):
  return 2.0 * latent


@functools.cache
def encoder():
  model = vision.load(
    'random',
    output='mean_patch',
    image_size=16,
    patch=8,
    width=DIM,
    depth=2,
    num_heads=2,
    dtype='float32',
  )

  def apply(params, seen):
    return model.apply(params, model.preprocess(seen['image']))

  return encode.FrameEncoder(apply, model.params, model.dim)


@functools.cache
def problem(cameras):
  """Frames, their latents and actions, policies before training."""
  c = config()
  rng = np.random.default_rng(0)
  size = int(LENGTHS.sum())
  frames = tuple(
    rng.integers(256, size=(size, *hw, 3)).astype(np.uint8)
    for hw in SIZES[:cameras]
  )
  see = jax.jit(encoder().apply)
  latents = [see(encoder().params, {'image': x}) for x in frames]
  table = windows.windows(LENGTHS, 1)
  data = {'action': rng.integers(3, size=size), 'table': table}
  cached = data | {'latent': np.concatenate(latents, -1)}
  spec = StreamSpec('action', 'discrete', vocab=3)
  heads = behaviour_cloning.heads(c.finetune, (), (spec,))
  model = trunk.model(c, trunk.latent_stream(DIM * cameras), heads, 'causal')
  picks_SN, count_S = demonstrations.picks(table, 2, size, c)
  keys_S = finetune.seed_keys(c)
  params = jax.device_get(finetune.initial(model)(keys_S))
  seeds = tuned.Seeds(params, picks_SN, count_S, keys_S)
  return model, data | {'image': frames}, cached, seeds


def train(mode, cameras=1, augment=OFF):
  model, data, _, seeds = problem(cameras)
  eye = tuned.Eye(encoder(), standardise, mode)
  settings = config(augment=augment).finetune
  return tuned.train(settings, eye, model, data, seeds)


def close(one, other, **tolerance):
  same = functools.partial(np.testing.assert_allclose, **tolerance)
  jax.tree.map(same, one, other)


def test_frozen_and_unchanged_is_the_training_on_cached_latents():
  model, _, cached, seeds = problem(2)
  cached = jax.tree.map(jnp.asarray, cached)
  alone = dict.fromkeys(sharding.AXES, 1)
  mesh = sharding.make_mesh(alone, jax.devices()[:1])
  settings = config().finetune
  reference = finetune.trainer(model, standardise, settings, False, '', mesh)
  params, picks, count, key = seeds
  expected = reference(params, cached, picks, count, key)
  params_S, loss_S = train('frozen', cameras=2)
  own_S, eyes_S = tuned.split_policy(params_S)
  assert not eyes_S
  close((own_S, loss_S), jax.device_get(expected), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize('mode', MODES[1:])
def test_at_first_no_mode_changes_anything(mode):
  """The first loss is that of the cached latents."""
  model, data, cached, seeds = problem(1)
  c = config().finetune
  params, picks_N, *_, key = jax.tree.map(lambda x: x[0], seeds)
  shape = picks_N[:WINDOWS], ('image',), model.context, c.chunk
  batch = demonstrations.batch(data, *shape)
  trained, fixed = tuned.Eye(encoder(), standardise, mode).split(key)
  state = step.init_state(
    params | {tuned.PART: trained}, tuned._optimizer(c), key
  )
  update = tuned._update(model, encoder().apply, standardise, c)
  _, metrics = update(state, batch | {'fixed': fixed})
  batch = demonstrations.batch(cached, shape[0], ('latent',), *shape[2:])
  latent_BTD = standardise(batch['inputs']['latent'])
  expected, _ = behaviour_cloning.loss(
    sequence.bind(model, params),
    batch | {'inputs': {'latent': latent_BTD}},
    key,
    {'chunk': c.chunk, 'visibility': 'causal'},
  )
  np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-4)


@pytest.mark.parametrize('mode', MODES[1:])
def test_what_trains_moves_and_the_rest_does_not(mode):
  before, fixed = tuning.split(encoder().params, mode)
  params_S, _ = train(mode)
  own_S, eyes_S = tuned.split_policy(params_S)
  assert jax.tree.structure(eyes_S) == jax.tree.structure(before)
  for seed in range(2):
    trained = jax.tree.map(lambda x, i=seed: x[i], eyes_S)
    after = tuning.merge(trained, fixed)
    moved = jax.tree.map(
      lambda a, b: np.abs(a - b).reshape(len(a), -1).max(1) > 0,
      after['transformer']['blocks'],
      encoder().params['transformer']['blocks'],
    )
    for kernel in ('qkv', 'out', 'up', 'down'):
      expected = [mode != 'last:1', True]
      assert moved[kernel]['kernel'].tolist() == expected
    untouched = mode != 'full'
    same = np.array_equal(
      after['embed']['kernel'], encoder().params['embed']['kernel']
    )
    assert same == untouched
  started = problem(1)[3].params
  assert not np.array_equal(
    own_S['head_action']['project']['kernel'],
    started['head_action']['project']['kernel'],
  )


def test_augmented_views_differ_and_repeat():
  changes = ml_collections.ConfigDict({'shift': 4, 'brightness': 0.3})
  plain, one, again = (
    train('last:1', augment=a)[1] for a in (OFF, changes, changes)
  )
  assert (one != plain).all()
  np.testing.assert_array_equal(one, again)


@pytest.mark.parametrize(
  ('words', 'changes'),
  [
    ('lora', {'modes': ('lora',)}),
    ('last:0', {'modes': ('last:0',)}),
    ('pixels.*no parameters', {'encoder': 'pixels'}),
    ('state.*no parameters', {'encoder': 'state'}),
    ('tuned.demos', {'finetune__tuned__demos': (2,)}),
    ('shift', {'augment': ml_collections.ConfigDict({'shift': -1})}),
    ('squint', {'augment': ml_collections.ConfigDict({'squint': 1})}),
  ],
)
def test_settings_that_mean_nothing_are_refused(words, changes):
  with pytest.raises(ValueError, match=words):
    finetune.cells(config(**changes))


@pytest.mark.parametrize('name', ['random', 'mae'])
def test_modes_that_do_not_fit_are_refused_before_training(name):
  tuned.check(config(encoder=name, modes=('last:1',)))
  for mode in ('last:9', 'lora:512'):
    with pytest.raises(ValueError, match=mode):
      tuned.check(config(encoder=name, modes=(mode,)))


def test_every_mode_is_a_cell_beside_its_frozen_twin():
  cells = finetune.cells(config())
  found = [cell for cell in cells if cell.method == 'tuned']
  assert [cell.encoder for cell in found] == list(MODES)
  assert all(cell.untuned in cells for cell in found)
  names = [cell.name for cell in cells]
  assert len(set(names)) == len(names) and 'next-tuned-4-lora2' in names
  assert finetune.cells(config(modes=())) == [
    cell for cell in cells if cell.method != 'tuned'
  ]


def fake_episodes(monkeypatch, frames):
  """`frames` are those of all episodes of a domain, {camera: [N, ...]}."""
  starts = np.cumsum(LENGTHS)[:-1]
  parts = {k: np.split(x, starts) for k, x in frames.items()}

  def episodes(config, inputs, name, split, chosen=None):
    for i in range(len(LENGTHS)) if chosen is None else chosen:
      yield {camera: parts[camera][i] for camera in parts}

  monkeypatch.setattr(tuned, '_episodes', episodes)
  monkeypatch.setattr(tuned.domains, 'cameras', lambda *_: tuple(frames))
  monkeypatch.setattr(tuned.domains, 'demos_split', lambda *_: 'demos')


def test_only_demonstrations_in_use_are_decoded(monkeypatch):
  """The same windows, though rows are counted anew."""
  size = int(LENGTHS.sum())
  row_N = np.arange(size, dtype=np.uint8)
  fake_episodes(monkeypatch, {'image': np.tile(row_N[:, None], (1, 3))})
  c = config()
  table = windows.windows(LENGTHS, 1)
  padded = size + 9  # As beside a longer domain.
  known = {'action': np.pad(row_N, (0, 9)), 'table': None}
  picks_SN, _ = demonstrations.picks(table, 1, padded, c)
  assert len(np.unique(table.clip[picks_SN])) < len(LENGTHS)
  data, new_SN = tuned.data(c, {}, 'name', (known, table), picks_SN)
  for old_N, new_N in zip(picks_SN, new_SN, strict=True):
    before = demonstrations.batch(
      known | {'table': table}, old_N, ('action',), 8, 3
    )
    after = demonstrations.batch(data, new_N, ('image',), 8, 3)
    seen_BT = after['inputs']['image'][0][..., 0]
    np.testing.assert_array_equal(seen_BT, before['inputs']['action'])
    for name in ('valid', 'target_valid'):
      np.testing.assert_array_equal(after[name], before[name])
    np.testing.assert_array_equal(
      after['targets']['action'], before['targets']['action']
    )


def test_each_seed_sees_through_its_own_image_model(monkeypatch):
  _, data, _, seeds = problem(2)
  frames = dict(zip(('right', 'left'), data['image'], strict=True))
  fake_episodes(monkeypatch, frames)
  eye = tuned.Eye(encoder(), standardise, 'last:1')
  trained, fixed = eye.split()
  trained_S = jax.tree.map(lambda x: np.stack([x, 1.5 * x]), trained)
  batch = config(encode__batch_size=10)
  latent_SND = tuned.latents(batch, {}, 'name', 'heldout', eye, trained_S)
  assert latent_SND.shape == (2, LENGTHS.sum(), 2 * DIM)
  for seed in range(2):
    mine = jax.tree.map(lambda x, i=seed: x[i], trained_S)
    params = tuning.merge(mine, fixed)
    expected = [encoder().apply(params, {'image': x}) for x in data['image']]
    np.testing.assert_allclose(
      latent_SND[seed], np.concatenate(expected, -1), rtol=2e-3, atol=2e-3
    )
