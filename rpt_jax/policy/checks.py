"""What a policy is made of, checked before anything runs.

Every check raises one ValueError that names what was found and expected.
"""

import functools

import jax
import numpy as np

from rpt_jax.models import heads as heads_lib
from rpt_jax.models import sequence
from rpt_jax.models.words import Words
from rpt_jax.policy.observed import Field
from rpt_jax.policy.program import Program, Weights, cameras_of
from rpt_jax.sharing import loading
from rpt_jax.sharing.loading import Surgery
from rpt_jax.types import ACTION, TEXT
from rpt_jax.vision.sentences import Tower

_FLAT = 1e-6  # A smaller deviation is that of a constant.


def program(program: Program) -> None:
  """Raises ValueError unless the model gives the actions that are played.

  That is a head 'action' on continuous streams and prefixes. Where actions are
  discrete their history is, too, one number a step.
  """
  model, num_actions = program.model, program.num_actions
  kind = 'discrete' if num_actions else 'continuous'
  heads = [h.target for h in model.heads if h.name == ACTION]
  heads = [target for target in heads if target.kind == kind]
  kinds = {s.name: 'continuous' if s.timed else 'prefix' for s in model.streams}
  if num_actions and ACTION in kinds:
    kinds[ACTION] = 'discrete'
  if not heads or any(s.kind != kinds[s.name] for s in model.streams):
    raise ValueError(
      f'policy: streams {[(s.name, s.kind) for s in model.streams]}, heads '
      f'{[(h.name, h.target.kind) for h in model.heads]}; expected continuous '
      f"streams and a {kind} head 'action' (and 'action' a discrete stream, if "
      f'it is one, where actions are; here num_actions={num_actions!r})'
    )
  most = heads[0].vocab
  if type(num_actions) is not int or not 0 <= num_actions <= most:
    raise ValueError(
      f'num_actions: found {num_actions!r}, expected a whole number up to '
      f"{most}, the size of the head 'action', or 0 where actions are "
      'continuous'
    )
  for stream in model.streams:
    sizes = stream.levels, stream.vocab
    if stream.kind == 'discrete' and sizes != (1, most):
      raise ValueError(
        f"policy: the stream 'action' has (levels, vocab) {sizes}, expected "
        f'{(1, most)}, the vocabulary of the head'
      )
  execution = program.execution
  execution.check(program.head.steps)
  if execution.realtime and not heads_lib.guides(program.head):
    raise ValueError(
      'execution: realtime, but the head cannot go on from the chunk before; '
      "expected a head that can, as 'flow', or realtime=False"
    )
  if execution.temperature and not num_actions:
    raise ValueError(
      f'execution: temperature={execution.temperature}, but the actions are '
      'continuous, nothing is drawn; leave it 0'
    )


def fields(program: Program, frames: dict, labels: dict) -> dict[str, Field]:
  """Entries of the observations of a sound program, cameras first.

  Raises ValueError for frames of unknown size or that no stream is made of,
  and for labels of other streams or of another number.
  """
  dims, cameras, prefixes = {}, [], {}
  for stream in program.model.streams:
    if not stream.timed:
      each = (stream.dim,) if stream.dim else ()
      prefixes[stream.name] = Field((stream.levels, *each), vocab=stream.vocab)
      continue
    cameras += cameras_of(stream.name, program.cameras)
    if not cameras_of(stream.name, program.cameras):
      dims[stream.name] = stream.dim
  if set(frames) != set(cameras):
    raise ValueError(
      f'frames: sizes of {sorted(frames)}, but the cameras of the streams are '
      f'{sorted(set(cameras))}; give {{camera: (height, width)}} of each'
    )
  dims[ACTION] = program.width
  for name, names in labels.items():
    if len(names) != dims.get(name):
      raise ValueError(
        f'labels: {len(names)} of {name!r}, expected one for each dimension '
        f'(or discrete action) of {dims}'
      )
  del dims[ACTION]
  views = {camera: Field((*size, 3)) for camera, size in frames.items()}
  vectors = {n: Field((d,), labels.get(n, ())) for n, d in dims.items()}
  return views | vectors | prefixes


def words(
  words: Words | Tower | None, fields: dict[str, Field]
) -> Words | Tower | None:
  """The vocabulary; ValueError unless the policy reads all of its tokens."""
  if words is None:
    return None
  field = fields.get(TEXT)
  if isinstance(words, Tower):
    if field is None or field.shape != (1, words.dim):
      raise ValueError(
        f'words: a text tower of {words.dim} numbers, but the stream {TEXT!r} '
        f'of the policy is {field and field.shape}; give the one it was '
        'trained with'
      )
    return words
  if field is None or words.vocab > field.vocab:
    size = 'none' if field is None else f'{field.vocab} tokens'
    raise ValueError(
      f'words: a vocabulary of {words.vocab} tokens, but the stream {TEXT!r} '
      f'of the policy has {size}; give the one it was trained with'
    )
  return words


