"""Frames of a video a second of processor time, against peers, one thread each.

Two videos made here: h264, a keyframe every ten frames, moving gradients with
noise (which costs more to decode than most recordings do). Small ones (160x120)
are taken whole, large ones (1280x720) at the size that an image model trains
on; PyAV's and torchcodec's frames of the large one are whole, as users of both
resize afterwards. torchcodec must fit PyTorch and FFmpeg (0.13 with a PyTorch
for CPUs and Debian's FFmpeg), and is left out where it cannot be loaded.
"""

import functools
import tempfile
import time

import numpy as np

from rpt_jax.episodes import videos

SMALL, LARGE, TRAINED = (120, 160), (720, 1280), (126, 224)
_FPS, _SECONDS = 30, 3.0


def run():
  """Frames per second of our reader and of theirs."""
  import av
  import cv2

  peers = {'PyAV': (_pyav, av), 'OpenCV': (_opencv, cv2)}
  try:
    from torchcodec import decoders

    peers['torchcodec'] = _torchcodec, decoders
  except (ImportError, OSError, RuntimeError):
    print('  torchcodec cannot be loaded here and is left out')
  with tempfile.TemporaryDirectory() as folder:
    for name, shape, count, size in (
      ('160x120', SMALL, 300, None),
      ('1280x720 to 224x126', LARGE, 120, TRAINED),
    ):
      path = f'{folder}/{shape[0]}.mp4'
      _write(av, path, shape, count)
      times = np.arange(count) / _FPS
      ours = functools.partial(videos.frames_at, path, times, 0.01, size)
      for peer, (read, library) in peers.items():
        rate = _rate(ours, count)
        theirs = _rate(functools.partial(read, library, path, size), count)
        yield {
          'name': f'video {name} (peer: {peer})',
          'ours': rate,
          'peer': theirs,
          'ratio': rate / theirs,
          'target': _target(peer, size),
        }


def _target(peer, size):
  if size is None:
    return 0.8 if peer == 'torchcodec' else None
  return 1.0 if peer == 'PyAV' else None


def _rate(read, count):
  """Frames a second of processor time."""
  assert len(read()) == count
  frames, began = 0, time.process_time()
  while time.process_time() - began < _SECONDS:
    frames += len(read())
  return frames / (time.process_time() - began)


def _write(av, path, shape, count):
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 60, (*shape, 3))
  y, x = np.mgrid[: shape[0], : shape[1]]
  with av.open(path, 'w') as container:
    stream = container.add_stream('libx264', rate=_FPS, options={'g': '10'})
    stream.height, stream.width = shape
    for t in range(count):
      ramps = np.stack([2 * x + 3 * t, 2 * y + t, x + y + 2 * t], -1)
      image = (ramps % 256 // 2 + noise).astype(np.uint8)
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _pyav(av, path, size):
  with av.open(path) as container:
    frames = container.decode(video=0)
    return np.stack([frame.to_ndarray(format='rgb24') for frame in frames])


def _opencv(cv2, path, size):
  cv2.setNumThreads(1)
  one_thread = [cv2.CAP_PROP_N_THREADS, 1]
  video, images = cv2.VideoCapture(path, cv2.CAP_FFMPEG, one_thread), []
  while (read := video.read())[0]:
    image = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    if size:
      image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    images.append(image)
  return np.stack(images)


def _torchcodec(decoders, path, size):
  return decoders.VideoDecoder(
    path, dimension_order='NHWC', num_ffmpeg_threads=1
  )[:]
