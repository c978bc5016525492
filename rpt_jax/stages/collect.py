"""Episodes of every domain: what is simulated is played, datasets indexed.

What is played becomes a TFDS dataset in ArrayRecord; a recorded dataset stays
where it is, and what is written down is which episodes are held out and what
its numbers range over. The rows of a domain lie in `<domain>.json` beside its
folder: what was collected whole before a kill is not collected again.
"""

from rpt_jax import domains, files


def run(config, inputs, directory):
  """Write a folder a domain; rows: returns, sizes, how many were kept."""
  del inputs
  rows, places = [], domains.of(config)
  for name in config.domains.keys() - {domain.entry for domain in places}:
    print(f'  {name}: left out, as config.domains.{name}.path is empty')
  for domain in places:
    done = directory / f'{domain.name}.json'
    if not done.exists():
      files.write_json(done, domain.collect(directory / domain.name))
    rows += files.read_json(done, kind=list)
  return rows
