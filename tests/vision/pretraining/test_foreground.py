"""What moves: maps of it by hand, invariances, and that a frame shows it."""

import dataclasses

import jax
import numpy as np
import pytest

from rpt_jax import vision
from rpt_jax.episodes import frames
from rpt_jax.evals import probes
from rpt_jax.learning import seeing
from rpt_jax.training import sharding
from rpt_jax.vision.pretraining import foreground

SIZE = 16
TINY = foreground.Settings(
  patch=4, widths=(16, 16), latent=24, cells=8, frames=6, batch_size=8,
  steps=150, learning_rate=1e-2,
)  # fmt: skip


def moving(seed, clips=20, length=12):
  """A bright square that wanders before a background of each clip's own.

  Returns the frames, and its place [N, 2] in pixels.
  """
  rng = np.random.default_rng(seed)
  image = np.zeros((clips, length, SIZE, SIZE, 3), np.uint8)
  image += rng.integers(0, 120, (clips, 1, SIZE, SIZE, 3), dtype=np.uint8)
  place = rng.integers(0, SIZE - 3, (clips, length, 2))
  for clip, moment in np.ndindex(clips, length):
    y, x = place[clip, moment]
    image[clip, moment, y : y + 4, x : x + 4] = 255
  lengths = np.full(clips, length)
  clip = lengths, np.ones(clips), np.full(clips, '')
  return frames.Frames((image.reshape(-1, SIZE, SIZE, 3),), *clip), place


def model():
  return foreground.model(TINY, SIZE)


def test_the_map_is_the_distance_from_the_mean_in_units_of_its_spread():
  image = np.random.default_rng(0).integers(0, 256, (2, 6, 16, 16, 3), np.uint8)
  target_BFP = np.asarray(model().target(image))
  for clip, map_FP in zip(image / 127.5 - 1, target_BFP, strict=True):
    away = np.abs(clip - clip.mean(0))
    expected = away.reshape(6, 8, 2, 8, 2, 3).mean((2, 4, 5)).reshape(6, 64)
    expected /= np.sqrt(expected.var() + 1e-5)
    np.testing.assert_allclose(map_FP, expected, atol=1e-4)


def test_neither_background_nor_contrast_matter():
  clips, _ = moving(0, clips=2)
  image = clips.take(np.arange(24).reshape(2, 12)).astype(int)
  target = model().target
  other = image // 2 + np.arange(SIZE)[:, None, None]
  half = target(image // 2 * 2) - target(image // 2)
  assert np.abs(half).max() < 0.05  # But for the least variance.
  np.testing.assert_allclose(target(other), target(image // 2), atol=1e-3)
  still = np.asarray(target(np.full((1, 5, 16, 16, 3), 9, np.uint8)))
  np.testing.assert_allclose(still, 0, atol=1e-3)


def test_a_batch_is_of_frames_of_whole_clips_and_domains_take_turns():
  lengths = np.array([3, 1, 9, 2, 2, 2, 30])
  number = np.arange(49, dtype=np.uint8)[:, None, None, None]
  parts = np.split(np.broadcast_to(number, (49, 4, 4, 3)), [13])
  clips = frames.Frames(tuple(parts), lengths, np.ones(7), np.full(7, ''))
  assert clips.clips_of_parts.tolist() == [3, 4]
  for balanced, share in ((True, 1 / 2), (False, 3 / 7)):
    c = dataclasses.replace(TINY, balanced=balanced)
    batch_at, of_first, rows_seen = foreground.batch_at(c, clips, 0), [], set()
    for step in range(70):
      rows_BF = batch_at(step)['image'][..., 0, 0, 0]
      assert rows_BF.shape == (8, 6)
      clip_BF = clips.clips.clip_N[rows_BF]
      assert (clip_BF == clip_BF[:, :1]).all()
      of_first += (clip_BF[:, 0] < 3).tolist()
      rows_seen |= {*rows_BF.ravel().tolist()}
    assert np.mean(of_first) == pytest.approx(share, abs=1e-9)
    assert rows_seen == {*range(49)}


def test_the_latent_of_one_frame_tells_where_the_thing_is(tmp_path):
  """Before backgrounds it has not seen, and better than an untrained one."""
  clips, place = moving(1, clips=40)
  fresh, fresh_place = moving(2)
  one = {'data': 1, 'fsdp': 1, 'tensor': 1}
  mesh = sharding.make_mesh(one, jax.devices()[:1])
  trained = seeing.make_trainer(TINY, SIZE, mesh)
  batch_at = seeing.batches(TINY, clips, mesh, 0)
  state = trained.init(jax.random.key(0))
  r2 = {}
  for name, steps in (('untrained', 0), ('trained', TINY.steps)):
    for step in range(steps):
      state, _ = trained.step(state, batch_at(step))
    params = sharding.gather(state.params)
    foreground.save(model(), params, tmp_path / name)
    encode = jax.jit(vision.load(tmp_path / name).encode)
    r2[name] = probes.state(
      encode(clips.parts[0]), place.reshape(-1, 2), clips.clips.clip_N,
      encode(fresh.parts[0]), fresh_place.reshape(-1, 2),
    ).mean  # fmt: skip
  assert r2['trained'] > 0.85 > r2['untrained'] + 0.15, r2
  judged = foreground.judge(model(), params, fresh, jax.random.key(0))
  assert judged['explained'] > 0.3, judged


@pytest.mark.parametrize('change', [{'patch': 3}, {'cells': 7}])
def test_what_does_not_divide_a_frame_is_named(change):
  name = next(iter(change))
  with pytest.raises(ValueError, match=f'^{name}: found {change[name]}'):
    foreground.model(dataclasses.replace(TINY, **change), SIZE)
