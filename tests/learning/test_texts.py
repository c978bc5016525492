"""Instructions of recorded episodes, from files to a policy that obeys."""

import numpy as np
import pytest

import rpt_jax
from rpt_jax import domains, settings
from rpt_jax.learning import checks, pretraining, streams, texts
from rpt_jax.learning.runs import Runs
from rpt_jax.models import words
from rpt_jax.results import Acting
from rpt_jax.stages import evaluate, finetune, plan, pretrain
from rpt_jax.types import TEXT
from tests.learning import tiny

SAID = ('go to the left', '往右走', '')  # What is done: 1, -1 or nothing.
LENGTH = 9


def write(path, said=SAID):
  """Where a robot is tells nothing of where it goes; the sentence does."""
  path.mkdir()
  for seed in range(18):
    rng = np.random.default_rng(seed)
    state_TP = rng.normal(size=(7, 3)).astype(np.float32)
    done = (1.0, -1.0, 0.0)[seed % 3]
    action_TA = np.full((7, 2), done, np.float32) + 0.01 * state_TP[:, :2]
    text = said[seed % len(said)]
    about = {'instruction': np.array(text)} if text else {}
    np.savez(path / f'{seed}.npz', state=state_TP, action=action_TA, **about)


def config(path, **changes):
  c = settings.base('pretrain', 'finetune', encoder='state')
  c.domains.robot = settings.plugin(
    'domains', 'recorded', path=str(path), cameras=(), heldout=0.34
  )
  c.pretrain.update(width=32, context=4, steps=30, batch_size=16, main='next')
  c.pretrain.update(streams=('text', 'latent', 'action'), text_length=LENGTH)
  c.pretrain.trunk.depth = 1
  c.pretrain.runs = {'next': tiny.run('next_streams')}
  c.finetune.update(seeds=2, demos=(12,), run_demos=(12,), chunk=2)
  c.finetune.methods = ('finetune',)
  settings.all_methods(c.finetune, steps=100, learning_rate=3e-3)
  return tiny.changed(c, changes)


def inputs_of(c, workdir):
  from rpt_jax.stages import collect, encode, label

  names = ('collect', 'encode', 'label', 'pretrain', 'finetune', 'evaluate')
  inputs = {name: workdir / name for name in names}
  for path in inputs.values():
    path.mkdir(parents=True)
  collect.run(c, {}, inputs['collect'])
  encode.run(c, inputs, inputs['encode'])
  label.run(c, inputs, inputs['label'])
  return inputs


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
  """(experiment, the folders of what was collected)."""
  workdir = tmp_path_factory.mktemp('told')
  write(workdir / 'robot')
  c = checks.experiment(config(workdir / 'robot'))
  return c, inputs_of(c, workdir)


def _read(c, inputs):
  (domain,) = domains.of(c)
  own = texts.train([domain], inputs, c.pretrain)
  names = (TEXT, 'latent', 'action')
  return own, streams.read(domain, inputs, 'pretrain', names, own)


def test_windows_have_the_sentence_of_their_clip(recorded):
  c, inputs = recorded
  own, clips = _read(c, inputs)
  run = Runs(c.pretrain, None).main
  specs = streams.specs(streams.measure([clips]), (), own)
  assert specs[TEXT].levels == LENGTH and specs[TEXT].vocab == 512
  joined = pretraining.clips(run, [pretraining.Part(clips)], specs, None)
  assert joined.arrays['present'].shape[1] == 2  # Of what has a time.
  rows = np.arange(int(clips.lengths.sum())).reshape(-1, 7)
  for i, text_TL in enumerate(joined.arrays[TEXT][rows]):
    assert own.words.text(text_TL[0]) == SAID[i % 3]
    assert (text_TL == text_TL[0]).all()
  # A third has an instruction: the same clips whenever they are drawn.
  some = pretraining.clips(
    run, [pretraining.Part(clips)], specs, None, instructed=1 / 3, seed=5
  )
  kept_E = (some.arrays[TEXT][rows[:, 0]] >= 0).any(-1)
  assert kept_E.sum() <= 4
  np.testing.assert_array_equal(
    some.arrays[TEXT][rows[kept_E]], joined.arrays[TEXT][rows[kept_E]]
  )


@pytest.mark.slow  # 30 seconds of a core.
def test_a_policy_does_what_it_is_told(recorded):
  c, inputs = recorded
  pretrain.run(c, inputs, inputs['pretrain'])
  finetune.run(c, inputs, inputs['finetune'])
  evaluate.run(c, inputs, inputs['evaluate'])
  with np.load(inputs['evaluate'] / Acting.SCORES) as scores:
    by_cell = {name: x.mean() for name, x in scores.items()}
  assert len(by_cell) == 2  # 0 is always to do the mean of what is done.
  assert min(by_cell.values()) > 0.8
  policy = rpt_jax.from_pretrained(inputs['evaluate'] / 'robot/policy').policy()
  assert policy.observed == ('latent',)
  assert policy.words == words.load(inputs['pretrain'])
  policy.reset(3, instruction=SAID)
  action_B = policy.act({'latent': np.zeros((3, 3), np.float32)})[:, 0]
  np.testing.assert_allclose(action_B, [1, -1, 0], atol=0.3)
  card = (inputs['pretrain'] / 'next/pretrained/README.md').read_text()
  assert f'| text | prefix | {LENGTH} tokens of 512, once |' in card


def test_too_long_a_sentence_is_cut_and_said(recorded, capsys):
  c, inputs = recorded
  short = config('', pretrain__text_length=2).pretrain
  short = settings.read(settings.Pretrain, short)
  own, clips = _read(checks_free(c, short), inputs)
  assert '1 of 3 different instructions are cut' in capsys.readouterr().out
  assert clips.arrays[TEXT].shape[1] == 2


def checks_free(c, pretrain_):
  import dataclasses

  return dataclasses.replace(c, pretrain=pretrain_)


def test_a_run_that_reads_none_is_given_none(recorded):
  c, _ = recorded
  by_name = {stage.name: stage for stage in plan.plan(c)}
  assert 'label' in by_name['pretrain'].inputs
  silent = config('', pretrain__streams=('latent',)).pretrain
  silent = checks_free(c, settings.read(settings.Pretrain, silent))
  by_name = {stage.name: stage for stage in plan.plan(silent)}
  assert 'label' not in by_name['pretrain'].inputs


def test_nobody_said_anything(tmp_path):
  write(tmp_path / 'robot', said=('',))
  c = checks.experiment(config(tmp_path / 'robot'))
  inputs = inputs_of(c, tmp_path)
  with pytest.raises(ValueError, match='no episode of .* has an instruction'):
    pretrain.run(c, inputs, inputs['pretrain'])


@pytest.mark.parametrize(
  ('changes', 'match'),
  [
    ({'runs__next__targets': ('text', 'action')}, "no 'text'"),
    ({'streams': ('text',)}, 'its windows would be empty'),
    ({'motion': ('text',)}, 'motion'),
    (
      {'streams': ('latent',), 'runs__next__instructed': 0.5},
      'instructed: found 0.5',
    ),
    ({'vocab': 255}, 'vocab: found 255, expected an integer at least 256'),
  ],
)
def test_what_cannot_be_meant(recorded, changes, match):
  path = recorded[0].domains['robot'].path
  with pytest.raises(ValueError, match=match):
    checks.experiment(
      config(path, **{f'pretrain__{k}': v for k, v in changes.items()})
    )
