"""Time contrast: pairs near in time and of one clip; the loss is InfoNCE."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rpt_jax import settings, vision
from rpt_jax.episodes import frames
from rpt_jax.vision import pretraining, vit
from rpt_jax.vision.pretraining import time_contrastive as tcn

SIZE = 16
TINY = tcn.Settings(
  patch=8, width=16, depth=1, num_heads=2, projection=8, reach=2,
  batch_size=8, steps=40, learning_rate=3e-3,
)  # fmt: skip
LENGTHS = np.array([1, 12, 2, 30, 1, 5, 1])


def numbered(lengths=LENGTHS):
  """Frames whose pixels say which they are."""
  number = np.arange(sum(lengths), dtype=np.uint8)[:, None, None, None]
  image = np.broadcast_to(number, (sum(lengths), SIZE, SIZE, 3))
  clips = np.ones(len(lengths)), np.full(len(lengths), '')
  return frames.Frames((image,), lengths, *clips)


def moving(seed=0, clips=6, length=20):
  """A bright bar that moves right before a background of each clip's own."""
  rng = np.random.default_rng(seed)
  image = np.zeros((clips, length, SIZE, SIZE, 3), np.uint8)
  image += rng.integers(0, 100, (clips, 1, 1, 1, 3), dtype=np.uint8)
  for t in range(length):
    image[:, t, :, t * (SIZE - 3) // length :][:, :, :3] = 255
  told = np.ones(clips), np.full(clips, '')
  image = image.reshape(-1, SIZE, SIZE, 3)
  return frames.Frames((image,), np.full(clips, length), *told)


@pytest.mark.parametrize('reach', [1, 2, 7, 100])
def test_pairs_lie_within_reach_and_inside_their_clips(reach):
  c, clips = dataclasses.replace(TINY, reach=reach), numbered()
  batch_at = tcn.batch_at(c, clips, 5)
  clip_N, drawn, far_drawn = clips.clips.clip_N, set(), set()
  for step in range(200):
    batch = batch_at(step)
    rows_B3 = batch['image'][:, :, 0, 0, 0].astype(int)
    for (anchor, near, far), apart in zip(rows_B3, batch['apart'], strict=True):
      own = np.flatnonzero(clip_N == clip_N[anchor])
      assert len(own) > 1 and clip_N[near] == clip_N[far] == clip_N[anchor]
      assert 1 <= abs(near - anchor) <= reach
      drawn.add((anchor, near))
      away = np.minimum(abs(own - anchor), abs(own - near))
      assert apart == (away > reach).any()
      if apart:
        assert min(abs(far - anchor), abs(far - near)) > reach
        far_drawn.add((anchor, near, far))
  expected = {
    (a, b)
    for a in range(len(clips))
    for b in range(len(clips))
    if clip_N[a] == clip_N[b] and 1 <= abs(a - b) <= reach
  }
  assert drawn <= expected and len(drawn) > 0.9 * min(len(expected), 600)
  assert bool(far_drawn) == (reach < 29)


def test_every_near_and_every_far_frame_is_as_likely_as_another():
  clips, anchor_B = numbered(np.array([9, 10])), np.full(6000, 9 + 4)
  draw_B2 = np.random.default_rng(0).random((6000, 2))
  triples = tcn.draw(clips, anchor_B, draw_B2, 2)
  near, counts = np.unique(triples.near_B - 13, return_counts=True)
  assert near.tolist() == [-2, -1, 1, 2]
  np.testing.assert_allclose(counts / 6000, 0.25, atol=0.03)
  after = triples.far_B[triples.near_B == 14] - 9
  far, counts = np.unique(after, return_counts=True)
  assert far.tolist() == [0, 1, 8, 9]
  np.testing.assert_allclose(counts / len(after), 0.25, atol=0.05)


def test_every_frame_with_a_neighbour_is_an_anchor_once_an_epoch():
  c, clips = dataclasses.replace(TINY, batch_size=7), numbered()
  batch_at = tcn.batch_at(c, clips, 1)
  anchors = [batch_at(i)['image'][:, 0, 0, 0, 0] for i in range(7)]
  alone = {0, 15 + 30, 51}
  rows = set(range(52)) - alone
  assert sorted(np.concatenate(anchors).tolist()) == sorted(rows)
  other = tcn.batch_at(c, clips, 2)(0)
  assert (other['image'] != batch_at(0)['image']).any()


def test_loss_against_a_numpy_loop():
  rng = np.random.default_rng(0)
  z_B3D, temperature = rng.normal(size=(6, 3, 5)), 0.3
  apart_B = np.array([1, 1, 0, 1, 0, 1], bool)

  def cosine(x, y):
    return x @ y / np.linalg.norm(x) / np.linalg.norm(y)

  total = right = 0
  for here, there in ((0, 1), (1, 0)):
    for b in range(6):
      own = z_B3D[b, here]
      scores = [cosine(own, z_B3D[k, there]) / temperature for k in range(6)]
      if apart_B[b]:
        scores.append(cosine(own, z_B3D[b, 2]) / temperature)
      total += np.log(np.exp(scores).sum()) - scores[b]
      right += np.argmax(scores) == b
  info_nce = jax.jit(tcn.info_nce)
  loss, accuracy = info_nce(jnp.float32(z_B3D), apart_B, temperature)
  np.testing.assert_allclose(loss, total / 12, rtol=1e-5)
  np.testing.assert_allclose(accuracy, right / 12, rtol=1e-6)


def test_a_far_frame_that_is_none_has_no_gradient():
  z_B3D = jax.random.normal(jax.random.key(0), (4, 3, 5))
  apart_B = jnp.array([True, False, True, False])
  gradient = jax.jit(jax.grad(lambda z: tcn.info_nce(z, apart_B, 0.1)[0]))
  slope = gradient(z_B3D)
  assert np.isfinite(slope).all()
  moved_B = np.abs(slope[:, 2]).max(-1) > 0
  assert moved_B.tolist() == apart_B.tolist()
  assert np.isfinite(gradient(jnp.zeros((4, 3, 5)))).all()


@pytest.fixture(scope='module')
def trained():
  """(model, parameters, losses) after a few steps on frames that move."""
  model, tx = tcn.model(TINY, SIZE), optax.adam(TINY.learning_rate)
  params = model.init(jax.random.key(0))
  batch_at = tcn.batch_at(TINY, moving(), 0)

  @jax.jit
  def step(params, state, batch):
    slope, metrics = jax.grad(
      lambda p: tcn.loss(TINY, model, p, batch, None), has_aux=True
    )(params)
    updates, state = tx.update(slope, state)
    return optax.apply_updates(params, updates), state, metrics

  state, losses = tx.init(params), []
  for i in range(TINY.steps):
    params, state, metrics = step(params, state, batch_at(i))
    losses.append(float(metrics['loss']))
  return model, params, losses


def test_a_few_steps_tell_moments_apart(trained):
  model, params, losses = trained
  assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
  before = model.init(jax.random.key(0))
  measured, untrained = (
    tcn.judge(model, p, moving(1), None) for p in (params, before)
  )
  assert set(measured) == {'loss', 'accuracy'}
  assert measured['loss'] < 0.8 * untrained['loss']
  assert 1 / 120 < measured['accuracy'] < 1  # Better than chance.


def test_the_encoder_that_is_loaded_is_the_one_that_was_saved(
  trained, tmp_path
):
  model, params, _ = trained
  tcn.save(model, params, tmp_path)
  loaded = vision.load(tmp_path, output='mean_patch')
  image = moving(2).take(np.arange(5))
  apply = jax.jit(model.encoder.apply)
  own = {'params': params['encoder']}
  expected_ND = apply(own, vit.preprocess(image)).tokens[:, 1:].mean(1)
  encoded_ND = jax.jit(loaded.encode)(image)
  np.testing.assert_allclose(encoded_ND, expected_ND, atol=1e-4)


def test_pictures_are_a_frame_a_near_one_and_a_far_one(trained):
  model, params, _ = trained
  shown = tcn.pictures(model, params, numbered(), None)
  frame, near, alike = (x[:, 0, 0, 0].astype(int) for x in shown.values())
  clip_N = numbered().clips.clip_N
  assert len(frame) == 12
  assert (clip_N[frame] == clip_N[near]).all()
  assert (abs(frame - near) <= 2).all() and (frame != near).all()
  elsewhere = (clip_N[frame] != clip_N[alike]) | (abs(frame - alike) > 2)
  assert elsewhere.all()


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ({'width': 18, 'num_heads': 2}, r'm.width: found 18.*multiple of 4'),
    ({'width': 16, 'num_heads': 3}, r'm.num_heads: found 3.*divisor'),
  ],
)
def test_settings_that_fit_no_model_are_refused(values, message):
  with pytest.raises(ValueError, match=message):
    tcn.Settings(**values).check('m')


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ('reach=0', 'config.image_model.reach: found 0'),
    ('temperature=0.0', 'config.image_model.temperature: found 0'),
    ('batch_size=1', 'config.image_model.batch_size: found 1'),
  ],
)
def test_settings_out_of_range_are_refused(values, message):
  config = settings.base(
    image_model=settings.plugin('vision/pretraining', 'time_contrastive')
  )
  name, _, value = values.partition('=')
  config.image_model[name] = type(config.image_model[name])(float(value))
  with pytest.raises(ValueError, match=message):
    settings.read(settings.Experiment, config)


def test_frames_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match='patch: found 8.*config.frames.size=20'):
    tcn.model(TINY, 20)
  alone = numbered(np.ones(4, int))
  with pytest.raises(ValueError, match='config.image_model: needs pairs'):
    pretraining.check(tcn.NEEDS, alone)
