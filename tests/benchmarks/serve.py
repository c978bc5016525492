"""How long a robot waits for a policy server, and what a server endures.

    python -m tests.benchmarks serve          latency with 1, 8, 32 robots
    python -m tests.benchmarks.serve 300      seconds of load, one line each 10

The policy is that of `tests/benchmarks/policy.py`: three cameras of 96 x 96.
Robots ask at 10 Hz, each from a process that they share, on the machine of the
server. Under load there are eight, of which one is killed every few seconds and
comes again, and a ninth client that sends nonsense. Every answer is compared
with what a policy that is alone does.
"""

import contextlib
import json
import logging
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
from websockets.sync.client import connect

from rpt_jax import vision
from rpt_jax.serve import messages
from tests.benchmarks import clients
from tests.benchmarks import policy as benchmark

HERTZ, SECONDS, ROBOTS = 10, 12.0, (1, 8, 32)
IMAGE = {
  'image_size': clients.SIDE,
  'patch': 16,
  'width': benchmark.WIDTH,
  'depth': 4,
  'num_heads': 4,
  'output': 'mean_patch',
}


def run() -> list[dict]:
  """Seconds that robots wait, beside those of `Policy.act` with one."""
  rows = []
  with prepared(max(ROBOTS)) as (folder, actions, alone):
    for robots in ROBOTS:
      with serving(folder / 'policy', robots) as (server, address):
        outcome = play(address, actions[:robots], SECONDS, folder)
        stop(server)
      assert not outcome['wrong'], outcome['wrong'][:3]
      waits = np.asarray(outcome['latencies'])
      for name, ours, peer in (
        ('median', np.median(waits), np.median(alone)),
        ('99 %', np.quantile(waits, 0.99), np.quantile(alone, 0.99)),
      ):
        rows.append(
          {
            'name': f'served, {robots} robots at 10 Hz, {name} (peer: act)',
            'ours': float(ours),
            'peer': float(peer),
            'ratio': float(peer / ours),
          }
        )
  return rows


@contextlib.contextmanager
def prepared(robots):
  """(folder with a policy, actions [N, T, A] of robots alone, seconds)."""
  image = vision.load('random', **IMAGE)
  names = [f'latent/{camera}' for camera in clients.CAMERAS]
  policy = benchmark.build(names, image=image, image_from=('random', IMAGE))
  actions, seconds = [], []
  for seed in range(robots):
    policy.reset(seed=seed)
    actions.append([])
    for observation in clients.episode(seed):
      one = {name: x[None] for name, x in observation.items()}
      began = time.perf_counter()
      actions[-1].append(policy.act(one)[0])
      seconds.append(time.perf_counter() - began)
  with tempfile.TemporaryDirectory() as folder:
    policy.save(f'{folder}/policy')
    yield pathlib.Path(folder), np.asarray(actions), seconds


@contextlib.contextmanager
def serving(policy, sessions, *flags, errors='/dev/null'):
  """(process, address) of a server that has compiled all."""
  command = [sys.executable, '-m', 'rpt_jax.serve', '--port=0', *flags]
  command += [f'--policy={policy}', f'--sessions={sessions}']
  with open(errors, 'w') as stderr:
    server = subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    try:
      line = server.stdout.readline()
      yield server, re.search(r'ws://\S+', line)[0]
    finally:
      server.kill()


def play(address, actions, seconds, folder):
  """What robots in another process measured."""
  file = folder / f'{threading.get_ident()}.npz'
  np.savez(file, actions=actions)
  command = [sys.executable, '-m', 'tests.benchmarks.clients']
  command += [address, str(file), str(seconds), str(HERTZ)]
  return json.loads(subprocess.check_output(command))


def stop(server):
  """What it says at its end, which SIGTERM asks for."""
  server.send_signal(signal.SIGTERM)
  said, _ = server.communicate(timeout=30)
  assert server.returncode == 0, server.returncode
  return said.strip()


def load(seconds):
  """Prints what a server endures."""
  with prepared(8) as (folder, actions, alone):
    errors, served = folder / 'stderr.txt', folder / 'policy'
    with serving(served, 9, errors=errors) as (server, address):
      until = time.monotonic() + seconds
      outcome, counts = {}, {'killed': 0, 'nonsense': 0}
      work = [
        lambda: outcome.update(play(address, actions[:7], seconds, folder)),
        lambda: killed(address, actions[7:], folder, until, counts),
        lambda: hostile(address, until, counts),
      ]
      threads = [threading.Thread(target=each) for each in work]
      for thread in threads:
        thread.start()
      memory = []
      while any(thread.is_alive() for thread in threads):
        memory.append(resident(server.pid))
        print(f'{memory[-1]:.1f} MiB resident, {counts}', flush=True)
        time.sleep(10)
      said = stop(server)
    waits = outcome['latencies']
    print(said)
    print(f'answers {len(waits)}, wrong {len(outcome["wrong"])}')
    for name, x in (('served', waits), ('Policy.act', alone)):
      median, late = 1000 * statistics.median(x), 1000 * np.quantile(x, 0.99)
      print(f'{name}: median {median:.1f} ms, 99 % {late:.1f} ms')
    print(f'memory: {memory[0]:.1f} MiB at first, {memory[-1]:.1f} at last')
    print(f'standard error: {errors.read_text()!r}')


def killed(address, actions, folder, until, counts):
  """A robot whose process is killed every few seconds, and begins again."""
  file = folder / 'killed.npz'
  np.savez(file, actions=actions)
  command = [sys.executable, '-m', 'tests.benchmarks.clients']
  while time.monotonic() < until:
    process = subprocess.Popen([*command, address, str(file), '1000', '10'])
    time.sleep(5)
    process.kill()
    process.wait()
    counts['killed'] += 1


def hostile(address, until, counts):
  """A client that sends what no client sends."""
  rng = np.random.default_rng(0)
  nonsense = [
    b'',
    bytes(rng.integers(256, size=1000, dtype=np.uint8)),
    b'\xdd\x00\x0f\xff\xff' * 1000,
    messages.pack({'corner2': np.zeros((96, 96, 3))}),
    messages.pack(clients.episode(0)[0])[:-5],
    messages.pack(clients.episode(0)[0] | {'proprio': np.full(4, np.nan)}),
    bytes(8 << 20),
    'text',
  ]
  while time.monotonic() < until:
    with contextlib.suppress(Exception):
      silent = logging.Logger('hostile', logging.CRITICAL)
      with connect(address, open_timeout=5, logger=silent) as socket:
        socket.recv()
        while time.monotonic() < until:
          socket.send(nonsense[rng.integers(len(nonsense))])
          counts['nonsense'] += 1
          if rng.random() < 0.5:
            socket.recv()
    time.sleep(0.2)


def resident(process):
  """MiB of a process's memory."""
  text = pathlib.Path(f'/proc/{process}/statm').read_text()
  return int(text.split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


if __name__ == '__main__':
  load(float(sys.argv[1]))
