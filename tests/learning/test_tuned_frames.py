"""Frames that are decoded for fine-tuning through the image model."""

import jax
import numpy as np
import pytest

from rpt_jax import domains
from rpt_jax.learning import checks, demonstrations, encoders, tuning
from rpt_jax.vision import tuning as parts
from tests.learning import tiny

CAMERAS, DIM = tuple(tiny.SIZES), 16


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
  """(domain, folders, experiment) of a recorded robot, encoded."""
  workdir = tmp_path_factory.mktemp('robot')
  tiny.write_dataset(workdir / 'squares')
  c = checks.experiment(tiny.recorded(workdir / 'squares'))
  inputs = tiny.encoded(c, workdir)
  (domain,) = domains.of(c)
  return domain, inputs, c


def test_only_demonstrations_in_use_are_decoded(robot, monkeypatch):
  """The same windows, though rows are counted anew."""
  domain, inputs, c = robot
  names = ('latent', 'proprio', 'action')
  most, _ = domain.most_demos()
  about = inputs, names, most, c.seed, 2
  demos = demonstrations.load([domain], *about)[domain.name]
  arrays, table = demos.data, demos.table
  size = len(arrays['action']) + 9  # As beside a longer domain.
  arrays = {
    k: x if k == 'table' else np.pad(x, ((0, 9), (0, 0)))
    for k, x in arrays.items()
  }
  picks_SN, _ = demonstrations.picks(demos, 1, size, c.seed, 2)
  chosen = np.unique(table.clip[picks_SN])
  assert len(chosen) < len(domain.source(inputs['collect'], domain.demos))
  decoded, read = [], tuning.reading.read_ahead

  def read_ahead(source, fields, indices):
    decoded.extend(indices)
    assert tuple(fields) == CAMERAS
    return read(source, fields, indices)

  monkeypatch.setattr(tuning.reading, 'read_ahead', read_ahead)
  data, new_SN = tuning.data(
    domain, inputs, demos._replace(data=arrays), picks_SN
  )
  assert decoded == chosen.tolist()
  assert set(data) == {'image', 'proprio', 'action', 'table'}
  shape = 8, 3
  for old_N, new_N in zip(picks_SN, new_SN, strict=True):
    before = demonstrations.batch(
      arrays | {'table': table}, old_N, ('latent', 'proprio'), *shape
    )
    after = demonstrations.batch(data, new_N, ('image', 'proprio'), *shape)
    for name in ('valid', 'target_valid'):
      np.testing.assert_array_equal(after[name], before[name])
    for part, name in (('inputs', 'proprio'), ('targets', 'action')):
      np.testing.assert_array_equal(after[part][name], before[part][name])
    # Frames are those that the latents are of.
    frames = after['inputs']['image']
    image = image_model(robot)
    latents = [seen(image, image.params, x) for x in frames]
    np.testing.assert_allclose(
      np.concatenate(latents, -1), before['inputs']['latent'], atol=2e-2
    )


def image_model(robot):
  _, inputs, c = robot
  return encoders.load(c.encoder, c.encode, inputs, ())


def seen(image, params, image_BTHWC):
  frames = image_BTHWC.reshape(-1, *image_BTHWC.shape[2:])
  latent_ND = jax.jit(image.apply)(params, {'image': frames})
  return latent_ND.reshape(*image_BTHWC.shape[:2], -1)


def test_each_seed_sees_through_its_own_image_model(robot):
  domain, inputs, _ = robot
  image = image_model(robot)
  trained, fixed = parts.split(image.params, 'last:1')
  trained_S = jax.tree.map(lambda x: np.stack([x, 1.5 * x]), trained)
  latents = tuning.latents(
    domain, inputs, 'heldout', image, 'last:1', trained_S, 10
  )
  assert tuple(latents) == CAMERAS
  source = domain.source(inputs['collect'], 'heldout')
  episodes = [source.read(i, CAMERAS) for i in range(len(source))]
  for camera, latent_SND in latents.items():
    frames = np.concatenate([e[camera] for e in episodes])
    assert latent_SND.shape == (2, len(frames), DIM)
    for seed in range(2):
      own = jax.tree.map(lambda x, i=seed: x[i], trained_S)
      params = parts.merge(own, fixed)
      expected = seen(image, params, frames[None])[0]
      np.testing.assert_allclose(
        latent_SND[seed], expected, rtol=2e-2, atol=2e-2
      )
    assert np.abs(latent_SND[0] - latent_SND[1]).max() > 0.1
