"""What of `config.finetune` and `config.evaluate` cannot be; see `checks`."""

import dataclasses
import functools
from collections.abc import Sequence

import jax

from rpt_jax import domains, settings, vision
from rpt_jax.domains import Domain
from rpt_jax.learning import (
  cells,
  checks_pretrain,
  deploying,
  encoders,
  offline_to_online,
  policies,
  pretraining,
  watch,
)
from rpt_jax.learning.runs import Runs
from rpt_jax.models import heads
from rpt_jax.policy import Execution, monitors
from rpt_jax.policy.monitors import surprise
from rpt_jax.results import FINETUNE, SCRATCH
from rpt_jax.settings import Experiment, refuse
from rpt_jax.types import ACTION, StreamSpec
from rpt_jax.vision import tuning


def check(
  config: Experiment,
  places: Sequence[Domain],
  image: vision.VisionModel | None,
) -> None:
  """Raise ValueError for policies that cannot be; `image` gives latents."""
  c = config.finetune
  if not config.pretrain:
    refuse('config.finetune', 'a section', 'config.pretrain beside it')
  acting = domains.acting(places)
  if not acting:
    names = [domain.name for domain in places]
    refuse(
      'config.finetune',
      'a section',
      f'none, as no domain of {names} has actions',
    )
  if not set(c.run_demos) <= set(c.demos):
    refuse('config.finetune.run_demos', c.run_demos, f'some of demos={c.demos}')
  if c.scratch.demos:
    refuse('config.finetune.scratch.demos', c.scratch.demos, '(): all')
  if c.seeds < 2 and config.pipelines < 2 and not config.tune:
    refuse(
      'config.finetune.seeds',
      c.seeds,
      'at least 2 in a single pipeline: intervals are over seeds',
    )
  for domain in acting:
    most, what = domain.most_demos()
    if max(c.demos) > most:
      refuse('config.finetune.demos', c.demos, f'at most {most}, {what}')
  _check_tuned(config, image)
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  played = execution(config.evaluate.execution, c.chunk)
  for where, head in _heads(c, runs):
    _check_head(where, head, played, c.chunk, places)
  _check_freeze(c, runs, places)
  _check_comparisons(config, runs)
  _check_watch(config.evaluate.watch, acting, runs, played, c.chunk)
  if config.evaluate.guide.samples:
    _check_guide(config.encoder, acting, played)
  if c.critic:
    offline_to_online.check(c.critic, 'config.finetune.critic')
  if c.deploy:
    deploying.check(c.deploy, 'config.finetune.deploy')


def _check_freeze(c, runs, places):
  """The pattern fits the policies of all runs."""
  if not c.freeze:
    return
  discrete = domains.acting(places)[0].discrete
  kind = (
    {'kind': 'discrete', 'vocab': 2} if discrete else {'kind': 'continuous'}
  )
  names = pretraining.needed(runs.of(1))
  specs = {name: StreamSpec(name, 'continuous', dim=1) for name in names}
  action = StreamSpec(ACTION, dim=0 if discrete else 1, **kind)
  if ACTION in specs:
    specs[ACTION] = action
  for run in runs.all().values():
    model = policies.model(run, specs, action, c)
    checks_pretrain.check_freeze(model, c.freeze, 'config.finetune.freeze')


def _heads(c, runs):
  """(key, settings) of every head that gives actions."""
  yield 'config.finetune.head', c.head
  for name, run in runs.shared.runs.items():
    if run.head is not None:
      yield f'config.pretrain.runs.{name}.head', run.head


def _check_head(where, head, played, chunk, places):
  """A head gives actions of the domains' kind, as they are to be played."""
  for domain in domains.acting(places):
    kind = 'discrete' if domain.discrete else 'continuous'
    action = StreamSpec(ACTION, kind, dim=1, vocab=2)
    spec = heads.HeadSpec(action, head, chunk)
    try:
      heads.make(spec)
    except ValueError as error:
      raise ValueError(f'{where}.kind: {error}') from error
    if played.realtime and not heads.guides(spec):
      refuse(
        f'{where}.kind',
        settings.kind(head),
        "one that goes on from the chunk before, as 'flow', for "
        'config.evaluate.execution=realtime',
      )


def _check_comparisons(config, runs):
  c = config.finetune
  entries = cells.cells(c, runs)
  for question, pair in config.evaluate.comparisons.items():
    if any(cells.compared(w, c.run_demos[0]) not in entries for w in pair):
      raise ValueError(
        f'config.evaluate.comparisons: {question!r} has {pair}, expected two '
        f"of {sorted(runs.all())}, '{runs.shared.main}:probe' and "
        f"'none:{SCRATCH}'"
      )


