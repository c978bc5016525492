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

from rpt_jax.models.sequence import SequenceModel
from rpt_jax.policy import Execution, Policy, saved
from rpt_jax.sharing import folder as folders
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import hub


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A sequence model, its parameters, and the scale of what it sees.

  `scales` {stream: (mean [D], deviation [D])}, `origin` what trained it,
  `card` its README.md. `acting` is what a policy has beside its model (None: it
  is no policy) and `folder` where its image model lies.
  """

  model: SequenceModel
  params: PyTree
  scales: dict[str, tuple[Array, Array]]
  origin: dict = dataclasses.field(default_factory=dict)
  card: str = ''
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
        integers. A stream left out is absent at every step.
      valid_BT: bool; None: every step is there.
      masks: `corrupt_BTM` of `models.sequence.SequenceModel`.

    Returns the outputs of the model: 'features', 'tokens', 'layers', 'heads'.
    Raises ValueError for streams it has not, none at all, or misshaped ones.
    """
    known = [s.name for s in self.model.streams]
    unknown = [name for name in inputs if name not in known]
    if unknown or not inputs:
      raise ValueError(
        f'inputs: found {sorted(inputs)}, expected some of the streams {known}'
      )
    shape = next(iter(inputs.values())).shape[:2]
    if valid_BT is None:
      valid_BT = jnp.ones(shape, bool)
    present_M = jnp.array([name in inputs for name in known])
    return self.model.apply(
      {'params': params},
      {s.name: self._seen(s, inputs, shape) for s in self.model.streams},
      valid_BT=valid_BT,
      present_BTM=jnp.broadcast_to(present_M, (*shape, len(known))),
      **masks,
    )

  def features(
    self, inputs: dict[str, Array], valid_BT: Array | None = None
  ) -> jax.Array:
    """One vector a step, [B, T, D]; arguments and errors as `apply`."""
    return self._features(self.params, inputs, valid_BT)

  @functools.cached_property
  def _features(self):
    return jax.jit(lambda *known: self.apply(*known)['features'])

  def _seen(self, spec, inputs, shape):
    """A stream as the model is to see it; zeros where it is absent."""
    if spec.name not in inputs:
      if spec.kind == 'continuous':
        return jnp.zeros((*shape, spec.dim))
      return jnp.zeros((*shape, spec.levels), jnp.int32)
    x = inputs[spec.name]
    if spec.kind != 'continuous' or x.shape[2:] != (spec.dim,):
      return x  # The stem names what is misshaped.
    mean_D, std_D = (np.asarray(v) for v in self.scales[spec.name])
    std_D = np.where(std_D > 0, std_D, np.float32(1))
    return (x - mean_D[None, None]) / std_D[None, None]

  def policy(self, execution: Execution | None = None) -> Policy:
    """The policy that was saved, played as it was then unless told how.

    Raises ValueError where the model is none, and as `Policy.load`.
    """
    parts = saved.acting(self.folder, self.acting)
    parts |= {'model': self.model, 'params': self.params, 'scales': self.scales}
    return Policy(**parts | ({'execution': execution} if execution else {}))

  def save_pretrained(self, folder: str | os.PathLike) -> None:
    """Writes all of it to a folder, whole or not at all.

    Raises ValueError where `folder` holds something else.
    """
    told = {'origin': self.origin, 'card': self.card}
    if self.acting is not None:
      return self.policy().save(folder, **told)
    with folders.replacing(folder) as partial:
      folders.write(partial, self.model, self.params, self.scales, **told)


def from_pretrained(path_or_id: str | os.PathLike) -> Pretrained:
  """The model in a folder that `save_pretrained` or `Policy.save` wrote.

  `path_or_id` may be an id 'organisation/name' of Hugging Face (extra 'hub').
  Raises ValueError for what is missing, damaged or of another format.
  """
  return Pretrained(**folders.read(hub.find(path_or_id, folders.FILES)))
