"""Logits of classes [..., levels, vocab]: what they cost and how one draws."""

import jax
import jax.numpy as jnp

from rpt_jax.types import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
  """-log softmax(logits)[label] in nats.

  A label out of range gives logsumexp alone; mask it out. Labels are compared,
  not gathered: the gradient of a gather is a scatter, slow on CPU.
  """
  classes = jnp.arange(logits.shape[-1]).reshape((1,) * labels.ndim + (-1,))
  picked = jnp.where(classes == labels[..., None], logits, 0.0).sum(-1)
  return jax.nn.logsumexp(logits, axis=-1) - picked


def loss(logits: Array, labels: Array) -> tuple[Array, dict[str, Array]]:
  """(nats, summed over levels; {'accuracy': share of levels named rightly}).

  Args:
    logits: [..., levels, vocab].
    labels: [..., levels] integers.
  """
  right = (logits.argmax(-1) == labels).mean(-1, dtype=jnp.float32)
  return cross_entropy(logits, labels).sum(-1), {'accuracy': right}


def sample(logits: Array, key: Array, num: int) -> Array:
  """`num` draws [num, ..., levels] int32."""
  shape = (num, *logits.shape[:-1])
  return jax.random.categorical(key, logits, shape=shape).astype(jnp.int32)
