"""Writes data/huggingface, once, by the `datasets` of Hugging Face.

pip install datasets; python -m tests.episodes.formats.make_huggingface
"""

import pathlib

import numpy as np

from rpt_jax.episodes.rlds import png

DATA = pathlib.Path(__file__).parent / 'data' / 'huggingface'
LENGTHS = {'train': (3, 5), 'test': (4,)}


def steps(split: str) -> list[dict]:
  """Rows that are steps, by episode_index; frames of 6 pixels."""
  rng = np.random.default_rng(sum(LENGTHS[split]))
  return [
    {
      'episode_index': episode,
      'frame_index': step,
      'observation.state': rng.normal(size=3).astype(np.float32),
      'observation.images.front': rng.integers(0, 256, (6, 6, 3), np.uint8),
      'depth': rng.normal(size=(2, 3)).astype(np.float32),
      'action': rng.normal(size=2).astype(np.float32),
      'next.done': step == length - 1,
      'task': f'task {episode}',
    }
    for episode, length in enumerate(LENGTHS[split])
    for step in range(length)
  ]


def whole() -> list[dict]:
  """Rows that are episodes, with an observation more than actions."""
  rng = np.random.default_rng(0)
  return [
    {
      'observations': rng.normal(size=(length + 1, 4)).astype(np.float32),
      'frames': rng.integers(0, 256, (length + 1, 6, 6, 3), np.uint8),
      'actions': rng.normal(size=(length, 2)).astype(np.float32),
      'rewards': rng.normal(size=length).astype(np.float32),
      'dones': np.arange(length) == length - 1,
      'language_instruction': f'push {length}',
      'success': length > 3,
    }
    for length in LENGTHS['train']
  ]


def encoded(frame: np.ndarray) -> dict:
  """An image as `datasets` takes and keeps it."""
  return {'bytes': png.encode(frame[None])[0], 'path': None}


def main():
  import datasets as hf

  number = hf.Value('float32')
  features = hf.Features({
    'episode_index': hf.Value('int64'),
    'frame_index': hf.Value('int64'),
    'observation.state': hf.Sequence(number, length=3),
    'observation.images.front': hf.Image(),
    'depth': hf.Array2D((2, 3), 'float32'),
    'action': hf.Sequence(number),
    'next.done': hf.Value('bool'),
    'task': hf.Value('string'),
  })  # fmt: skip
  front = 'observation.images.front'
  saved = {
    split: hf.Dataset.from_list(
      [{**row, front: encoded(row[front])} for row in steps(split)], features
    )
    for split in LENGTHS
  }
  hf.DatasetDict(saved).save_to_disk(DATA / 'saved')
  rows = [
    {**row, 'frames': [encoded(frame) for frame in row['frames']]}
    for row in whole()
  ]
  features = hf.Features({
    'observations': hf.Sequence(hf.Sequence(number)),
    'frames': hf.Sequence(hf.Image()),
    'actions': hf.Sequence(hf.Sequence(number)),
    'rewards': hf.Sequence(number),
    'dones': hf.Sequence(hf.Value('bool')),
    'language_instruction': hf.Value('string'),
    'success': hf.Value('bool'),
  })  # fmt: skip
  for i, row in enumerate(rows):
    place = DATA / f'hub/data/train-{i:05d}-of-{len(rows):05d}.parquet'
    place.parent.mkdir(parents=True, exist_ok=True)
    hf.Dataset.from_list([row], features).to_parquet(place)


if __name__ == '__main__':
  main()
