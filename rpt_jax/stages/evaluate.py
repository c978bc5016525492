"""Every policy rolled out in its environment, all seeds of a cell at once.

Rows: scores normalised to random 0 and expert 1 (interquartile mean over
seeds with its 95 % stratified bootstrap interval), and the difference to
scratch, paired by seed. `returns.npz` has the return of every episode and
`films.npz` the frames of a few.
"""

import functools
import json

import jax
import numpy as np

from rpt_jax import envs
from rpt_jax.envs import rollout
from rpt_jax.evals import policy, statistics
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import (
  collect,
  domains,
  encode,
  finetune,
  scores,
  trunk,
  tuned,
)
from rpt_jax.stages.finetune import Cell, cells, policy_model
from rpt_jax.training import distributed, sharding
from rpt_jax.vision import tuning

_FIRST_INDEX = 4 << 20  # No episode of any split is seen again.


def run(config, inputs, directory):
  """Roll out every cell of every environment; rows: scores, differences."""
  encoder = encode.load_encoder(config, inputs)
  returns, films = {}, {}
  for name in config.envs:
    player = _Player(config, inputs, name, encoder)
    for cell in cells(config):
      returns[name, cell] = player.returns(cell)
      mean = returns[name, cell].mean()
      print(f'  {name} {cell.name}: return {mean:.2f}', flush=True)
    films |= {f'{name}/{c.name}': player.film(c) for c in filmed(config)}
  if distributed.is_first():
    np.savez(
      directory / 'returns.npz',
      **{f'{name}/{cell.name}': x for (name, cell), x in returns.items()},
    )
    np.savez_compressed(directory / 'films.npz', **films)
  found = _normalised(returns, inputs['collect'])
  return [
    *scores.score_rows('evaluate', found, {'all': config.envs}),
    *scores.difference_rows('evaluate', found, {'all': config.envs}),
  ]


class _Player:
  """The cells of one environment; all their policies are one program."""

  def __init__(self, config, inputs, name, encoder):
    self.env = envs.make(name)
    self._config, self._inputs = config, inputs
    key = collect.environment_key(config.seed, name)
    self._keys_S = jax.random.split(key, config.finetune.seeds)
    self._model, _ = policy_model(config, inputs, filmed(config)[0], name)
    self._encoder = encoder
    self._standardise = trunk.standardiser(inputs['encode'])
    self._start = functools.partial(
      policy.start, context=self._model.context, dim=encoder.dim
    )
    self._mesh = sharding.make_mesh(config.mesh)
    whole = sharding.replicated(self._mesh)
    self._play = jax.jit(self._all, out_shardings=whole)

  def returns(self, cell: Cell) -> np.ndarray:
    """Returns [S, episodes]: every seed meets its own initial states."""
    _, fixed = tuning.split(self._encoder.params, cell.encoder)
    return np.asarray(self._play(fixed, self._params(cell), self._keys_S))

  def film(self, cell: Cell) -> np.ndarray:
    """Frames [T, 64, 64, 3] of one episode of the first seed."""
    params = jax.tree.map(lambda x: x[0], self._params(cell))
    steps = rollout.rollout(
      self.env,
      self._policy(self._encoder.params),
      self._start(params, 1),
      self._keys_S[0],
      1,
      record=('image', 'valid'),
      nuisance=self._config.nuisance,
      first_index=_FIRST_INDEX,
    )
    return np.asarray(steps['image'][0])[np.asarray(steps['valid'][0])]

  def _policy(self, encoder_params):
    """Frames in, actions out; the image model's parameters are given."""

    def see(observation):
      latent_BD = self._encoder.apply(encoder_params, observation)
      return self._standardise(latent_BD)

    return policy.make(see, self._act)

  def _all(self, fixed, params_S, keys_S):
    """Returns [S, episodes], one seed after the other.

    `fixed` is what no seed changes of the image model's parameters.
    """
    one = functools.partial(self._one, fixed)
    return jax.lax.map(lambda x: one(*x), (params_S, keys_S))

  def _one(self, fixed, params, key):
    params, trained = tuned.split_policy(params)
    episodes = self._config.evaluate.episodes
    memory = self._start(params, episodes)
    window = sharding.split((memory.latent_BTD, memory.valid_BT), self._mesh)
    return rollout.returns(
      self.env,
      self._policy(tuning.merge(trained, fixed)),
      policy.Memory(params, *window),
      key,
      episodes,
      nuisance=self._config.nuisance,
      first_index=_FIRST_INDEX,
    )

  def _params(self, cell):
    return finetune.load(self._inputs['finetune'], self.env.name, cell)

  def _act(self, params, latent_BTD, valid_BT):
    env = self.env
    collected = self._inputs['collect']
    spec = domains.action_spec(self._config, collected, env.name)
    apply = sequence.bind(self._model, params)
    output = apply({'latent': latent_BTD}, valid_BT)
    # Environments share a vocabulary; the first entries are this one's.
    head = output['heads']['action'][..., : env.num_actions or None]
    chunk = behaviour_cloning.actions({'heads': {'action': head}}, spec)
    return chunk[:, 0] if env.num_actions else chunk[:, 0] * env.action_limit


def filmed(config) -> list[Cell]:
  """The cells of which every environment has a film."""
  few = config.finetune.run_demos[0]
  return [
    Cell('none', 'scratch', few),
    Cell(config.pretrain.main, 'finetune', few),
  ]


def _normalised(returns, collected):
  """(env, cell) -> scores [S, episodes]: random 0, expert 1."""
  artifact = json.loads((collected / 'artifact.json').read_text())
  bounds = {
    (row['tags']['env'], row['name']): row['value']
    for row in artifact['rows']
    if row['stage'] == 'collect'
  }
  return {
    (name, cell): statistics.normalise(
      x, bounds[name, 'random_return'], bounds[name, 'expert_return']
    )
    for (name, cell), x in returns.items()
  }
