"""Labels: row for row beside latents, once, by the shard."""

import json

import numpy as np
import pytest

from rpt_jax import domains, episodes
from rpt_jax.episodes import store
from rpt_jax.stages import label
from tests.stages import encoding


def run(config, workdir):
  """All three stages, what is there kept; the folders of all."""
  encoding.run(config, workdir)
  inputs = {k: workdir / k for k in ('collect', 'encode', 'label')}
  rows = label.run(config, inputs, inputs['label'])
  return inputs, rows


def test_labels_are_those_of_the_episodes_that_have_latents(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  encoding.spoil(data / '001.npz')
  config = encoding.experiment(data)
  inputs, rows = run(config, tmp_path)
  (toy,) = domains.of(config)
  kept = (0, 2, 3, 4, 5)
  source = list(episodes.open(data, image='wrist', action='action'))
  clips = domains.labels(toy, inputs, 'pretrain', ('action',))
  assert clips.lengths.tolist() == [encoding.LENGTHS[i] for i in kept]
  np.testing.assert_array_equal(
    clips.arrays['action'][:], np.concatenate([source[i].action for i in kept])
  )
  assert store.kept(inputs['label'] / 'toy/pretrain') == [*kept]
  values = {r['tags']['split']: r['value'] for r in rows}
  assert values == {'pretrain': clips.lengths.sum(), 'heldout': 18}
  latents, _ = encoding.latents(tmp_path)
  assert len(clips.arrays['action']) == len(latents)


def test_what_was_said_is_kept(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  for i, text in ((0, 'push'), (3, 'pull'), (4, 'push')):
    with np.load(data / f'{i:03d}.npz') as arrays:
      np.savez(data / f'{i:03d}.npz', instruction=text, **arrays)
  config = encoding.experiment(data)
  inputs, _ = run(config, tmp_path)
  (toy,) = domains.of(config)
  texts = json.loads((inputs['label'] / 'toy/pretrain/texts.json').read_text())
  assert texts == ['push', '', '', 'pull', 'push', '']
  ids = domains.instructions(toy, inputs, 'pretrain')
  clips = domains.labels(toy, inputs, 'pretrain', ())
  assert len(ids) == clips.lengths.sum()
  assert len(set(ids)) == 3 and ids[0] == ids[clips.offsets[4]]


def test_a_finished_shard_is_not_read_again(tmp_path, monkeypatch):
  config = encoding.experiment(encoding.write_episodes(tmp_path / 'toy'))
  encoding.run(config, tmp_path)
  inputs = {k: tmp_path / k for k in ('collect', 'encode')}
  encoding.killed_at_the_second(
    monkeypatch,
    'write_arrays',
    lambda: label.run(config, inputs, tmp_path / 'label'),
  )
  (first,) = (tmp_path / 'label').rglob('*.npy')
  before = first.stat().st_mtime_ns
  label.run(config, inputs, tmp_path / 'label')
  assert first.stat().st_mtime_ns == before
  label.run(config, inputs, tmp_path / 'whole')
  assert encoding.contents(tmp_path / 'label') == encoding.contents(
    tmp_path / 'whole'
  )


def test_a_dataset_that_has_changed_meanwhile_is_refused(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  config = encoding.experiment(data)
  encoding.run(config, tmp_path)
  with np.load(data / '002.npz') as arrays:
    np.savez(data / '002.npz', **{k: x[:-1] for k, x in arrays.items()})
  inputs = {k: tmp_path / k for k in ('collect', 'encode')}
  with pytest.raises(ValueError, match='other lengths.*encode it again'):
    label.run(encoding.experiment(data), inputs, tmp_path / 'label')
