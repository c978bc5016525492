"""Models one can share: a pretrained trunk, or a policy, in one folder.

model = rpt_jax.from_pretrained('runs/rpt/pretrain/rpt/pretrained')
features_BTD = model.features({'latent/front': x_BTD})
model.save_pretrained('mine')
policy = rpt_jax.from_pretrained('organisation/policy').policy()
"""

import dataclasses
import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.episodes import scales
from rpt_jax.models import sequence
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.models.words import Words
from rpt_jax.policy import Execution, Policy, saved
from rpt_jax.sharing import folder as folders
from rpt_jax.types import TEXT, Array, PyTree
from rpt_jax.vision import hub


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A sequence model, its parameters, and the scale of what it sees.

  `scales` {stream: (mean [D], deviation [D])}, `constants` what heads have that
  is not learned, {head: {name: array}}, `origin` what trained it, `card` its
  README.md, `words` the vocabulary of its stream 'text'. `acting` is what a
  policy has beside its model (None: it is no policy) and `folder` where its
  image model lies.
  """

  model: SequenceModel
  params: PyTree
  scales: dict[str, tuple[Array, Array]]
  origin: dict = dataclasses.field(default_factory=dict)
  card: str = ''
  constants: dict = dataclasses.field(default_factory=dict)
  words: Words | None = None
  acting: dict | None = None
  folder: pathlib.Path | None = None

  def apply(
    self,
    params: PyTree,
    inputs: dict[str, Array],
    valid_BT: Array | None = None,
    **masks,
  ) -> dict:
    """What the model makes of windows; pure, to be differentiated and jitted.

    Args:
      params: of this model; `self.params`, or others.
      inputs: {stream: [B, T, dim]} in the units of its data, or [B, T, levels]
        integers; a prefix [B, L] integers, negative where there is no token,
        of which 'text' may be given as B sentences.
        A stream left out is absent at every step.
      valid_BT: bool; None: every step is there.
      masks: `corrupt_BTM` of `models.sequence.SequenceModel`.

    Returns the outputs of the model: 'features', 'tokens', 'layers', 'reads'.
    Raises ValueError for streams it has not, none with a time, or misshaped
    ones.
    """
    streams, inputs = self.model.streams, self._read(inputs)
    timed = [s.name for s in streams if s.timed]
    unknown = set(inputs) - {s.name for s in streams}
    given = [name for name in timed if name in inputs]
    if unknown or not given:
      raise ValueError(
        f'inputs: found {sorted(inputs)}, expected some of the streams '
        f'{[s.name for s in streams]}, of {timed} at least one'
      )
    shape = inputs[given[0]].shape[:2]
    if valid_BT is None:
      valid_BT = jnp.ones(shape, bool)
    present_M = jnp.array([name in inputs for name in timed])
    return self.model.apply(
      {'params': params},
      {s.name: self._seen(s, inputs, shape) for s in streams},
      valid_BT=valid_BT,
      present_BTM=jnp.broadcast_to(present_M, (*shape, len(timed))),
      **masks,
    )

  def features(
    self, inputs: dict[str, Array], valid_BT: Array | None = None
  ) -> jax.Array:
    """One vector a step, [B, T, D]; arguments and errors as `apply`."""
    return self._features(self.params, self._read(inputs), valid_BT)

  @functools.cached_property
  def _features(self):
    return jax.jit(lambda *arguments: self.apply(*arguments)['features'])

  def _read(self, inputs):
    """The inputs, sentences as their tokens."""
    text = inputs.get(TEXT)
    if self.words is None or not isinstance(text, (list, tuple)):
      return inputs
    spec = next(s for s in self.model.streams if s.name == TEXT)
    return inputs | {TEXT: self.words.said(text, spec.levels)}

  def _seen(self, spec, inputs, shape):
    """A stream as the model is to see it, or what stands for an absent one."""
    if spec.name not in inputs:
      return sequence.absent(spec, *shape)
    x = inputs[spec.name]
    if spec.kind != 'continuous' or x.shape[2:] != (spec.dim,):
      return x  # The stem names what is misshaped.
    return scales.apply(x, tuple(map(np.asarray, self.scales[spec.name])))

  def policy(self, execution: Execution | None = None) -> Policy:
    """The policy that was saved, played as it was then unless told how.

    Raises ValueError where the model is none, and as `Policy.load`.
    """
    parts = saved.acting(self.folder, self.acting)
    names = ('model', 'params', 'scales', 'constants', 'words')
    parts |= {name: getattr(self, name) for name in names}
    return Policy(**parts | ({'execution': execution} if execution else {}))

  def save_pretrained(self, folder: str | os.PathLike) -> None:
    """Writes all of it to a folder, whole or not at all.

    Raises ValueError where `folder` holds something else.
    """
    documents = {'origin': self.origin, 'card': self.card}
    if self.acting is not None:
      return self.policy().save(folder, **documents)
    documents |= {'constants': self.constants, 'words': self.words}
    with folders.replacing(folder) as partial:
      folders.write(partial, self.model, self.params, self.scales, **documents)


def from_pretrained(path_or_id: str | os.PathLike) -> Pretrained:
  """The model in a folder that `save_pretrained` or `Policy.save` wrote.

  `path_or_id` may be an id 'organisation/name' of Hugging Face (extra 'hub').
  Raises ValueError for what is missing, damaged or of another format.
  """
  return Pretrained(**folders.read(hub.find(path_or_id, folders.FILES)))
