"""What notebooks show: the right rows and frames, escaped, and no more."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from rpt_jax import notebook, results
from rpt_jax.domains.playing import Played
from rpt_jax.episodes.windows import Clips

HOSTILE = '<script>alert("x")</script>'
RNG = np.random.default_rng(0)


def drawn(shown):
  """The HTML, without the style that every piece carries."""
  return re.sub(r'(?s)<style>.*?</style>', '', shown._repr_html_())


def images(shown):
  """The pictures in it, as arrays."""
  encoded = re.findall(r'src="data:image/\w+;base64,([^"]+)"', drawn(shown))
  return [Image.open(io.BytesIO(base64.b64decode(x))) for x in encoded]


def two_clips(side=8):
  """Clips of 5 and 3 frames; each frame has its own grey."""
  grey_N = np.arange(8, dtype=np.uint8) * 30
  image_NHWC = np.broadcast_to(
    grey_N[:, None, None, None], (8, side, side, 3)
  ).copy()
  return Clips({'image': image_NHWC}, np.array([5, 3]))


def greys(image, side=8):
  """The grey of every frame of a strip or sheet."""
  return np.asarray(image.convert('L'))[side // 2, side // 2 :: side].tolist()


def test_clips_have_their_own_frames_and_units():
  shown = notebook.clips(two_clips(), {HOSTILE: [7, 7, 7, 1, 1, 2, 2, 2]})
  assert [greys(i) for i in images(shown)] == [
    [0, 30, 60, 90, 120],
    [150, 180, 210],
  ]
  assert '<title>unit 7, steps 0 to 2</title>' in drawn(shown)
  assert '<title>unit 2, steps 0 to 2</title>' in drawn(shown)
  assert '<script' not in drawn(shown) and '&lt;script' in drawn(shown)
  assert repr(shown) == '<clips>'


def test_large_frames_and_long_clips_are_drawn_small():
  image_NHWC = np.zeros((200, 120, 240, 3), np.uint8)
  (strip,) = images(
    notebook.clips(
      Clips({'front': image_NHWC}, np.array([200])), camera='front'
    )
  )
  assert strip.size == (16 * 96, 48)


def test_what_does_not_fit_clips_is_named():
  with pytest.raises(ValueError, match=r"'raw': found 3 rows, expected 8"):
    notebook.clips(two_clips(), {'raw': [0, 1, 2]})
  with pytest.raises(ValueError, match=r"found 'front'.*\['image'\]"):
    notebook.clips(two_clips(), camera='front')


def test_a_gallery_shows_the_frames_of_a_unit_the_fullest_first():
  rows_KC = [[6, -1], [-1, -1], [4, 0]]
  shown = notebook.gallery(two_clips(), rows_KC)
  assert re.findall(r'unit (\d)', drawn(shown)) == ['2', '0']
  first, second = images(shown)
  assert np.unique(np.asarray(first.convert('L'))[:, :8]).tolist() == [120]
  assert np.unique(np.asarray(second.convert('L'))).tolist() == [180]


def test_a_table_is_escaped_and_has_dashes_for_what_is_missing():
  rows = {HOSTILE: {'a': 0.456}, 'second': {'a': HOSTILE, HOSTILE: None}}
  text = drawn(notebook.table(rows))
  assert '<script' not in text and text.count('&lt;script') == 3
  assert '>0.46<' in text and text.count('>–<') == 2


def test_scores_stand_under_their_domains():
  def row(value, **tags):
    tags = {'method': 'probe', 'demos': 4} | tags
    return results.row('compare', 'score', value, (0.1, 0.2), 2, **tags)

  rows = [row(0.15, env='Pendulum-v1'), row(0.3, env='all')]
  rows.append(results.row('evaluate', 'success', 1.0, env='all'))
  text = drawn(notebook.scores(rows))
  assert '>Pendulum-v1<' in text and 'probe, 4' in text
  assert '0.15 [0.10, 0.20]' in text and 'success' not in text
  assert '>all<' not in text  # It says the same.
  text = drawn(notebook.scores([*rows, row(0.4, env='Acrobot-v1')]))
  assert text.index('>Pendulum-v1<') < text.index('>all<') and '0.30' in text
  with pytest.raises(ValueError, match=r"'nope'.*'score', 'success'"):
    notebook.scores(rows, ('nope',))


def test_films_of_a_run_are_those_that_were_made(tmp_path):
  folder = tmp_path / 'evaluate' / 'CartPole-v1'
  folder.mkdir(parents=True)
  with pytest.raises(ValueError, match='no film, expected'):
    notebook.rollouts(tmp_path)
  outcome = np.zeros((1, 2))
  film = RNG.integers(0, 255, (4, 8, 8, 3), np.uint8)
  Played(outcome, film=film).save(folder / 'next-probe-1.npz')
  Played(outcome).save(folder / 'next-probe-4.npz')
  shown = notebook.rollouts(tmp_path)
  (animation,) = images(shown)
  assert animation.n_frames == 4
  assert 'CartPole-v1, next-probe-1' in drawn(shown)
  assert 'next-probe-4' not in drawn(shown)


def test_a_page_cannot_leave_its_frame(tmp_path):
  page = tmp_path / 'report.html'
  page.write_text(f'<p title="a">{HOSTILE}</p>')
  text = drawn(notebook.page(page))
  (inside,) = re.findall(
    r'<iframe sandbox="allow-scripts" srcdoc="([^"]*)"', text
  )
  assert '<' not in inside and '&lt;p title=&quot;a&quot;&gt;' in inside
