"""How long and how fast each method should learn: a grid, played.

Every cell of the table is trained with all steps and rates of `config.tune`
and played in its domain. The seed is the config's, which must not be one that
results are made with. `<domain>/<cell>.json` has the scores of a cell, so that
a killed stage goes on at the next one.
"""

import functools
import itertools

import numpy as np

from rpt_jax import domains, files, results
from rpt_jax.domains.playing import Own, SeedWeights
from rpt_jax.learning import acting, cells, streams, training, tuning
from rpt_jax.learning.policies import Policies, of_seed
from rpt_jax.learning.runs import Runs
from rpt_jax.results import PROBE, TUNED, Tune
from rpt_jax.training import distributed, sharding
from rpt_jax.types import ACTION


def run(config, inputs, directory):
  """Rows: the score of every cell, domain, number of steps and rate."""
  c = config.finetune
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  places, mesh = domains.of(config), sharding.make_mesh(config.mesh.sizes)
  policies = Policies(c, runs, inputs)
  learner = training.Learner(
    policies, places, None, config.mesh.sizes, config.seed
  )
  actors = acting.by_eyes(
    policies, places, config.evaluate, config.encoder, config.encode
  )
  rows = []
  for domain in domains.acting(places):
    (directory / domain.name).mkdir(exist_ok=True)
    names = (*policies.streams, ACTION)
    recorded = functools.partial(
      streams.read, domain, inputs, names=names, texts=policies.texts
    )
    with domain.episodes(config.evaluate.episodes, recorded, mesh) as episodes:
      for cell in cells.cells(c, runs):
        if cell.method == TUNED:
          continue
        path = directory / domain.name / f'{cell.name}.json'
        rates = config.tune.learning_rate
        if cell.method == PROBE:
          rates = config.tune.probe_learning_rate
        agree = distributed.agree if domain.together else bool
        plays = domain.together or distributed.is_first()
        if plays and agree(not path.exists()):
          play = functools.partial(_scores, domain, episodes, inputs['collect'])
          judge = functools.partial(
            _judge, learner, actors[cell.eyes], domain, cell, play
          )
          scores = [judge(steps, rates) for steps in config.tune.steps]
          if distributed.is_first():
            files.write_json(path, np.concatenate(scores).tolist())
        distributed.await_file(path)
        scores = files.read_json(path, kind=list)
        grid = itertools.product(config.tune.steps, rates)
        tags = cell.tags | {'env': domain.name}
        rows += [
          results.row(
            Tune.STAGE, Tune.SCORE, score, steps=steps, rate=rate, **tags
          )
          for (steps, rate), score in zip(grid, scores, strict=True)
        ]
        distributed.wait(f'{domain.name} {cell.name}')
  return rows


def _scores(domain, episodes, collected, program, weights):
  """The mean score of every lane's policy [R]."""
  played = domain.play(program, weights, episodes)
  return domain.score(played, collected).score_SN.mean(1)


def _judge(learner, actors, domain, cell, play, steps, rates):
  """The mean score of the first seed's policy at each rate [R]."""
  one = learner.lesson(domain, cell, steps, np.array(rates, np.float32)[:1])
  lanes = len(rates)
  lesson = one._replace(
    picks=np.repeat(one.picks, lanes, 0),
    count=np.repeat(one.count, lanes),
    keys=one.keys[np.zeros(lanes, int)],
    rates=np.array(rates, np.float32),
    held=None if one.held is None else np.repeat(one.held, lanes, 0),
  )
  params_S = learner.train(domain, cell, lesson).params
  policy = actors.policy(domain, cell, of_seed(params_S, 0))
  parts_S = tuning.split_policy(params_S)
  image = actors.image.params if actors.image else {}
  shared = policy.weights._replace(model={}, image=image)
  own_S = Own(parts_S.model, {}, {ACTION: parts_S.constants})
  words = actors.policies.words(cell)
  weights = SeedWeights(shared, own_S, lambda split: {}, actors.sight, words)
  score_S = play(policy.program, weights)
  shown = ' '.join(f'{x:.3f}' for x in score_S)
  print(f'  {domain.name} {cell.name} {steps}: {shown}', flush=True)
  return score_S
