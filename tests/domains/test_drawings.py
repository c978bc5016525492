"""Drawings with captions: what is held out, and that captions are true."""

import numpy as np

from rpt_jax.domains import drawings


def collected(tmp_path, **how):
  c = drawings.Settings(size=16, pretrain=30, heldout=12, **how)
  (domain,) = drawings.domains('drawings', c, 3)
  domain.collect(tmp_path / 'drawings')
  return {s: domain.source(tmp_path, s) for s in domain.splits}


def about(source):
  return [source.metadata(i) for i in range(len(source))]


def test_held_out_pairs_are_in_no_training_clip(tmp_path):
  sources = collected(tmp_path)
  apart = drawings.held_out(6)
  pairs = {
    split: {(a['colour'], a['shape']) for a in about(source)}
    for split, source in sources.items()
  }
  assert pairs['heldout'] <= {*apart} and not pairs['pretrain'] & {*apart}
  assert len({*apart}) == 6
  for name, values in (
    ('colour', drawings.COLOURS),
    ('shape', drawings.SHAPES),
  ):
    place = ('colour', 'shape').index(name)
    rest = {(c, s) for c in drawings.COLOURS for s in drawings.SHAPES}
    assert {x[place] for x in rest - {*apart}} == {*values}


def test_captions_say_what_is_drawn(tmp_path):
  for source in collected(tmp_path).values():
    for i, a in enumerate(about(source)):
      said = a['instruction']
      assert said in [t.format(**a) for t in drawings.TEMPLATES]
      seen = source.read(i, ('image', 'state'))
      row, column, radius = seen['state'][0]
      assert (row < 0.5) == ('top' in said)
      assert (column < 0.5) == ('left' in said)
      assert (radius > 0.165) == ('large' in said)
      # The colour is that of some pixels, and of none far from the shape.
      colour = np.array(drawings.COLOURS[a['colour']])
      near = np.abs(seen['image'][0].astype(int) - colour).max(-1) < 60
      places = (np.argwhere(near) + 0.5) / 16
      assert len(places) > 2
      assert np.abs(places - [row, column]).max() < 1.4 * radius + 0.05


def test_shuffled_captions_are_those_of_others(tmp_path):
  for source in collected(tmp_path, shuffled=True).values():
    true = [
      a['instruction'] in [t.format(**a) for t in drawings.TEMPLATES]
      for a in about(source)
    ]
    assert np.mean(true) < 0.2
