"""How good goals are: what they show, and what a policy makes of them."""

from typing import Any, NamedTuple

import jax
import numpy as np

from rpt_jax import results, vision
from rpt_jax.evals import intervals, probes
from rpt_jax.learning import imagining, reaching, scoring
from rpt_jax.models import sequence
from rpt_jax.results import Imagine
from rpt_jax.types import TEXT, UNIT
from rpt_jax.vision.dvae import Codes

_PENALTY = 1e-4  # Of the probe, times its rows.
_SHOWN = 4  # Scenes on the page, the best, and as many of the worst.
# What is told by a difference, in the order it should have.
PAIRS = (
  (Imagine.CODED, Imagine.BEST),
  (Imagine.BEST, Imagine.ONE),
  (Imagine.ONE, Imagine.SHUFFLED),
  (Imagine.SHUFFLED, Imagine.OTHER),
  (Imagine.LATENT, Imagine.SHUFFLED),
)


class Eyes(NamedTuple):
  """Frames as policies and the probe see them: a small picture, centred."""

  model: vision.VisionModel
  mean_D: np.ndarray
  scale: float

  def __call__(self, image_NHWC):
    latent_ND = _latents(self.model, image_NHWC)
    return (latent_ND - self.mean_D[None]) / self.scale

  def all(self, image_NHWC: np.ndarray) -> np.ndarray:
    """Of many frames, some at once."""
    return (
      np.asarray(self.model.encode(image_NHWC)) - self.mean_D
    ) / self.scale


def eyes(image_NHWC: np.ndarray, size: int = 8) -> Eyes:
  """Those that suit some frames; `size` is a side of the small picture.

  A linear map reads where blocks are from 8 x 8 pixels within 0.005 sides of a
  frame: a cell is the mean of what it covers, so that edges within it count.
  """
  model = vision.load('pixels', image_size=image_NHWC.shape[1], size=size)
  x_ND = np.asarray(model.encode(image_NHWC))
  return Eyes(model, x_ND.mean(0), float(x_ND.std()))


def _latents(model, image_NHWC):
  return model.apply(model.params, model.preprocess(image_NHWC))


def probe(see: Eyes, image_NHWC, state_NP) -> probes.Ridge:
  """What reads positions of blocks from frames: one linear map."""
  x_ND = see.all(image_NHWC)
  return probes.fit(x_ND, state_NP, _PENALTY * len(x_ND))


class Models(NamedTuple):
  """What goals are made of, and by."""

  codes: Codes
  score: scoring.Score
  drawing: imagining.Trained
  foreseeing: imagining.Trained

  def through_codes(self, image_NHWC: np.ndarray) -> np.ndarray:
    """Frames as their codes show them."""
    code_NK = imagining.encode(self.codes, image_NHWC)
    return imagining.decode(self.codes, code_NK)

  def pictures(self, triples, text_NL, num: int, key: jax.Array) -> np.ndarray:
    """`num` goals of each scene [N, num, H, W, 3]."""
    code_NSK = imagining.draw(*self.drawing, triples.code_NK, text_NL, num, key)
    flat_MK = code_NSK.reshape(-1, code_NSK.shape[-1])
    image_MHWC = imagining.decode(self.codes, flat_MK)
    return image_MHWC.reshape(*code_NSK.shape[:2], *image_MHWC.shape[1:])

  def accuracy(self, triples) -> float:
    """Share of codes of goals named rightly, each given those before it."""
    batch = {
      'inputs': {
        TEXT: triples.text_NL,
        UNIT: np.concatenate([triples.code_NK, triples.goal_NK], 1)[..., None],
      }
    }
    apply = sequence.bind(*self.drawing)
    loss = jax.jit(lambda batch: imagining.drawing_loss(apply, batch, None))
    total, count = loss(batch)[1]['accuracy']
    return float(total / count)


class Drawn(NamedTuple):
  """Kinds of goals of the same scenes, by `results.Imagine`."""

  pictures: dict[str, np.ndarray]  # uint8 [N, H, W, 3]
  latents: dict[str, np.ndarray]  # [N, D]


def drawn(models: Models, scenes, triples, num: int, key: jax.Array) -> Drawn:
  """Every kind of goal of every scene.

  Args:
    scenes: frames before and after, and the `tables`.
    triples: the same as codes and tokens.
    num: goals of which the best is chosen; the first of them is the one draw.
  """
  keys, texts = jax.random.split(key, 3), scenes.tables.texts
  seed = int(jax.random.randint(key, (), 0, 1 << 30))
  other_N = others(scenes.tables.goal_N, np.random.default_rng(seed))
  text_NL = triples.text_NL
  several = models.pictures(triples, text_NL, num, keys[0])
  wrong = models.pictures(triples, text_NL[other_N], 1, keys[1])[:, 0]
  flat = several.reshape(-1, *several.shape[2:])
  match_NS = models.score.of(flat, np.repeat(texts, num).tolist())
  best_N = match_NS.reshape(len(texts), num).argmax(1)
  latent_ND = imagining.foresee(
    *models.foreseeing, triples.code_NK, text_NL, keys[2]
  )
  pictures = {
    Imagine.TRUE: scenes.last_NHWC,
    Imagine.CODED: models.through_codes(scenes.last_NHWC),
    Imagine.BEST: several[np.arange(len(texts)), best_N],
    Imagine.ONE: several[:, 0],
    Imagine.SHUFFLED: wrong,
    Imagine.OTHER: models.through_codes(scenes.last_NHWC[other_N]),
  }
  latents = {Imagine.LATENT_TRUE: triples.latent_ND, Imagine.LATENT: latent_ND}
  return Drawn(pictures, latents)


