"""What was felt, done and said, row for row beside the latents.

Writes `<domain>/<split>/`: shards of the numbers of a step, for the episodes
that were encoded and in their order, and `texts.json`, what each was told to
do. No action-free stage is given this folder.
"""

import jax

from rpt_jax import domains, files, results
from rpt_jax.domains import TEXTS
from rpt_jax.episodes import store
from rpt_jax.results import Label
from rpt_jax.training import distributed


def run(config, inputs, directory):
  """Write labels of all splits; rows: how many steps have some."""
  rows = []
  for domain in domains.of(config):
    for split in domain.splits:
      folder = directory / domain.name / split
      encoded = inputs['encode'] / domain.name / split
      if not (folder / store.MANIFEST).exists():
        source = domain.source(inputs['collect'], split)
        _write(source, domain.fields, store.manifest(encoded), folder)
      steps = store.steps(store.manifest(folder)['shards'])
      tags = {'domain': domain.name, 'split': split}
      rows.append(results.row(Label.STAGE, Label.STEPS, steps, **tags))
  return rows


def _write(source, fields, encoded, folder):
  """The shards of a split, each process its own, then texts and manifest."""
  shards = [
    (_shard(i, len(encoded['shards']), entry), entry)
    for i, entry in enumerate(encoded['shards'])
  ]
  for shard, entry in shards[jax.process_index() :: jax.process_count()]:
    if store.read_entry(folder, shard) is None:
      _write_shard(source, fields, folder, shard, entry)
  distributed.wait(f'{folder} written')
  if distributed.is_first():
    entries = store.finished(folder, [shard for shard, _ in shards])
    episodes = [i for entry in entries for i in entry['episodes']]
    texts = [source.metadata(i).get('instruction', '') for i in episodes]
    files.write_json(folder / TEXTS, texts)
    store.seal(folder, entries)
  distributed.wait(f'{folder} sealed')


def _shard(index, total, entry):
  """The same shard as that of the latents."""
  episodes = [*entry['episodes'], *map(int, entry['skipped'])]
  return store.Shard(index, total, min(episodes), max(episodes) + 1)


def _write_shard(source, fields, folder, shard, entry):
  arrays = {}
  if entry['episodes'] and fields:
    clips = source.read_all(fields, entry['episodes'])
    if clips.lengths.tolist() != entry['lengths']:
      raise ValueError(
        f'{folder}: episodes {entry["episodes"][:3]}... are of other lengths '
        'than when they were encoded; the dataset has changed, encode it again'
      )
    arrays = clips.arrays
  lengths = dict(zip(entry['episodes'], entry['lengths'], strict=True))
  skipped = {int(k): why for k, why in entry['skipped'].items()}
  store.write_arrays(folder, shard, arrays, lengths, skipped)
