"""The streams of sensorimotor pretraining, all on one scale.

A stream is `latent/<camera>` (a camera's part of the frame latents), `proprio`,
`action` or `unit`. What a domain lacks, and what a run is not to see, is
*absent*: its values are zero and `present` [N, M] says so.
"""

from collections.abc import Collection, Sequence

import numpy as np

from rpt_jax.episodes import streams as stored
from rpt_jax.episodes import windows
from rpt_jax.objectives import masked_streams
from rpt_jax.stages import domains
from rpt_jax.types import StreamSpec

Scales = dict[str, tuple[np.ndarray, np.ndarray]]
FILE = 'scales.safetensors'
_TOLD = ('proprio', 'action')  # What a video does not show.
# Least deviation of a dimension, as a share of the largest of its stream. What
# a robot hardly did in some tasks (a gripper kept shut) it may do in others.
_LEAST = {'proprio': 0.3, 'action': 0.3}
_LEAST_OF_LATENTS = 0.02
_CONSTANT = 1e-6


def wanted(config) -> bool:
  """Does this config pretrain on streams (and not on units alone)?"""
  return 'pretrain' in config and 'streams' in config.pretrain


def names(config, settings) -> tuple[str, ...]:
  """The streams of a run, the action last."""
  return tuple(settings.get('streams', config.pretrain.streams))


def fields(found: Collection[str]) -> dict[str, str]:
  """{stream: field} of what is felt and done, of the fields that are there.

  Proprioception is 'proprio' or, as recorded datasets call it, 'state'.
  """
  proprio = 'proprio' if 'proprio' in found else 'state'
  known = {'proprio': proprio, 'action': 'action'}
  return {stream: field for stream, field in known.items() if field in found}


def check(config) -> None:
  """Raise ValueError for settings no pretraining on streams can mean."""
  if config.iterations > 1:
    raise ValueError(
      f'config.iterations: found {config.iterations}, but only trunks on '
      'latents alone can be clustered again; expected 1 with '
      'config.pretrain.streams'
    )
  for name, settings in config.datasets.items():
    found = domains.open_dataset(settings).streams
    if len(fields(found)) < len(_TOLD):
      raise ValueError(
        f'config.datasets.{name}.mapping: has {sorted(found)}; streams need '
        "its 'state' and its 'action'"
      )
    if settings.normalise != 'mean_std':
      raise ValueError(
        f'config.datasets.{name}.normalise: found {settings.normalise!r}; '
        "streams are all scaled by 'mean_std'"
      )
  cameras = [domains.cameras(config, n) for n in domains.names(config)]
  if len(set(cameras)) > 1:
    raise ValueError(
      f'config.pretrain.streams: domains have cameras {cameras}; expected the '
      'same of each'
    )
  for name, run in config.pretrain.runs.items():
    _check_run(config, run, cameras[0], f'config.pretrain.runs.{name}')


def _check_run(config, run, cameras, where):
  """Raise ValueError for streams, masks or data that a run cannot have."""
  mask = run.get('mask', masked_streams.MASKS[0])
  if mask not in masked_streams.MASKS:
    raise ValueError(
      f'{where}.mask: found {mask!r}, expected one of {masked_streams.MASKS}'
    )
  splits = [domains.splits(config, n) for n in domains.pretraining(config)]
  if run.get('failures', False) and 'failures' not in sum(splits, ()):
    raise ValueError(
      f'{where}.failures: found True, but config.metaworld.failures is 0 or '
      'not there'
    )
  known = [*(f'latent/{camera}' for camera in cameras), *_TOLD]
  if run.recipe:
    known.append('unit')
  found = names(config, run)
  unknown = [s for s in found if s not in known]
  misplaced = 'action' in found and found[-1] != 'action'
  if unknown or misplaced or len(set(found)) < len(found):
    raise ValueError(
      f'{where}.streams: found {found}, expected each once of {known}, the '
      "action last, and 'unit' only with a recipe"
    )
  recipes = config.quantize.recipes if 'quantize' in config else ()
  if run.recipe and run.recipe not in recipes:
    raise ValueError(
      f'{where}.recipe: found {run.recipe!r}, expected one of '
      f"{sorted(recipes)} of config.quantize, or ''"
    )


