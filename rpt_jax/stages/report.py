"""One self-contained page from the artifacts of all stages before."""

import itertools

from rpt_jax import artifacts, domains, files, results, settings
from rpt_jax.domains.playing import Played
from rpt_jax.learning import cells, exploring, pictures, seeing
from rpt_jax.learning.runs import FUTURES, Runs
from rpt_jax.provenance import provenance, typed
from rpt_jax.reporting import frames, markdown, page, words
from rpt_jax.results import Acting, Imagine, See


def run(config, inputs, directory, pipeline):
  """Write `report.html`, its `tables.md` and `findings.json`; no rows.

  Of several pipelines it has the means, and pictures of `pipeline`, which is
  how the names of its stages begin.
  """
  rows, origin = _rows(inputs, pipeline), _origin(inputs)
  inputs = {
    name.removeprefix(pipeline): path
    for name, path in inputs.items()
    if name.startswith(pipeline)
  }
  places = domains.of(config)
  judged = domains.acting(places) if Acting.STAGE in inputs else ()
  runs = None
  if config.pretrain:
    runs = Runs(config.pretrain, config.quantize, config.iterations)
  filmed = cells.filmed(config.finetune, runs) if config.finetune else ()
  content = page.Content(
    title=config.title,
    subtitle=config.question,
    rows=rows,
    losses=_losses(runs, inputs),
    runs=_described(runs),
    samples=_samples(config.image_model, inputs, rows),
    datasets=pictures.datasets(places, inputs) if 'encode' in inputs else (),
    rollouts=_rollouts(judged, filmed, inputs, rows),
    imagined=_imagined(inputs),
    **_trunks(config.pretrain, config.quantize, places, inputs),
    notes=_notes(places, judged),
    measures={domain.measure.name: domain.measure for domain in judged},
    config=settings.plain(config),
    versions=origin['versions']
    | {k: origin[k] for k in ('revision', 'python', 'machine')},
    command=origin['command'],
  )
  size = page.write(directory / 'report.html', content)
  line = (
    f'Made at {origin["revision"]} by `{typed(content.command)}` on '
    f'{origin["machine"]}: Python {origin["python"]}, jax '
    f'{origin["versions"]["jax"]}.'
  )
  text = (directory / 'report.html').read_text('utf-8')
  files.write_text(directory / 'tables.md', markdown.tables(text, line))
  findings = [
    {'verdict': words.VERDICTS[verdict], 'finding': sentence}
    for verdict, sentence in page.findings_of(content)
  ]
  files.write_json(directory / 'findings.json', findings)
  print(f'  report.html: {size / 1e6:.1f} MB', flush=True)
  return []


def _rows(inputs, pipeline):
  """What is drawn: results of all pipelines together, and all costs."""
  rows = []
  for name, path in inputs.items():
    about = path / artifacts.NAME, 'rows', 'costs'
    artifact = files.read_json(*about, most=files.MANIFEST)
    rows += artifact['costs']
    if not (pipeline and '/' in name):
      rows += artifact['rows']
  return rows


def _origin(inputs):
  """What made the last of the results: the page may be of a later run."""
  *_, last = inputs.values()
  artifact = files.read_json(last / artifacts.NAME, most=files.MANIFEST)
  return artifact.get('run') or provenance()


def _trunks(pretrain, quantize, places, inputs):
  """What the page shows of trunks and units, where a config has them."""
  if not pretrain:
    return {}
  unseen = tuple(domain.name for domain in places if not domain.seen)
  trunks = {'main_run': pretrain.main, 'unseen': unseen}
  if not quantize:
    return trunks
  recipes, places = quantize.recipes, domains.seen(places)
  main = pretrain.runs[pretrain.main].recipe
  return trunks | {
    'base_recipe': 'raw' if 'raw' in recipes else None,
    'futures': _futures(pretrain.runs, recipes, places, inputs),
    'explored': exploring.gather(places, recipes, inputs),
    'main_recipe': main or next(iter(recipes)),  # Of a run without units: any.
  }


def _futures(runs, recipes, places, inputs):
  """What those runs drew that generate units."""
  strips = []
  for name, run in runs.items():
    path = inputs['pretrain'] / name / FUTURES
    if path.exists():
      recipe = run.recipe, recipes[run.recipe]
      strips += pictures.futures(places, *recipe, path, inputs)
  return strips


def _notes(places, judged):
  """Which domains no pretraining saw, and how policies were judged."""
  notes = []
  if any(not domain.seen for domain in places):
    seen, unseen = (
      ', '.join(d.name for d in places if d.seen == each)
      for each in (True, False)
    )
    notes.append(f'Seen in pretraining: {seen}. Never seen: {unseen}.')
  of_measures = [d.measure.note for d in judged if d.measure.note]
  return notes + list(dict.fromkeys(of_measures))


def _described(runs):
  """{run: what it is called and learns by} over all iterations."""
  described = {}
  for name, run in runs.all().items() if runs else ():
    objective = settings.plain(run.settings)['objective']
    described[name] = {
      'label': name.replace('_', ' '),
      'recipe': run.settings.recipe,
      'objective': objective['kind'],
    }
    if 'alpha' in objective:
      described[name]['alpha'] = objective['alpha']
  return described


def _losses(runs, inputs):
  """{training: its learning curve}."""
  curves = {}
  if See.STAGE in inputs:
    curve = inputs[See.STAGE] / 'curve.json'
    curves[See.STAGE] = files.read_json(curve, kind=list)
  for iteration in range(1, runs.iterations + 1) if runs else ():
    stage = 'pretrain' if iteration == 1 else f'pretrain_{iteration}'
    for name in runs.of(iteration):
      path = inputs[stage] / name / 'curve.json'
      curves[f'pretrain/{name}'] = files.read_json(path, kind=list)
  return curves


def _samples(image_model, inputs, rows):
  """What the image model makes of frames, where it was trained here."""
  if See.STAGE not in inputs:
    return None
  caption, first = seeing.objective(image_model).CAPTION, See.heldout('')
  measured = [
    f'{row["name"].removeprefix(first).replace("_", " ")} {row["value"]:.3f}'
    for row in rows
    if row['stage'] == See.STAGE and row['name'].startswith(first)
  ]
  if measured:
    caption += f' On held-out frames: {", ".join(measured)}.'
  shown = files.read_arrays(inputs[See.STAGE] / 'pictures.npz')
  return frames.Samples(shown, caption)


def _imagined(inputs):
  """Pictures of goals, where they were imagined."""
  if Imagine.STAGE not in inputs:
    return {}
  return files.read_arrays(inputs[Imagine.STAGE] / Imagine.PICTURES)


def _rollouts(judged, filmed, inputs, rows):
  """An episode of every domain that has films, of the policies `filmed`."""
  films = []
  for domain, cell in itertools.product(judged, filmed):
    path = inputs[Acting.STAGE] / domain.name / f'{cell.name}.npz'
    played = Played.load(path)
    if played.film is not None:
      films.append(_film(domain, cell, played, inputs['collect'], rows))
  return films


def _film(domain, cell, played, collected, rows):
  """A film with the score of its cell, and how it ended where that is told."""
  tags = {'env': domain.name} | cell.tags
  film = frames.Rollout(
    played.film,
    domain.name,
    cell.method,
    cell.demos,
    results.select(rows, Acting.SCORE, **tags)[0]['value'],
    domain.measure,
    outcome=domain.score(played, collected).ending,
  )
  fps = domain.fps(collected)
  return film._replace(steps_per_second=fps) if fps else film
