"""Small datasets in the dialects that labs write, for `test_odd_data`."""

import io
import json
import pathlib
import struct

import numpy as np
from PIL import Image

LENGTHS, FPS, CAMERA = (12, 9, 15), 10, 'observation.images.top'
_SIZE = (48, 64)


def corner(height, width):
  """A dark frame whose upper left quarter is bright."""
  image = np.full((height, width, 3), 40, np.uint8)
  image[: height // 2, : width // 2] = 220
  return image


def numbered(i):
  """A frame that shows its number in eight bars, whatever compresses it."""
  bars = np.array([230 if i >> bit & 1 else 20 for bit in range(8)], np.uint8)
  row = np.repeat(bars, _SIZE[1] // 8)
  return np.broadcast_to(row[None, :, None], (*_SIZE, 3))


def numbers(image_THWC):
  """The numbers that frames show."""
  bars = image_THWC.reshape(len(image_THWC), _SIZE[0], 8, -1).mean((1, 3))
  return ((bars > 125) << np.arange(8)).sum(-1).tolist()


def png(image):
  """The bytes of Pillow's image."""
  stream = io.BytesIO()
  image.save(stream, 'PNG')
  return stream.getvalue()


def encoded(image):
  """A column of equal images, as `lerobot` takes it."""
  import pyarrow as pa

  data = png(Image.fromarray(image))
  return lambda episode, steps: pa.array(
    [{'bytes': data, 'path': None}] * steps
  )


def video(path, frames, start=0, rotation=0, matrix=None, **context):
  """An h264 video of frames [H, W, 3]; `start` is the first's number."""
  import av
  from av.video.reformatter import ColorRange, Colorspace

  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=FPS)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = 'yuv420p'
    if rotation:
      stream.set_display_rotation(rotation)
    for name, value in context.items():
      setattr(stream.codec_context, name, value)
    if matrix:
      stream.codec_context.colorspace = Colorspace[matrix]
      stream.codec_context.color_range = ColorRange.MPEG
    for i, image in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image))
      frame = frame.reformat(format='yuv420p', dst_colorspace=matrix)
      frame.pts = start + i
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def replace_matrix(path, a, b, c, d):
  """Writes the matrix by which an MP4's frames are to be shown."""
  data = bytearray(path.read_bytes())
  place = data.index(b'tkhd') + 44
  one = 1 << 16
  matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
  data[place : place + 36] = struct.pack('>9i', *matrix)
  path.write_bytes(data)


def lerobot(
  root,
  version='v2.1',
  columns=None,
  features=None,
  camera=None,
  info=None,
  start=0,
  episode_tasks=None,
):
  """Three episodes of state and action, and what a test adds or changes.

  `columns` {name: (episode, steps) -> array}, `features` of more columns,
  `camera` what its feature says otherwise (None: there is none), `info` fields
  of info.json, `episode_tasks` what meta says of every episode.
  """
  is_v3, root = version.startswith('v3'), pathlib.Path(root)
  (root / 'meta').mkdir(parents=True)
  kinds = {name: ('int64', [1]) for name in ('episode_index', 'task_index')}
  kinds['timestamp'] = 'float32', [1]
  kinds |= dict.fromkeys(('observation.state', 'action'), ('float32', [3]))
  all_features = {
    name: {'dtype': dtype, 'shape': shape, 'names': None}
    for name, (dtype, shape) in kinds.items()
  } | (features or {})
  if camera is not None:
    names = ['height', 'width', 'channel']
    seen = {'dtype': 'video', 'shape': [*_SIZE, 3], 'names': names}
    all_features[CAMERA] = seen | camera
  tasks = [['pick', 'push'][i % 2] for i in range(3)]
  rows, tables = [], []
  for i, steps in enumerate(LENGTHS):
    rows.append(
      {
        'episode_index': i,
        'length': steps,
        'tasks': episode_tasks or [tasks[i]],
      }
    )
    tables.append(_table(i, steps, columns or {}))
    if camera is not None and all_features[CAMERA]['dtype'] == 'video':
      _film(root, i, start)
  (_write_v3 if is_v3 else _write_v2)(root, rows, tables)
  folder = 'chunk-{chunk_index:03d}/file-{file_index:03d}'
  if not is_v3:
    folder = 'chunk-{episode_chunk:03d}/episode_{episode_index:06d}'
  about = {
    'codebase_version': version,
    'fps': FPS,
    'total_episodes': 3,
    'chunks_size': 1000,
    'splits': {'train': '0:3'},
    'features': all_features,
    'data_path': f'data/{folder}.parquet',
    'video_path': 'videos/chunk-{episode_chunk:03d}/{video_key}/'
    'episode_{episode_index:06d}.mp4',
  } | (info or {})
  (root / 'meta/info.json').write_text(json.dumps(about))


def _table(episode, steps, columns):
  import pyarrow as pa

  rng = np.random.default_rng(episode)
  arrays = {
    'observation.state': [*rng.normal(size=(steps, 3)).astype(np.float32)],
    'action': [*rng.normal(size=(steps, 3)).astype(np.float32)],
    'timestamp': (np.arange(steps) / FPS).astype(np.float32),
    'episode_index': np.full(steps, episode),
    'task_index': np.full(steps, episode % 2),
  }
  arrays |= {name: make(episode, steps) for name, make in columns.items()}
  return pa.table({name: pa.array(x) for name, x in arrays.items()})


def _film(root, episode, start):
  first = sum(LENGTHS[:episode])
  frames = [numbered(first + t) for t in range(LENGTHS[episode])]
  name = f'videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4'
  video(root / name, frames, start)


def _write_v2(root, rows, tables):
  from pyarrow import parquet

  (root / 'data/chunk-000').mkdir(parents=True)
  for i, table in enumerate(tables):
    path = root / f'data/chunk-000/episode_{i:06d}.parquet'
    parquet.write_table(table, path)
  lines = '\n'.join(map(json.dumps, rows))
  (root / 'meta/episodes.jsonl').write_text(lines)
  tasks = enumerate(('pick', 'push'))
  lines = '\n'.join(json.dumps({'task_index': i, 'task': t}) for i, t in tasks)
  (root / 'meta/tasks.jsonl').write_text(lines)


def _write_v3(root, rows, tables):
  import pyarrow as pa
  from pyarrow import parquet

  for name in ('data/chunk-000', 'meta/episodes/chunk-000'):
    (root / name).mkdir(parents=True)
  path = root / 'data/chunk-000/file-000.parquet'
  parquet.write_table(pa.concat_tables(tables), path)
  places = {'data/chunk_index': 0, 'data/file_index': 0}
  table = pa.Table.from_pylist([row | places for row in rows])
  path = root / 'meta/episodes/chunk-000/file-000.parquet'
  parquet.write_table(table, path)
  tasks = {'task_index': [0, 1], '__index_level_0__': ['pick', 'push']}
  parquet.write_table(pa.table(tasks), root / 'meta/tasks.parquet')
