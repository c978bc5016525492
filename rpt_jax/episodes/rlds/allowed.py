"""Which classes and files a TFDS folder may name.

TFDS makes the features of a dataset by importing the module that each
`pythonClassName` of its `features.json` names, and importing runs code. So a
folder is looked through before TFDS opens it: only TFDS's own classes pass, and
those are all imported already. `moduleName` in `dataset_info.json` is not
looked at, as TFDS keeps it as text. Shards are files of the folder, by
templates of the fields that TFDS itself writes.
"""

import json
import pathlib
from collections.abc import Iterator

from rpt_jax import files

INFO = 'dataset_info.json'
_SNAKE = 'filepath_template'  # As protobuf reads it, too.
TEMPLATE = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'  # TFDS's default
_PACKAGE = 'tensorflow_datasets.core.features.'
CLASSES = frozenset(
  _PACKAGE + name
  for name in (
    'audio_feature.Audio',
    'bounding_boxes.BBoxFeature',
    'class_label_feature.ClassLabel',
    'dataset_feature.Dataset',
    'feature.Tensor',  # What tensor_feature.Tensor was called before.
    'features_dict.FeaturesDict',
    'image_feature.Image',
    'labeled_image.LabeledImage',
    'scalar.Scalar',
    'sequence_feature.Sequence',
    'tensor_feature.Tensor',
    'text_feature.Text',
    'translation_feature.Translation',
    'translation_feature.TranslationVariableLanguages',
    'video_feature.Video',
  )
)
# As protobuf writes it, as it also reads it, and as TFDS 4.0 wrote it.
_KEYS = ('pythonClassName', 'python_class_name', 'type')


def check(folder: pathlib.Path) -> None:
  """Raises ValueError where a folder names a class that is not TFDS's own.

  Or a shard that is not in it. The message names the file and the class. Files
  that are missing are left to TFDS, which says so.
  """
  for path in folder.iterdir():
    if not path.is_dir():  # TFDS reads labels, too, and would wait for a pipe.
      files.regular(path)
  for file in ('features.json', INFO):
    path = folder / file
    if not path.exists():
      continue
    try:
      tree = files.read_json(path, mend='write or copy the dataset again')
      if file == INFO:  # Its schema has types of other things.
        for split in tree.get('splits', ()):
          shard_name(path, tree, split, 'array_record', 0, 1)
        tree = tree.get('features', {})
      names = sorted(set(_class_names(tree)) - CLASSES)
    except (AttributeError, TypeError, RecursionError) as error:
      raise ValueError(
        f'{path}: cannot be read ({type(error).__name__}), expected the JSON '
        'that TFDS writes; write or copy the dataset again'
      ) from error
    if names:
      raise ValueError(
        f'{path}: found the class {names[0]!r}, expected one of '
        f'{_PACKAGE}*, as TFDS runs the code of any other; write the dataset '
        "again with TFDS's own features"
      )


def shard_name(
  path: pathlib.Path, info: dict, split: dict, kind: str, shard: int, total: int
) -> str:
  """The file of a shard, as the `info` and a `split` in it (`path`) call it.

  `kind` is 'tfrecord' or 'array_record'. Raises ValueError where that is no
  name of a file.
  """
  templates = [split.get(key) for key in ('filepathTemplate', _SNAKE)]
  name = files.fill(
    next(filter(None, templates), TEMPLATE),
    path,
    DATASET=str(info.get('name')),
    SPLIT=str(split.get('name')),
    FILEFORMAT=kind,
    SHARD_X_OF_Y=f'{shard:05d}-of-{total:05d}',
    SHARD_INDEX=f'{shard:05d}',
    NUM_SHARDS=f'{total:05d}',
  )
  if pathlib.PurePath(name).name != name:
    raise ValueError(
      f'{path}: a shard of split {split.get("name")!r} is called {name!r}; '
      'expected the name of a file in its folder'
    )
  return name


def _class_names(tree) -> Iterator[str]:
  """Every class named in it, also in JSON that is kept as a string."""
  if isinstance(tree, str):
    try:
      inner = json.loads(tree)
    except ValueError:
      return  # Only a text.
    if isinstance(inner, dict | list | str):
      yield from _class_names(inner)
  elif isinstance(tree, list):
    for value in tree:
      yield from _class_names(value)
  elif isinstance(tree, dict):
    for key, value in tree.items():
      if key in _KEYS and isinstance(value, str):
        yield value
      else:
        yield from _class_names(value)
