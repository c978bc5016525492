"""Byte-pair encoding of rows of small integers, in JAX.

The most frequent pair of neighbours becomes a symbol of its own, again and
again (Sennrich et al. 2016, arXiv 1508.07909, 3.2). Rows are encoded by the
same merges in the same order, which gives what taking the earliest merge at
every moment gives: a pair that a merge brings about was merged after it.
Everything is of fixed shape, so that it is traced with what it is part of.
"""

import functools

import jax
import jax.numpy as jnp

from rpt_jax.types import Array

NONE = -1  # Beyond the end of a row; of a merge: there is no such pair.


@functools.partial(jax.jit, static_argnums=(1, 2))
def fit(symbols_NL: Array, base: int, vocab: int) -> Array:
  """The merges [vocab - base, 2] of symbols 0 ... base - 1.

  Merge i makes the symbol base + i of two symbols before it; it is `NONE` where
  no pair came twice any more. Of pairs that are as frequent the smallest is
  taken. `vocab` is at most 46340, so that a pair is an int32.
  """

  def going(carry):
    i, _, _, most = carry
    return (i < vocab - base) & (most > 1)

  def merge(carry):
    i, tokens_NL, merges, _ = carry
    code, most = _most_frequent(tokens_NL, vocab)
    pair = jnp.stack([code // vocab, code % vocab])
    pair = jnp.where(most > 1, pair, NONE)
    return (
      i + 1,
      _merged(tokens_NL, pair, base + i),
      merges.at[i].set(pair),
      most,
    )

  none = jnp.full((vocab - base, 2), NONE, jnp.int32)
  start = jnp.int32(0), symbols_NL.astype(jnp.int32), none, jnp.int32(2)
  return jax.lax.while_loop(going, merge, start)[2]


def encode(merges: Array, symbols_NL: Array, base: int) -> Array:
  """Tokens [N, L], `NONE` after the last of a row."""

  merges = jnp.asarray(merges)

  def merge(i, tokens_NL):
    return _merged(tokens_NL, merges[i], base + i)

  count = (merges[:, 0] >= 0).sum()
  return jax.lax.fori_loop(0, count, merge, jnp.asarray(symbols_NL))


def spelled(merges: Array, base: int, length: int) -> tuple[Array, Array]:
  """(symbols [vocab, length] of every token, how many [vocab]).

  `NONE` after a token's last one; a token that no merge made has none, and of
  a longer one the first `length` are given.
  """
  vocab = base + len(merges)
  symbols = jnp.full((vocab, length), NONE)
  symbols = symbols.at[:base, 0].set(jnp.arange(base))
  counts = (jnp.arange(vocab) < base).astype(jnp.int32)

  def add(carry, step):
    symbols, counts = carry
    (left, right), new = step
    both, count = joined(
      symbols[left], counts[left], symbols[right], counts[right]
    )
    is_pair = left >= 0
    symbols = symbols.at[new].set(jnp.where(is_pair, both, NONE))
    return (symbols, counts.at[new].set(jnp.where(is_pair, count, 0))), None

  steps = merges, base + jnp.arange(len(merges))
  return jax.lax.scan(add, (symbols, counts), steps)[0]


def joined(
  first_L: Array, count: Array, second_L: Array, more: Array
) -> tuple[Array, Array]:
  """(symbols [L] of one row and then another, their number, L at most)."""
  at = jnp.arange(len(first_L)) - count
  later_L = second_L[at.clip(0, len(second_L) - 1)]
  inside_L = (at >= 0) & (at < more)
  end = jnp.minimum(count + more, len(first_L))
  return jnp.where(inside_L, later_L, first_L), end


def _most_frequent(tokens_NL, vocab):
  """(left * vocab + right of the most frequent pair, how often it comes)."""
  next_NL = _next(tokens_NL)
  code_NL = jnp.where(next_NL < 0, vocab**2, tokens_NL * vocab + next_NL)
  code_M = jnp.sort(code_NL.reshape(-1))
  at_M = jnp.arange(len(code_M))
  begins_M = code_M != jnp.roll(code_M, 1)
  run_M = at_M - jax.lax.cummax(jnp.where(begins_M, at_M, 0)) + 1
  most = jnp.where(code_M < vocab**2, run_M, 0).argmax()
  return code_M[most], jnp.where(code_M[most] < vocab**2, run_M[most], 0)


def _next(tokens_NL):
  """What follows every token; `NONE` after the last."""
  return jnp.pad(tokens_NL[:, 1:], ((0, 0), (0, 1)), constant_values=NONE)


def _merged(tokens_NL, pair, new):
  """Rows with every such pair made one token, from the left."""
  at_1L = jnp.arange(tokens_NL.shape[1])[None]
  match_NL = (tokens_NL == pair[0]) & (_next(tokens_NL) == pair[1])
  match_NL &= pair[0] >= 0
  # Of a run of pairs that overlap, as in 'aaa', every other one is merged.
  before_NL = jax.lax.cummax(jnp.where(match_NL, -1, at_1L), axis=1)
  match_NL &= (at_1L - before_NL) % 2 == 1
  gone_NL = jnp.pad(match_NL[:, :-1], ((0, 0), (1, 0)))
  place_NL = at_1L - gone_NL.cumsum(1)
  place_NL = jnp.where(gone_NL, tokens_NL.shape[1], place_NL)
  rows_N1 = jnp.arange(len(tokens_NL))[:, None]
  merged_NL = jnp.where(match_NL, new, tokens_NL)
  empty_NL = jnp.full_like(tokens_NL, NONE)
  return empty_NL.at[rows_N1, place_NL].set(merged_NL, mode='drop')
