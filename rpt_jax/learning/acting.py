"""What fine-tuning made, as the `Policy` that acts."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from rpt_jax import domains, settings, vision
from rpt_jax.domains import Domain
from rpt_jax.domains.playing import Own, SeedWeights
from rpt_jax.learning import encoders, tuning
from rpt_jax.learning.checks_finetune import execution
from rpt_jax.learning.policies import Policies, of_seed
from rpt_jax.policy import Policy
from rpt_jax.results import Cell
from rpt_jax.types import ACTION, PyTree
from rpt_jax.vision import tuning as image_parts


@dataclasses.dataclass(frozen=True)
class Actors:
  """The policies of a config, with the image model that shows them frames.

  `image` is None where policies see the true state; `image_from` is what
  `vision.load` made it of.
  """

  policies: Policies
  evaluate: settings.Evaluate
  image: vision.VisionModel | None
  image_from: tuple[str | Path, dict] | None
  batch_size: int  # Frames that are encoded at once.
  sight: str = ''  # Of the true state, where they see that.

  def policy(self, domain: Domain, cell: Cell, params: PyTree) -> Policy:
    """The policy with one seed's parameters."""
    policies = self.policies
    model = policies.model(domain, cell)
    parts = tuning.split_policy(params)
    cameras = policies.cameras(domain, model) if self.image else ()
    names = {s.name for s in model.streams}
    if not domain.discrete:
      names |= {'action'}
    scales = {
      k: scale for k, scale in policies.scales(domain).items() if k in names
    }
    image = self.image
    if parts.image:
      _, fixed = image_parts.split(image.params, cell.encoder)
      merged = image_parts.merge(parts.image, fixed)
      image = dataclasses.replace(image, params=merged)
    sizes = domain.frame_sizes(policies.inputs['collect'])
    recorded, seen = domains.as_recorded(domain), {*names, *cameras}
    return Policy(
      model,
      parts.model,
      scales,
      constants={ACTION: parts.constants},
      image=image if cameras else None,
      image_from=self.image_from if cameras else None,
      frames={camera: sizes[camera] for camera in cameras},
      execution=execution(self.evaluate.execution, policies.finetune.chunk),
      action_limit=domain.action_limit,
      num_actions=domain.num_actions,
      labels={
        stream: numbers
        for stream, numbers in domains.number_names(domain).items()
        if stream in names
      },
      recorded=recorded.only(seen),
      words=policies.words(cell),
    )

  def seeds(self, domain: Domain, cell: Cell) -> tuple[Policy, SeedWeights]:
    """The first seed's policy of a cell, and the weights of all its seeds."""
    params_S = self.policies.params(domain, cell)
    policy = self.policy(domain, cell, of_seed(params_S, 0))
    parts_S = tuning.split_policy(params_S)
    own_S = Own(parts_S.model, parts_S.image, {ACTION: parts_S.constants})
    fixed = {}
    if self.image is not None:  # What no seed of the cell has changed.
      _, fixed = image_parts.split(self.image.params, cell.encoder)
    shared = policy.weights._replace(model={}, image=fixed)

    def latents(split):
      if not parts_S.image:
        return {}
      seen = tuning.latents(
        domain,
        self.policies.inputs,
        split,
        self._encoder,
        cell.encoder,
        parts_S.image,
        self.batch_size,
      )
      return tuning.camera_streams(policy.model, seen)

    words = self.policies.words(cell)
    return policy, SeedWeights(shared, own_S, latents, self.sight, words)

  @functools.cached_property
  def _encoder(self):
    return encoders.of_model(self.image)


def by_eyes(
  policies: Policies,
  places: Sequence[Domain],
  evaluate: settings.Evaluate,
  encoder: str,
  encode: settings.Encode,
) -> dict[str, Actors]:
  """{eyes: their actors}; '' are those of the config's encoder."""
  return {
    eyes: actors(
      policies.with_eyes(eyes, domains.seen(places)),
      evaluate,
      eyes or encoder,
      encoders.encode_of(encode, eyes),
    )
    for eyes in ('', *policies.finetune.eyes)
  }


def actors(
  policies: Policies,
  evaluate: settings.Evaluate,
  encoder: str,
  encode: settings.Encode,
) -> Actors:
  """Those of a config, which sees frames through the image model `encoder`."""
  image = encoders.load_model(encoder, encode, policies.inputs)
  image_from, sight = None, ''
  if image is not None:
    image_from = encoders.image_from(encoder, encode, policies.inputs)
  else:
    sight = encoder
  return Actors(policies, evaluate, image, image_from, encode.batch_size, sight)