def recorded(config, inputs, name: str, split: str) -> windows.Clips:
  """Latents of each camera, proprioception and actions, as recorded."""
  found = stored.load(inputs['encode'] / name / split, ('latent',))
  source = domains.source(config, inputs['collect'], name, split)
  known = fields(source.streams)
  cameras = domains.cameras(config, name)
  parts = np.split(found.arrays['latent'], len(cameras), axis=-1)
  arrays = {f'latent/{c}': x for c, x in zip(cameras, parts, strict=True)}
  if known:
    chosen = tuple(known.values())
    labels = domains.labels(config, inputs, name, split, chosen)
    arrays |= {k: labels.arrays[field] for k, field in known.items()}
  return windows.Clips(arrays, found.lengths)


def measure(parts: Sequence[windows.Clips]) -> Scales:
  """{stream: (mean [D], deviation [D])} over all rows of the clips.

  A dimension that hardly varies is given a part of the largest deviation of its
  stream, so that what it does elsewhere is not blown up; a stream that never
  varies has the deviation 0.
  """
  scales = {}
  for stream in dict.fromkeys(k for part in parts for k in part.arrays):
    found = [p.arrays[stream] for p in parts if stream in p.arrays]
    x_ND = np.concatenate(found)
    mean_D = x_ND.mean(0, dtype=np.float64)
    std_D = x_ND.std(0, dtype=np.float64)
    least = _LEAST.get(stream, _LEAST_OF_LATENTS)
    std_D = np.maximum(std_D, least * std_D.max(initial=0.0))
    std_D = np.where(std_D > _CONSTANT, std_D, 0.0)
    scales[stream] = mean_D.astype(np.float32), std_D.astype(np.float32)
  return scales


def standardise(clips: windows.Clips, scales: Scales) -> windows.Clips:
  """The same clips at mean 0 and deviation 1 (constants: mean 0), float16.

  Raises ValueError for a stream of another width than it was measured at.
  """
  arrays = {}
  for stream, x_ND in clips.arrays.items():
    mean_D, std_D = scales[stream]
    if x_ND.shape[1:] != mean_D.shape:
      raise ValueError(
        f'stream {stream!r}: {x_ND.shape[1:]} numbers a step, but '
        f'{mean_D.shape} where it was measured; give every domain of a run the '
        'same cameras and robot'
      )
    std_D = np.where(std_D > 0, std_D, np.float32(1))
    x_ND = (x_ND.astype(np.float32) - mean_D[None]) / std_D[None]
    arrays[stream] = x_ND.astype(np.float16)
  return windows.Clips(arrays, clips.lengths)


def join(
  parts: Sequence[windows.Clips],
  streams: Sequence[str],
  dims: dict[str, int],
  known: float = 1.0,
) -> windows.Clips:
  """Clips of several domains end to end, with `present` [N, M].

  Args:
    streams: what is kept, in order of M; `dims` their widths.
    known: share of the clips, drawn once, that come with proprioception and
      actions; of the others only what a camera sees is there.
  """
  lengths = np.concatenate([part.lengths for part in parts])
  order = np.random.default_rng(0).permutation(len(lengths))
  full = order < round(known * len(lengths))
  full_N = np.repeat(full, lengths)
  arrays, present = {}, []
  for stream in streams:
    shape = (dims[stream],)
    found = [
      part.arrays.get(stream, np.zeros((part.lengths.sum(), *shape)))
      for part in parts
    ]
    dtype = np.int32 if stream == 'unit' else np.float16
    arrays[stream] = np.concatenate(found).astype(dtype)
    there = [
      np.full(part.lengths.sum(), stream in part.arrays) for part in parts
    ]
    there_N = np.concatenate(there)
    present.append(there_N & full_N if stream in _TOLD else there_N)
  arrays['present'] = np.stack(present, axis=-1)
  return windows.Clips(arrays, lengths)


def specs(config, streams, dims, levels=1) -> tuple[StreamSpec, ...]:
  """What a model is told of its streams."""
  return tuple(
    StreamSpec(s, 'discrete', vocab=config.quantize.num_clusters, levels=levels)
    if s == 'unit'
    else StreamSpec(s, 'continuous', dim=dims[s])
    for s in streams
  )
