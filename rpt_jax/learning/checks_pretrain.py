"""What of `config.pretrain` cannot be meant; see `checks`."""

import pathlib
import re

import jax

from rpt_jax import domains, settings
from rpt_jax.learning import streams
from rpt_jax.learning.runs import PretrainingRun, Runs
from rpt_jax.learning.streams import FELT
from rpt_jax.learning.texts import Texts
from rpt_jax.models import sequence, trunks, visibility
from rpt_jax.results import NO_RUN, RANDOM
from rpt_jax.settings import Experiment, refuse
from rpt_jax.training import optimizer
from rpt_jax.types import (
  ACTION,
  CAMERA,
  LATENT,
  TEXT,
  TOKEN,
  UNIT,
  StreamSpec,
)
from rpt_jax.units import recipes as recipes_lib
from rpt_jax.vision import hub, weights


def check(config: Experiment, places) -> None:
  """Raise ValueError for runs that cannot be, on these domains."""
  c, runs = config.pretrain, Runs(config.pretrain, config.quantize)
  if c.main not in c.runs:
    refuse('config.pretrain.main', c.main, f'one of {sorted(c.runs)}')
  _check_names(config)
  _check_trunk(c)
  _check_tower(c, runs)
  seen = domains.seen(places)
  _check_init(c.init, 'config.pretrain.init')
  for name, run in runs.of(1).items():
    _check_run(config, seen, run, f'config.pretrain.runs.{name}')
  _check_motion(c, runs, seen)
  main = runs.main
  if config.iterations > 1 and UNIT not in (*main.streams, *main.targets):
    refuse(
      'config.iterations',
      config.iterations,
      f'1, as the main run {c.main!r} neither reads nor predicts units',
    )
  for run in runs.of(1).values():
    check_freeze(run.model(_specs(run)), c.freeze, 'config.pretrain.freeze')


def check_freeze(model: sequence.SequenceModel, pattern: str, key: str) -> None:
  """Raise ValueError where a pattern freezes nothing or all of a model."""
  if not pattern:
    return
  _check_pattern(pattern, key)
  tx = optimizer.adamw(1.0, 1, freeze=pattern)
  try:
    jax.eval_shape(
      lambda key: tx.init(sequence.init(model, key)), jax.random.key(0)
    )
  except ValueError as error:
    raise ValueError(f'{key}: {error}') from error


def _check_names(config):
  """Names of runs are not those that the stages give."""
  c = config.pretrain
  runs = Runs(c, config.quantize, config.iterations)
  later = [runs.main_name(i) for i in range(2, config.iterations + 1)]
  for name in (NO_RUN, LATENT, RANDOM, *later):
    if name in c.runs:
      raise ValueError(
        f'config.pretrain.runs.{name}: found a run of that name, expected '
        'another: it is taken by policies that were not pretrained, by '
        'features of the image model or of an untrained trunk, or by a later '
        'iteration of the main run'
      )


def _check_trunk(c):
  """The trunk goes with the width, and can be causal, as policies are."""
  where, trunk = 'config.pretrain.trunk', trunks.kind(c.trunk)
  try:
    trunk.check(c.trunk, c.width)
  except ValueError as error:
    raise ValueError(f'{where}.{error}') from error
  for name, run in c.runs.items():
    rule = settings.module(
      'objectives', settings.kind(run.objective)
    ).VISIBILITY
    if rule not in trunk.VISIBILITIES:
      refuse(
        f'{where}.kind',
        settings.kind(c.trunk),
        f'one that can do {rule!r}, as run {name!r} needs it',
      )


def _check_tower(c, runs):
  """What reads instructions is there, where some run has any."""
  key = 'config.pretrain.text_encoder'
  if not c.text_encoder:
    return
  if not any(run.hears for run in runs.of(1).values()):
    refuse(key, c.text_encoder, f"'' where no run reads {TEXT!r}")
  try:
    Texts(None, c).spec  # noqa: B018, it is read.
  except ValueError as error:
    raise ValueError(f'{key}: {error}') from error


def _check_run(config, places, run: PretrainingRun, where):
  _check_streams(places, run, where)
  _check_recipe(config, run, where)
  try:
    run.model(_specs(run))
  except ValueError as error:
    raise ValueError(f'{where}.objective: {error}') from error
  if hasattr(run.objective, 'check_window'):
    try:
      run.objective.check_window(run.settings.objective, run.context)
    except ValueError as error:
      raise ValueError(f'{where}.objective.{error}') from error
  reach = getattr(run.objective, 'reach', lambda settings: 0)
  steps = reach(run.settings.objective)
  longest = max((domain.longest for domain in places), default=0)
  if steps >= longest:
    refuse(
      f'{where}.objective',
      f'{steps} steps ahead',
      f'fewer than the {longest} of the longest episode',
    )
  splits = [split for domain in places for split in domain.splits]
  if run.settings.failures and 'failures' not in splits:
    refuse(
      f'{where}.failures',
      True,
      'False where no domain has deliberate failures',
    )
  if run.settings.labelled < 1 and not {*run.streams} & {*FELT}:
    refuse(
      f'{where}.labelled', run.settings.labelled, f'1, as it reads no {FELT}'
    )
  if run.settings.instructed < 1 and not run.hears:
    refuse(
      f'{where}.instructed',
      run.settings.instructed,
      f'1, as it reads no {TEXT!r}',
    )
  _check_init(run.settings.init, f'{where}.init')


