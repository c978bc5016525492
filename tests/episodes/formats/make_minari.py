"""Writes tests/episodes/formats/data/minari.zip: Minari's own datasets, tiny.

Once, in two environments of its own, as Minari wants other packages than we do:

  pip install 'minari[hdf5,arrow]==0.5.4'; python make_minari.py new
  pip install 'minari==0.4.3' 'gymnasium<1' 'numpy<2'; python make_minari.py old

Beside them lies what Minari's reader says of them: `nested.npz`, `plain.npz`.
"""

import os
import pathlib
import sys
import tempfile
import zipfile

import numpy as np
from gymnasium import spaces

ARCHIVE = pathlib.Path(__file__).parent / 'data/minari.zip'
HERE = pathlib.Path(tempfile.mkdtemp())
os.environ['MINARI_DATASETS_PATH'] = str(HERE)

import minari  # noqa: E402

LENGTHS = (3, 5)
NESTED = (
  spaces.Dict({
    'camera': spaces.Box(0, 255, (32, 40, 3), np.uint8),
    'direction': spaces.Discrete(4),
    'mission': spaces.Text(32),
    'pair': spaces.Tuple((
      spaces.Box(-9, 9, (2,), np.float32),
      spaces.Box(-9, 9, (2, 3), np.float64),
    )),
  }),
  spaces.Dict({
    'arm': spaces.Box(-1, 1, (3,), np.float32),
    'grip': spaces.Box(-1, 1, (1,), np.float32),
  }),
)  # fmt: skip
PLAIN = spaces.Box(-9, 9, (4,), np.float64), spaces.Discrete(5)


def observations(rng, steps):
  """Frames whose JPEGs differ in length, in a short episode not."""
  frames = np.zeros((steps, 32, 40, 3), np.uint8) + np.uint8([40, 90, 200])
  if steps > 4:
    frames[1:, ::2] = rng.integers(0, 256, (steps - 1, 1, 1, 3), np.uint8)
    frames[2, 4:, 9:] = rng.integers(0, 256, (28, 31, 3), np.uint8)
  return {
    'camera': list(frames),
    'direction': list(rng.integers(0, 4, steps)),
    'mission': ['open the door'] * steps,
    'pair': (
      list(rng.normal(size=(steps, 2)).astype(np.float32)),
      list(rng.normal(size=(steps, 2, 3))),
    ),
  }


def buffers(nested, wrap):
  """Episodes as Minari's collector hands them to its storage."""
  for i, length in enumerate(LENGTHS):
    rng = np.random.default_rng(i)
    ends = [False] * (length - 1) + [i == 0]
    if nested:
      seen = observations(rng, length + 1)
      actions = {
        'arm': list(rng.uniform(-1, 1, (length, 3)).astype(np.float32)),
        'grip': list(rng.uniform(-1, 1, (length, 1)).astype(np.float32)),
      }
    else:
      seen = list(rng.normal(size=(length + 1, 4)))
      actions = list(rng.integers(0, 5, length))
    yield wrap(
      observations=seen,
      actions=actions,
      rewards=list(rng.normal(size=length)),
      terminations=ends,
      truncations=[False] * (length - 1) + [i == 1],
      infos={'success': list(np.arange(length + 1) > 2)},
    )


def leaves(name, value):
  """{name/below: array} of what Minari's reader gives for one field."""
  if isinstance(value, dict | tuple):
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    below = [leaves(f'{name}/{key}', x) for key, x in pairs]
    return {k: x for each in below for k, x in each.items()}
  return {name: np.asarray(value)}


def said(dataset):
  """{episode/column: array}, as Minari reads it."""
  assert len(dataset) == len(LENGTHS)
  fields = 'observations', 'actions', 'rewards', 'terminations'
  below = [
    leaves(f'{i}/{field}', getattr(episode, field))
    for i, episode in enumerate(dataset)
    for field in fields
  ]
  return {k: x for each in below for k, x in each.items()}


def new(kind, nested):
  seen, done = NESTED if nested else PLAIN
  return minari.create_dataset_from_buffers(
    f'{"nested" if nested else "plain"}/{kind}-v0',
    list(buffers(nested, minari.data_collector.EpisodeBuffer)),
    observation_space=seen,
    action_space=done,
    data_format=kind,
  )


def old():
  """0.4: what is said of all lies in attributes of the file."""
  plain = list(buffers(False, dict))
  return minari.create_dataset_from_buffers(
    'old-v0',
    [{k: v for k, v in each.items() if k != 'infos'} for each in plain],
    env='CartPole-v1',
    observation_space=PLAIN[0],
    action_space=PLAIN[1],
    algorithm_name='none',
    author='nobody',
    author_email='nobody',
    code_permalink='none',
  )


def main(version):
  if version == 'old':
    old()
  for nested in (False, True) if version == 'new' else ():
    of = [said(new(kind, nested)) for kind in ('hdf5', 'arrow', 'parquet')]
    for other in of[1:]:
      assert other.keys() == of[0].keys()
      assert all((other[k] == of[0][k]).all() for k in other)
    name = 'nested.npz' if nested else 'plain.npz'
    np.savez_compressed(HERE / name, **of[0])
  with zipfile.ZipFile(
    ARCHIVE, 'w' if version == 'new' else 'a', zipfile.ZIP_DEFLATED
  ) as archive:
    for path in sorted(HERE.rglob('*')):
      if path.is_file():
        archive.write(path, path.relative_to(HERE))


if __name__ == '__main__':
  main(sys.argv[1])
