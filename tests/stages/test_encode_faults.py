"""Encoding what is damaged: counted, named, skipped; or one clear error."""

import multiprocessing
import time

import numpy as np
import pytest

from rpt_jax import domains
from rpt_jax.episodes import store
from rpt_jax.learning import encoders
from rpt_jax.stages import label
from tests.episodes.formats.test_video import write_video
from tests.stages import encoding
from tests.test_main import command


def test_not_one_frame_is_an_error(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  for path in data.iterdir():
    encoding.spoil(path)
  with pytest.raises(ValueError, match='encode: no frame could be encoded'):
    encoding.run(encoding.experiment(data, error_budget=1.0), tmp_path)


def test_an_undecodable_episode_is_skipped_and_named(tmp_path, capsys):
  data = encoding.write_episodes(tmp_path / 'toy')
  encoding.spoil(data / '001.npz')
  encoding.spoil(data / '006.npz')
  config = encoding.experiment(data, error_budget=0.5)
  rows = encoding.run(config, tmp_path)
  said = capsys.readouterr().out
  assert 'toy/pretrain: episode 1 skipped' in said and '001.npz' in said
  skipped = [r['value'] for r in rows if r['name'] == 'skipped_episodes']
  assert skipped == [1, 1]
  folder = tmp_path / 'encode/toy/pretrain'
  entries = store.manifest(folder)['shards']
  assert '001.npz' in entries[0]['skipped']['1']
  assert store.kept(folder) == [0, 2, 3, 4, 5]
  assert encoding.latents(tmp_path, 'heldout')[1] == [10]
  (toy,) = domains.of(config)
  inputs = {name: tmp_path / name for name in ('collect', 'encode', 'label')}
  label.run(config, inputs, inputs['label'])
  labels = domains.labels(toy, inputs, 'pretrain', ('action',))
  assert labels.lengths.tolist() == encoding.latents(tmp_path)[1]
  with np.load(data / '002.npz') as second:
    np.testing.assert_allclose(labels.arrays['action'][7:12], second['action'])
  instruction_N = domains.instructions(toy, inputs, 'pretrain')
  assert len(instruction_N) == len(encoding.latents(tmp_path)[0])


def test_a_truncated_video_is_skipped(tmp_path):
  folder = tmp_path / 'videos'
  folder.mkdir()
  for i in range(4):
    write_video(folder / f'{i}.mp4', 9, first=9 * i)
  content = (folder / '1.mp4').read_bytes()
  (folder / '1.mp4').write_bytes(content[: len(content) // 2])
  config = encoding.experiment(folder, action_column=None)
  rows = encoding.run(config, tmp_path)
  assert encoding.latents(tmp_path)[1] == [9, 9]
  assert store.kept(tmp_path / 'encode/toy/pretrain') == [0, 2]
  assert [r['value'] for r in rows if r['name'] == 'skipped_episodes'] == [1, 0]


def test_a_run_that_stops_ends_its_workers(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy', 40 * (3,))
  encoding.spoil(data / '000.npz')
  config = encoding.experiment(data, error_budget=0.0, workers=1)
  with pytest.raises(ValueError, match='1 of 30') as refused:
    encoding.run(config, tmp_path)
  ends_by = time.monotonic() + 60
  while multiprocessing.active_children() and time.monotonic() < ends_by:
    time.sleep(0.05)
  assert not multiprocessing.active_children(), refused


def test_all_of_a_shard_can_be_missing(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  encoding.spoil(data / '002.npz')
  encoding.run(encoding.experiment(data, shard_frames=1), tmp_path)
  assert encoding.latents(tmp_path)[1] == [7, 12, 9, 11, 6]


def test_frames_without_their_actions_are_skipped(tmp_path):
  """Else the latents of later episodes would lie beside others' actions."""
  data = encoding.write_episodes(tmp_path / 'toy')
  with np.load(data / '001.npz') as found:
    arrays = dict(found)
  arrays['image'] = arrays['image'][:-1]
  np.savez(data / '001.npz', **arrays)
  encoding.run(encoding.experiment(data), tmp_path)
  entries = store.manifest(tmp_path / 'encode/toy/pretrain')['shards']
  assert entries[0]['skipped']['1'] == (
    'found [11] steps, expected 12 as its dataset says; copy it again'
  )


def test_latents_that_are_not_finite_are_refused(tmp_path, monkeypatch):
  data = encoding.write_episodes(tmp_path / 'toy')

  def diverging(name, encode, inputs, domains):
    def apply(params, seen):
      mean = seen['image'].astype('f4').mean((1, 2))
      return mean * params

    return encoders.FrameEncoder(apply, np.float32(1e6), 3)

  monkeypatch.setattr(encoders, 'load', diverging)
  with pytest.raises(ValueError, match='toy/pretrain: episode 0: latents'):
    encoding.run(encoding.experiment(data), tmp_path)
  assert not list((tmp_path / 'encode').rglob('*.npy'))


CONFIG = """
from tests.stages import encoding

def get_config():
  return encoding.config({path!r}, error_budget=0.0)
"""


def test_the_command_line_answers_in_one_line(tmp_path):
  data = encoding.write_episodes(tmp_path / 'toy')
  encoding.spoil(data / '001.npz')
  file = tmp_path / 'toy.py'
  workdir = tmp_path / 'work'
  for path, words in (
    (data, 'toy/pretrain: 1 of 6 episodes cannot be decoded'),
    (tmp_path / 'nowhere', 'nowhere'),
  ):
    file.write_text(CONFIG.format(path=str(path)))
    result = command(
      f'--config={file}', '--stages=collect,encode', workdir=workdir
    )
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith('rpt_jax: error:') and words in line
