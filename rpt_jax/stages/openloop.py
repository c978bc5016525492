"""Held-out episodes of recorded datasets: what would the policy have done?

Open loop: every policy sees what was recorded and predicts the next actions;
nothing is executed. Its score is 1 - squared error / that of always giving the
mean training action, so 0 knows nothing and 1 is perfect. `copy_last`, which
repeats the action before, is there for scale: it sees actions, as policies on
streams do and those on latents do not.
Rows as of `evaluate`: per cell, and paired differences to scratch. On streams,
one policy is kept in `<dataset>/policy`, as in `control`.
"""

import functools

import jax
import numpy as np

from rpt_jax.episodes import windows
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import (
  demonstrations,
  domains,
  encode,
  finetune,
  pipeline,
  policies,
  scores,
  sensorimotor,
  shared,
  trunk,
  tuned,
)
from rpt_jax.stages.finetune import cells, policy_model

_BATCH = 256


def run(config, inputs, directory):
  """Score every cell on every dataset; `errors.npz` has [S, episodes, C]."""
  standardise = trunk.input_scale(config, inputs)
  encoder = encode.load_encoder(config, inputs) if tuned.modes(config) else None
  names = [n for n in domains.acting(config) if n in config.datasets]
  found, errors, rows = {}, {}, []
  for name in names:
    clips = demonstrations.with_actions(config, inputs, name, 'heldout')
    data = _Targets(clips, config)
    errors[f'{name}/copy_last'] = data.error(data.copy_last()[None])[0]
    value = data.score(errors[f'{name}/copy_last']).mean()
    rows.append(pipeline.row('openloop', 'copy_last', value, env=name))
    print(f'  {name} copy_last: score {value:.3f}', flush=True)
    for cell in cells(config):
      model, _ = policy_model(config, inputs, cell, name)
      params_S = finetune.load(inputs['finetune'], name, cell)
      params_S, eyes_S = tuned.split_policy(params_S)
      seen = clips.arrays
      if eyes_S:  # Its own latents for every seed.
        eye = tuned.Eye(encoder, standardise, cell.encoder)
        known = config, inputs, name, 'heldout'
        seen = {'latent': tuned.latents(*known, eye, eyes_S)}
      predicted = data.predict(model, params_S, seen, standardise)
      error_SEC = errors[f'{name}/{cell.name}'] = data.error(predicted)
      found[name, cell] = data.score(error_SEC)
      if sensorimotor.wanted(config) and cell == policies.exported(config):
        _keep(config, inputs, directory / name, cell, found[name, cell])
      value = found[name, cell].mean()
      print(f'  {name} {cell.name}: score {value:.3f}', flush=True)
  np.savez(directory / 'errors.npz', **errors)
  return [
    *rows,
    *scores.score_rows('openloop', found, {'all': names}),
    *scores.difference_rows('openloop', found, {'all': names}),
  ]


def _keep(config, inputs, directory, cell, score_SE):
  """Writes the first policy of a cell, and how well all of them did."""
  name, eye = directory.name, encode.load_model(config, inputs)
  kept = next(policies.build(config, inputs, name, cell, eye))
  scored, groups = {(name, cell): score_SE}, {name: [name]}
  rows = scores.score_rows('openloop', scored, groups)[:1]
  told = shared.policy(config, kept.model, name, cell, rows)
  kept.save(directory / 'policy', **told)


class _Targets:
  """The action chunks that follow every held-out step of a dataset."""

  def __init__(self, clips, config):
    self._clips, self._table = clips, windows.windows(clips.lengths, 1)
    now_N = self._table.first
    chunk = config.finetune.chunk
    rows_NC, self._valid_NC = windows.future(now_N, self._table, chunk)
    self._action_NCA = clips.arrays['action'][rows_NC]
    self._mean_error = self.error(np.zeros_like(self._action_NCA)[None])

  def predict(self, model, params_S, arrays, standardise) -> np.ndarray:
    """Every seed's chunks after every step: [S, N, C, A].

    Streams in `arrays` are [N, D], or [S, N, D] where seeds see differently.
    """
    names = [stream.name for stream in model.streams]
    seen = {name: arrays[name] for name in names}
    act = _policy(model, next(iter(seen.values())).ndim == 3)
    parts, size, context = [], len(self._action_NCA), model.context
    for start in range(0, size, _BATCH):
      picks = np.minimum(np.arange(start, start + _BATCH), size - 1)
      table = self._table.take(picks)
      first_B = table.first - (context - 1)
      rows_BT, valid_BT = windows.future(first_B, table, context)
      batch = {k: standardise(x[..., rows_BT, :]) for k, x in seen.items()}
      parts.append(np.asarray(act(params_S, batch, valid_BT)))
    return np.concatenate(parts, axis=1)[:, :size]

  def copy_last(self) -> np.ndarray:
    """The action before each step (0 at the first), repeated: [N, C, A]."""
    before_N1, valid_N1 = windows.future(
      self._table.first, self._table, 1, first=-1
    )
    last_N1A = self._clips.arrays['action'][before_N1] * valid_N1[..., None]
    return np.broadcast_to(last_N1A, self._action_NCA.shape)

  def error(self, predicted_SNCA) -> np.ndarray:
    """Mean squared error [S, episodes, C] over valid targets."""
    error_SNC = np.square(predicted_SNCA - self._action_NCA).mean(-1)
    error_SNC = np.where(self._valid_NC, error_SNC, 0.0)
    starts = self._clips.offsets[:-1]
    total_SEC = np.add.reduceat(error_SNC, starts, axis=1)
    count_EC = np.add.reduceat(self._valid_NC, starts, axis=0, dtype=np.int64)
    return total_SEC / np.maximum(count_EC, 1)

  def score(self, error) -> np.ndarray:
    """1 - error / that of the mean action, over a chunk: [..., episodes]."""
    return 1.0 - error.mean(-1) / self._mean_error.mean()


@functools.cache
def _policy(model, each_its_own):
  """Jitted (params_S, windows of the streams, valid_BT) -> chunks [S, B, C, A].

  Where each seed sees frames of its own, streams are [S, B, T, D].
  """
  names = [stream.name for stream in model.streams]

  def act(params, seen, valid_BT):
    hide_BTM = behaviour_cloning.hidden(valid_BT, names)
    output = sequence.bind(model, params)(seen, valid_BT, hide_BTM)
    return output['heads']['action'][:, -1]

  return jax.jit(jax.vmap(act, in_axes=(0, 0 if each_its_own else None, None)))
