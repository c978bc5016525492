"""Video files as episodes: the right frames, resampled, cut; faults named."""

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes import CorruptEpisode, videos

av = pytest.importorskip('av')
DATA = pathlib.Path(__file__).parents[3].parent / 'shared' / 'data'
SIZE = (48, 64)


def brightness(index):
  return 20 + 4 * index


def write_video(path, steps, fps=10, codec='libx264', first=0, options=None):
  """A video whose brightness counts its frames; keyframes every 7."""
  with av.open(str(path), 'w', options=options or {}) as container:
    stream = container.add_stream(codec, rate=fps)
    stream.height, stream.width = SIZE
    stream.pix_fmt = 'yuv420p'
    stream.codec_context.gop_size = 7
    for i in range(steps):
      pixels = np.full((*SIZE, 3), brightness(first + i), np.uint8)
      frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


def counted(image_THWC):
  """The frame numbers that the brightness of frames tells."""
  levels = image_THWC.reshape(len(image_THWC), -1).mean(-1)
  return np.rint((levels - 20) / 4).astype(int).tolist()


@pytest.mark.parametrize(
  'name, codec', [('a.mp4', 'libx264'), ('a.webm', 'libvpx-vp9')]
)
def test_clips_hold_every_frame_in_order(tmp_path, name, codec):
  write_video(tmp_path / name, 50, codec=codec)
  source = episodes.open(tmp_path, clip_steps=20)
  assert source.lengths.tolist() == [17, 17, 16] and source.fps == 10
  source = pickle.loads(pickle.dumps(source))
  seen = [counted(e.observation['image']) for e in source]
  assert sum(seen, []) == list(range(50))
  assert source.metadata(1)['start'] == pytest.approx(1.7)
  assert source.metadata(1)['instruction'] == ''


def test_what_a_video_lacks_is_completed(tmp_path):
  source = episodes.open(write_video(tmp_path / 'a.mp4', 6))
  episode = source[0]
  assert episode.action.shape == (6, 0) and not episode.reward.any()
  assert episode.is_first.tolist() == [True] + [False] * 5
  assert source.read(0, ['action'])['action'].shape == (6, 0)


@pytest.mark.parametrize('fps, expected', [(5, 2), (10, 1), (2.5, 4)])
def test_resampling_takes_the_nearest_frames(tmp_path, fps, expected):
  source = episodes.open(write_video(tmp_path / 'a.mp4', 21), fps=fps)
  found = counted(source[0].observation['image'])
  assert found == list(range(0, 21, expected)) and source.fps == fps


def test_upsampling_repeats_frames(tmp_path):
  source = episodes.open(write_video(tmp_path / 'a.mp4', 4), fps=30)
  found = counted(source[0].observation['image'])
  assert len(found) == 10 and sorted(set(found)) == [0, 1, 2, 3]
  assert found == sorted(found)


def test_frames_are_scaled_when_asked(tmp_path):
  write_video(tmp_path / 'a.mp4', 4)
  frames = [Image.fromarray(np.full((20, 30, 3), v, np.uint8)) for v in (0, 90)]
  frames[0].save(
    tmp_path / 'b.gif', save_all=True, append_images=frames[1:], duration=50
  )
  source = episodes.open(tmp_path)
  with pytest.raises(ValueError, match='size='):
    source.read_all(['image'])
  clips = episodes.open(tmp_path, size=[12, 16]).read_all(['image'])
  assert clips.arrays['image'].shape == (6, 12, 16, 3)
  assert episodes.open(tmp_path, size=[12, 16]).streams['image'].shape == (
    *(12, 16),
    3,
  )


@pytest.mark.parametrize('size', [None, (12, 16), (40, 90)])
def test_frames_are_what_libswscale_makes_of_each_alone(tmp_path, size):
  path = tmp_path / 'a.mp4'
  y, x = np.mgrid[:48, :64]
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=10)
    stream.height, stream.width = SIZE
    for t in range(9):
      pixels = np.stack([4 * x + 9 * t, 5 * y, x * y // (t + 1)], -1) % 256
      frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8))
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  height, width = size or SIZE
  with av.open(str(path)) as container:
    alone = [
      frame.to_ndarray(
        format='rgb24', height=height, width=width, interpolation='AREA'
      )
      for frame in container.decode(video=0)
    ]
  images = videos.frames_at(path, np.arange(9) / 10, 0.01, size)
  np.testing.assert_array_equal(images, alone)


def test_a_truncated_video_whose_index_is_whole_is_named(tmp_path):
  path = tmp_path / 'a.mp4'
  write_video(path, 55, options={'movflags': 'faststart'})
  write_video(tmp_path / 'b.mp4', 5)
  content = path.read_bytes()
  path.write_bytes(content[:-400])
  source = episodes.open(tmp_path)
  with pytest.raises(
    episodes.CorruptEpisode, match='found 35 frames, expected 55'
  ):
    source[0]
  assert source.lengths.tolist() == [0, 5]


def test_wrong_settings_are_named(tmp_path):
  path = write_video(tmp_path / 'a.mp4', 4)
  with pytest.raises(ValueError, match='expected numbers above 0'):
    episodes.open(path, fps=0)
  with pytest.raises(ValueError, match="no split 'train'"):
    episodes.open(path, split='train')
  with pytest.raises(ValueError, match="action='action' is not among"):
    episodes.open(path, action='action')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='no dataset found'):
    episodes.open(tmp_path / 'empty')


@pytest.mark.skipif(not DATA.exists(), reason=f'no {DATA}')
def test_real_videos():
  robot = episodes.open(DATA / 'robot_video')
  assert robot.lengths.tolist() == [28, 156]
  assert robot[0].observation['image'].shape == (28, 334, 640, 3)
  assert robot.fps == 10
  human = episodes.open(DATA / 'human_video', fps=10, size=(36, 64))
  assert human.lengths.tolist() == [100, 98, 96]
  image = human[2].observation['image']
  assert image.shape == (96, 36, 64, 3) and image.std() > 20


def test_files_are_looked_through_once(tmp_path, monkeypatch):
  for name, steps in (('a', 9), ('b', 5), ('c', 1)):
    write_video(tmp_path / f'{name}.mp4', steps)
  (tmp_path / 'd.mp4').write_bytes(b'no video' * 100)
  before = episodes.open(tmp_path, clip_steps=4)
  monkeypatch.delattr(videos, 'probe')
  after = episodes.open(tmp_path, clip_steps=4)
  assert (
    after.lengths.tolist() == before.lengths.tolist() == [3, 3, 3, 3, 2, 1, 0]
  )
  assert after.fps == before.fps == 10
  for i in range(6):
    np.testing.assert_array_equal(
      after[i].observation['image'], before[i].observation['image']
    )
  with pytest.raises(CorruptEpisode, match='d.mp4'):
    after[6]


def test_no_frame_is_left_to_a_video_that_is_closed():
  """What a stream says of itself is gone with its container."""
  is_open = True

  def pixels():
    assert is_open
    return np.zeros((2, 2, 3), np.uint8)

  shown = iter([videos._Frame(0.0, pixels)])
  frames = videos._pick(shown, [0.0, 0.1])
  is_open = False
  assert [frame.pixels().shape for frame in frames] == [(2, 2, 3)] * 2
