"""Classes of steps, what each counts, and what memories keep."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.learning import interventions as classed
from rpt_jax.results import Deployed

DEMO, ROBOT, INTERVENTION, BEFORE = classed.CLASSES


def one_by_one(expert_T, before):
  """Classes of an episode, by looking at every step."""
  first = [
    t for t, x in enumerate(expert_T) if x and not (t and expert_T[t - 1])
  ]
  of = []
  for t, acted in enumerate(expert_T):
    soon = any(t < start <= t + before for start in first)
    of.append(INTERVENTION if acted else BEFORE if soon else ROBOT)
  return of


@pytest.mark.parametrize('before', [0, 1, 3, 20])
def test_what_led_to_an_intervention_is_told_apart(before):
  expert_NT = np.random.default_rng(0).random((64, 12)) < 0.3
  expert_NT[:2] = [[False] * 12, [True] * 12]
  of_NT = classed.classes(jnp.asarray(expert_NT), before)
  assert of_NT.tolist() == [one_by_one(x, before) for x in expert_NT]


def test_classes_have_the_shares_of_the_paper():
  """P*(c) / P(c), in fractions: .5, .002, its own share, the rest."""
  count = {DEMO: 100, ROBOT: 600, INTERVENTION: 200, BEFORE: 100}
  weight_C = np.asarray(
    classed.weights(jnp.asarray([*count.values()]), 0.5, 0.002)
  )
  wanted = {
    DEMO: Fraction(1, 10),
    ROBOT: 1 - Fraction(1, 10) - Fraction(1, 2) - Fraction(1, 500),
    INTERVENTION: Fraction(1, 2),
    BEFORE: Fraction(1, 500),
  }
  total = sum(count.values())
  for k, steps in count.items():
    ratio = wanted[k] / Fraction(steps, total)  # Of an even draw, 1 / total.
    assert weight_C[k] * total == pytest.approx(float(ratio), rel=1e-5)
  assert weight_C[DEMO] * total == pytest.approx(1)


@pytest.mark.parametrize(
  'count, share',
  [
    ((10, 0, 0, 0), (1, 0, 0, 0)),  # Nothing was deployed.
    ((10, 30, 0, 0), (0.25 / 0.498, 0.248 / 0.498, 0, 0)),  # Nobody helped.
    # So many demonstrations that the paper's robot counts less than nothing.
    ((80, 10, 5, 5), (0.498, 0, 0.5, 0.002)),
  ],
)
def test_shares_are_never_below_nothing(count, share):
  weight_C = classed.weights(jnp.asarray(count), 0.5, 0.002)
  np.testing.assert_allclose(weight_C * jnp.asarray(count), share, atol=1e-6)


def test_memories_keep_what_they_say():
  rng = np.random.default_rng(1)
  member = rng.random(20) < 0.7
  helped, age = rng.integers(0, 5, 20), np.repeat(np.arange(4), 5)
  first = {  # What is dropped last comes first; the newer of equals.
    Deployed.LFI: lambda i: (-helped[i], age[i]),
    Deployed.MFI: lambda i: (helped[i], age[i]),
    Deployed.FIFO: lambda i: age[i],
    Deployed.FILO: lambda i: -age[i],
  }
  for place, name in enumerate(classed.STRATEGIES):
    keep = np.asarray(
      classed.kept(place, 6, member, helped, age, jax.random.key(0))
    )
    assert keep.sum() == 6 and not (keep & ~member).any()
    if name in first:
      order = sorted(np.flatnonzero(member), key=first[name])
      assert set(np.flatnonzero(keep)) == set(order[:6]), name
  others = [
    np.asarray(classed.kept(4, 6, member, helped, age, jax.random.key(i)))
    for i in range(4)
  ]
  assert len({tuple(x) for x in others}) > 1
  assert classed.kept(0, 20, member, helped, age, jax.random.key(0)).sum() == (
    member.sum()
  )
