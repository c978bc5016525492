"""What topics are for, by their types and by what they are called."""

import re
from collections.abc import Collection, Mapping

from rpt_jax.episodes.columns import LANGUAGE
from rpt_jax.episodes.ros import messages

# The first of these that any topic has counts.
_ACTIONS = (
  {'action', 'actions'},
  {'cmd', 'command', 'commands'},
  {'leader', 'master'},
)
_POSES = ('geometry_msgs/PoseStamped', 'geometry_msgs/Pose')
_ANY_CAMERA = re.compile(r'image(_(raw|rect|color|mono))*|compressed|color|rgb')


def defaults(
  entries: Mapping[str, messages.Entry], usual: Collection[str]
) -> dict[str, str]:
  """The cameras, joints or poses as 'state', and what is called an action."""
  own = {k: entries[k] for k in sorted(entries) if entries[k].topic in usual}
  streams = _cameras(own)
  vectors = {  # Of joints the positions, where there are any.
    entry.topic: column
    for part in ('', *reversed(messages.PARTS))
    for column, entry in own.items()
    if entry.type not in messages.IMAGES and entry.part == part
  }
  vectors = dict(sorted(vectors.items()))
  words = {k: {*re.split(r'[/_]+', k.lower())} for k in vectors}
  felt = [k for k in vectors if not any(words[k] & each for each in _ACTIONS)]
  joints = [k for k in felt if entries[vectors[k]].part]
  poses = [k for k in felt if entries[vectors[k]].type in _POSES]
  if state := joints or poses or ([] if streams else felt):
    streams['state'] = '+'.join(vectors[k] for k in state)
  for group in _ACTIONS:
    if acting := [vectors[k] for k in vectors if words[k] & group]:
      return {**streams, 'action': '+'.join(acting)}
  return streams


def _cameras(entries) -> dict[str, str]:
  """{short name: column}; of a camera that is there twice the raw frames."""
  topics = [k for k, e in entries.items() if e.kind == 'image']
  raw = {k for k in topics if not k.endswith('/compressed')}
  topics = [k for k in topics if k.removesuffix('/compressed') not in raw - {k}]
  names = []
  for topic in topics:
    parts = [p for p in topic.split('/') if p and not _ANY_CAMERA.fullmatch(p)]
    names.append(parts[-1] if parts else topic)
  if len(topics) == 1:
    return {'image': topics[0]}
  return {
    name if names.count(name) == 1 else topic: topic
    for name, topic in zip(names, topics, strict=True)
  }


def language(entries: Mapping[str, messages.Entry]) -> list[str]:
  """The topics that say what is to be done, the most likely first."""
  last = {
    e.topic: e.topic.split('/')[-1]
    for e in entries.values()
    if e.kind == 'text'
  }
  names = sorted(name for name in last if last[name] in LANGUAGE)
  return sorted(names, key=lambda name: LANGUAGE.index(last[name]))
