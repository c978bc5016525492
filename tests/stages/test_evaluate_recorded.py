"""Recorded episodes judged as a whole: rows, a kill, the policy kept."""

import json

import numpy as np
import pytest

import rpt_jax
from rpt_jax import domains
from rpt_jax.episodes import scales
from rpt_jax.learning import acting, cells, policies, tuning
from rpt_jax.results import Cell
from rpt_jax.stages import compare, evaluate, finetune
from rpt_jax.training import checkpoint
from tests.domains import test_open_loop
from tests.learning import tiny

CAMERAS = tuple(tiny.SIZES)

# Two policies are tuned through an image model for it: 80 seconds.
pytestmark = pytest.mark.slow


def stages(c, workdir):
  """The folders of an experiment, its policies trained but not judged."""
  inputs = tiny.encoded(c, workdir)
  tiny.pretrained(c, inputs)
  finetune.run(c, inputs, inputs['finetune'])
  return inputs


@pytest.fixture(scope='module')
def judged(tmp_path_factory):
  """(experiment, folders, rows) of policies tuned in two ways."""
  workdir = tmp_path_factory.mktemp('judged')
  tiny.write_dataset(workdir / 'squares')
  c = test_open_loop.config(
    workdir / 'squares',
    'apart',
    finetune__scratch__steps=(2,),
    finetune__probe__steps=(2,),
    finetune__finetune__steps=(2,),
    finetune__tuned__modes=('frozen', 'lora:2'),
    finetune__tuned__demos=(1,),
    finetune__tuned__steps=2,
    finetune__tuned__batch_size=2,
    finetune__tuned__augment__shift=2,
  )
  inputs = stages(c, workdir)
  return c, inputs, _rows(c, inputs)


def _rows(c, inputs):
  """What is said of policies, and of all of them together."""
  rows = evaluate.run(c, inputs, inputs['evaluate'])
  (inputs['evaluate'] / 'artifact.json').write_text('{"rows": []}')
  return rows + compare.run(c, {'evaluate': inputs['evaluate']}, None)


def entries(c):
  return cells.cells(c.finetune, tiny.runs(c))


def test_tuned_policies_are_scored_on_frames_they_see_anew(judged):
  c, inputs, rows = judged
  tuned = [cell for cell in entries(c) if cell.method == 'tuned']
  paths = [policies.path(inputs['finetune'], 'squares', cell) for cell in tuned]
  kept = [checkpoint.load_params(path) for path in paths]
  assert [tuning.PART in params for params in kept] == [False, True]
  written = {
    (row['name'], row['tags']['encoder'])
    for row in rows
    if row['tags'].get('method') == 'tuned'
  }
  names = ('score', 'paired_difference', 'paired_difference_p')
  names += ('paired_difference_bootstrap',)
  names += ('tuning_difference', 'tuning_difference_p')
  assert written == {(n, cell.encoder) for n in names for cell in tuned}
  assert json.dumps(rows)


def test_a_killed_judgement_goes_on_at_the_next_cell(judged, monkeypatch):
  c, inputs, rows = judged
  lost = Cell('next', 'tuned', 1, 'lora:2')
  (inputs['evaluate'] / 'squares' / f'{lost.name}.npz').unlink()
  seeds, again = acting.Actors.seeds, []

  def noting(actors, domain, cell):
    again.append(cell)
    return seeds(actors, domain, cell)

  monkeypatch.setattr(acting.Actors, 'seeds', noting)
  assert _rows(c, inputs) == rows
  assert again == [lost]


def test_the_policy_that_is_kept_says_what_was_judged(judged):
  """Loaded from its folder and shown held-out episodes, step by step."""
  c, inputs, _ = judged
  (domain,) = domains.of(c)
  folder = inputs['evaluate'] / 'squares' / 'policy'
  policy = rpt_jax.from_pretrained(folder).policy()
  assert policy.observed == (*CAMERAS, 'proprio')
  actors = tiny.actors(c, inputs)
  heldout = test_open_loop.opened(domain, inputs, actors)
  first, weights = actors.seeds(domain, cells.kept(c.finetune, tiny.runs(c)))
  chunk_NCA = heldout.predicted(first.program, weights)[0]
  action_NA = scales.invert(chunk_NCA[:, 0], policy.scales['action'])
  source, row = domain.source(inputs['collect'], 'heldout'), 0
  for i in range(len(source)):
    episode = source.read(i, (*CAMERAS, 'state', 'action'))
    policy.reset()
    for t, done_A in enumerate(episode['action']):
      now = {camera: episode[camera][t][None] for camera in CAMERAS}
      action = policy.act(now | {'proprio': episode['state'][t][None]})
      np.testing.assert_allclose(
        action[0], action_NA[row], **test_open_loop.ROUNDED
      )
      policy.executed(done_A[None])
      row += 1
  assert row == len(action_NA)
