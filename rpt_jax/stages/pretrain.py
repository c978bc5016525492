"""The sequence model, pretrained: every run with its own objective.

What runs read and predict is theirs to say; a run that names neither
proprioception nor actions is given no folder that holds any. Writes
`<run>/pretrained` (for `rpt_jax.from_pretrained`), the learning curve, the
futures that a run draws which generates units, `scales.safetensors`, the scale
of every stream, and `tokenizer.json` where some run reads instructions.
"""

import functools

import jax
import numpy as np

from rpt_jax import domains, files, results, settings, sharing
from rpt_jax.episodes import stack
from rpt_jax.learning import cards, pretraining, streams, texts
from rpt_jax.learning.pretraining import Part
from rpt_jax.learning.runs import (
  FUTURES,
  PRETRAINED,
  SCALES,
  PretrainingRun,
  Runs,
)
from rpt_jax.sharing import folder
from rpt_jax.training import (
  costs,
  distributed,
  loop,
  progress,
  sharding,
  step,
)
from rpt_jax.types import TEXT, UNIT
from rpt_jax.vision import hub

_SPLITS = ('pretrain', 'heldout')
_FAILURES = 'failures'
_HELDOUT_BATCHES, _DRAWS = 8, 3


def run(config, inputs, directory, iteration=1):
  """Train all runs; rows: held-out loss and accuracies of each."""
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  places = domains.seen(domains.of(config))
  corpus = _Corpus(places, inputs, runs.of(iteration))
  sharing.save_scales(directory / SCALES, corpus.scales)
  if corpus.texts and distributed.is_first():
    corpus.texts.words.save(directory)
  mesh, rows = sharding.make_mesh(config.mesh.sizes), []
  for name, each in runs.of(iteration).items():
    training = _Training(each, corpus, mesh, config.seed)
    params, teacher = training.fit(config.saving, directory / name)
    run_rows = training.heldout_rows(params, teacher)
    text = cards.pretrained(
      each, corpus.episodes(each), training.model, run_rows, config.seed
    )
    with folder.replacing(directory / name / PRETRAINED) as partial:
      text['constants'] = training.constants
      text['words'] = corpus.words(each)
      folder.write(partial, training.model, params, corpus.scales, **text)
    if hasattr(each.objective, 'futures') and distributed.is_first():
      files.write_arrays(directory / name / FUTURES, training.futures(params))
    rows += [*run_rows, training.cost_row()]
  return rows


class _Corpus:
  """All that the runs may read: {split: {domain: Part}}, and the scales."""

  def __init__(self, places, inputs, runs):
    self.domains = places
    names, self.texts = pretraining.needed(runs), None
    if TEXT in names:
      shared = next(iter(runs.values())).shared
      begun = [each.init.path for each in runs.values() if each.hears]
      self.texts = texts.train(places, inputs, shared, filter(None, begun))
    splits = [*_SPLITS]
    if any(each.settings.failures for each in runs.values()):
      splits.append(_FAILURES)
    self.parts = {
      split: {
        d.name: Part(
          streams.read(d, inputs, split, names, self.texts), d.weight
        )
        for d in self.domains
        if split in d.splits
      }
      for split in splits
    }
    train = [part.clips for part in self.parts['pretrain'].values()]
    self.scales = streams.measure(train)
    discrete = domains.discrete(self.domains)
    self.specs = streams.specs(self.scales, discrete, self.texts)
    self._quantize = next(
      (path for k, path in inputs.items() if k.startswith('quantize')), None
    )

  def clips(self, each: PretrainingRun, split: str, seed: int):
    """(clips of a run, [Part] of each domain in them)."""
    training = split == 'pretrain'
    splits = _learnt_from(each) if training else (split,)
    parts = [part for s in splits for part in self.parts[s].values()]
    unit_NL = None
    if UNIT in (*each.streams, *each.targets):
      path = self._quantize / each.settings.recipe / f'{split}.npy'
      unit_NL = stack.File(path)
    shares = {
      'labelled': each.settings.labelled,
      'instructed': each.settings.instructed,
    }
    shares = shares if training else {}
    joined = pretraining.clips(
      each, parts, self.specs, unit_NL, seed=seed, **shares
    )
    return joined, parts

  def words(self, each: PretrainingRun):
    """The vocabulary of a run that reads instructions, else None."""
    return self.texts.words if each.hears else None

  def episodes(self, each: PretrainingRun):
    """[(domain, split, how many)] of all that a run learns from."""
    return [
      (d, split, len(self.parts[split][d.name].clips.lengths))
      for split in _learnt_from(each)
      for d in self.domains
      if d.name in self.parts[split]
    ]


