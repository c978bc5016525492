"""Frozen image models judged by few demonstrations, as R3M judges them.

    python -m tests.benchmarks.r3m runs/r3m clip=runs/clip mae=runs/mae
    python -m tests.benchmarks.r3m runs/r3m --demos=10 no_time=runs/no_time
    python -m tests.benchmarks.r3m runs/r3m r50=<file>.safetensors

The first workdir has the demonstrations of the tasks, and its own model; others
have a model each, and may be files or names that `vision.load` takes. Beside
them stand `edges`, an untrained ViT of the same shapes, and the first model
without BatchNorm. A policy is BatchNorm and an MLP (`evals/frozen_policy.py`)
and is played after every share of its training, on the same episodes as all
others of its task and seed: the `last`, and the `max` over training that the
paper reports. Wilson's intervals hold what episodes differ in; differences to
the first model are paired by task and seed, with Student's intervals.
"""

import argparse
import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax import domains, files, settings, vision
from rpt_jax.envs.metaworld import simulators
from rpt_jax.evals import frozen_policy, intervals
from rpt_jax.vision.model import VisionModel

PLAIN = 'no_norm'  # The first model's features as they are.


class Task(NamedTuple):
  """The demonstrations of a task, end to end, and where they lie."""

  domain: domains.Domain
  image_NHWC: np.ndarray
  proprio_NP: np.ndarray
  action_NA: np.ndarray
  episode_N: np.ndarray


class Eyes(NamedTuple):
  """What a policy sees through; `normalised`: BatchNorm comes after it."""

  model: VisionModel
  normalised: bool = True


def main():
  """Prints a table; writes every outcome as JSON where it is asked to."""
  a = arguments()
  config = settings.saved(settings.Experiment, a.workdir / 'config.json')
  eyes = eyes_of(a.workdir, dict(x.split('=', 1) for x in a.others))
  eyes = {k: x for k, x in eyes.items() if not a.only or k in a.only}
  rows = []
  for domain in domains.of(config):
    if not domain.seen:
      task = demonstrations(domain, a.workdir / 'collect')
      with lanes_of(domain, a.episodes) as lanes:
        for name, own in eyes.items():
          rows += cells(task, lanes, name, own, a)
  if a.json:
    files.write_json(a.json, rows)
  table(rows, next(iter(eyes)))


def arguments():
  """What the command line says."""
  parser = argparse.ArgumentParser()
  parser.add_argument('workdir', type=pathlib.Path)
  parser.add_argument('others', nargs='*', help='name=workdir, file or control')
  parser.add_argument('--demos', type=_numbers, default=(5, 10, 25))
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--episodes', type=int, default=10, help='of a seed')
  parser.add_argument('--looks', type=int, default=4, help='in a training')
  parser.add_argument('--steps', type=int, default=2000, help='of a training')
  parser.add_argument('--only', type=lambda x: x.split(','), default=())
  parser.add_argument('--json', type=pathlib.Path)
  return parser.parse_args()


def _numbers(text):
  return tuple(int(x) for x in text.split(','))


def eyes_of(workdir, others) -> dict[str, Eyes]:
  """{name: eyes}, the first workdir's own model first."""
  first = vision.load(workdir / 'see/model', output='mean_patch')
  shape = json.loads((workdir / 'see/model/config.json').read_text())
  untrained = vision.load(
    'random',
    output='mean_patch',
    image_size=shape['image_size'],
    patch=shape['patch_size'],
    width=shape['hidden_size'],
    depth=shape['num_hidden_layers'],
    num_heads=shape['num_attention_heads'],
  )
  eyes = {workdir.name: Eyes(first)}
  for name, path in others.items():
    trained = pathlib.Path(path) / 'see/model'
    what = trained if trained.exists() else path
    eyes[name] = Eyes(vision.load(what, output='mean_patch'))
  eyes['edges'] = Eyes(vision.load('edges'))
  eyes['random'] = Eyes(untrained)
  return eyes | {PLAIN: Eyes(first, normalised=False)}


def demonstrations(domain, collected) -> Task:
  """All of a task."""
  source = domain.source(collected, domain.demos)
  shown = [source[i] for i in range(len(source))]
  (camera,) = domain.cameras

  def joined(values):
    return np.concatenate(list(values))

  return Task(
    domain,
    joined(e.observation[camera] for e in shown),
    joined(e.observation['proprio'] for e in shown),
    joined(e.action for e in shown),
    np.repeat(np.arange(len(shown)), [e.length for e in shown]),
  )