def image_model(program: Program, image) -> None:
  """Raises ValueError unless `image` gives the latents that streams want."""
  views = {
    s.name: (s.dim, len(cameras_of(s.name, program.cameras)))
    for s in program.model.streams
  }
  views = {name: view for name, view in views.items() if view[1]}
  width = None if image is None else image.dim
  fits = all(dim == (width or 0) * number for dim, number in views.values())
  if bool(views) != bool(width) or not fits:
    raise ValueError(
      f'image: latents of width {width}, but the streams of cameras are '
      f'{views} (their width, how many cameras); give the image model they '
      'were encoded with, and none without cameras'
    )


def params(model, tree) -> None:
  """Raises ValueError unless parameters are those of one such model."""
  saved = loading.shapes(tree)
  loading.plan('params (of one seed)', saved, _shapes(model), Surgery())


def weights(
  program: Program,
  params,
  image,
  scales: dict,
  constants: dict | None = None,
  action_limit=None,
) -> Weights:
  """What a program acts with.

  Args:
    params, image: parameters of the model and of the image model, {} without;
      taken as they are, of one seed or of many.
    scales: {stream: (mean [D], deviation [D])}; others than the program's are
      left out.
    constants: {head: {name: array}}; None where heads have none.
    action_limit: (low, high), numbers or [A]; None: no limit.

  Raises:
    ValueError: scales that are missing, misshaped or no scales; limits that
      are none, or of discrete actions.
  """
  low_A, high_A = _limits(program, action_limit)
  scales = _scales(program, scales)
  constants = _constants(program, constants or {})
  return Weights(params, image, scales, constants, low_A, high_A)


def _scales(program, scales):
  """{stream: (mean, deviation)} of all that is scaled, float32."""
  streams = program.model.streams
  dims = {s.name: s.dim for s in streams if s.kind == 'continuous'}
  if not program.num_actions:
    dims[ACTION] = program.width
  missing = [name for name in dims if name not in scales]
  if missing:
    raise ValueError(
      f'scales: none of {missing}, found {sorted(scales)}; give (mean, std) of '
      'every stream and of the action'
    )
  kept = {}
  for name, dim in dims.items():
    mean_D, std_D = (np.asarray(x, np.float32) for x in scales[name])
    if mean_D.shape != (dim,) or std_D.shape != (dim,):
      raise ValueError(
        f'scales: {name!r} has shapes {mean_D.shape} and {std_D.shape}, '
        f'expected {(dim,)}'
      )
    if not (np.isfinite(mean_D) & np.isfinite(std_D) & (std_D >= 0)).all():
      raise ValueError(
        f'scales: {name!r} has a mean or deviation that is not finite, or a '
        'negative one; measure them again'
      )
    # What never varied is only centred, not blown up.
    kept[name] = mean_D, np.where(std_D < _FLAT, np.float32(0), std_D)
  return kept


def _constants(program, constants):
  """Of the head of the actions, as it fits them; of others none is read."""
  spec, own = program.head, constants.get(ACTION, {})
  target = spec.target
  nothing = np.zeros((2, target.dim), np.float32)
  if target.kind == 'discrete':
    nothing = np.zeros((2, target.levels), np.int32)
  fitted = jax.eval_shape(lambda x: heads_lib.fit(spec, x), nothing)
  expected = {name: x.shape for name, x in fitted.items()}
  given = {name: np.shape(x) for name, x in own.items()}
  if given != expected:
    raise ValueError(
      f"constants: the head 'action' has {given}, expected {expected}; give "
      'those that were fitted in training'
    )
  return {ACTION: own}


def _limits(program, limit):
  """(low [A], high [A]), infinite where there is none."""
  if program.num_actions and limit is not None:
    raise ValueError(
      f'action_limit: {limit}, but the actions are discrete; leave it None'
    )
  dim = 0 if program.num_actions else program.width
  low_A, high_A = (-np.inf, np.inf) if limit is None else limit
  low_A, high_A = (
    np.broadcast_to(np.asarray(x, np.float32), (dim,)) for x in (low_A, high_A)
  )
  if not (low_A < high_A).all():
    raise ValueError(
      f'action_limit: {limit}, expected (low, high), each a number or one for '
      f'each of {dim} dimensions, low below high'
    )
  return low_A, high_A


@functools.cache
def _shapes(model):
  init = functools.partial(sequence.init, model)
  return loading.shapes(jax.eval_shape(init, jax.random.key(0)))
