"""Behaviour cloning through the image model, part of which trains, too.

It goes on from the policy that learned on the frozen image model's latents: a
head that knows nothing would distort what the image model knows (Kumar et al.
2022, arXiv 2202.10054). Mode 'frozen' is the control: as many steps more, on
as many views. Frames of the demonstrations stay on the host at their own size;
a step draws windows of them, changes their look on the device and encodes
them. Seeds are trained one after the other by one compiled step, so that
memory does not grow with their number.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from rpt_jax import settings
from rpt_jax.domains import Domain
from rpt_jax.episodes import CorruptEpisode, reading, store, windows
from rpt_jax.learning import cloning, demonstrations
from rpt_jax.learning.encoders import FrameEncoder
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.training import optimizer, step
from rpt_jax.types import ACTION, CAMERA, LATENT, Array, PyTree
from rpt_jax.vision import augment, tuning

# Among a policy's parameters: what trains of its image model, and what its
# head has that is not learned.
PART, CONSTANTS = 'encoder', 'constants'
_IMAGE = 'image'


class Seeds(NamedTuple):
  """What seeds differ in, all [S, ...]."""

  params: PyTree  # Of a policy on the frozen image model.
  picks: Array
  count: Array
  key: Array


class Parts(NamedTuple):
  """What the parameters of a policy are of."""

  model: PyTree
  image: PyTree  # The trained part of its image model.
  constants: dict[str, Array]  # Of the head of the actions.


def split_policy(params: PyTree) -> Parts:
  """A policy's parameters, taken apart."""
  own = {k: v for k, v in params.items() if k not in (PART, CONSTANTS)}
  return Parts(own, params.get(PART, {}), params.get(CONSTANTS, {}))


def data(
  domain: Domain,
  inputs: Mapping[str, Path],
  demos: demonstrations.Demos,
  picks_SN: np.ndarray,
) -> tuple[dict, np.ndarray]:
  """The demonstrations in `picks_SN` with their frames, and the picks in them.

  Only those that some seed learns from are decoded.
  """
  table = demos.table
  chosen = np.unique(table.clip[picks_SN])
  rows = np.flatnonzero(np.isin(table.clip, chosen))
  lengths = np.bincount(table.clip)[chosen]
  frames = list(_episodes(domain, inputs, domain.demos, demos.episodes[chosen]))
  others = {
    k: np.asarray(x)[rows]
    for k, x in demos.data.items()
    if k != 'table' and not k.startswith(LATENT)
  }
  return others | {
    _IMAGE: tuple(
      np.concatenate([e[c] for e in frames]) for c in domain.cameras
    ),
    'table': windows.windows(lengths, 1),
  }, np.searchsorted(rows, picks_SN)


def _episodes(domain, inputs, split, chosen=None):
  """{camera: frames [T, H, W, 3]} of the episodes that have latents."""
  source = domain.source(inputs['collect'], split)
  kept = np.array(store.kept(inputs['encode'] / domain.name / split))
  kept = kept if chosen is None else kept[chosen]
  for _, episode in reading.read_ahead(source, domain.cameras, kept.tolist()):
    if isinstance(episode, CorruptEpisode):
      raise episode
    yield episode


def train(
  c: settings.Finetune,
  mode: str,
  encoder: FrameEncoder,
  model: sequence.SequenceModel,
  cameras: tuple[str, ...],
  data: dict,
  measured: dict,
  seeds: Seeds,
):
  """(parameters [S, ...], mean loss of the last tenth [S]).

  Args:
    c: steps, windows and learning rate are those of `c.tuned`.
    mode: of `vision.tuning`; what trains of the image model is returned under
      `PART`.
    model: of the policy.
    data: 'image' ([N, H, W, 3] of each of the `cameras`), 'action', 'table',
      other streams.
    measured: the scale of every stream.
  """
  done = []
  for seed in range(len(seeds.count)):
    own = jax.tree.map(lambda x, i=seed: x[i], seeds)
    update = _update(model, encoder.apply, c, cameras)
    done.append(
      _train_one(c, mode, encoder, model, update, data, measured, own)
    )
    print(f'    seed {seed + 1}: loss {done[-1][1]:.4f}', flush=True)
  return jax.tree.map(lambda *x: np.stack(x), *done)


