"""Which of two policies succeeds more often, in no more episodes than it takes.

Both policies meet the same episodes. A pair that both win, or both lose, says
nothing; of the others, `wins` are the first one's. If the rates are equal, a
bet at even odds that stakes the share λ of its capital on the first policy at
every such pair gains nothing on average, whenever one stops. Half of the
capital bets on either side; what it has grown to is the *e-value*, and by
Ville's inequality (1939) it ever reaches 1 / α with a chance of at most α. So
one may look after every pair and stop there (Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", section 4; the bet on
discordant pairs is McNemar's test made sequential).

λ = 2 * SHARE - 1 grows fastest where the better policy wins the SHARE of pairs
that differ. It is not adapted: a stake fixed beforehand decides sooner here
than mixtures over stakes (Beta priors, uniform), and it alone allows rounds of
several policies, see `compare`. Below a share of .6 it shrinks: rates as near
as .5 and .6 are told apart in a third of 200 pairs.

With α = .05 and at most 200 pairs (`tests/evals/test_sequential.py`), against
the least fixed number of pairs with which the exact sign test at α has the same
power:

    rates   | decided | pairs on average | fixed | fewer
    .5, .7  | .93     | 89               | 152   | 41 %
    .5, .8  | 1.00    | 46               | ~155  | 70 %
    .5, .5  | .04     | 195              |       |
    .2, .2  | .03     | 197              |       |

Power near 1 flatters: with at most as many pairs as give a power of .9 (174 and
74), it takes 36 % and 26 % fewer. Policies that are alike are played to the
end. A rate estimated from episodes that ended early is biased away from the
other's: the decision holds, their difference does not.
"""

from typing import NamedTuple

import numpy as np

SHARE = 0.7


class Comparison(NamedTuple):
  """What two policies' episodes decide.

  `better` is 1 for the first, -1 for the second, 0 for neither yet; `pairs`
  are those it took, for each pair of policies; `e_value` is that of the last.
  """

  better: int
  pairs: int
  e_value: float


def e_values(wins, losses, share: float = SHARE) -> np.ndarray:
  """Evidence against equal rates: 1 / α or more rejects them at level α.

  `wins`, `losses`: pairs that the first policy alone won, and the second alone,
  so far; of any shape. Raises ValueError unless 0.5 < share < 1.
  """
  if not 0.5 < share < 1.0:
    raise ValueError(f'share: found {share}, expected above 0.5 and below 1')
  wins, losses = np.asarray(wins), np.asarray(losses)
  up, down = np.log(2 * share), np.log(2 * (1 - share))
  first = wins * up + losses * down
  second = losses * up + wins * down
  return np.exp(np.minimum(np.logaddexp(first, second) - np.log(2), 700))


def compare(
  first, second, alpha: float = 0.05, share: float = SHARE
) -> Comparison:
  """Looks at pairs of episodes in order, and stops where they decide.

  `first`, `second`: success [N], or [..., N] of several pairs of policies that
  are played in rounds of an episode each; one looks after every round. Then
  what is tested is whether their mean rates are equal, policies as they are: a
  round gains on average at most what as many pairs of the mean rates would
  (means of products and of sums). Whether *methods* differ asks for pipelines,
  and `intervals.paired_difference`. The wrong one is called better with a
  chance of at most α too.

  Raises ValueError where shapes differ or something is neither 0 nor 1.
  """
  first, second = np.asarray(first), np.asarray(second)
  if first.shape != second.shape or first.ndim < 1 or first.size == 0:
    raise ValueError(
      f'compare: found shapes {first.shape} and {second.shape}, expected one, '
      '[..., episodes]: both policies meet the same episodes'
    )
  if not (np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all()):
    raise ValueError('compare: found more than 0 and 1, expected successes')
  if not 0.0 < alpha < 1.0:
    raise ValueError(f'alpha: found {alpha}, expected between 0 and 1')
  first, second = first.astype(bool), second.astype(bool)
  among = tuple(range(first.ndim - 1))
  wins_N = (first & ~second).sum(among).cumsum()
  losses_N = (second & ~first).sum(among).cumsum()
  e_N = e_values(wins_N, losses_N, share)
  decided_N = e_N >= 1 / alpha
  last = int(decided_N.argmax()) if decided_N.any() else len(e_N) - 1
  sign = int(np.sign(wins_N[last] - losses_N[last]))
  better = sign if decided_N[last] else 0
  return Comparison(better, last + 1, float(e_N[last]))
