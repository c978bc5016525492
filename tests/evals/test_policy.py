"""The window a policy carries is the window it was trained on."""

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.episodes import windows
from rpt_jax.evals import policy

CONTEXT, STEPS, BATCH = 4, 7, 3


def played():
  """What `act` sees at every step of an episode, and the latents fed in."""
  frames = np.random.default_rng(0).integers(256, size=(STEPS, BATCH, 2))
  seen = []

  def act(params, latent_BTD, valid_BT):
    seen.append((np.asarray(latent_BTD, np.float32), np.asarray(valid_BT)))
    return params + latent_BTD[:, -1, 0]

  step = policy.make(lambda seen: seen['image'].astype(jnp.float32), act)
  memory = policy.start(jnp.float32(1), BATCH, CONTEXT, 2)
  keys = jax.random.split(jax.random.key(0), BATCH)
  actions = []
  for frame in frames:
    memory, action = step(memory, {'image': jnp.asarray(frame)}, keys)
    actions.append(np.asarray(action, np.float32))
  return frames, seen, actions


def test_windows_of_rollouts_are_those_of_training():
  frames, seen, _ = played()
  table = windows.windows(np.array([STEPS]), CONTEXT, lead=CONTEXT - 1)
  rows_TC, valid_TC = windows.rows(table, CONTEXT)
  assert len(seen) == len(rows_TC) == STEPS
  for (latent_BTD, valid_BT), rows, valid in zip(
    seen, rows_TC, valid_TC, strict=True
  ):
    for b in range(BATCH):
      np.testing.assert_array_equal(valid_BT[b], valid)
      np.testing.assert_array_equal(
        latent_BTD[b][valid], frames[rows, b][valid]
      )


def test_the_action_is_that_of_the_newest_frame():
  frames, _, actions = played()
  for frame, action in zip(frames, actions, strict=True):
    np.testing.assert_array_equal(action, 1 + frame[:, 0])