def _learnt_from(each):
  """The splits that a run learns from."""
  return ('pretrain', _FAILURES) if each.settings.failures else ('pretrain',)


class _Training:
  """One run on the mesh."""

  def __init__(self, each: PretrainingRun, corpus, mesh, seed):
    self.run, self.model, self._flops = each, each.model(corpus.specs), 0.0
    self._corpus, self._mesh, self._seed = corpus, mesh, seed
    self.constants = pretraining.constants(
      self.model,
      lambda: corpus.clips(each, 'pretrain', seed)[0],
      corpus.scales,
    )
    self._loss = pretraining.loss_fn(each, self.model, self.constants)

  def fit(self, saving: settings.Saving, directory):
    """(parameters or their running mean, if one is kept; the teacher's)."""
    c, label = self.run.shared, f'  pretrain {self.run.name}'
    trained = pretraining.make_trainer(
      self.run, self.model, self._loss, self._mesh
    )
    clips, parts = self._corpus.clips(self.run, 'pretrain', self._seed)
    batch_at = self._batches(clips, parts=parts)
    flops = costs.flops(trained.step, trained.shapes, batch_at(0))
    self._flops = c.steps * flops
    tokens = c.batch_size * self.model.context * len(self.model.streams)

    def init():
      state = trained.init(jax.random.key(self._seed))
      return _begun(self.run.init, state, label)

    state, history = loop.fit(
      init,
      trained.shapes,
      trained.step,
      batch_at,
      c.steps,
      directory=directory,
      saving=saving,
      label=label,
      cost=progress.Cost(flops, tokens),
    )
    if distributed.is_first():
      files.write_json(directory / 'curve.json', history)
    kept = state.params if state.mean is None else state.mean
    return kept, state.teacher

  def heldout_rows(self, params, teacher):
    """Means over batches of all held-out windows, and of each domain's."""
    clips, parts = self._corpus.clips(self.run, 'heldout', self._seed)
    chosen = {results.ALL: slice(None)}
    if len(parts) > 1:
      stops = np.cumsum([len(part.clips.lengths) for part in parts])
      names = self._corpus.parts['heldout']
      starts = (0, *stops[:-1])
      chosen |= {
        name: slice(*ends)
        for name, *ends in zip(names, starts, stops, strict=True)
      }
    judge = pretraining.loss_fn(
      self.run, self.model, self.constants, heldout=True
    )
    evaluate, rows = jax.jit(judge), []
    for env, part in chosen.items():
      batch_at, metrics = self._batches(clips, chosen=part), []
      for i in range(_HELDOUT_BATCHES):
        loss, measured = evaluate(
          params, batch_at(i), jax.random.key(i), teacher
        )
        named = {results.Pretrain.LOSS: loss, **measured}
        metrics.append(step.read_metrics(named))
      tags = {'run': self.run.name}
      tags |= {} if env == results.ALL else {'env': env}
      row = functools.partial(results.row, results.Pretrain.STAGE, **tags)
      for name in metrics[0]:
        values = [x[name] for x in metrics if not np.isnan(x[name])]
        # Of a stream that a domain has not there is nothing to say.
        rows += [row(name, np.mean(values))] if values else []
    return rows

  def futures(self, params):
    """Units drawn after held-out windows, as the page shows them."""
    clips, parts = self._corpus.clips(self.run, 'heldout', self._seed)
    about = clips, parts, self._corpus.scales, jax.random.key(self._seed)
    return pretraining.futures(self.run, self.model, params, *about, _DRAWS)

  def cost_row(self):
    """What the training of `fit` comes to."""
    tags = {'kind': results.COST, 'run': self.run.name}
    stage, name = results.Pretrain.STAGE, results.Costs.FLOPS
    return results.row(stage, name, self._flops, **tags)

  def _batches(self, clips, **how):
    about = self._mesh, self._seed, self._corpus.scales
    return pretraining.batches(self.run, clips, *about, **how)


def _begun(init: settings.Init, state, label: str):
  """The state at step 0, its parameters those of `init` where there is one.

  Prints what was loaded, what is new and what was left out.
  """
  if not init.path:
    return state
  surgery = sharing.Surgery(init.new, init.skip, init.rename)
  path = hub.find(init.path, folder.FILES)
  params, plan = sharing.load(path, state.params, surgery)
  print(f'{label}: from {init.path}: {plan}', flush=True)
  means = {
    name: jax.tree.map(jax.numpy.copy, params)
    for name in ('teacher', 'mean')
    if getattr(state, name) is not None
  }
  return state._replace(params=params, **means)
