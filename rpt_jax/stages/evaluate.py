"""Every policy judged in its domain: played there, or on what was recorded.

All cells of a domain meet the same episodes. `<domain>/<cell>.npz` is what came
of them (`domains.playing.Played`), written as soon as it is played, so that a
killed evaluation goes on at the next cell; `scores.npz` has the scores of all
cells, which the stage compare takes together. `<domain>/policy` is of the seeds
fine-tuned on most demonstrations the first one's policy (or of all methods the
best on held-out ones: `learning/looks.py`), as `policy.Policy.load` reads it.

Where a domain is `sequential`, a cell ends as soon as its episodes decide
whether it does better than scratch on as many demonstrations, which is played
before it and to the end (`evals.sequential`).

The kept policy is watched by monitors where a config has some
(`learning/watch.py`), and guided by critics (`learning/guiding.py`).

Rows: what a domain says of itself and of its cells, but for scores; decisions;
what monitors detect, what critics gain.
"""

import functools

from rpt_jax import domains, files, results
from rpt_jax.domains.playing import Played
from rpt_jax.evals import sequential
from rpt_jax.learning import (
  acting,
  cards,
  cells,
  guiding,
  looks,
  scores,
  streams,
  two_at_once,
  watch,
)
from rpt_jax.learning.policies import Policies, path
from rpt_jax.learning.runs import Runs
from rpt_jax.results import NO_RUN, Acting
from rpt_jax.training import distributed, sharding
from rpt_jax.types import ACTION


def run(config, inputs, directory):
  """Judge all cells of all domains; rows: what domains say of them."""
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  policies, places = Policies(config.finetune, runs, inputs), domains.of(config)
  actors = acting.by_eyes(
    policies, places, config.evaluate, config.encoder, config.encode
  )
  mesh = sharding.make_mesh(config.mesh.sizes)
  judged, rows, score = domains.acting(places), [], {}
  domains.say_left_out(places)
  for domain in judged:
    _play(domain, actors, mesh, directory / domain.name)
  for domain in judged if distributed.is_first() else ():
    folder = directory / domain.name
    scored = _scored(domain, policies, folder)
    own, kept = _own_rows(domain, scored), _kept(domain, policies)
    rows += own
    score |= {f'{domain.name}/{c.name}': s.score_SN for c, s in scored.items()}
    if not (folder / 'policy').exists():
      policy, _ = actors[''].seeds(domain, kept.cell)
      card = cards.policy(
        domain,
        kept,
        config.finetune,
        policy.model,
        _rows_of_kept(domain, kept.cell, scored, own),
        domains.seen(places),
        config.seed,
      )
      policy.save(folder / 'policy', **card)
    if config.evaluate.guide.samples and watch.worlds(domain):
      policy, _ = actors[''].seeds(domain, kept.cell)
      rows += guiding.rows(config.evaluate.guide, domain, policy, folder)
    if config.evaluate.watch.monitors and watch.worlds(domain):
      rows += _watched(config.evaluate.watch, domain, kept.cell, actors[''])
  if distributed.is_first():
    files.write_arrays(directory / Acting.SCORES, score)
  return rows


def _watched(watched, domain, cell, actors):
  """What monitors say of the first seed's policy of a cell."""
  policy, _ = actors.seeds(domain, cell)
  policies = actors.policies
  run = policies.runs.shared.main if cell.run == NO_RUN else cell.run
  return watch.rows(
    watched, domain, policy, watch.eyes(watched, policies, domain, run)
  )


def _path(folder, cell):
  return folder / f'{cell.name}.npz'


def _play(domain, actors, mesh, folder):
  """Writes how the cells of a domain went, those that have no file yet."""
  policies, evaluate = actors[''].policies, actors[''].evaluate
  entries = cells.cells(policies.finetune, policies.runs)
  if not (domain.together or distributed.is_first()):
    for cell in entries:
      distributed.await_file(_path(folder, cell))
    return
  agree = distributed.agree if domain.together else bool
  todo = [cell for cell in entries if agree(not _path(folder, cell).exists())]
  if not todo:
    return
  filmed = cells.filmed(policies.finetune, policies.runs)
  names = (*policies.streams, ACTION)
  recorded = functools.partial(
    streams.read, domain, policies.inputs, names=names, texts=policies.texts
  )
  each = two_at_once.each if domain.together else map
  with domain.episodes(evaluate.episodes, recorded, mesh) as episodes:
    play = functools.partial(
      _play_cell, domain, actors, episodes, folder, filmed
    )
    for cell, value in zip(todo, each(play, todo), strict=True):
      print(f'  {domain.name} {cell.name}: score {value:.3f}', flush=True)


