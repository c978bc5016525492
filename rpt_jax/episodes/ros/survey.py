"""What is known of bags when they are opened: lengths and columns.

Of every topic one message is read, the first of all; of the others the times.
"""

import collections
import concurrent.futures
from collections.abc import Sequence
from typing import Any

from rpt_jax import files
from rpt_jax.episodes.ros import bags, cdr, grid, mcap_file, messages

_TRIES = 3  # Bags in which a topic may be one that can be read.


def about(own: Sequence[bags.Bag]) -> dict[str, Any]:
  """{'bags': what each holds, 'columns': of all, 'left_out'}, for JSON."""
  if any(path.suffix.lower() == '.mcap' for bag in own for path in bag.files):
    mcap_file.library()  # Now: what is missing is no fault of the files.
  with concurrent.futures.ThreadPoolExecutor() as pool:
    abouts = list(pool.map(_survey, own))
  columns, left_out, tried = {}, {}, collections.Counter()
  for bag, each in zip(own, abouts, strict=True):
    topics = {entry.topic for entry in columns.values()}
    names = {k for k, run in each['topics'].items() if run[0]} - topics
    names = sorted(name for name in names if tried[name] < _TRIES)
    tried.update(names)
    try:
      columns |= _columns(bag, names, left_out)
    except ValueError as error:
      if isinstance(error.__cause__, ImportError):
        raise
      each |= {'fault': str(error), 'topics': {}}
  return {'bags': abouts, 'columns': columns, 'left_out': left_out}


def _survey(bag) -> dict:
  """What is known of a bag without its messages."""
  try:
    topics, is_cut = bags.topics(bag)
  except ValueError as error:
    return {'fault': str(error), 'truncated': False, 'topics': {}}
  runs = {name: grid.run(topic.times) for name, topic in topics.items()}
  return {'fault': '', 'truncated': is_cut, 'topics': runs}


def _columns(bag, names, left_out) -> dict[str, messages.Entry]:
  """The columns of topics, by the first message of each.

  What it is that cannot be read goes to `left_out`. Raises ValueError where a
  message is not to be had, as the file is damaged.
  """
  columns = {}
  topics = bags.topics(bag)[0] if names else {}
  for name in names:
    topic = topics[name]
    if topic.fault:
      left_out[name] = f'{topic.type}: {topic.fault}'
      continue
    ((*_, data),) = bags.messages(bag, {name: topic.places[:1]})
    try:
      message = bags.decoded(topic, data)
      columns |= messages.entries(name, cdr.short(topic.type), message)
      left_out.pop(name, None)
    except Exception as error:  # Pillow, and recursion: each has its own.
      why = files.words(error).removeprefix(f'{topic.type}: ')
      left_out[name] = f'{topic.type}: {why}'
  return columns
