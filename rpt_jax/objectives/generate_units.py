"""Generation: a prompt of frames, and from there on unit after unit.

Every step of a window is read once: as its latent up to a step that is drawn,
as its unit after it. At each the units of the next step are named, so that the
model can go on from its own draws (`futures`), as language models do (Radford
et al. 2018). What a policy reads, latents alone, is a prompt to the end. Units
must not look ahead, or their names would tell what follows.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models import heads as heads_lib
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.objectives import tokens
from rpt_jax.types import UNIT, Array, Batch, StreamSpec

VISIBILITY = 'causal'


@dataclasses.dataclass(frozen=True)
class Settings:
  """How much of what it generates is judged."""

  ahead: int = keys.key(
    8, 'steps generated on held-out windows', low=1, high=10_000
  )


def reach(settings: Settings) -> int:
  """Steps of targets beyond the window."""
  return settings.ahead


def heads(
  settings: Settings,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """The units of the next step.

  Raises ValueError where 'unit' is not both read, after another stream, and
  predicted.
  """
  del settings
  targets_lib.check(targets, (UNIT,), 'generate_units')
  names = [s.name for s in streams if s.timed]
  if names[-1:] != [UNIT] or len(names) < 2:
    raise ValueError(
      f'generate_units: found streams {names}, expected {UNIT!r} last, after '
      'what a prompt is of'
    )
  unit = targets_lib.spec(targets, UNIT, 'generate_units')
  return (HeadSpec(unit, heads_lib.usual(unit)),)


def loss(apply, batch: Batch, key: Array, settings: Settings, teacher=None):
  """Cross-entropy of the next step's units, in the prompt and after it.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM, present_BTM) -> output`.
    batch: as `tokens.inputs` takes it; 'targets' 'unit' [B, S, L] (negative:
      absent), S > T.

  Returns:
    (loss, metrics as (sum, count)); 'prompt_accuracy' is that of the steps
    that are read as latents, `copy_accuracy` that of nothing changing.
  """
  del settings, teacher
  _, real_BTM = tokens.inputs(batch, apply.streams)
  batch_size, steps, _ = real_BTM.shape
  prompt_key, head_key = jax.random.split(key)
  last_B1 = jax.random.randint(prompt_key, (batch_size, 1), 0, steps)
  prompt_BT = jnp.arange(steps)[None] <= last_B1
  read_BTM = real_BTM & (_units(apply.streams) ^ prompt_BT[..., None])
  reads = apply(batch['inputs'], batch['valid'], None, read_BTM)['reads']
  unit_BSL = batch['targets'][UNIT]
  unit_BT1L, valid_BT1 = targets_lib.ahead(unit_BSL, batch, 1, 1)
  valid_BT1 &= (unit_BT1L >= 0).all(-1) & read_BTM.any(-1)[..., None]
  nats_BT1, measures = apply.head(UNIT).loss(
    reads[UNIT], unit_BT1L, valid_BT1, head_key
  )
  nats, right_BT1 = targets_lib.mean(nats_BT1, valid_BT1), measures['accuracy']
  same_BT1 = (unit_BSL[:, :steps, None] == unit_BT1L).mean(-1)
  return nats, {
    'loss_bits': (nats / jnp.log(2.0), jnp.ones(())),
    'accuracy': targets_lib.pair(right_BT1, valid_BT1),
    'prompt_accuracy': targets_lib.pair(
      right_BT1, valid_BT1 & prompt_BT[..., None]
    ),
    'copy_accuracy': targets_lib.pair(same_BT1, valid_BT1),
  }


def heldout(apply, batch: Batch, key: Array, settings: Settings) -> dict:
  """How true futures are that follow a window of latents.

  Returns:
    metrics as (sum, count), k steps ahead: 'accuracy_<k>' of going on with the
    likeliest units, 'drawn_accuracy_<k>' of one draw, 'copy_accuracy_<k>'.
  """
  valid_BT, steps = batch['valid'], settings.ahead
  unit_BSL, context = batch['targets'][UNIT], valid_BT.shape[1]
  unit_BTKL, valid_BTK = targets_lib.ahead(unit_BSL, batch, 1, steps)
  unit_BKL, valid_BK = unit_BTKL[:, -1], valid_BTK[:, -1]
  valid_BK &= (unit_BKL >= 0).all(-1)
  guesses = {
    'accuracy': futures(apply, batch, key, steps, likeliest=True),
    'drawn_accuracy': futures(apply, batch, key, steps),
    'copy_accuracy': unit_BSL[:, context - 1 : context],
  }
  return {
    name: pair
    for measure, guess_BKL in guesses.items()
    for name, pair in targets_lib.by_step(
      measure, (guess_BKL == unit_BKL).mean(-1), valid_BK
    ).items()
  }


def futures(
  apply, batch: Batch, key: Array, steps: int, likeliest: bool = False
) -> Array:
  """Units [B, steps, L] that follow a window whose latents are read.

  Every unit is read in the place of the frame that it is of; the window moves
  on, so that after `context` steps the model reads units alone. They are drawn,
  or the likeliest ones.
  """
  _, real_BTM = tokens.inputs(batch, apply.streams)
  is_unit_11M = _units(apply.streams)
  names = [s.name for s in apply.streams if s.timed]
  windows = {name: batch['inputs'][name] for name in names}
  start = windows, batch['valid'], real_BTM & ~is_unit_11M

  def step(carry, key):
    windows, valid_BT, present_BTM = carry
    output = apply(windows, valid_BT, None, present_BTM)
    read_B1D = output['reads'][UNIT][:, -1:]
    head = apply.head(UNIT)
    if likeliest:
      unit_BL = head.logits(read_B1D)[:, 0, 0].argmax(-1)
    else:
      unit_BL = head.sample(read_B1D, key)[0, :, 0, 0]
    new = {k: jnp.zeros_like(x[:, 0]) for k, x in windows.items()}
    new[UNIT] = unit_BL.astype(windows[UNIT].dtype)
    windows = {k: _moved(x, new[k]) for k, x in windows.items()}
    true_B = jnp.ones(len(valid_BT), bool)
    present_BM = jnp.broadcast_to(is_unit_11M[0], present_BTM[:, 0].shape)
    carry = windows, _moved(valid_BT, true_B), _moved(present_BTM, present_BM)
    return carry, new[UNIT]

  _, unit_KBL = jax.lax.scan(step, start, jax.random.split(key, steps))
  return unit_KBL.swapaxes(0, 1)


def _units(streams):
  """bool [1, 1, M], which stream is the units."""
  return jnp.asarray([[[s.name == UNIT for s in streams if s.timed]]])


def _moved(x_BT, new_B):
  """The window a step later."""
  return jnp.concatenate([x_BT[:, 1:], new_B[:, None]], axis=1)
