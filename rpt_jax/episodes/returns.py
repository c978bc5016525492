"""Returns-to-go: what an episode still brought, from every step on."""

import jax
import jax.numpy as jnp

from rpt_jax.types import Array


def to_go(
  reward_NT: Array, valid_NT: Array, terminated_NT: Array, discount: float
) -> Array:
  """The discounted sum of rewards from every step on, [N, T].

  By a scan from the end. An episode that is cut off without an end goes on
  for ever as in its last step, r / (1 - discount) (Cal-QL, arXiv 2303.05479,
  appendix, for sparse rewards: one that has not come keeps not coming). Where
  no step is, it is 0.
  """
  going_NT = valid_NT & ~terminated_NT
  last_NT = going_NT & ~jnp.pad(valid_NT[:, 1:], ((0, 0), (0, 1)))

  def back(after_N, step):
    reward_N, valid_N, last_N = step
    after_N = jnp.where(last_N, reward_N / (1 - discount), after_N)
    now_N = jnp.where(valid_N, reward_N + discount * after_N, 0.0)
    return now_N, now_N

  steps = jax.tree.map(jnp.transpose, (reward_NT, valid_NT, last_NT))
  start_N = jnp.zeros(len(reward_NT))
  _, to_go_TN = jax.lax.scan(back, start_N, steps, reverse=True)
  return to_go_TN.T
