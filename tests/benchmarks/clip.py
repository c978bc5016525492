"""What `configs/clip.py` names of drawings, colours and shapes newly paired.

    python -m tests.benchmarks.clip runs/clip runs/clip16 ...

Of held-out clips: how often the right value of each attribute is named, all
else being unknown (zero-shot, one prompt or the mean of several), and how often
the right pair of colour and shape of all thirty, or of the held-out six alone.
Intervals are Wilson's 95 % over held-out clips, of one training each.
"""

import pathlib
import sys

import jax
import numpy as np

from rpt_jax import episodes, vision
from rpt_jax.domains import drawings
from rpt_jax.evals import intervals
from rpt_jax.vision import byte_tokens

# What is said of one attribute alone.
PROMPTS = {
  'colour': ('a {} shape', 'the shape is {}', 'there is a {} drawing'),
  'shape': ('a {}', 'there is a {}', 'the {} is here'),
  'size': ('a {} shape', 'the shape is {}', 'there is a {} drawing'),
  'place': ('a shape at the {}', 'at the {} there is a shape', 'at the {}'),
}


def main(workdirs):
  """Prints a table for every workdir."""
  for workdir in map(pathlib.Path, workdirs):
    print(workdir)
    for name, (right, chance) in measure(workdir).items():
      rate, low, high = intervals.wilson(int(right.sum()), right.size)
      print(f'  {name:28} {rate:.3f} [{low:.3f}, {high:.3f}]  of {chance:.3f}')


def measure(workdir) -> dict[str, tuple[np.ndarray, float]]:
  """{measure: (bool of each held-out clip, chance)}."""
  source = episodes.open(workdir / 'collect/drawings', split='heldout')
  about = [source.metadata(i) for i in range(len(source))]
  image = np.stack(
    [source.read(i, ('image',))['image'][0] for i in range(len(source))]
  )
  eyes = vision.load(workdir / 'see/model', output='projected')
  seen_NE = np.asarray(jax.jit(eyes.encode)(image))
  words = vision.load_text(workdir / 'see/model')
  rows = {}
  for name, values in drawings.ATTRIBUTES.items():
    own = np.array([values.index(a[name]) for a in about])
    for count in (1, len(PROMPTS[name])):
      said = [[p.format(v) for p in PROMPTS[name][:count]] for v in values]
      title = f'{name}, {count} prompt{"s" if count > 1 else ""}'
      rows[title] = named(words, seen_NE, said) == own, 1 / len(values)
  pairs = [(c, s) for c in drawings.COLOURS for s in drawings.SHAPES]
  own = [(a['colour'], a['shape']) for a in about]
  apart = sorted({*own})
  for title, chosen in (('pair of 30', pairs), ('pair of those', apart)):
    said = [[f'a {c} {s}', f'there is a {c} {s}'] for c, s in chosen]
    index = np.array([chosen.index(pair) for pair in own])
    rows[title] = named(words, seen_NE, said) == index, 1 / len(chosen)
  captions = sorted({a['instruction'] for a in about})
  index = np.array([captions.index(a['instruction']) for a in about])
  right = named(words, seen_NE, [[c] for c in captions]) == index
  rows['its caption of all'] = right, 1 / len(captions)
  return rows


def named(words, seen_NE, said) -> np.ndarray:
  """The likeliest class [N], each the mean of its prompts' unit vectors."""
  apply, classes = jax.jit(words.apply), []
  for prompts in said:
    vector_PE = np.asarray(
      apply(words.params, byte_tokens.ids(prompts, words.length))
    )
    length_P1 = np.linalg.norm(vector_PE, axis=1, keepdims=True)
    mean_E = (vector_PE / length_P1).mean(0)
    classes.append(mean_E / np.linalg.norm(mean_E))
  return (seen_NE @ np.stack(classes).T).argmax(1)


if __name__ == '__main__':
  main(sys.argv[1:])
