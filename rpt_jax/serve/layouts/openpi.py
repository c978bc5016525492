"""The messages of openpi's policy server, and what they leave unsaid.

A client is sent a map about the policy, sends observations as flat maps
('observation/image', 'observation/state', 'prompt'), and gets
{'actions': [C, A], 'server_timing': ...}; an error is a text. Beyond that an
entry 'endpoint' 'reset' begins an episode, and 'stamp' says when an observation
was made. Source: docs/remote_inference.md of Physical-Intelligence/openpi.
"""

from rpt_jax.serve import layouts, requests
from rpt_jax.serve.requests import Act, Reset

_PREFIX, _STATE, _PROPRIO = 'observation/', 'state', 'proprio'


def greeting(about: layouts.About) -> dict:
  """What is served, and how it wants to be shown the world."""
  return {
    'server': 'rpt_jax',
    'observed': {
      name: {'shape': list(field.shape), 'dtype': field.dtype.__name__}
      for name, field in about.fields.items()
    },
    'names': {name: list(of) for name, of in about.names.items()},
    'labels': {name: list(of) for name, of in about.labels.items()},
    'chunk': about.chunk,
    'execute': about.execute,
    'action_dim': about.action_dim,
    'num_actions': about.num_actions,
  }


def check(about: layouts.About) -> None:
  """Nothing: any policy can be served so."""


def read(message, about: layouts.About) -> Act | Reset:
  """The request of a message; ValueError for none."""
  given = dict(layouts.entries(message))
  endpoint = given.pop('endpoint', 'infer')
  if endpoint == 'reset':
    return Reset(requests.whole(given.pop('seed', 0), 'reset: seed'))
  if endpoint != 'infer':
    raise ValueError(
      f"endpoint: found {str(endpoint)[:100]!r}, expected 'infer' or 'reset'"
    )
  stamp = requests.stamp(given.pop('stamp', {}))
  prompt = requests.instruction(given.pop(layouts.PROMPT, ''))
  if about.names:
    seen = layouts.renamed(given, about.names)
    return Act(seen, stamp, instruction=prompt)
  given = {name.removeprefix(_PREFIX): x for name, x in given.items()}
  if _STATE not in about.fields and _PROPRIO not in given and _STATE in given:
    given[_PROPRIO] = given.pop(_STATE)
  return Act(given, stamp, instruction=prompt)


def begun(about: layouts.About) -> dict:
  """The answer to a Reset."""
  del about
  return {'status': 'reset successful'}


def acted(chunk, timing: dict, request: Act, about: layouts.About) -> dict:
  """The answer to an Act, whose stamp goes back with it."""
  del about
  stamp = {'step': request.stamp.step, 'time': request.stamp.time}
  return {
    'actions': chunk,
    'server_timing': timing,
    'policy_timing': {'infer_ms': timing['infer_ms']},
    'stamp': stamp,
  }
