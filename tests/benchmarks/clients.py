"""Robots that ask a policy server, in a process without JAX.

    python -m tests.benchmarks.clients <address> <file.npz> <seconds> <hertz>

The file holds `actions` [N, T, A]: what N robots are to be answered, of which
robot i is shown `episode(i)`, again and again. One line of JSON is printed:
latencies in seconds, and answers that were another's.
"""

import json
import sys
import threading
import time

import numpy as np

from rpt_jax.serve.client import Client

CAMERAS = ('corner2', 'corner3', 'gripper')
SIDE, STATE, STEPS = 96, 4, 10
CLOSE = 0.05  # Batches of another size round otherwise; robots differ by more.


def episode(seed: int) -> list[dict]:
  """What robot `seed` is shown in `STEPS` steps."""
  rng = np.random.default_rng(seed)
  frames = rng.integers(256, size=(STEPS, 3, SIDE, SIDE, 3), dtype=np.uint8)
  vectors = rng.normal(size=(STEPS, STATE)).astype(np.float32)
  return [
    dict(zip(CAMERAS, frames[t], strict=True)) | {'proprio': vectors[t]}
    for t in range(STEPS)
  ]


def robot(address, seed, actions, until, period, latencies, wrong):
  """Asks at a rate until a time; appends to the last two."""
  shown = episode(seed)
  with Client(address, timeout=60) as client:
    due = time.monotonic() + period * (seed % 8) / 8  # They do not keep step.
    while time.monotonic() < until:
      client.reset(seed)
      for observation, expected in zip(shown, actions, strict=True):
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + period, time.monotonic())
        began = time.monotonic()
        answer = client.act(observation)
        latencies.append(time.monotonic() - began)
        error = float(np.abs(answer['actions'][0] - expected).max())
        if error > CLOSE:
          wrong.append((seed, error))


def main(address, file, seconds, hertz):
  actions = np.load(file)['actions']
  latencies, wrong = [], []
  until = time.monotonic() + float(seconds)
  period = 1 / float(hertz)
  threads = [
    threading.Thread(
      target=robot, args=(address, i, a, until, period, latencies, wrong)
    )
    for i, a in enumerate(actions)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  print(json.dumps({'latencies': latencies, 'wrong': wrong}))


if __name__ == '__main__':
  main(*sys.argv[1:])
