"""Behaviour cloning through the image model, part of which trains, too.

It goes on from the policy that learned on the frozen image model's latents: a
head that knows nothing would distort what the image model knows (Kumar et al.
2022, arXiv 2202.10054). Mode 'frozen' is the control: as many steps more, on
as many views. Frames of the demonstrations stay on the host at their own size;
a step draws windows of them, changes their look on the device and encodes
them. Seeds are trained one after the other by one compiled step, so that
memory does not grow with their number.
"""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import vision
from rpt_jax.episodes import CorruptEpisode, reading, streams, windows
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import demonstrations, domains, encode, mae
from rpt_jax.training import optimizer, step
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import augment, tuning
from rpt_jax.vision.model import encoder_model

PART = 'encoder'  # Where the trained part lies among a policy's parameters.
_MODE = re.compile(r'frozen|full|(last|lora):[1-9]\d*')
_WITHOUT = ('pixels', 'state')  # Encoders that have no parameters.


class Eye(NamedTuple):
  """An image model, of which `mode` (see `vision.tuning`) says what trains."""

  encoder: encode.FrameEncoder
  standardise: Callable[[Array], Array]
  mode: str

  def split(self, key: Array | None = None) -> tuple[PyTree, PyTree]:
    """(trained, fixed) before training; LoRA's A is drawn from `key`."""
    return tuning.split(self.encoder.params, self.mode, key)


def modes(config) -> tuple[str, ...]:
  """The modes of `config.finetune.tuned`, none where there is no such section.

  Raises ValueError for one that is none, where nothing could train, for
  demonstrations without a frozen twin, and for an augmentation out of range.
  """
  c = config.finetune.get('tuned')
  if not c or not c.modes:
    return ()
  where = 'config.finetune.tuned'
  for mode in c.modes:
    if not _MODE.fullmatch(mode):
      raise ValueError(
        f'{where}.modes: found {mode!r}, expected {tuning.MODES}'
      )
  if config.encoder in _WITHOUT:
    raise ValueError(
      f'{where}.modes: found {tuple(c.modes)}, but encoder '
      f'{config.encoder!r} has no parameters; expected (), or another encoder'
    )
  if not set(c.demos) <= set(config.finetune.demos):
    raise ValueError(
      f'{where}.demos: found {tuple(c.demos)}, expected some of '
      f'config.finetune.demos={tuple(config.finetune.demos)}'
    )
  _augmentation(c)
  return tuple(c.modes)


def check(config) -> None:
  """Raise ValueError where a mode does not fit the image model's parameters."""
  if not modes(config):
    return
  settings = encode.vision_settings(config.encode)
  if config.encoder == 'mae':
    model = mae.autoencoder(config.mae, config.frames.size)
    params = jax.eval_shape(model.init, jax.random.key(0))['encoder']
    where = settings['output'], settings.get('layer', -1)
    params = encoder_model('mae', model.encoder, params, *where).params
  else:
    params = vision.load(config.encoder, **settings).params
  for mode in modes(config):
    jax.eval_shape(functools.partial(tuning.split, mode=mode), params)


def split_policy(params: PyTree) -> tuple[PyTree, PyTree]:
  """(the policy's own parameters, the trained part of its image model)."""
  policy = {k: v for k, v in params.items() if k != PART}
  return policy, params.get(PART, {})


def data(config, inputs, name: str, demos: tuple, picks_SN: np.ndarray):
  """The demonstrations in `picks_SN` with their frames, and the picks in them.

  `demos` are all those of a domain, as `demonstrations.load` gives them. Only
  those that some seed learns from are decoded.
  """
  known, table = demos
  chosen = np.unique(table.clip[picks_SN])
  rows = np.flatnonzero(np.isin(table.clip, chosen))
  lengths = np.bincount(table.clip)[chosen]
  split = domains.demos_split(config, name)
  episodes = list(_episodes(config, inputs, name, split, chosen))
  cameras = domains.cameras(config, name)
  return {
    'image': tuple(np.concatenate([e[c] for e in episodes]) for c in cameras),
    'action': np.asarray(known['action'])[rows],
    'table': windows.windows(lengths, 1),
  }, np.searchsorted(rows, picks_SN)


def _episodes(config, inputs, name, split, chosen=None):
  """{camera: frames [T, H, W, 3]} of the episodes that have latents."""
  source = domains.source(config, inputs['collect'], name, split)
  kept = np.array(streams.kept(inputs['encode'] / name / split))
  kept = kept if chosen is None else kept[chosen]
  cameras = domains.cameras(config, name)
  for _, found in reading.read_ahead(source, cameras, kept.tolist()):
    if isinstance(found, CorruptEpisode):
      raise found
    yield found


