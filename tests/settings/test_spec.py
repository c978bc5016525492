"""A dataset as the command line names it: path and settings in one word."""

import pytest

from rpt_jax.settings import spec


def test_settings_of_a_spec():
  path, settings = spec.dataset('a/b,card=droid,fps=10,clip_steps=5,size=2x3')
  assert path == 'a/b'
  assert settings == {
    'card': 'droid',
    'fps': 10.0,
    'clip_steps': 5,
    'size': (2, 3),
  }
  for text, words in (
    ('a,card', "found 'card', expected key=value"),
    ('a,fps=fast', "fps: found 'fast', expected a number"),
    ('a,clip_steps=1.5', "clip_steps: found '1.5', expected a whole number"),
    ('a,size=96', "size: found '96', expected height x width, as in 96x128"),
    ('a,size=0x0', "size: found '0x0', expected height x width"),
    ('a,size=-1x5', "size: found '-1x5', expected height x width"),
  ):
    with pytest.raises(ValueError, match=f'^--inspect: {words}'):
      spec.dataset(text)


def test_a_path_with_commas_is_taken_where_it_exists(tmp_path):
  folder = tmp_path / 'comma, dir'
  folder.mkdir()
  assert spec.dataset(f'{folder}') == (f'{folder}', {})
  assert spec.dataset(f'{folder},fps=5') == (f'{folder}', {'fps': 5.0})
