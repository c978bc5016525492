"""Pictures keep their pixels, their time and their size."""

import io

import numpy as np
import pytest
from PIL import Image

from rpt_jax.reporting import pictures

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(256, size=(10, 8, 6, 3), dtype=np.uint8)


def decoded(picture):
  return Image.open(io.BytesIO(picture.data))


def test_contact_sheet_places_frames_in_reading_order():
  sheet = pictures.contact_sheet(FRAMES, columns=4, gap=2)
  assert sheet.shape == (3 * 8 + 2 * 2, 4 * 6 + 3 * 2, 3)
  np.testing.assert_array_equal(sheet[10:18, 8:14], FRAMES[5])
  assert (sheet[8:10] == 255).all()
  assert (sheet[20:, 16:] == 255).all(), 'the short last row ends in white'


def test_filmstrip_is_evenly_spaced_and_centred():
  strip, steps = pictures.filmstrip(FRAMES, count=5)
  assert steps.tolist() == [1, 3, 5, 7, 9]
  assert strip.shape == (8, 30, 3)
  assert pictures.filmstrip(FRAMES, count=50)[1].tolist() == list(range(10))


def test_stills_are_lossless_unless_that_is_dear():
  flat = np.zeros((32, 32, 3), np.uint8)
  flat[8:20, 8:20] = (200, 30, 60)
  picture = pictures.encode(flat)
  assert picture.mime == 'image/png'
  np.testing.assert_array_equal(np.asarray(decoded(picture)), flat)
  smooth = np.add.outer(np.arange(128), np.arange(128))[..., None] / 2
  noisy = (smooth + RNG.normal(0, 6, (128, 128, 3)) + 30).clip(0, 255)
  picture = pictures.encode(noisy.astype(np.uint8))
  assert picture.mime == 'image/jpeg'
  assert np.abs(np.asarray(decoded(picture)) - noisy).mean() < 6


def test_a_sprite_has_every_frame_in_its_place():
  clip = np.zeros((10, 16, 24, 3), np.uint8)
  for t in range(10):
    clip[t] = 20 * t
  picture, columns = pictures.sprite(clip)
  assert (columns, picture.width, picture.height) == (8, 8 * 24, 2 * 16)
  sheet = np.asarray(decoded(picture).convert('RGB')).astype(int)
  for t in range(10):
    y, x = 16 * (t // 8), 24 * (t % 8)
    assert np.abs(sheet[y : y + 16, x : x + 24] - 20 * t).max() < 8
  assert pictures.sprite(clip[:3])[1] == 3
  assert pictures.sprite(clip)[0].data == picture.data


def test_frames_of_several_sizes_are_brought_to_that_of_the_first():
  small, large = FRAMES[0], np.full((32, 64, 3), 90, np.uint8)
  both = pictures.alike([small, large])
  np.testing.assert_array_equal(both[0], small)
  assert both.shape == (2, 8, 6, 3) and (both[1] == 90).all()


def test_an_animation_keeps_length_speed_and_the_last_frame():
  clip = np.zeros((90, 16, 16, 3), np.uint8)
  for t in range(90):
    clip[t, :, (t // 6) % 16] = 200
  animation = decoded(
    pictures.animation(clip, steps_per_second=30, max_frames=45)
  )
  assert animation.size == (16, 16)
  total = 0
  for i in range(animation.n_frames):
    animation.seek(i)
    animation.load()
    total += animation.info['duration']
  assert total == pytest.approx(44 * 67 + 1200, abs=50)
  last = np.asarray(animation.convert('RGB'))
  assert np.abs(last.astype(int) - clip[-1]).mean() < 8
  still = np.full((5, 8, 8, 3), 90, np.uint8)
  assert decoded(pictures.animation(still)).size == (8, 8)


def test_runs_cover_the_clip():
  units = [3, 3, 3, 1, 3, 3]
  assert pictures.runs(units) == [(3, 0, 3), (1, 3, 1), (3, 4, 2)]
  assert pictures.runs([7]) == [(7, 0, 1)]


def test_unit_strip_spans_its_box_and_names_long_runs():
  strip = pictures.unit_strip(np.repeat([5, 9, 5], [98, 1, 1]))
  assert strip.count('<rect') == 3
  assert strip.count('<text') == 1
  assert strip.count(f'fill="{pictures.unit_colour(5)[0]}"') == 2
  assert 'x="990.00" y="0" width="10.00"' in strip


def test_unit_colours_differ_and_can_be_read():
  colours = [pictures.unit_colour(i) for i in range(60)]
  assert len({fill for fill, _ in colours}) == 60

  def luminance(colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4,
                      rgb / 12.92)  # fmt: skip
    return linear @ [0.2126, 0.7152, 0.0722]

  for fill, ink in colours:
    dark, light = sorted((luminance(fill), luminance(ink)))
    assert (light + 0.05) / (dark + 0.05) > 3.5, (fill, ink)


@pytest.mark.parametrize(
  'bad', [FRAMES / 255, FRAMES[0], FRAMES[..., :1], FRAMES[:0]]
)
def test_bad_frames_are_named(bad):
  with pytest.raises(ValueError, match='uint8'):
    pictures.contact_sheet(bad, 4)