def _train_one(c, mode, encoder, model, update, data, measured, seed):
  trained, fixed = jax.device_put(tuning.split(encoder.params, mode, seed.key))
  policy = split_policy(seed.params)
  params = policy.model | {PART: trained}
  state = step.init_state(params, _optimizer(c), seed.key)
  felt = [s.name for s in model.streams if not s.name.startswith(LATENT)]
  losses = []
  steps, size = c.tuned.steps, c.tuned.batch_size
  for picks_B in np.asarray(_picks(*seed[1:], steps, size)):
    batch = demonstrations.batch(
      data, picks_B, (_IMAGE, *felt), model.context, c.chunk
    )
    fixed_parts = {'fixed': fixed, 'measured': measured}
    fixed_parts[CONSTANTS] = policy.constants
    state, metrics = update(state, batch | fixed_parts)
    losses.append(metrics['loss'])
  last = jax.device_get(losses[-max(steps // 10, 1) :])
  kept = {CONSTANTS: policy.constants} if policy.constants else {}
  return jax.device_get(state.params) | kept, np.mean(last)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _picks(picks_N, count, key, steps, size):
  """The windows of all steps: [steps, size]."""
  draw = functools.partial(demonstrations.draw, key)
  return jax.vmap(lambda i: draw(i, picks_N, count, size))(jnp.arange(steps))


@functools.cache
def _update(model, apply, c, cameras):
  """The jitted step of a policy and its image model, the state donated."""
  changes = augment.Augmentation(**dataclasses.asdict(c.tuned.augment))

  def loss_fn(params, batch, key):
    policy = split_policy(params)
    image = tuning.merge(policy.image, batch['fixed'])
    inputs = dict(batch['inputs'])
    latents = {}
    # In the order of cameras, which a dictionary does not keep under jit.
    for i, image_BTHWC in enumerate(inputs.pop(_IMAGE)):
      place = jax.random.fold_in(key, i)
      image_BTHWC = augment.augment(place, image_BTHWC, changes)
      frames = rearrange(image_BTHWC, 'b t h w c -> (b t) h w c')
      latent_ND = apply(image, {_IMAGE: frames})
      latents[cameras[i]] = rearrange(
        latent_ND, '(b t) d -> b t d', b=len(image_BTHWC)
      )
    inputs |= camera_streams(model, latents)
    batch = cloning.scaled(batch | {'inputs': inputs}, batch['measured'])
    constants = {ACTION: batch[CONSTANTS]}
    bound = sequence.bind(model, policy.model, constants)
    return behaviour_cloning.loss(bound, batch, key)

  return step.make_train_step(loss_fn, _optimizer(c))


def camera_streams(model, latents: dict) -> dict:
  """The streams of a model that are latents, of those of its cameras."""
  streams = {f'{CAMERA}{camera}': x for camera, x in latents.items()}
  streams[LATENT] = jnp.concatenate(list(latents.values()), axis=-1)
  names = {stream.name for stream in model.streams}
  return {name: x for name, x in streams.items() if name in names}


def _optimizer(c):
  return optimizer.adamw(
    c.tuned.learning_rate,
    c.tuned.steps,
    weight_decay=c.weight_decay,
    freeze=c.freeze,
  )


def latents(
  domain: Domain,
  inputs: Mapping[str, Path],
  split: str,
  encoder: FrameEncoder,
  mode: str,
  trained_S: PyTree,
  batch_size: int,
) -> dict[str, np.ndarray]:
  """{camera: f16 [S, N, D]} of a split as every seed's image model sees it.

  Every frame is decoded once, whatever the number of seeds.
  """
  _, fixed = tuning.split(encoder.params, mode)
  see = functools.partial(_see(encoder.apply), fixed, trained_S)
  done = {camera: [] for camera in domain.cameras}
  episodes = _episodes(domain, inputs, split)
  for batch, count in reading.batches(episodes, batch_size):
    for camera, parts in done.items():
      parts.append(np.asarray(see({_IMAGE: batch[camera]}))[:, :count])
  return {c: np.concatenate(parts, axis=1) for c, parts in done.items()}


@functools.cache
def _see(apply):
  """Jitted (fixed, trained_S, seen) -> latents f16 [S, N, D]."""

  def see(fixed, trained_S, seen):
    def one(trained):
      latent_ND = apply(tuning.merge(trained, fixed), seen)
      return latent_ND.astype(jnp.float16)

    return jax.lax.map(one, trained_S)

  return jax.jit(see)