def _check_motion(c, runs, places):
  """Only what runs read as numbers has a difference that is looked at."""
  read = {s for run in runs.of(1).values() for s in run.streams}
  read -= {UNIT, TEXT, TOKEN}
  if any(domain.discrete for domain in domains.acting(places)):
    read -= {ACTION}
  expected = sorted(read | {LATENT})
  if not {*c.motion} <= {*expected}:
    refuse(
      'config.pretrain.motion',
      c.motion,
      f'some of {expected}, the numbers that runs read',
    )


def _specs(run):
  """Streams of a run, as far as it matters here."""
  names = (*run.streams, *run.targets)
  specs = {name: StreamSpec(name, 'continuous', dim=1) for name in names}
  return specs | {TEXT: Texts(None, run.shared).spec}


def _check_recipe(config, run, where):
  recipe, names = run.settings.recipe, (*run.streams, *run.targets)
  recipes = config.quantize.recipes if config.quantize else {}
  if (UNIT in names) != bool(recipe) or recipe and recipe not in recipes:
    expected = f'one of {sorted(recipes)}' if UNIT in names else "''"
    refuse(
      f'{where}.recipe',
      recipe,
      f"{expected}: only runs that read or predict 'unit' have a recipe",
    )
  if UNIT in run.streams and run.objective.VISIBILITY in visibility.CAUSAL:
    ahead = recipes_lib.lookahead(recipes[recipe])
    if ahead:
      raise ValueError(
        f'{where}.recipe: found {recipe!r}, whose units look ahead '
        f'{ahead} frames; expected a causal recipe (running_mean in place of '
        'clip_mean, a maker that looks at no later frame), as this run reads '
        "'unit' and predicts what follows"
      )


def _check_streams(places, run, where):
  names = (*run.streams, *run.targets)
  if TEXT in run.settings.targets:
    refuse(
      f'{where}.targets',
      run.targets,
      f'no {TEXT!r}: it is read before all steps, and never predicted',
    )
  # Side by side latents are told apart by their places, not by names.
  cameras = {domain.name: domain.cameras for domain in places}
  if LATENT in names and len({*map(len, cameras.values())}) > 1:
    refuse(
      f'{where}.streams',
      run.streams,
      f'domains of as many cameras, {cameras}, or {CAMERA}<camera> of those '
      'that some have: it is absent elsewhere',
    )
  by_domain = {domain.name: streams.of(domain) for domain in places}
  available = [s for own in by_domain.values() for s in own]
  available = [*dict.fromkeys(available), UNIT]
  if TEXT in names:  # Whether any episode was told anything is seen later.
    available.append(TEXT)
  for key, chosen in (('streams', run.streams), ('targets', run.targets)):
    unknown = [s for s in chosen if s not in available]
    misplaced = ACTION in chosen and chosen[-1] != ACTION
    if unknown or misplaced or len(set(chosen)) < len(chosen):
      refuse(
        f'{where}.{key}',
        chosen,
        f'each once of {available} of {list(by_domain)}, the action last',
      )
  for name, own in by_domain.items():
    if not {*run.streams} & {*own, UNIT}:
      refuse(
        f'{where}.streams',
        run.streams,
        f'some that {name} has: {list(own)}; its windows would be empty',
      )
  if ACTION in names:
    _check_actions(places, where)
  for stream in FELT:
    if stream in names:
      _check_width(places, stream, where)


def _check_width(places, stream, where):
  """What is felt or done is one stream of all that have it."""
  apart = places if stream != ACTION else [d for d in places if not d.discrete]
  widths = {d.name: d.widths[stream] for d in apart if stream in d.widths}
  if len({*widths.values()}) > 1:
    raise ValueError(
      f'{where}.streams: found {stream!r} of {widths} numbers, expected as '
      'many of every domain that has it'
    )


def _check_actions(places, where):
  """All domains' actions must be one stream."""
  acting = domains.acting(places)
  if len({domain.discrete for domain in acting}) > 1:
    raise ValueError(
      f"{where}.streams: found 'action' of domains with discrete and "
      'with continuous actions; expected one kind'
    )
  for domain in acting:
    domain.check(as_stream=True)


def _check_init(init: settings.Init, where):
  """What a training begins from is there, and patterns are patterns."""
  pairs = [('new', (p, '')) for p in init.new]
  pairs += [('skip', (p, '')) for p in init.skip]
  pairs += [('rename', pair) for pair in init.rename]
  for name, (pattern, replacement) in pairs:
    if not init.path:
      refuse(f'{where}.{name}', getattr(init, name), f'() without {where}.path')
    _check_pattern(pattern, f'{where}.{name}', replacement)
  folder = pathlib.Path(init.path)
  try:
    if init.path and folder.is_dir():
      weights.open_tensors(folder)
    elif init.path and not hub.ID.fullmatch(init.path):
      hub.find(init.path)
  except ValueError as error:
    raise ValueError(f'{where}.path: {error}') from error


def _check_pattern(pattern, key, replacement=''):
  try:
    re.sub(pattern, replacement, '')
  except re.error as error:
    refuse(key, pattern, f'a regular expression ({error})')
