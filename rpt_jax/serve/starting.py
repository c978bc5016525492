"""From the flags of the command line to a server that has compiled all."""

import argparse
import dataclasses
import re

from rpt_jax import pretrained
from rpt_jax.serve import layouts
from rpt_jax.serve.layouts import About
from rpt_jax.serve.places import Places
from rpt_jax.serve.server import Door, Server

_MOST_SESSIONS = 1024


def server(flags: argparse.Namespace) -> Server:
  """The server of `--policy`, warm. Raises ValueError for flags that mean
  nothing, or nothing with this policy."""
  if not 1 <= flags.sessions <= _MOST_SESSIONS:
    raise ValueError(
      f'--sessions: found {flags.sessions}, expected 1 to {_MOST_SESSIONS}'
    )
  if flags.layout not in layouts.KINDS:
    raise ValueError(
      f'--layout: found {flags.layout!r}, expected one of {layouts.KINDS}'
    )
  model = pretrained.from_pretrained(flags.policy)
  policy = model.policy()
  how = {'realtime': True} if flags.realtime else {}
  if flags.ensemble is not None:
    how['ensemble'] = flags.ensemble
  if how:
    how |= {'execute': 1, 'delay': 0}
    policy = model.policy(dataclasses.replace(policy.execution, **how))
  execute = flags.execute or policy.execution.execute
  if not 1 <= execute <= policy.chunk:
    raise ValueError(
      f'--execute: found {execute}, expected 1 to {policy.chunk}, the actions '
      'of a chunk'
    )
  if not 0 <= flags.delay < policy.chunk:
    raise ValueError(
      f'--delay: found {flags.delay}, expected 0 to {policy.chunk - 1}, so '
      'that a chunk lasts until the next one is there'
    )
  places = Places(policy, flags.sessions, execute, flags.delay)
  about = About(
    places.fields,
    policy.chunk,
    policy.action_dim,
    policy.num_actions,
    policy.labels,
    execute,
    names(flags.names, policy.observed),
    flags.action_space,
  )
  ready = Server(places, layouts.load(flags.layout), about)
  places.warm()
  return ready


def door(flags: argparse.Namespace, token: str) -> Door:
  """Where to listen; ValueError for a port that is none."""
  if not 0 <= flags.port < 2**16:
    raise ValueError(f'--port: found {flags.port}, expected 0 to {2**16 - 1}')
  return Door(flags.host, flags.port, token)


def names(text: str, observed: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
  """What clients call what the policy observes, as `--names` says it.

  Raises ValueError for another form, and unless all is named or nothing.
  """
  if not text:
    return {}
  pairs = [pair.partition('=') for pair in text.split(',')]
  read = {name: tuple(of.split('+')) for name, _, of in pairs}
  if any(not re.fullmatch(r'[^+]+(\+[^+]+)*', of) for _, _, of in pairs):
    raise ValueError(f'--names: found {text!r}, expected name=name+name,...')
  if set(read) != set(observed):
    raise ValueError(
      f'--names: found names of {sorted(read)}, expected one for each of '
      f'{sorted(observed)}'
    )
  return read
