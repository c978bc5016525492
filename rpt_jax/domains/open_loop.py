"""What policies predict on recorded episodes, and by how much they are wrong.

Errors are mean squares over valid targets, on the scale of the actions.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.domains import playing
from rpt_jax.domains.playing import SeedWeights
from rpt_jax.episodes import scales, windows
from rpt_jax.policy import program
from rpt_jax.policy.program import Program
from rpt_jax.types import ACTION

_LANES = 16  # Episodes at once.


class Heldout:
  """The action chunks that follow every step of recorded episodes."""

  def __init__(self, clips: windows.Clips):
    self._clips = clips
    self._action = np.asarray(clips.arrays[ACTION])
    self._table = windows.windows(clips.lengths, 1)

  def errors(self, played: Program, weights: SeedWeights) -> np.ndarray:
    """Of what every seed predicts: [S, episodes, C]."""
    predicted_SNCA = self.predicted(played, weights)
    return self._errors(predicted_SNCA, *self._targets(played, weights))

  def guesses(self, played: Program, weights: SeedWeights) -> np.ndarray:
    """Of the mean action, and of the last one repeated: [2, episodes, C].

    Before the first step the last action is the mean.
    """
    action_NCA, valid_NC = self._targets(played, weights)
    before_N1, valid_N1 = windows.future(
      self._table.first, self._table, 1, first=-1
    )
    action_NA = self._scaled(weights)
    last_N1A = action_NA[before_N1] * valid_N1[..., None]
    guesses = np.zeros_like(last_N1A), last_N1A
    repeated = [np.broadcast_to(guess, action_NCA.shape) for guess in guesses]
    return self._errors(np.stack(repeated), action_NCA, valid_NC)

  def predicted(self, played: Program, weights: SeedWeights) -> np.ndarray:
    """Chunks [S, N, C, A] of all episodes, some lanes of them at a time.

    Every seed sees the same, but for latents of an image model of its own.
    """
    own = weights.latents('heldout')
    seen = {
      s.name: self._clips.arrays[s.name]
      for s in played.model.streams
      if s.name != ACTION
    } | own
    axes = tuple(sorted((name, 1 if name in own else None) for name in seen))
    lengths, starts = self._clips.lengths, self._clips.offsets[:-1]
    steps = np.arange(lengths.max())[None]
    inside_ET = steps < lengths[:, None]
    rows_ET = starts[:, None] + np.minimum(steps, lengths[:, None] - 1)
    parts = []
    for first in range(0, len(lengths), _LANES):
      lanes = np.minimum(np.arange(first, first + _LANES), len(lengths) - 1)
      rows_BT = rows_ET[lanes]
      shown = {
        name: jnp.moveaxis(
          jnp.asarray(x[:, rows_BT] if name in own else x[rows_BT]),
          2 if name in own else 1,
          0,
        )
        for name, x in seen.items()
      }
      done_TBA = jnp.moveaxis(jnp.asarray(self._action[rows_BT]), 1, 0)
      chunks_STBCA = np.asarray(
        _chunks(played, weights.shared, weights.own_S, shown, done_TBA, axes)
      )
      for lane in range(min(_LANES, len(lengths) - first)):
        valid_T = inside_ET[lanes[lane]]
        parts.append(chunks_STBCA[:, valid_T, lane])
    return np.concatenate(parts, axis=1)

  def _scaled(self, weights):
    """What was done, [N, A], on the scale of the policies."""
    scale = weights.shared.scales[ACTION]
    return scales.apply(self._action, tuple(map(np.asarray, scale)))

  def _targets(self, played, weights):
    """(chunks [N, C, A] that follow every step, which of them are there)."""
    rows_NC, valid_NC = windows.future(
      self._table.first, self._table, played.head.steps
    )
    return self._scaled(weights)[rows_NC], valid_NC

  def _errors(self, predicted_SNCA, action_NCA, valid_NC) -> np.ndarray:
    """Mean squared error [S, episodes, C] over valid targets."""
    error_SNC = np.square(predicted_SNCA - action_NCA).mean(-1)
    error_SNC = np.where(valid_NC, error_SNC, 0.0)
    starts = self._clips.offsets[:-1]
    total_SEC = np.add.reduceat(error_SNC, starts, axis=1)
    count_EC = np.add.reduceat(valid_NC, starts, axis=0, dtype=np.int64)
    return total_SEC / np.maximum(count_EC, 1)


@functools.partial(jax.jit, static_argnums=(0, 5))
def _chunks(played, shared, own_S, seen, done_TBA, axes):
  """Every seed's chunks after every step: [S, T, B, C, A].

  Args:
    played: the program; `shared`, `own_S` are of `SeedWeights`.
    seen: {stream: [T, B, D]}, or [T, S, B, D] where seeds see differently.
    done_TBA: what the robot did, for the history.
    axes: ((stream, 1 or None), ...): where seeds lie in `seen`.
  """

  def one(own, seen):
    weights = playing.with_own(shared, own)

    def step(memory, now):
      seen_now, done_BA, keys_B = now
      memory = program.remember(played, weights, memory, seen_now)
      chunk_BCA = program.predict(played, weights, memory, keys_B)
      return program.record(played, memory, weights, done_BA), chunk_BCA

    steps, batch = done_TBA.shape[:2]
    keys_TB = jax.random.split(jax.random.key(0), (steps, batch))
    memory = program.start(played, batch)
    return jax.lax.scan(step, memory, (seen, done_TBA, keys_TB))[1]

  return jax.vmap(one, in_axes=(0, dict(axes)))(own_S, seen)