class Seeds(NamedTuple):
  """What seeds differ in, all [S, ...]."""

  params: PyTree  # Of a policy on the frozen image model.
  picks: Array
  count: Array
  key: Array


def train(settings, eye: Eye, model: sequence.SequenceModel, data, seeds):
  """(parameters [S, ...], mean loss of the last tenth [S]).

  Args:
    settings: `config.finetune`; steps, windows and learning rate are those of
      `settings.tuned`.
    eye: the image model; what trains of it is returned under `PART`.
    model: of the policy.
    data: 'image' (a tuple, [N, H, W, 3] a camera), 'action', 'table'.
    seeds: parameters before, picks [S, N] of windows, their count, keys.
  """
  done = []
  for seed in range(len(seeds.count)):
    mine = jax.tree.map(lambda x, i=seed: x[i], seeds)
    done.append(_train_one(settings, eye, model, data, mine))
    print(f'    seed {seed + 1}: loss {done[-1][1]:.4f}', flush=True)
  return jax.tree.map(lambda *x: np.stack(x), *done)


def _train_one(settings, eye, model, data, seed):
  c = settings.tuned
  trained, fixed = jax.device_put(eye.split(seed.key))
  params = seed.params | {PART: trained}
  state = step.init_state(params, _optimizer(settings), seed.key)
  update = _update(model, eye.encoder.apply, eye.standardise, settings)
  losses = []
  for picks_B in np.asarray(_picks(*seed[1:], c.steps, c.batch_size)):
    batch = demonstrations.batch(
      data, picks_B, ('image',), model.context, settings.chunk
    )
    state, metrics = update(state, batch | {'fixed': fixed})
    losses.append(metrics['loss'])
  last = jax.device_get(losses[-max(c.steps // 10, 1) :])
  return jax.device_get(state.params), np.mean(last)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _picks(picks_N, count, key, steps, size):
  """The windows of all steps: [steps, size]."""
  draw = functools.partial(demonstrations.draw, key)
  return jax.vmap(lambda i: draw(i, picks_N, count, size))(jnp.arange(steps))


@functools.cache
def _update(model, apply, standardise, settings):
  """The jitted step of a policy and its image model, the state donated."""
  objective = {'chunk': settings.chunk, 'visibility': model.visibility}
  changes = _augmentation(settings.tuned)

  def loss_fn(params, batch, key):
    policy, trained = split_policy(params)
    encoder = tuning.merge(trained, batch['fixed'])
    latents = []
    for i, image_BTHWC in enumerate(batch['inputs']['image']):
      place = jax.random.fold_in(key, i)
      image_BTHWC = augment.augment(place, image_BTHWC, changes)
      frames = image_BTHWC.reshape(-1, *image_BTHWC.shape[2:])
      latents.append(apply(encoder, {'image': frames}))
    latent_ND = standardise(jnp.concatenate(latents, -1))
    latent_BTD = latent_ND.reshape(*batch['valid'].shape, -1)
    return behaviour_cloning.loss(
      sequence.bind(model, policy),
      batch | {'inputs': {'latent': latent_BTD}},
      key,
      objective,
    )

  return step.make_train_step(loss_fn, _optimizer(settings))


def _optimizer(settings):
  c, decay = settings.tuned, settings.weight_decay
  return optimizer.adamw(
    c.learning_rate,
    c.steps,
    weight_decay=decay,
    freeze=settings.get('freeze', ''),
  )


def _augmentation(settings):
  try:
    return augment.Augmentation(**settings.augment.to_dict())
  except TypeError as error:
    raise ValueError(f'config.finetune.tuned.augment: {error}') from error


def latents(
  config, inputs, name: str, split: str, eye: Eye, trained_S: PyTree
) -> np.ndarray:
  """A split's frames as every seed's image model sees them: f16 [S, N, D].

  Every frame is decoded once, whatever the number of seeds.
  """
  _, fixed = eye.split()
  see = functools.partial(_see(eye.encoder.apply), fixed, trained_S)
  cameras, done = domains.cameras(config, name), []
  episodes = _episodes(config, inputs, name, split)
  for batch, count in reading.batches(episodes, config.encode.batch_size):
    parts = [np.asarray(see({'image': batch[c]})) for c in cameras]
    done.append(np.concatenate(parts, axis=-1)[:, :count])
  return np.concatenate(done, axis=1)


@functools.cache
def _see(apply):
  """Jitted (fixed, trained_S, seen) -> latents f16 [S, N, D]."""

  def see(fixed, trained_S, seen):
    def one(trained):
      latent_ND = apply(tuning.merge(trained, fixed), seen)
      return latent_ND.astype(jnp.float16)

    return jax.lax.map(one, trained_S)

  return jax.jit(see)