def lanes_of(domain, count):
  """The simulators that all policies of a task are played in."""
  workers = domain.settings.workers
  return simulators.Simulators(domain.name, domain.simulator, count, workers)


def cells(task, lanes, name, eyes, a):
  """Rows {task, eyes, demos, seed, success [looks, episodes]}."""
  x_ND = np.asarray(eyes.model.encode(task.image_NHWC))
  x_ND = np.concatenate([x_ND, task.proprio_NP], axis=1)
  rows = []
  for demos in a.demos:
    rows_SN, count_S = picks(task, demos, a.seeds)
    states = frozen_policy.fit(
      jax.random.split(jax.random.key(demos), a.seeds),
      x_ND,
      task.action_NA,
      rows_SN,
      count_S,
      every=a.steps // a.looks,
      looks=a.looks,
      normalised=eyes.normalised,
    )
    for seed in range(a.seeds):
      success = [
        played(task, lanes, eyes, _of(states, seed, look), seed)
        for look in range(a.looks)
      ]
      rows.append(
        {
          'task': task.domain.name,
          'eyes': name,
          'demos': demos,
          'seed': seed,
          'success': success,
        }
      )
    own = np.array([r['success'] for r in rows if r['demos'] == demos])
    shares = ' '.join(f'{x:.2f}' for x in own.mean((0, 2)))
    print(f'{task.domain.name} {name} {demos} demos: {shares}', flush=True)
  return rows


def picks(task, demos, seeds):
  """Rows of each seed's demonstrations, [S, N] of them filled up, and [S]."""
  size, rows, counts = len(task.episode_N), [], []
  for seed in range(seeds):
    order = np.random.default_rng([seed, 0]).permutation(task.episode_N[-1] + 1)
    own = np.flatnonzero(np.isin(task.episode_N, order[:demos]))
    rows.append(np.resize(own, size))
    counts.append(len(own))
  return np.stack(rows), np.array(counts)


def _of(states, seed, look):
  return jax.tree.map(lambda x: x[seed, look], states)


def played(task, lanes, eyes, state, seed) -> list[int]:
  """Whether each episode of a seed succeeds, the same ones for all eyes."""
  (camera,) = task.domain.cameras
  model = eyes.model

  def act(seen):
    return np.asarray(
      _acting(
        model.apply,
        model.preprocess,
        eyes.normalised,
        model.params,
        state,
        seen[camera],
        seen['proprio'],
      )
    )

  first = task.domain.first_seed('evaluation') + seed * lanes.num
  outcome = simulators.play(lanes, act, range(first, first + lanes.num))
  return outcome.success_N.astype(int).tolist()


@jax.jit(static_argnums=(0, 1, 2))
def _acting(apply, preprocess, normalised, params, state, image, proprio_NP):
  z_ND = apply(params, preprocess(image))
  x_ND = jax.numpy.concatenate([z_ND, proprio_NP], axis=1)
  return frozen_policy.act(state, x_ND, normalised)


def table(rows, first):
  """Prints success by eyes and demonstrations, last and at most."""
  demos = sorted({r['demos'] for r in rows})
  names = dict.fromkeys(r['eyes'] for r in rows)
  for count in demos:
    own = {
      name: np.array(
        [r['success'] for r in rows if (r['eyes'], r['demos']) == (name, count)]
      )
      for name in names
    }
    for name, success_CKN in own.items():
      share_CK = success_CKN.mean(-1)
      last_CN = success_CKN[:, -1]
      rate, low, high = intervals.wilson(int(last_CN.sum()), last_CN.size)
      best = share_CK.max(1).mean()
      line = (
        f'{count:3} demos {name:12} last {rate:.2f} [{low:.2f}, {high:.2f}]'
      )
      line += f' max {best:.2f}'
      if name != first and len(share_CK) > 1:
        less, down, up = intervals.paired_difference(last_CN, own[first][:, -1])
        line += f'  over {first} {less:+.2f} [{down:+.2f}, {up:+.2f}]'
      print(line)


if __name__ == '__main__':
  main()
