"""Chunks for robots that play on until an answer is there."""

import dataclasses
import itertools

import numpy as np
import pytest
import serving

from rpt_jax.models.heads import flow
from rpt_jax.policy import Execution, Policy
from rpt_jax.serve import __main__ as command
from rpt_jax.serve import starting
from tests.policy import robots

DELAY, STEPS = 2, 5


def chunks(served):
  """What a robot is answered at every step."""
  seen, _ = robots.episode(STEPS, streams=serving.STREAMS, seed=3)
  with serving.serve(served, delay=DELAY) as running:
    with running.client() as robot:
      return [
        robot.act({name: x[0] for name, x in now.items()})['actions']
        for now in seen
      ]


def flowing(realtime):
  """A policy whose chunks are drawn."""
  parts = robots.parts(serving.STREAMS, chunk=serving.CHUNK)
  (spec,) = parts['model'].heads
  head = flow.Settings(width=16, euler=5)
  spec = dataclasses.replace(spec, settings=head)
  model = parts['model'].clone(heads=(spec,))
  parts |= {'model': model, 'params': robots.initial(model)}
  return Policy(**parts, execution=Execution(realtime=realtime))


def news(answers):
  """How far the first step of a chunk that is of use is from the one before."""
  return [
    np.abs(after[DELAY] - before[DELAY + 1]).mean()
    for before, after in itertools.pairwise(answers)
  ]


def test_what_is_played_meanwhile_stays_as_it_was():
  answers = chunks(serving.policy())
  for before, after in itertools.pairwise(answers):
    np.testing.assert_allclose(after[:DELAY], before[1 : DELAY + 1], atol=1e-6)
  assert min(news(answers)) > 1e-3


def test_the_rest_of_a_drawn_chunk_goes_on_from_there():
  anew, realtime = (chunks(flowing(realtime)) for realtime in (False, True))
  assert np.mean(news(realtime)) < np.mean(news(anew)) / 2


@pytest.mark.parametrize(
  'flags, words',
  [
    (['--delay=8'], '--delay: found 8, expected 0 to 7'),
    (['--delay=-1'], '--delay: found -1'),
    (['--realtime'], 'the head cannot go on from the chunk before'),
  ],
)
def test_delays_that_cannot_be_are_refused(tmp_path, flags, words):
  serving.policy().save(tmp_path / 'policy')
  asked = command.flags().parse_args([f'--policy={tmp_path}/policy', *flags])
  with pytest.raises(ValueError, match=words):
    starting.server(asked)
