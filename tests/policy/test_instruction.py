"""A policy is told a sentence when an episode begins, and acts by it."""

import json

import jax
import numpy as np
import pytest

import rpt_jax
from rpt_jax.models import sequence, words
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Policy, checks
from rpt_jax.policy.observed import Field
from rpt_jax.types import TEXT, StreamSpec
from rpt_jax.vision.sentences import Tower
from tests.policy import test_prefix_acting as prefix

B, L = prefix.B, 6
SAID = ['open the drawer', 'close the drawer']
WORDS = words.train(SAID, words.BYTES + 30)


def policy(vocab=512, **how):
  text = StreamSpec('text', 'prefix', vocab=vocab, levels=L)
  streams = (text, prefix.PROPRIO, prefix.ACTION)
  heads = behaviour_cloning.heads(linear.Settings(), 3, streams, prefix.ACTION)
  model = sequence.SequenceModel(
    streams, heads, transformer.Settings(1, 2), 16, 4, visibility='causal'
  )
  params = sequence.init(model, jax.random.key(0))
  return Policy(model, params, prefix.SCALES, words=WORDS, **how)


@pytest.fixture(scope='module')
def acting():
  return policy()


def played(acting, instruction, steps=3):
  acting.reset(B, instruction=instruction)
  seen = [{'proprio': prefix.seen(t, 0)['proprio']} for t in range(steps)]
  return np.stack([acting.act(now) for now in seen])


def test_it_acts_by_what_each_is_told(acting):
  assert acting.observed == ('proprio',)
  both = played(acting, SAID[0])
  apart = played(acting, SAID)
  np.testing.assert_array_equal(both[:, 0], apart[:, 0])
  assert (both[:, 1] != apart[:, 1]).any(-1).all()
  # As its tokens do, shown at every step to one that has no vocabulary.
  bare = Policy(acting.model, acting.params, prefix.SCALES)
  tokens = prefix.played(bare, WORDS.said(SAID, L), steps=3)
  np.testing.assert_array_equal(apart, tokens)


def test_nothing_said_is_no_token(acting):
  bare = Policy(acting.model, acting.params, prefix.SCALES)
  silent = prefix.played(bare, np.full((B, L), -1), steps=3)
  for nothing in ('', ' ', ['', '']):
    np.testing.assert_array_equal(played(acting, nothing), silent)
  # What was said in the episode before is forgotten.
  played(acting, SAID)
  acting.reset(B)
  first = acting.act({'proprio': prefix.seen(0, 0)['proprio']})
  np.testing.assert_array_equal(first, silent[0])


def test_what_cannot_be_meant_is_refused_before_the_robot_moves(acting):
  for wrong, match in (
    ('open the drawer ' * 9, 'expected at most 6, as in training'),
    (SAID[:1], 'found 1 instructions'),
    (['open', 3], 'found int, expected a text'),
  ):
    with pytest.raises(ValueError, match=match):
      acting.reset(B, instruction=wrong)
  bare = Policy(acting.model, acting.params, prefix.SCALES)
  with pytest.raises(ValueError, match="reads none: it is shown .'proprio'"):
    bare.reset(B, instruction='open')
  with pytest.raises(ValueError, match='unknown .*text'):
    acting.reset(B)
    acting.act(prefix.seen(0, np.zeros((B, L))))


def test_it_is_saved_with_its_vocabulary(acting, tmp_path):
  acting.save(tmp_path / 'policy')
  model = rpt_jax.from_pretrained(tmp_path / 'policy')
  loaded = model.policy()
  assert loaded.words == acting.words == model.words
  np.testing.assert_array_equal(played(loaded, SAID), played(acting, SAID))
  card = (tmp_path / 'policy/README.md').read_text()
  assert f'told an instruction of at most {L} tokens' in card
  loaded.save(tmp_path / 'again')
  assert (tmp_path / 'again' / words.FILE).exists()
  x = {'proprio': np.zeros((B, 2, prefix.P), 'f4')}
  told = model.features(x | {'text': SAID})
  tokens = model.features(x | {'text': WORDS.said(SAID, L)})
  np.testing.assert_array_equal(told, tokens)


def test_a_vocabulary_that_the_stem_lacks_is_refused(acting, tmp_path):
  with pytest.raises(ValueError, match="stream 'text' of the policy has 256"):
    policy(vocab=words.BYTES)
  acting.save(tmp_path / 'policy')
  larger = words.train([json.dumps(SAID) * 9, 'a lot more', *SAID], 9999)
  model = acting.model
  small = model.clone(
    streams=(
      StreamSpec('text', 'prefix', vocab=256, levels=L),
      *model.streams[1:],
    )
  )
  params = sequence.init(small, jax.random.key(0))
  Policy(small, params, prefix.SCALES).save(tmp_path / 'small')
  larger.save(tmp_path / 'small')
  with pytest.raises(ValueError, match='but the model reads 256'):
    rpt_jax.from_pretrained(tmp_path / 'small')


class Sized(Tower):
  """A text tower of three numbers, which nobody runs."""

  dim = 3


@pytest.mark.parametrize(
  'field', (None, Field((1, 4)), Field((2, 3)), Field((3,)))
)
def test_a_tower_gives_what_the_policy_reads(field):
  tower = Sized('nowhere')
  assert checks.words(tower, {TEXT: Field((1, 3))}) is tower
  with pytest.raises(ValueError, match='words: a text tower of 3 numbers'):
    checks.words(tower, {TEXT: field} if field else {})
