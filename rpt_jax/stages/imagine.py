"""Goals imagined from a frame and a sentence, and a policy that acts on them.

Codes of frames come from the discrete VAE of the stage `see`. Trained here are
a model of frames and captions, which chooses among goals, one that draws their
codes, one that draws their latents, and policies that learned from play what
leads to what. What goals show is read by a linear probe, the only use of where
things truly are. Writes `goals.npz`: held-out scenes for the page.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rpt_jax import domains, files, results, settings
from rpt_jax.episodes import frames
from rpt_jax.learning import goals, imagining, reaching, scoring
from rpt_jax.models import words
from rpt_jax.results import Imagine, See
from rpt_jax.training import distributed, sharding
from rpt_jax.types import LATENT, UNIT
from rpt_jax.vision import dvae

_PRETRAIN, _HELDOUT, _PLAY = 'pretrain', 'heldout', 'play'


@dataclasses.dataclass(frozen=True)
class _Place:
  """Where trainings of the stage run, and how."""

  c: settings.Imagine
  saving: settings.Saving
  mesh: jax.sharding.Mesh
  directory: Path
  seed: int

  def where(self, name: str) -> dict:
    """Of one training: its folder, its saving, its label."""
    folder, label = self.directory / name, f'  {Imagine.STAGE} {name}'
    return {'directory': folder, 'saving': self.saving, 'label': label}


class _Scenes(NamedTuple):
  """Frames before and after, and what was asked for between."""

  first_NHWC: np.ndarray
  last_NHWC: np.ndarray
  tables: Any


def run(config, inputs, directory):
  """Rows: what every kind of goal shows, and what a policy makes of it."""
  c, mesh = config.imagine, sharding.make_mesh(config.mesh.sizes)
  place = _Place(c, config.saving, mesh, directory, config.seed)
  (domain,) = domains.of(config)
  pairs, scenes = (
    _scenes(domain, inputs, split, most)
    for split, most in ((_PRETRAIN, None), (_HELDOUT, c.scenes))
  )
  codes = dvae.codes(inputs[See.STAGE] / 'model')
  score = _score(place, pairs)
  said = words.train(pairs.tables.texts, c.vocab)
  learned = _triples(c, codes, said, score, pairs)
  models = goals.Models(codes, score, *_trained(place, codes, said, learned))
  see = goals.eyes(pairs.first_NHWC)
  seen = np.concatenate([pairs.first_NHWC, pairs.last_NHWC])
  state_NP = np.concatenate([pairs.tables.first_NP, pairs.tables.last_NP])
  judge = goals.Judge(
    domain, scenes.tables, see, goals.probe(see, seen, state_NP)
  )
  play = _play(domain, inputs, see, models)
  held = _triples(c, codes, said, score, scenes)
  keys_S = jax.random.split(jax.random.key(config.seed), c.seeds)
  drawn_S = [goals.drawn(models, scenes, held, c.samples, k) for k in keys_S]
  if distributed.is_first():
    shown = goals.shown(judge, scenes, drawn_S[0].pictures)
    files.write_arrays(directory / Imagine.PICTURES, shown)
  values = judge.pictures(drawn_S, score)
  values[Imagine.SUCCESS] = _acted(place, judge, play, drawn_S, keys_S)
  return goals.rows(values) + _measured(models, held, scenes)


def _scenes(domain, inputs, split, most):
  """The first `most` of a split, or all."""
  stored = frames.load([inputs['frames'] / domain.name / split])
  tables = domain.tables(inputs['collect'], split)
  count = len(tables.goal_N) if most is None else min(most, len(tables.goal_N))
  first_N = stored.clips.offsets[:count]
  last_N = first_N + stored.lengths[:count] - 1
  tables = type(tables)(*(x[:count] for x in tables))
  return _Scenes(stored.take(first_N), stored.take(last_N), tables)


def _score(place, pairs):
  """The model of captions, trained on frames that are as they say."""
  count, texts = len(pairs.last_NHWC), np.array(pairs.tables.texts)
  ends = frames.Frames(
    (pairs.last_NHWC,), np.ones(count, np.int32), np.zeros(count), texts
  )
  c, where = place.c.score, place.where('score')
  return scoring.train(c, ends, place.mesh, place.seed, **where)


def _triples(c, codes, said, score, scenes):
  """What goals are drawn from, and what is learned of them."""
  return imagining.Triples(
    imagining.encode(codes, scenes.first_NHWC),
    imagining.encode(codes, scenes.last_NHWC),
    said.tokens(scenes.tables.texts, c.text_length)[0],
    score.latents(scenes.last_NHWC),
  )


def _trained(place, codes, said, triples):
  """Two models with their parameters: of codes, and of latents."""
  c, dim = place.c, triples.latent_ND.shape[1]
  lessons = imagining.lessons(c, codes.sizes, said.vocab, dim)
  for name, lesson in lessons.items():
    batch_at = imagining.batches(name, triples, c.batch_size, place.seed)
    key, where = jax.random.key(place.seed), place.where(name)
    params = imagining.train(lesson, batch_at, c, place.mesh, key, **where)
    yield imagining.Trained(lesson.model, params)


def _play(domain, inputs, see, models):
  """{how goals are shown: episodes of play}."""
  clips = domain.source(inputs['collect'], _PLAY).read_all(('image', 'action'))
  image_NHWC, lead = clips.arrays['image'], (len(clips.lengths), -1)
  action_ETA = clips.arrays['action'].reshape(*lead, domain.action_dim)
  latent_ND = see.all(image_NHWC)
  shown = {
    UNIT: see.all(models.through_codes(image_NHWC)),
    LATENT: models.score.latents(image_NHWC),
  }
  latent_ETD = latent_ND.reshape(*lead, latent_ND.shape[1])
  return {
    name: reaching.Play(latent_ETD, x.reshape(*lead, x.shape[1]), action_ETA)
    for name, x in shown.items()
  }


def _acted(place, judge, play, drawn_S, keys_S):
  """{goal: its success in every seed}, each seed with a policy of its own."""
  shown_S = [
    {
      UNIT: {k: judge.see.all(x) for k, x in drawn.pictures.items()},
      LATENT: drawn.latents,
    }
    for drawn in drawn_S
  ]
  c, success = place.c.reach, {}
  for name, episodes in play.items():
    own = reaching.model(c, episodes.dims)
    lesson = imagining.Lesson(own, reaching.loss, c.steps)
    params_S = [
      imagining.train(
        lesson,
        reaching.batches(c, episodes, 1000 * place.seed + seed),
        c,
        place.mesh,
        key,
        **place.where(f'reach_{name}_{seed}'),
      )
      for seed, key in enumerate(keys_S)
    ]
    goals_S = [shown[name] for shown in shown_S]
    done = judge.successes(own, params_S, goals_S, keys_S)
    success |= {goal: done_SN.mean(1) for goal, done_SN in done.items()}
  return success


def _measured(models, held, scenes):
  """Rows: how well codes are named, and scenes pairs by their sentences."""
  values = {
    Imagine.ACCURACY: models.accuracy(held),
    Imagine.NAMED: models.score.named(scenes.last_NHWC, scenes.tables.texts),
  }
  return [
    results.row(Imagine.STAGE, name, value) for name, value in values.items()
  ]
