"""The streams of episodes, as they are stored, and the scale of each.

A stream is `latent` (of all cameras, side by side), `latent/<camera>`,
`proprio`, `action`, `unit` or, of documents, `token`. What a domain lacks, and
what a run is not to see, is *absent*: its values are zero and `present` [N, M]
says so. Every row of an episode has the same `text`, its instruction [L]; -1 is
no token.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rpt_jax import domains as rooms
from rpt_jax.domains import Domain
from rpt_jax.episodes import scales, stack, store, windows
from rpt_jax.learning.texts import Texts
from rpt_jax.types import ACTION, CAMERA, LATENT, TEXT, TOKEN, StreamSpec

FELT = ('proprio', ACTION)  # What a video does not show.
LABELLED = (*FELT, TEXT, TOKEN)  # What the stage label has.
Inputs = Mapping[str, Path]


def of(domain: Domain) -> tuple[str, ...]:
  """The streams that a domain has, units apart, in the order of a step."""
  cameras = (f'{CAMERA}{camera}' for camera in domain.cameras)
  return (LATENT, *cameras, *rooms.felt(domain))


def read(
  domain: Domain,
  inputs: Inputs,
  split: str,
  names: Iterable[str],
  texts: Texts | None = None,
) -> windows.Clips:
  """Streams of a domain's split; of the `names` those that it has.

  Only where `names` has proprioception, actions or text is the folder of the
  stage label asked for: a run that has none of them need not be given it.
  `texts` says how instructions are read.
  """
  names = tuple(dict.fromkeys(names))
  latents = store.load(inputs['encode'] / domain.name / split, (LATENT,))
  latent_ND, arrays = latents.arrays[LATENT], {}
  if LATENT in names:
    arrays[LATENT] = latent_ND
  if any(name.startswith(CAMERA) for name in names):
    width = latent_ND.shape[1] // len(domain.cameras)
    for i, camera in enumerate(domain.cameras):
      if f'{CAMERA}{camera}' in names:
        own = slice(i * width, (i + 1) * width)
        arrays[f'{CAMERA}{camera}'] = stack.mapped(
          latent_ND, lambda x, own=own: x[..., own]
        )
  fields = {s: f for s, f in rooms.felt(domain).items() if s in names}
  if fields:
    chosen = tuple(fields.values())
    labels = rooms.labels(domain, inputs, split, chosen)
    arrays |= {s: _rows(labels.arrays[field]) for s, field in fields.items()}
  if TEXT in names:
    arrays[TEXT] = texts.rows(domain, inputs, split, latents)
  return windows.Clips(arrays, latents.lengths)


def _rows(x):
  """[N, A], of discrete actions [N, 1]."""
  return x if x.ndim > 1 else stack.mapped(x, lambda x: x[..., None])


def measure(parts: Sequence[windows.Clips]) -> dict[str, scales.Scale]:
  """The scale of every stream of numbers over the clips of all parts."""
  names = dict.fromkeys(k for part in parts for k in part.arrays if k != TEXT)
  return {
    name: scales.measure(
      name,
      (
        block
        for part in parts
        if name in part.arrays
        for block in stack.blocks(part.arrays[name])
      ),
    )
    for name in names
    if all(_continuous(p.arrays[name]) for p in parts if name in p.arrays)
  }


def _continuous(x):
  return np.issubdtype(x.dtype, np.floating)


def specs(
  measured: Mapping[str, scales.Scale],
  discrete: Iterable[StreamSpec] = (),
  texts: Texts | None = None,
) -> dict[str, StreamSpec]:
  """What a model is told of streams with these scales.

  `discrete` is what has none: actions, tokens; `texts` how instructions are
  read.
  """
  by_name = {
    name: StreamSpec(name, 'continuous', dim=len(mean_D))
    for name, (mean_D, _) in measured.items()
  }
  by_name |= {spec.name: spec for spec in discrete}
  if texts is not None:
    by_name[TEXT] = texts.spec
  return by_name


def join(
  parts: Sequence[windows.Clips],
  inputs: Sequence[StreamSpec],
  targets: Sequence[StreamSpec],
  *,
  labelled: float = 1.0,
  instructed: float = 1.0,
  seed: int = 0,
) -> windows.Clips:
  """Clips of several domains end to end, with `present` [N, M] of the inputs.

  Args:
    labelled: share of the clips, drawn by `seed`, that come with
      proprioception and actions; of the others only what a camera sees is
      there.
    instructed: share of the clips that come with their instruction, the
      labelled ones first.
  """
  lengths = np.concatenate([part.lengths for part in parts])
  order = np.random.default_rng([seed, len(lengths)])
  order_E = order.permutation(len(lengths))
  labelled_E = order_E < round(labelled * len(lengths))
  arrays = {}
  for spec in dict.fromkeys((*inputs, *targets)):
    filled = [p.arrays.get(spec.name, _absent(p, spec)) for p in parts]
    arrays[spec.name] = stack.end_to_end(filled)
  joined = windows.Clips(arrays, lengths)
  offsets = joined.offsets  # Once, and not in every batch.
  if TEXT in arrays and instructed < 1:
    instructed_E = order_E < round(instructed * len(lengths))
    arrays[TEXT] = _instructed(arrays[TEXT], instructed_E, offsets)
  inputs = [spec for spec in inputs if spec.timed]
  recorded = [
    stack.end_to_end([_recorded(part, spec) for part in parts])
    for spec in inputs
  ]

  def present(rows_N):
    recorded_NM = np.stack([each[rows_N] for each in recorded], axis=-1)
    seen_M = np.array([spec.name not in FELT for spec in inputs], bool)
    clip_N = np.searchsorted(offsets, rows_N, side='right') - 1
    labelled_N1 = labelled_E[clip_N][..., None]
    return recorded_NM & (labelled_N1 | seen_M)

  shape = int(lengths.sum()), len(inputs)
  arrays['present'] = stack.Derived(present, shape, bool)
  return joined


def _instructed(text_NL, instructed_E, offsets):
  """The instructions of some clips; of the others there is no token."""

  def read(rows_N):
    clip_N = np.searchsorted(offsets, rows_N, side='right') - 1
    text = text_NL[rows_N]
    silent = -1 if np.issubdtype(text.dtype, np.integer) else 0
    axes = (None,) * (text.ndim - clip_N.ndim)
    is_said = instructed_E[clip_N][(..., *axes)]
    return np.where(is_said, text, text.dtype.type(silent))

  return stack.Derived(read, text_NL.shape, text_NL.dtype)


def _recorded(part, spec):
  """bool [N], which steps have a stream; a step has no unit where it is -1."""
  x, count = part.arrays.get(spec.name), int(part.lengths.sum())
  if x is not None and spec.kind == 'discrete':
    return stack.Derived(lambda rows: (x[rows] >= 0).all(-1), (count,), bool)
  return stack.constant(x is not None, (count,), bool)


def _absent(part, spec):
  width = (spec.dim,) if spec.kind == 'continuous' else (spec.levels,)
  silent = 0
  if not spec.timed:
    width, silent = (width, -1) if not spec.dim else ((*width, spec.dim), 0)
  shape = int(part.lengths.sum()), *width
  return stack.constant(silent, shape, stored_type(spec))


def stored_type(spec: StreamSpec) -> type:
  """What a stream is stored as: latents in half, numbers as they came."""
  if spec.kind != 'continuous' and not spec.dim:
    return np.int32
  return np.float16 if spec.name.startswith(LATENT) else np.float32


def in_windows(arrays: Mapping) -> dict:
  """Streams of windows [B, T, ...]; of the text, alike in all steps, [B, L]."""
  return {k: x[:, 0] if k == TEXT else x for k, x in arrays.items()}


def scaled(arrays: Mapping, measured: Mapping[str, scales.Scale]) -> dict:
  """The same arrays [..., D], numbers on their scale, all else as it is."""
  return {
    name: scales.apply(x, measured[name]) if name in measured else x
    for name, x in arrays.items()
  }