def _check_watch(c, acting, runs, played, chunk):
  """Successes enough for the rate, worlds that there are, a run."""
  where = 'config.evaluate.watch'
  if c.run and c.run not in runs.all():
    refuse(f'{where}.run', c.run, f'one of {sorted(runs.all())}')
  able = {name for domain in acting for name in watch.worlds(domain)}
  unknown = [w for w in c.worlds if w not in able and not watch.delay(w)]
  if unknown:
    refuse(
      f'{where}.worlds', unknown, f"some of {sorted(able)}, or 'late:<steps>'"
    )
  if not c.monitors:
    return
  # Where several watch, each has its part of the rate.
  least = monitors.least(c.delta / len(c.monitors))
  if c.calibration < least:
    expected = (
      f'at least {least} for delta={c.delta} of {len(c.monitors)} monitors: '
      'with fewer no threshold keeps that rate'
    )
    refuse(f'{where}.calibration', c.calibration, expected)
  if not able:
    names = [domain.name for domain in acting]
    refuse(
      f'{where}.monitors', list(c.monitors), f'none, as none can watch {names}'
    )
  _check_foreseen(c, runs, f'{where}.monitors')
  for late in filter(None, map(watch.delay, c.worlds)):
    try:
      dataclasses.replace(played, delay=late).check(chunk)
    except ValueError as error:
      raise ValueError(f'{where}.worlds: {error}') from error


def _check_foreseen(c, runs, where):
  """A run reads and predicts what monitors are to be surprised by."""
  every = runs.all()
  chosen = [every[c.run]] if c.run else every.values()
  seen = {s for run in chosen for s in run.targets if s in run.streams}
  for name, monitor in c.monitors.items():
    is_surprised = isinstance(monitor, surprise.Settings)
    streams = monitor.streams if is_surprised else ()
    if missing := [s for s in streams if s not in seen]:
      refuse(f'{where}.{name}.streams', missing, f'some of {sorted(seen)}')


def _check_guide(encoder, acting, played):
  """Episodes that succeed, a true state that is seen, chunks drawn anew."""
  where = 'config.evaluate.guide.samples, a critic that chooses'
  if not any(watch.worlds(domain) for domain in acting):
    names = [domain.name for domain in acting]
    refuse(where, names, 'a gymnax environment with a goal')
  if encoder != encoders.STATE:
    refuse(where, f'config.encoder={encoder!r}', repr(encoders.STATE))
  if played.realtime or played.ensemble is not None:
    refuse(where, 'another config.evaluate.execution', "'execute:<actions>'")


def _check_tuned(config, image):
  """Modes fit the image model's parameters, and have a frozen twin."""
  c, demos = config.finetune.tuned, config.finetune.demos
  if not (c.modes or c.demos):
    return
  if not c.demos or not set(c.demos) <= set(demos):
    refuse(
      'config.finetune.tuned.demos',
      c.demos,
      f'some of config.finetune.demos={demos}',
    )
  if not c.modes:
    return
  if image is None or not image.params:
    refuse(
      'config.finetune.tuned.modes',
      c.modes,
      f'(), as the encoder {config.encoder!r} has no parameters',
    )
  if FINETUNE not in config.finetune.methods or config.finetune.finetune.demos:
    refuse(
      'config.finetune.tuned.modes',
      c.modes,
      "(), or 'finetune' among config.finetune.methods over the whole curve, "
      'as tuned policies go on from there',
    )
  for mode in c.modes:
    try:
      jax.eval_shape(functools.partial(tuning.split, mode=mode), image.params)
    except ValueError as error:
      raise ValueError(f'config.finetune.tuned.modes: {error}') from error


def execution(words: str, chunk: int) -> Execution:
  """How policies are played, of `config.evaluate.execution`.

  'execute:<k>', 'realtime:<k>' or 'ensemble:<decay>', each with ',delay:<d>'
  or without. Raises ValueError for what means nothing with chunks of that
  length.
  """
  how, _, delay = words.partition(',delay:')
  kind, _, number = how.partition(':')
  try:
    delayed = {'delay': int(delay or 0)}
    if kind == 'ensemble':
      played = Execution(ensemble=float(number), **delayed)
    else:
      realtime = kind == 'realtime'
      played = Execution(execute=int(number), realtime=realtime, **delayed)
    played.check(chunk)
  except ValueError as error:
    raise ValueError(
      f'config.evaluate.execution: found {words!r}, expected execute:<actions '
      'of a chunk played>, realtime:<likewise> or ensemble:<decay>, and '
      f',delay:<steps> after it or not ({error})'
    ) from error
  return played
