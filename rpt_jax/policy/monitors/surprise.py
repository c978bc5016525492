"""Does what happens surprise a model of what happens? Own.

A model pretrained to foresee (`next_streams`, `next_units` with latents as
targets) says at every step what is seen next and, if it reads actions, what
will be done. The score is how unlikely it was: the negative log likelihood of
what was then observed, summed over streams and their numbers, under a Gaussian
about what was said, as wide as it errs in successful episodes (Moto, arXiv
2412.04445, figure 10, ranks videos so; here it watches a policy). Constants of
the Gaussian are left out, so that a step without any error adds 0.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.episodes import scales
from rpt_jax.models import sequence
from rpt_jax.types import ACTION, Array


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is to be foreseen."""

  streams: tuple[str, ...] = keys.key(
    (),
    'whose surprise counts; empty: all numbers that the model foresees',
    distinct=True,
  )
  most: float = keys.key(
    100.0,
    'of one number in one step, in nats: one mad sensor is one alarm, and '
    'sums stay finite',
    above=0,
    high=1e6,
  )


class State(NamedTuple):
  """What the model has seen, and how far it has been off.

  `windows` {stream: [B, T, D]}, scaled, the newest step last, its action not
  yet known; `squares` {stream: summed squared errors [B, D]}.
  """

  windows: dict[str, Array]
  valid_BT: Array
  squares: dict[str, Array]


def judged(settings, model) -> tuple[str, ...]:
  """The streams whose surprise counts."""
  heads = {h.name: h for h in model.heads}
  read = {s.name for s in model.streams if s.kind == 'continuous'}
  own = [name for name in heads if name in read]
  return tuple(n for n in own if not settings.streams or n in settings.streams)


def check(settings, program, model):
  """Raises ValueError without a model that foresees what this policy sees."""
  if model is None:
    raise ValueError(
      "monitor 'surprise': no model that foresees; give `foresight`, one that "
      "was pretrained by 'next_streams', or by 'next_units' with latents"
    )
  if sequence.start(model, 1) is not None:
    raise ValueError(
      "monitor 'surprise': a model that carries a state, expected one that "
      'sees windows, of a transformer'
    )
  untimed = [s.name for s in model.streams if not s.timed]
  given = {s.name for s in program.model.streams} | {ACTION}
  lacking = {s.name for s in model.streams} - given
  if untimed or lacking:
    raise ValueError(
      f"monitor 'surprise': the model reads {sorted({*untimed, *lacking})}, "
      f'which the policy is not shown; expected some of {sorted(given)}'
    )
  own = judged(settings, model)
  missing = set(settings.streams) - set(own)
  if missing or not own:
    raise ValueError(
      f"monitor 'surprise': streams {sorted(missing)} are not foreseen, "
      f'expected some of {sorted(judged(Settings(), model))}; a model that '
      'foresees units alone has no numbers to be surprised by'
    )


def start(settings, program, model, batch):
  """Nothing was seen yet."""
  del program
  heads = {h.name: h.target.dim for h in model.heads}
  return State(
    {s.name: sequence.absent(s, batch, model.context) for s in model.streams},
    jnp.zeros((batch, model.context), bool),
    {n: jnp.zeros((batch, heads[n])) for n in judged(settings, model)},
  )


def update(settings, watched, state):
  """Nats [B] of this step's observation and of the action before it."""
  foresight, count = watched.foresight, watched.memory.count
  now = {
    name: scales.apply(x_BD, foresight.scales[name])
    for name, x_BD in watched.seen.items()
    if name in state.windows
  }
  windows = dict(state.windows)
  if ACTION in windows:
    done = _scaled_action(watched)
    windows[ACTION] = windows[ACTION].at[:, -1].set(done)
    now[ACTION] = done  # It is foreseen where it was done, a step before.
  said = _foreseen(watched.model, foresight, windows, state.valid_BT)
  score_B, squares = 0.0, {}
  began = count > 0  # Of the first step nothing was said.
  for name, sum_BD in state.squares.items():
    error_BD = jnp.square(now[name] - said[name])
    squares[name] = sum_BD + jnp.where(began, error_BD, 0.0)
    nats_BD = 0.5 * error_BD / foresight.variance[name][None]
    score_B += jnp.minimum(nats_BD, settings.most).sum(-1)
  zeros = {ACTION: jnp.zeros_like(now[ACTION])} if ACTION in now else {}
  windows = {
    name: jnp.concatenate([x[:, 1:], (now | zeros)[name][:, None]], axis=1)
    for name, x in windows.items()
  }
  new_B1 = jnp.ones((len(state.valid_BT), 1), bool)
  valid_BT = jnp.concatenate([state.valid_BT[:, 1:], new_B1], axis=1)
  state = State(windows, valid_BT, squares)
  return state, jnp.where(began, score_B, 0.0)


def _scaled_action(watched):
  """The action of the step before as the model reads it, [B, D]."""
  if watched.program.num_actions:
    return watched.done[:, None]
  return scales.apply(watched.done, watched.foresight.scales[ACTION])


def _foreseen(model, foresight, windows, valid_BT):
  """{stream: [B, D]}: what is seen next, and what was done last."""
  apply = sequence.bind(model, foresight.params)
  reads = apply(windows, valid_BT)['reads']
  said = {}
  for spec in model.heads:
    if spec.name in windows and spec.target.kind == 'continuous':
      guess = apply.head(spec.name).sample(reads[spec.name][:, -1:], None)
      said[spec.name] = guess[0, :, 0, 0]
  return said


def spread(squares, steps_N, floor: float = 1e-4):
  """{stream: variance [D]} of successful episodes, as wide as a model errs.

  `squares` {stream: [N, D]} are those of `State` as N episodes ended, `steps_N`
  how many steps each had; `floor` is the least, in scaled numbers. Raises
  ValueError where nothing was foreseen.
  """
  total = int(np.sum(np.asarray(steps_N) - 1))
  if total < 1:
    raise ValueError(
      'surprise: no step was foreseen, expected episodes of two steps or more'
    )
  return {
    name: np.maximum(np.asarray(x).sum(0) / total, floor)
    for name, x in squares.items()
  }
