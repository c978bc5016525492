"""What the report asks of the rows of a real run, and what it finds.

A reader that asks for a name or a tag that nobody writes finds nothing and
says nothing: only a run tells the two apart.
"""

import json
import pathlib
import sys
from unittest import mock

from rpt_jax import results, settings
from rpt_jax.results import Pretrain
from rpt_jax.stages import report

_SIMULATOR = {
  'choices.answers(comparison, env)',
  'simulator.shown(kept)',
  'simulator.success(success)',
  'words.split(*, env)',
}
_TUNED = {'acting.tuned(*, method)', 'acting.tuned(score)'}
_STATE = {
  'measures._quality_by_env(pnmi_state)',
  'measures.unit_quality(nmi_state)',
  'measures.unit_quality(pnmi_state)',
}
_INSTRUCTIONS = {'measures.unit_quality(pnmi_instruction)'}
_UNITS_ALONE = {
  'acting._measures_of(masked_accuracy, env, run)',
  'acting._measures_of(score, env, method, run)',
  'acting._measures_of(unmasked_accuracy, env, run)',
  'findings.mean_r2(state_r2)',
}
_ORACLE = {'controls.section(*, method)', 'controls.section(score, run)'}
_EYES = {
  'controls._by(*, demos, eyes)',
  'controls._by(*, eyes)',
  'controls.scores(*, eyes, method)',
  'evidence.unseeing(visible_r2_over_edges)',
  'sight.findings(visible_r2)',
  'sight.section(visible_r2, features)',
}
_SEVERAL_PIPELINES = {
  'findings.checked(paired_difference, sample)',
  'foretelling.findings(rank_correlation)',
  'foretelling.section(rank_correlation)',
}
_ENDED_EARLY = {'findings.write(decided)'}
_TABLES_OF_DECISIONS = {
  'simulator._gain(decided, env, method)',
  'simulator._table(decided, method)',
  'simulator.success(decided)',
}
_GUIDED = {
  'guiding.section(guided_success)',
  'deploying.section(deployed_success)',
}
# What the quicktest of a config has no rows for, and need not have.
NOT_APPLICABLE = {
  'hubert_units': {
    *_GUIDED,
    *_SIMULATOR,
    *_ORACLE,
    *_ENDED_EARLY,
    *_SEVERAL_PIPELINES,
    *_TUNED,
    *_INSTRUCTIONS,
    'measures.unit_quality(pnmi_phase)',
  },
  'robot_video': {
    *_GUIDED,
    *_SIMULATOR,
    *_STATE,
    *_INSTRUCTIONS,
    *_ORACLE,
    *_EYES,
    *_ENDED_EARLY,
    *_SEVERAL_PIPELINES,
  },
  'rpt': {
    *_GUIDED,
    *_TUNED,
    *_STATE,
    *_INSTRUCTIONS,
    *_UNITS_ALONE,
    *_ORACLE,
    *_EYES,
    *_ENDED_EARLY,
    *_SEVERAL_PIPELINES,
    *_TABLES_OF_DECISIONS,
  },
}
# Values of tags that the report asks for, and who must write them.
VALUES = {
  'hubert_units': {
    'env': {results.ALL, results.MEAN},
    'run': {results.NO_RUN},
    'method': {results.SCRATCH, results.PROBE, results.FINETUNE},
    'encoder': {results.FROZEN},
    'features': {results.LATENT, results.RANDOM},
    'kind': {results.COST},
  },
  'robot_video': {'method': {results.TUNED}},
  'rpt': {'env': {results.ALL, results.UNSEEN}},
}


def rows(workdir: pathlib.Path) -> list[results.Row]:
  """All rows of a run, those of costs, too."""
  lines = (workdir / 'results.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def shapes(rows: list[results.Row]) -> set[tuple]:
  """(stage, name without its stream, keys of its tags) of every row.

  Means over several pipelines say so in `sample`; else they are alike.
  """
  return {
    (
      r['stage'],
      Pretrain.parts(r['name'])[0],
      tuple(sorted({*r['tags']} - {'sample'})),
    )
    for r in rows
  }


def check(config: str, workdir: pathlib.Path, directory: pathlib.Path):
  """Fails where the report asks a config's run for what nobody wrote."""
  assert in_vain(workdir, directory) == NOT_APPLICABLE[config]
  written = rows(workdir)
  for key, values in VALUES[config].items():
    assert values <= set(results.unique(written, key)), key


def in_vain(workdir: pathlib.Path, directory: pathlib.Path) -> set[str]:
  """Draws the page of a run into `directory`: the selections without a row.

  'module.function(name, tags)' for every one in the code that was asked at
  least once and never found any.
  """
  config = json.loads((workdir / 'config.json').read_text())
  inputs = {p.parent.name: p.parent for p in workdir.glob('*/artifact.json')}
  inputs.pop('report', None)
  found, select = {}, results.select

  def spy(rows, name=None, **tags):
    selected = select(rows, name, **tags)
    where = _asked(name, tags)
    found[where] = found.get(where, False) or bool(selected)
    return selected

  with mock.patch.object(results, 'select', spy):
    experiment = settings.read(settings.Experiment, config)
    report.run(experiment, inputs, directory, pipeline='')
  return {where for where, any_row in found.items() if not any_row}


def _asked(name, tags) -> str:
  """Who asks, and for what."""
  frame = sys._getframe(2)
  while frame.f_globals['__name__'] == results.__name__:  # `latest`.
    frame = frame.f_back
  module = frame.f_globals['__name__'].rpartition('.')[2]
  function = frame.f_code.co_qualname.partition('.<locals>')[0]
  return f'{module}.{function}({", ".join([name or "*", *sorted(tags)])})'
