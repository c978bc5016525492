"""Forward generation over streams: o_t, then a_t, then o_{t+1}.

An observation stream at t + 1 is predicted from its own token at t and the
action's, which has seen a_t; the action at t from the observation tokens of
t, which have not seen it (arXiv 2402.19469, modality-aligned, with separate
tokens so that an action follows the observation it answers). What is missing
is a mask vector as input and no target, so that clips without actions and
whole trajectories train together.

Without an action stream the last stream stands in its place: every head reads
it besides its own token, since only the last token of a step sees the last
stream, so that nothing of step t is withheld from t + 1.
"""

import dataclasses

import jax

from rpt_jax.models import heads as heads_lib
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import guesses, tokens
from rpt_jax.types import ACTION, Array, Batch, StreamSpec

VISIBILITY = 'interleaved'
GUESSES = {'copy_last': guesses.last, 'linear': guesses.linear}


@dataclasses.dataclass(frozen=True)
class Settings:
  """Nothing to choose."""


def heads(
  settings: Settings,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One head for each stream in time.

  Raises ValueError where the action is not the last stream, or alone.
  """
  del settings
  tokens.check_targets(streams, targets, 'next_streams')
  timed = [s for s in streams if s.timed]
  names = [s.name for s in timed]
  if ACTION in names and (names[-1] != ACTION or len(names) == 1):
    raise ValueError(
      f'next_streams: found streams {names}, expected {ACTION!r} last, after '
      'the observation it answers'
    )
  specs = []
  for stream in timed:
    reads = tuple(dict.fromkeys((stream.name, names[-1])))
    if stream.name == ACTION:
      reads = tuple(names[:-1])
    specs.append(HeadSpec(stream, heads_lib.usual(stream), reads=reads))
  return tuple(specs)


def loss(apply, batch: Batch, key: Array, settings: Settings, teacher=None):
  """Error of what comes next: the mean over streams of each one's mean.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM, present_BTM) -> output`.
    batch: as `tokens.inputs` takes it.

  Returns:
    (loss, metrics as (sum, count)): for every stream 'error/<stream>' and, on
    the same tokens, 'copy_last/<stream>' and 'linear/<stream>', see
    `tokens.metrics` and `guesses`.
  """
  del settings, teacher
  timed, real_BTM = tokens.inputs(batch, apply.streams)
  valid_BT = batch['valid']
  reads = apply(batch['inputs'], valid_BT, None, real_BTM)['reads']
  metrics = {}
  for m, (name, x) in enumerate(timed.items()):
    read_BTD, seen_BT = reads[name], real_BTM[..., m]
    target_BT = seen_BT
    if name != ACTION:
      read_BTD = guesses.back(read_BTD, 1)  # Said a step before.
      target_BT = seen_BT & guesses.back(valid_BT, 1)
    own_key = jax.random.fold_in(key, m)
    metrics |= tokens.metrics(
      apply.head(name), read_BTD, x, seen_BT, target_BT, GUESSES, own_key
    )
  return tokens.total(metrics), metrics
