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

from rpt_jax.models.streams import HeadSpec
from rpt_jax.objectives import guesses, tokens
from rpt_jax.types import Array, StreamSpec

VISIBILITY = 'interleaved'
ACTION = 'action'
GUESSES = {'copy_last': guesses.last, 'linear': guesses.linear}


def heads(
  config: dict,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One head for each stream of the model.

  Raises ValueError where the action is not the last stream, or alone.
  """
  del config, targets
  names = [s.name for s in streams]
  if ACTION in names and (names[-1] != ACTION or len(names) == 1):
    raise ValueError(
      f'next_streams: found streams {names}, expected {ACTION!r} last, after '
      'the observation it answers'
    )
  specs = []
  for stream in streams:
    reads = tuple(dict.fromkeys((stream.name, names[-1])))
    if stream.name == ACTION:
      reads = tuple(names[:-1])
    specs.append(tokens.head(stream, reads))
  return tuple(specs)


def loss(apply, batch: dict, key: Array, config: dict):
  """Error of what comes next: the mean over streams of each one's mean.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM, present_BTM) -> output`.
    batch: as `tokens.inputs` takes it.
    config: 'streams' (names in the order of M, the action last).

  Returns:
    (loss, metrics as (sum, count)): for every stream 'error/<stream>' and, on
    the same tokens, 'copy_last/<stream>' and 'linear/<stream>', see
    `tokens.metrics` and `guesses`.
  """
  del key
  inputs, there_BTM = tokens.inputs(batch, config)
  valid_BT = batch['valid']
  output = apply(inputs, valid_BT, None, there_BTM)['heads']
  metrics = {}
  for m, (name, x) in enumerate(inputs.items()):
    predicted, seen_BT = output[name][:, :, 0], there_BTM[..., m]
    target_BT = seen_BT
    if name != ACTION:
      predicted = guesses.back(predicted, 1)  # Said a step before.
      target_BT = seen_BT & guesses.back(valid_BT, 1)
    metrics |= tokens.metrics(name, predicted, x, seen_BT, target_BT, GUESSES)
  return tokens.total(metrics), metrics
