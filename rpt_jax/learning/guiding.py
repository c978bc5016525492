"""A critic that chooses among what a policy draws: what does that gain?

Value-guided policy steering (V-GPS, Nakamoto et al. 2024, arXiv 2410.13816). A
critic learns from demonstrations and from the policy's own episodes, in which a
reward says that they succeeded, and nothing else. A decision is the actions of
a chunk that are played before the next is drawn: the critic values them
together, so that what it learns from is what it chooses.

Unlike the paper's it does not learn by Cal-QL, whose policy must first find the
actions of the data among all chunks, but foretells returns: the value of who
acted, on which choosing is one step of improvement (Brandfonbrener et al. 2021,
arXiv 2106.08909). So it never asks what it has not seen.

All ways to choose meet the same episodes, from which no critic learned.
"""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import files, results, settings
from rpt_jax.domains import Domain, playing
from rpt_jax.episodes import returns
from rpt_jax.evals import intervals
from rpt_jax.learning import latency
from rpt_jax.models import critic
from rpt_jax.policy import Policy
from rpt_jax.policy.ranking import Ranking, Values
from rpt_jax.results import COST, Costs, Guiding
from rpt_jax.training import optimizer, step
from rpt_jax.types import ACTION, Array, PyTree

_ARRAYS = 'guided.npz'  # Success bool [critics, N] of '<choice>-<samples>'.


def streams(policy: Policy) -> tuple[str, ...]:
  """What of a step a critic of this policy reads: all but what was done."""
  return tuple(
    s.name for s in policy.model.streams if s.timed and s.name != ACTION
  )


def rows(
  c: settings.Guide, domain: Domain, policy: Policy, folder: Path
) -> list[results.Row]:
  """How often the policy succeeds, by who chooses of how many chunks.

  Successes are kept in `folder`. Intervals are over episodes (Wilson's of
  success, Student's of differences) and take policy and critics as they are.
  """
  key = jax.random.fold_in(domain.key, c.seeds)
  practice = domain.steps(
    policy.program, policy.weights, c.recorded, 'practice'
  )
  decisions = jax.tree.map(
    lambda *x: np.concatenate(x),
    *(
      decided(policy, steps, c.discount)
      for steps in (domain.shown_how(), practice)
    ),
  )
  params_WS = learn(c, policy, decisions, key)
  success = _judged(c, domain, policy, params_WS)
  files.write_arrays(folder / _ARRAYS, success)
  return _rows(domain, success) + _costs(c, domain, policy, params_WS)


def decided(policy: Policy, steps, discount: float) -> dict[str, np.ndarray]:
  """Decisions {'state', 'action', 'return'} [N, ...], of steps [E, T, ...].

  One begins at every step that is followed by as many as it takes, or by the
  end. After an end its actions are those of a policy whose state stands still.
  """
  each, limit_A = policy.execution.execute, _limit(policy)
  ended_ET, valid_ET = steps['terminated'], steps['valid']
  count = valid_ET.shape[1] - each
  ahead = [slice(j, j + count) for j in range(each)]
  ended = np.any([ended_ET[:, own] for own in ahead], axis=0)
  real = valid_ET[:, :count] & (ended | valid_ET[:, each:])
  action = [steps['action'][:, own] / limit_A for own in ahead]
  to_go_ET = returns.to_go(steps['reward'], valid_ET, ended_ET, discount)
  arrays = {
    'state': seen(policy, steps['state'])[:, :count],
    'action': np.concatenate(action, axis=-1).clip(-1, 1),
    'return': np.asarray(to_go_ET)[:, :count],
  }
  return {name: x[real].astype(np.float32) for name, x in arrays.items()}


def seen(policy: Policy, state_ETP: np.ndarray) -> np.ndarray:
  """What a critic reads, [E, T, S], of true states, as rollouts show them."""
  widths = {s.name: s.dim for s in policy.model.streams}
  parts = [playing.pad(state_ETP, widths[name]) for name in streams(policy)]
  return np.concatenate(parts, axis=-1)


def learn(c: settings.Guide, policy: Policy, decisions, key) -> PyTree:
  """Parameters of critics, [2, S, ...]: true ones, then shuffled ones.

  These see the actions of other decisions, and else the same. All are lanes
  of one compiled training.
  """
  size = len(decisions['return'])
  keys_S = jax.random.split(key, c.seeds)
  own_SN = np.tile(np.arange(size), (c.seeds, 1))
  other_SN = jax.vmap(lambda k: jax.random.permutation(k, size))(keys_S)
  done_WSN = jnp.stack([own_SN, other_SN])
  one = functools.partial(_one, c, decisions)
  every = jax.vmap(jax.vmap(one), (0, None))
  params_WS, error_WS = jax.jit(every)(done_WSN, keys_S)
  own, other = np.sqrt(error_WS.mean(1))
  print(
    f'  critics of {size} decisions: off by {own:.3f}, shuffled {other:.3f}, '
    f'returns scatter by {decisions["return"].std():.3f}',
    flush=True,
  )
  return params_WS