class Judge(NamedTuple):
  """What goals of some scenes are worth."""

  domain: Any
  tables: Any
  see: Eyes
  probe: probes.Ridge

  def poses(self, image_NHWC: np.ndarray) -> dict[str, np.ndarray]:
    """How far off is what a probe reads of goals, by `results.Imagine`: [N]."""
    read_NP = self.probe(self.see.all(image_NHWC))
    own_N = self.domain.own(self.tables.goal_N)
    off_NB = np.linalg.norm(
      (read_NP - self.tables.last_NP).reshape(len(own_N), -1, 2), axis=-1
    )
    return {
      Imagine.OFF: off_NB[np.arange(len(own_N)), own_N],
      Imagine.RIGHT: (off_NB < self.domain.near).all(-1),
    }

  def pictures(self, drawn_S, score) -> dict[str, dict[str, list[float]]]:
    """{measure: {goal: its mean over scenes in every seed}} of pictures."""
    values = {}
    for drawn in drawn_S:
      for goal, image_NHWC in drawn.pictures.items():
        match_N = score.of(image_NHWC, self.tables.texts)
        measured = self.poses(image_NHWC) | {Imagine.MATCH: match_N}
        for measure, x_N in measured.items():
          by_goal = values.setdefault(measure, {})
          by_goal.setdefault(goal, []).append(float(np.mean(x_N)))
    return values

  def successes(self, own, params_S, goals_S, keys_S) -> dict[str, np.ndarray]:
    """{goal: bool [S, N]}: whether policies do what was asked for.

    At the end of some stroke: they are not told when to stop.

    Args:
      own: the model of the policies, of `reaching.model`.
      params_S, goals_S, keys_S: of each seed its parameters, {goal: how it is
        shown [N, G]}, and a key.
    """
    first_NP, strokes = self.tables.first_NP, self.domain.strokes

    @jax.jit
    def run(params, goal_NG, key):
      def act(image_NHWC, key):
        latent_ND = self.see(image_NHWC)
        return reaching.act(own, params, latent_ND, goal_NG, key)

      return self.domain.attempt(act, first_NP, key, strokes)['state']

    def done(state_NP):
      return self.domain.succeeded(self.tables, state_NP)

    judge = jax.jit(jax.vmap(done))
    seeds = list(zip(params_S, goals_S, keys_S, strict=True))
    return {
      name: np.stack(
        [
          judge(run(params, goals[name], key)).any(0)
          for params, goals, key in seeds
        ]
      )
      for name in goals_S[0]
    }


def shown(judge: Judge, scenes, pictures: dict[str, np.ndarray]) -> dict:
  """{name: array} of scenes, the best imagined first, the worst last.

  Best by how far off the object that was asked for is, in the one draw.
  """
  off_N = judge.poses(pictures[Imagine.ONE])[Imagine.OFF]
  order_N = np.argsort(off_N)
  few = min(_SHOWN, len(order_N) // 2)
  order_N = np.concatenate([order_N[:few], order_N[-few:]])
  chosen = {name: x[order_N] for name, x in pictures.items()}
  about = {'first': scenes.first_NHWC, 'off': off_N}
  return {
    'text': np.array(scenes.tables.texts)[order_N],
    **{name: x[order_N] for name, x in about.items()},
    **chosen,
  }


def others(goal_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """For each scene another one, in which something else was asked for."""
  order_N = rng.permutation(len(goal_N))
  chosen = []
  for i, goal in enumerate(goal_N):
    different = order_N[goal_N[order_N] != goal]
    fallback = order_N[order_N != i]  # Where all were asked for the same.
    pool = different if len(different) else fallback
    chosen.append(pool[rng.integers(len(pool))])
  return np.array(chosen)


def rows(values: dict[str, dict[str, list]]) -> list[results.Row]:
  """Means over seeds with their intervals, and differences between goals.

  Args:
    values: {measure: {goal: its mean in every seed [S]}}.
  """
  written = []
  for name, by_goal in values.items():
    for goal, x_S in by_goal.items():
      row = _row(name, x_S, goal=goal)
      written.append(row)
    for goal, other in PAIRS:
      if {goal, other} <= {*by_goal}:
        difference_S = np.subtract(by_goal[goal], by_goal[other])
        over = Imagine.over(name)
        written.append(_row(over, difference_S, goal=goal, other_goal=other))
  return written


def _row(name, x_S, **tags):
  """A mean over seeds; of one seed there is no interval."""
  interval = None
  if len(x_S) > 1:
    interval = intervals.t_interval(np.asarray(x_S, float))[1:]
  return results.row(
    Imagine.STAGE, name, np.mean(x_S), interval, len(x_S), **tags
  )
