"""What a run says before and after its work, in lines of a terminal."""

import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from rpt_jax.reporting import tidy

_WIDTH = 80
_MAIN = 3  # Findings that are shown.
_MEASURED = 'measured'  # What supports or refutes nothing comes last.


def plan(
  place: str,
  chosen: Sequence[str],
  done: Collection[str],
  took: Mapping[str, float],
) -> str:
  """What a run will do.

  `chosen` are the names of its stages, `done` those made before; `took` has the
  seconds of some last time, by their names without the pipeline's folder.
  """
  todo = [name for name in chosen if name not in done]
  kinds = Counter(map(_kind, todo))
  about = (
    f'{place}: {len(chosen)} stages, {len(chosen) - len(todo)} done before'
  )
  if not todo:
    return _filled(f'{about}; nothing to do')
  stages = ', '.join(
    kind if count == 1 else f'{count} x {kind}' for kind, count in kinds.items()
  )
  lines = [_filled(f'{about}; to do: {stages}')]
  timed = {kind: took[kind] for kind in kinds if kind in took}
  if timed:
    each = ', '.join(f'{k} {tidy.duration(s)}' for k, s in timed.items())
    whole = tidy.duration(sum(s * kinds[k] for k, s in timed.items()))
    least = '' if len(timed) == len(kinds) else ' at least'
    lines.append(
      _filled(f'last time on this machine: {each};{least} {whole} to go')
    )
  return '\n'.join(lines)


def end(page: str, findings: Sequence[Mapping[str, str]]) -> str:
  """The main findings of a run, each with its verdict, and its page."""
  main = sorted(findings, key=lambda f: f['verdict'] == _MEASURED)[:_MAIN]
  lines = [_filled(f'{f["verdict"]}: {f["finding"]}') for f in main]
  return '\n'.join([*lines, f'page: {page}'])


def _kind(name):
  """A stage without the folder of its pipeline."""
  return name.rpartition('/')[2]


def _filled(text):
  return textwrap.fill(
    text,
    _WIDTH,
    subsequent_indent='  ',
    break_long_words=False,
    break_on_hyphens=False,
  )
