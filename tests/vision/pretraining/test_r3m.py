"""R3M: its losses against a transcription in PyTorch, and what is drawn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import target
from rpt_jax.vision import hashed_words, r3m_losses, sentences
from rpt_jax.vision.pretraining import r3m
from tests.vision.pretraining import test_image_door

COUNT, DIM, SAID, NEGATIVES = 6, 5, 4, 3
EPSILON = 1e-8


def batch():
  rng = np.random.default_rng(0)
  z_B5D = rng.normal(size=(COUNT, 5, DIM)).astype('f4')
  z_B5D[1, r3m_losses.S2] = z_B5D[1, r3m_losses.S1]  # s1 and s2 may be one.
  said_BL = rng.normal(size=(COUNT, SAID)).astype('f4')
  told_B = np.arange(COUNT) != 2
  others = [rng.permutation(COUNT) for _ in range(NEGATIVES)]
  others[0] = np.arange(COUNT)  # Each draws itself.
  return z_B5D, said_BL, told_B, np.stack(others)


def reward():
  head = r3m_losses.Reward(8)
  z = jnp.zeros((1, DIM))
  params = head.init(jax.random.key(0), z, z, jnp.zeros((1, SAID)))
  return head, jax.tree.map(lambda x: x + 0.1, params)


def of_r3m(torch, params, z_B5D, said_BL, told_B, others_KB):
  """trainer.py of facebookresearch/r3m, term by term."""

  def sim(a, b):
    return -torch.linalg.norm(a - b, dim=-1)

  def get_reward(first, now):
    x = torch.cat([first, now, said_BL], -1)
    for i in range(4):
      layer = params[f'hidden_{i}']
      x = torch.relu(x @ layer['kernel'] + layer['bias'])
    return (x @ params['project']['kernel'] + params['project']['bias'])[:, 0]

  def nce(positive, negatives):
    below = EPSILON + positive.exp() + sum(n.exp() for n in negatives)
    return -torch.log(EPSILON + positive.exp() / below)

  e0, eg, s0, s1, s2 = z_B5D.unbind(1)
  late = nce(sim(s2, s1), [sim(s2, s0), *(sim(s2, s2[o]) for o in others_KB)])
  early = nce(sim(s1, s0), [sim(s2, s0), *(sim(s0, s0[o]) for o in others_KB)])
  language = 0
  for later, earlier in ((eg, e0), (s1, s0), (s2, s1)):
    negatives = [get_reward(e0, earlier)]
    negatives += [get_reward(e0[o], later[o]) for o in others_KB]
    language = language + nce(get_reward(e0, later), negatives) / 3
  return (
    ((late + early) / 2).mean(),
    language[told_B].mean(),
    torch.linalg.norm(z_B5D, ord=1, dim=-1).mean(),
    torch.linalg.norm(z_B5D, ord=2, dim=-1).mean(),
  )


def test_losses_and_gradients_are_those_of_its_code():
  torch = pytest.importorskip('torch')
  head, variables = reward()
  z_B5D, said_BL, told_B, others_KB = batch()
  numbers = jax.tree.map(
    lambda x: torch.from_numpy(np.array(x)), variables['params']
  )
  z = torch.from_numpy(z_B5D).requires_grad_()
  theirs = of_r3m(
    torch,
    numbers,
    z,
    *map(torch.from_numpy, (said_BL, told_B, others_KB)),
  )

  def terms(z_B5D):
    def rewarded(*seen):
      return head.apply(variables, *seen)

    return r3m_losses.losses(rewarded, z_B5D, said_BL, told_B, others_KB)[:4]

  with target.rounding_to('float32'):
    ours = jax.jit(terms)(z_B5D)
    weights = np.array([1.0, 2.0, 0.3, 0.7], 'f4')
    slope = jax.jit(jax.grad(lambda z: jnp.dot(weights, jnp.stack(terms(z)))))
    gradient_B5D = slope(z_B5D)
  expected = [x.item() for x in theirs]
  np.testing.assert_allclose(np.stack(ours), expected, rtol=1e-5)
  whole = sum(w * x for w, x in zip(weights.tolist(), theirs, strict=True))
  whole.backward()
  np.testing.assert_allclose(gradient_B5D, z.grad, atol=1e-5)


def test_nothing_overflows_and_what_is_far_costs_its_floor():
  far = jnp.array([[500.0, -500.0], [-500.0, 500.0]])
  loss_B, right_B = r3m_losses.nce(far)
  np.testing.assert_allclose(loss_B, [0, -np.log(EPSILON)], atol=1e-5)
  assert right_B.tolist() == [True, False]


def test_five_frames_are_where_they_should_be():
  length_B = np.repeat([2, 3, 10, 25], 2000)
  draw_B5 = np.random.default_rng(0).random((len(length_B), 5))
  frames = r3m_losses.clip_frames(length_B, draw_B5)
  start, end, s0, s1, s2 = frames.T
  assert (s0 < s1).all() and (s1 <= s2).all() and (s0 >= 0).all()
  assert (s2 < length_B).all()
  assert (start <= 0.2 * length_B).all()
  assert (end >= length_B - 1 - 0.2 * length_B).all()
  # All of it is drawn, the last frame too.
  of_ten = frames[length_B == 10]
  expected = [(0, 2), (7, 9), (0, 8), (1, 9), (1, 9)]
  assert [*zip(of_ten.min(0), of_ten.max(0), strict=True)] == expected


def test_frames_of_a_clip_are_cut_alike():
  c = dataclasses.replace(test_image_door.tiny('r3m'), width=16, depth=1)
  c = dataclasses.replace(c, num_heads=2, reward_width=8)
  model = r3m.model(c, test_image_door.SIZE)
  seen = r3m.batch_at(c, test_image_door.stored(), 0)(0)
  still = seen | {'image': np.repeat(seen['image'][:, :1], 5, axis=1)}

  @jax.jit
  def metrics(key):
    return r3m.loss(c, model, model.init(key), still, key)[1]

  # Five times the same frame: no positive is nearer than what is far.
  measured = metrics(jax.random.key(1))
  assert measured['time'] > np.log(2) - 1e-3
  assert measured['time_accuracy'] == 0


def test_a_term_of_no_weight_is_left_out():
  terms = r3m_losses.Losses(2.0, 3.0, 5e5, 7e5, np.nan, np.nan)
  assert r3m.weighted(r3m.Settings(), terms) == 2 + 3 + 5 + 7
  assert r3m.weighted(r3m.Settings(language=0.5), terms) == 2 + 1.5 + 5 + 7
  for name in ('time', 'language', 'l1', 'l2'):
    c = r3m.Settings(**{name: 0.0})
    whole = r3m.weighted(c, terms._replace(**{name: np.nan}))
    assert np.isfinite(whole) and whole < 17


def test_language_without_a_sentence_is_refused():
  silent = dataclasses.replace(test_image_door.stored(), texts=np.full(4, ''))
  c = test_image_door.tiny('r3m')
  with pytest.raises(ValueError, match='config.image_model.language: found 1'):
    r3m.batch_at(c, silent, 0)
  r3m.batch_at(dataclasses.replace(c, language=0.0), silent, 0)
  with pytest.raises(ValueError, match='config.image_model.time: found 0'):
    r3m.Settings(time=0.0, language=0.0).check('config.image_model')


def test_sentences_are_bags_of_words_or_of_a_text_tower(tmp_path, monkeypatch):
  said = hashed_words.vectors(['Open the door', 'door the  open', '', 'close'])
  np.testing.assert_allclose(said[0], said[1], atol=1e-6)
  assert not said[2].any() and np.abs(said[0] - said[3]).max() > 0.1
  np.testing.assert_allclose(said[3, :2], [0.1241, -0.0808], atol=1e-4)

  class Tower:
    dim = 7

    def __init__(self, path):
      assert path == 'tower'

    def tokens(self, texts):
      return np.array([[[len(t)] * 7] for t in texts], 'f4'), 0

  monkeypatch.setattr(sentences, 'Tower', Tower)
  c = dataclasses.replace(test_image_door.tiny('r3m'), text_encoder='tower')
  assert r3m.model(c, test_image_door.SIZE).said_dim == 7
  batch = r3m.batch_at(c, test_image_door.stored(), 0)(0)
  assert batch['said'].shape == (test_image_door.BATCH, 7)
  lengths = {len(text) for text in test_image_door.stored().texts}
  assert {*batch['said'][:, 0]} == lengths and 0 in lengths
  assert (batch['told'] == (batch['said'][:, 0] > 0)).all()