def _play_cell(domain, actors, episodes, folder, filmed, cell):
  """Writes how a cell went; its mean score."""
  policy, weights = actors[cell.eyes].seeds(domain, cell)
  played = domain.play(
    policy.program,
    weights,
    episodes,
    record=cell in filmed,
    stop=_stop(domain, cell, folder),
  )
  if distributed.is_first():
    played.save(_path(folder, cell))
  collected = actors[cell.eyes].policies.inputs['collect']
  return domain.score(played, collected).score_SN.mean()


def _stop(domain, cell, folder):
  """Success so far [S, n] -> whether it decides; None where all is played."""
  if not domain.sequential or cell == cell.scratch:
    return None
  scratch_SN = Played.load(_path(folder, cell.scratch)).outcome
  return lambda success_SN: _compared(success_SN, scratch_SN).better != 0


def _compared(success_SN, scratch_SN):
  """The comparison of a cell with scratch, in the episodes of both."""
  return sequential.compare(success_SN, scratch_SN[:, : success_SN.shape[1]])


def _scored(domain, policies, folder):
  """{cell: its scores}, of the files of a domain."""
  return {
    cell: domain.score(
      Played.load(_path(folder, cell)), policies.inputs['collect']
    )
    for cell in cells.cells(policies.finetune, policies.runs)
  }


def _own_rows(domain, scored):
  """What a domain says beside scores: of itself once, and of every cell.

  Measures of cells that ended early are left out: their intervals are of a
  fixed number of episodes.
  """
  where = {'env': domain.name, 'measure': domain.measure.name}
  once = next(iter(scored.values())).references
  rows = [
    results.row(Acting.STAGE, name, value, **where)
    for name, value in once.items()
  ]
  most = max(each.score_SN.shape[1] for each in scored.values())
  for cell, (score_SN, measures, *_) in scored.items():
    if domain.sequential and cell != cell.scratch:
      rows += _decision(cell, score_SN, scored[cell.scratch].score_SN, where)
    if score_SN.shape[1] < most:
      continue
    tags = cell.tags | where | {'episodes': score_SN.size}
    rows += [
      results.row(Acting.STAGE, name, *summary, len(score_SN), **tags)
      for name, summary in measures.items()
    ]
  return rows


def _decision(cell, success_SN, scratch_SN, where):
  """Whether a cell does better than scratch, and how soon that was clear."""
  better, pairs, _ = _compared(success_SN, scratch_SN)
  seeds, tags = len(success_SN), cell.tags | where
  return [
    results.row(Acting.STAGE, name, value, None, seeds, **tags)
    for name, value in ((Acting.DECIDED, better), (Acting.PAIRS, pairs))
  ]


def _kept(domain, policies):
  """Whose first policy is saved, by what was seen as policies learned."""
  finetune, runs = policies.finetune, policies.runs
  if not finetune.heldout:
    return looks.kept(finetune, runs, {})
  folder = policies.inputs['finetune']
  seen = {
    cell: looks.load(path(folder, domain.name, cell))
    for cell in cells.cells(finetune, runs)
  }
  seen = {cell: each for cell, each in seen.items() if each is not None}
  return looks.kept(finetune, runs, seen)


def _rows_of_kept(domain, kept, scored, own):
  """What the card of a domain's policy shows."""
  groups = {domain.name: [domain.name]}
  score = {(domain.name, c): s.score_SN[None] for c, s in scored.items()}
  rows = scores.score_rows(domain.measure, score, groups)
  rows = results.select(rows, **kept.tags)
  return results.select(own, **kept.tags) + rows[:1]
