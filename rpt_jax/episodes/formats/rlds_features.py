"""Which classes a TFDS folder may name.

TFDS makes the features of a dataset by importing the module that each
`pythonClassName` of its `features.json` names, and importing runs code. So a
folder is looked through before TFDS opens it: only TFDS's own classes pass, and
those are all imported already. `moduleName` in `dataset_info.json` is not
looked at, as TFDS keeps it as text.
"""

import json
import pathlib
from collections.abc import Iterator

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

  The message names the file and the class. Files that are missing are left to
  TFDS, which says so.
  """
  for file in ('features.json', 'dataset_info.json'):
    path = folder / file
    if not path.exists():
      continue
    try:
      tree = json.loads(path.read_text('utf-8'))
      if file == 'dataset_info.json':  # Its schema has types of other things.
        tree = tree.get('features', {})
      names = sorted(set(_class_names(tree)) - CLASSES)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
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
