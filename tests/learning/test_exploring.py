"""What the explorer is given: frames, units, actions where they belong."""

import types

import numpy as np
import pytest

from rpt_jax import files
from rpt_jax.episodes import store
from rpt_jax.learning import exploring, pictures
from rpt_jax.reporting import explorer, html

LENGTHS = ((12, 30), (20,))  # Of the clips of two domains.


class Source:
  """A frame's red says of which clip it is, its green which step."""

  def __init__(self, lengths):
    self.lengths = np.array(lengths)

  def read(self, episode, fields):
    image = np.zeros((self.lengths[episode], 8, 8, 3), np.uint8)
    image[..., 0] = 100 + episode
    image[..., 1] = np.arange(len(image))[:, None, None]
    return dict.fromkeys(fields, image)


def domain(name, lengths, discrete):
  return types.SimpleNamespace(
    name=name, cameras=('image',), fields=('state', 'action'),
    discrete=discrete, source=lambda *_: Source(lengths),
    frame_sizes=lambda _: {'image': (8, 8)},
  )  # fmt: skip


@pytest.fixture
def places(tmp_path):
  """Domains and folders; an action is the step it is done at, or its parity."""
  domains = [domain('a', LENGTHS[0], False), domain('b', LENGTHS[1], True)]
  for place, lengths in zip(domains, LENGTHS, strict=True):
    step = np.concatenate([np.arange(n) for n in lengths])
    arrays = {
      'action': step % 2 if place.discrete else step[:, None].astype('f4'),
      'state': np.stack([step, -step], 1).astype('f4'),
    }
    shard = store.Shard(0, 1, 0, len(lengths))
    for stage in ('encode', 'label'):
      folder = tmp_path / stage / place.name / 'heldout'
      store.write_arrays(folder, shard, arrays, dict(enumerate(lengths)), {})
      store.seal(folder, store.finished(folder, [shard]))
    files.write_json(folder / 'texts.json', ['<b>'] * len(lengths))
  stages = {name: tmp_path / name for name in ('encode', 'label', 'collect')}
  return domains, stages


def gathered(places, monkeypatch, unit_N):
  """The explorer of one recipe with these units; codes are steps."""
  clip_step = [np.arange(n) for lengths in LENGTHS for n in lengths]
  order = np.argsort(-np.concatenate(clip_step), kind='stable')

  def of_level(level):
    return lambda unit: [n for n in order if unit_N[n] == unit]

  monkeypatch.setattr(
    pictures, 'units', lambda *_: (np.array(unit_N)[:, None], of_level)
  )
  return exploring.gather(places[0], {'raw': None}, places[1])


def test_units_are_told_with_what_is_done_and_what_follows(places, monkeypatch):
  unit_N = [3] * 12 + [5] * 30 + [3] * 10 + [-1] * 10
  shown = gathered(places, monkeypatch, unit_N)
  assert [(c.domain, c.number) for c in shown.clips] == [
    ('a', 1), ('a', 0), ('b', 0),
  ]  # fmt: skip
  five, three = shown.lanes['raw']
  assert (five.number, five.count, five.share) == (5, 30, 1.0)
  assert (three.number, three.count) == (3, 22)
  assert three.share == pytest.approx(12 / 22)
  assert 0.6 < five.by_chance < 0.9  # 30 of 42 frames of its dataset are there.
  assert five.nearest == [(0, 29), (0, 20), (0, 11), (0, 2)]
  assert three.nearest[0] == (1, 11)
  mean, share = three.actions
  assert (mean.domain, mean.count) == ('a', 12)
  assert mean.mean_A == pytest.approx([5.5])
  assert mean.spread_A == pytest.approx([np.std(range(12))])
  assert share.mean_A == pytest.approx([0.5, 0.5]) and share.spread_A is None


def test_frames_units_and_curves_are_of_the_same_steps(places, monkeypatch):
  unit_N = [1] * 12 + [*range(30)] + [2] * 20
  longest, *_ = gathered(places, monkeypatch, unit_N).clips
  assert longest.frames_SHW3[:, 0, 0, 0].tolist() == [101] * 30
  assert longest.frames_SHW3[:, 0, 0, 1].tolist() == [*range(30)]
  assert longest.units['raw'].tolist() == [*range(30)]
  assert longest.curves['action'][:, 0].tolist() == [*range(30)]
  assert longest.text == '<b>'


def test_a_page_without_room_shows_common_units_first(places, monkeypatch):
  monkeypatch.setattr(exploring, '_WHOLE_FRAMES', 32)
  monkeypatch.setattr(exploring, '_PIXELS', 64 * (16 + 16 + 1))
  unit_N = [1] * 12 + [2] * 30 + [3] * 20
  shown = gathered(places, monkeypatch, unit_N)
  assert {u.number: u.nearest for u in shown.lanes['raw']} == {
    2: [(0, 29), (0, 2)], 3: [(1, 1)], 1: [],
  }  # fmt: skip
  assert [len(c.steps_S) for c in shown.clips] == [17, 16]
  page = ''.join(explorer.section(html.Document(), shown))
  assert page.count('<div class="clip">') == 2
  assert [len(c.units['raw']) for c in shown.clips if c.units] == [16, 16]
