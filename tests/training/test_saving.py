"""`config.saving` is seen to act: what is written, and after how long."""

import json
import time
import types

import jax
import jax.numpy as jnp
import pytest

from rpt_jax.settings import Saving
from rpt_jax.training import checkpoint, loop, optimizer, step

NEVER = 10**9


@pytest.fixture
def train(tmp_path, monkeypatch):
  """`train(saving)` -> (steps saved, steps told); a step takes 10 seconds."""
  clock, saves = [0.0], []
  monkeypatch.setattr(
    loop,
    'time',
    types.SimpleNamespace(
      monotonic=lambda: clock[0], perf_counter=time.perf_counter
    ),
  )
  save = checkpoint.Checkpoints.save

  def recorded(self, number, state):
    saves.append(number)
    save(self, number, state)

  monkeypatch.setattr(checkpoint.Checkpoints, 'save', recorded)

  def train(saving, steps=7):
    tx = optimizer.adamw(0.1, steps)

    def init():
      params = {'kernel': jnp.ones(2)}
      return step.init_state(params, tx, jax.random.key(0))

    def loss(params, batch, key):
      return jnp.square(params['kernel'] - batch).sum(), {}

    take = jax.jit(step.step_fn(loss, tx))

    def train_step(state, batch):
      clock[0] += 10.0
      return take(state, batch)

    loop.fit(
      init,
      jax.eval_shape(init),
      train_step,
      jnp.float32,
      steps,
      directory=tmp_path,
      saving=saving,
      label='tiny',
    )
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    return saves, [json.loads(line)['step'] for line in lines]

  return train


def test_every_so_many_steps(train):
  saving = Saving(log_steps=2, save_steps=3, save_seconds=NEVER)
  assert train(saving) == ([3, 6, 7], [2, 4, 6, 7])


def test_every_step(train):
  saving = Saving(log_steps=1, save_steps=1, save_seconds=NEVER)
  assert train(saving, 3) == ([1, 2, 3], [1, 2, 3])


def test_after_so_many_seconds(train):
  saving = Saving(log_steps=NEVER, save_steps=NEVER, save_seconds=25.0)
  assert train(saving) == ([3, 6, 7], [7])


def test_seconds_count_from_the_last_checkpoint(train):
  saving = Saving(log_steps=NEVER, save_steps=2, save_seconds=15.0)
  assert train(saving)[0] == [2, 4, 6, 7]