def _one(c, decisions, done_N, key):
  """(parameters, squared error): one critic, of the actions of `done_N`."""
  decisions = jax.tree.map(jnp.asarray, decisions)
  decisions |= {'action': decisions['action'][done_N]}
  init_key, learn_key, draw_key = jax.random.split(key, 3)
  network = critic.Critic(c.width, c.depth)
  tx = optimizer.adamw(c.learning_rate, c.steps)

  def loss(params, batch, key):
    del key
    value_EB1 = network.apply(
      {'params': params}, batch['state'], batch['action'][:, None]
    )
    error = jnp.square(value_EB1[..., 0] - batch['return'][None]).mean()
    return error, {}

  update = step.step_fn(loss, tx)

  def once(state, key):
    row_B = jax.random.randint(key, (c.batch_size,), 0, len(done_N))
    state, metrics = update(state, jax.tree.map(lambda x: x[row_B], decisions))
    return state, metrics['loss']

  first = decisions['state'][:1], decisions['action'][:1, None]
  params = network.init(init_key, *first)['params']
  state = step.init_state(params, tx, learn_key)
  keys = jax.random.split(draw_key, c.steps)
  state, error = jax.lax.scan(once, state, keys)
  return state.params, error[-100:].mean()


def _limit(policy) -> Array:
  """Of actions [A], what is 1 to a critic."""
  _, high = policy.action_limit
  return np.broadcast_to(high, policy.action_dim).astype(np.float32)


def _guided(c, policy, params_WS, critic_, samples, temperature=0.0):
  """What `Policy.guide` takes: one of the critics, and how it chooses."""
  ranking = Ranking(
    critic.Critic(c.width, c.depth),
    streams(policy),
    samples,
    policy.execution.execute,
  )
  params = jax.tree.map(lambda x: x[critic_], params_WS)
  return ranking, Values(params, _limit(policy), temperature)


def _judged(c, domain, policy, params_WS):
  """{'<choice>-<samples>': success bool [S or 1, N]}; 'best-1' is nobody's."""
  temperature = dict.fromkeys(Guiding.CHOICES, 0.0)
  temperature |= {Guiding.SOFTMAX: c.temperature, Guiding.ANY: math.inf}
  success = {}

  def play():
    about = policy.program, policy.weights, c.episodes, 'guided'
    return (domain.steps(*about)['reward'] > 0).any(1)

  policy.guide(None)
  success[f'{Guiding.BEST}-1'] = play()[None]
  for samples in c.samples:
    for choice, own in temperature.items():
      which = int(choice == Guiding.SHUFFLED)
      played = []
      for seed in range(c.seeds):
        guided = _guided(c, policy, params_WS, (which, seed), samples, own)
        policy.guide(guided)
        played.append(play())
      success[f'{choice}-{samples}'] = np.stack(played)
    # Of whom nobody asks a critic, it is one policy for any number.
    temperature.pop(Guiding.ANY, None)
    share = success[f'{Guiding.BEST}-{samples}'].mean()
    print(f'  {domain.name}: best of {samples} {share:.3f}', flush=True)
  policy.guide(None)
  return success


def _rows(domain, success):
  """Success of every way to choose, and how much more it is than of one."""
  alone_N = success[f'{Guiding.BEST}-1'].mean(0)
  measured = []
  for name, success_SN in success.items():
    choice, _, samples = name.rpartition('-')
    tags = {'env': domain.name, 'choice': choice, 'samples': int(samples)}
    tags |= {'episodes': success_SN.shape[1]}
    score_N, seeds = success_SN.mean(0), len(success_SN)
    _, *bounds = intervals.wilson(round(score_N.sum()), len(score_N))
    share = Guiding.SUCCESS, float(score_N.mean()), bounds, seeds
    measured.append(results.row(Guiding.STAGE, *share, **tags))
    if int(samples) > 1:
      value, *bounds = intervals.t_interval(score_N - alone_N)
      gain = Guiding.GAIN, value, bounds, seeds
      measured.append(results.row(Guiding.STAGE, *gain, **tags))
  return measured


def _costs(c, domain, policy, params_WS):
  """Milliseconds of an `act`, by how many chunks are drawn."""
  measured = []
  for samples in (1, *c.samples):
    policy.guide(_guided(c, policy, params_WS, (0, 0), samples))
    tags = {'kind': COST, 'env': domain.name, 'samples': samples}
    value = latency.act_ms(policy)
    measured.append(results.row(Guiding.STAGE, Costs.ACT, value, **tags))
  policy.guide(None)
  return measured
