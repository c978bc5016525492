"""Rows of `results.jsonl`: what stages write and the report reads.

A row is {"stage", "name", "value", "interval": [low, high] or null, "seeds",
"tags": {...}}. Stages, names and tags that a writer and a reader share are
named here once, grouped by who writes them.
"""

import math
from typing import Any, NamedTuple, TypedDict, Unpack

Row = dict[str, Any]

# Values of the tag `env` where it is no single domain.
ALL = 'all'  # All of one measure that pretraining may see.
UNSEEN = 'unseen'  # All of one measure that pretraining never sees.
MEAN = 'mean'  # Unit quality: the mean over domains.
# Values of other tags.
NO_RUN = 'none'  # `run` of a policy that was not pretrained.
ORACLE = 'oracle'  # `run` whose targets are the true actions of its clips.
SCRATCH, PROBE, FINETUNE, TUNED = 'scratch', 'probe', 'finetune', 'tuned'
HEAD_FIRST = 'head_first'  # A probe, then all of it.
FROZEN = 'frozen'  # `encoder`: nothing of the image model trains.
COST = 'cost'  # `kind` of what is no result: time, memory.
# `features`; 'latent/<eyes>' is another encoder's, all others are runs.
LATENT, RANDOM = 'latent', 'random'
EDGES = f'{LATENT}/edges'
PIPELINES, SEEDS = 'pipelines', 'seeds'  # `sample`.
ENOUGH_PIPELINES = 5  # An interval of fewer decides nothing.


class Tags(TypedDict, total=False):
  """What a row may be tagged with; a reader cannot ask for anything else."""

  kind: str  # COST; results have none.
  env: str  # Domain, or one of ALL, UNSEEN, MEAN; of `pretrain` none is all.
  domain: str  # Of `encode`, what `env` is elsewhere.
  split: str  # 'pretrain', 'heldout', 'demos', 'failures'.
  episodes: int  # How many the value is of.
  recipe: str  # How units were made.
  iteration: int  # Of units, from 1 on.
  features: str  # LATENT, RANDOM or the run whose trunk gives them.
  run: str  # Pretraining run, or NO_RUN.
  method: str  # SCRATCH, PROBE, FINETUNE, HEAD_FIRST, TUNED.
  demos: int  # Demonstrations that a policy learnt from.
  least: int  # Fewest demonstrations on the curve that WORTH is read off.
  most: int  # And the most.
  eyes: str  # Encoder in the place of the config's; none: its own.
  steps: int  # Of a training in the grid of `tune`.
  rate: float  # Its learning rate.
  pipeline: int  # Of several, the one this is of; none: of all together.
  sample: str  # What `seeds` of an interval counts: PIPELINES or SEEDS.
  encoder: str  # What trains of the image model, FROZEN or a mode.
  measure: str  # What a score is, the name of a `Measure`.
  question: str  # That a comparison answers.
  predictor: str  # Name of what is cheap to measure of a pretraining.
  other: str  # Run that is subtracted in a comparison.
  other_method: str  # Method of that run.
  monitor: str  # What watched a policy.
  world: str  # What it was watched in; WORLD as it was.
  round: int  # Of deploying and learning; 0: nothing was deployed before.
  choice: str  # One of `Guiding.CHOICES`, how a chunk was chosen,
  samples: int  # of so many.
  goal: str  # One of `Imagine.GOALS`, what a policy was shown.
  other_goal: str  # That is subtracted in a comparison.


class Costs:
  """With kind=COST; seconds and memory are of every stage."""

  SECONDS = 'seconds'
  FLOPS = 'flops'  # Of the products of a pretraining, all steps of it.
  MEMORY = 'peak_memory_gib'  # GiB, of the process until the stage ended.
  ACT = 'act_ms'  # Milliseconds of an `act` of one robot, a median.


class Collect:
  """Of every domain."""

  STAGE = 'collect'
  # Of every split.
  EPISODES = 'episodes'
  FRAMES = 'frames'
  BYTES = 'bytes'  # Of documents.
  STEPS = 'steps_per_episode'  # A mean.
  KEPT = 'kept'  # Share of an expert's attempts, 0 to 1.
  # Sum of rewards of an episode, a mean.
  EXPERT_RETURN = 'expert_return'
  RANDOM_RETURN = 'random_return'


class Frames:
  """Of every domain and split."""

  STAGE = 'frames'
  FRAMES = 'frames'


class See:
  """Of the image model that was trained: its objective's measures."""

  STAGE = 'see'

  @staticmethod
  def heldout(measure: str) -> str:
    """The name of a measure on held-out frames."""
    return f'heldout_{measure}'


class Encode:
  """Of every domain and split; the width of latents once."""

  STAGE = 'encode'
  LATENT_DIM = 'latent_dim'
  FRAMES = 'frames'
  SKIPPED = 'skipped_episodes'


class Label:
  """Of every domain and split."""

  STAGE = 'label'
  STEPS = 'steps'


class Quantize:
  """Of every recipe and domain, and MEAN over domains; see `units.quality`.

  What units tell of a label is `nmi(label)` and `pnmi(label)`, from 0 to 1.
  """

  STAGE = 'quantize'
  PERPLEXITY = 'perplexity'  # Units.
  DEAD = 'dead_units'  # Units never used, over all levels.
  DISTINCT = 'distinct_per_clip'  # Units.
  SEGMENT = 'segment_length'  # Steps.
  # Labels; `clip` is the nuisance.
  CLIP = 'clip'
  ACTION = 'action'
  VELOCITY = 'velocity'
  STATE = 'state'
  PHASE = 'phase'
  INSTRUCTION = 'instruction'

  @staticmethod
  def nmi(label: str) -> str:
    """NMI(unit; label)."""
    return f'nmi_{label}'

  @staticmethod
  def pnmi(label: str) -> str:
    """How much of the label is known once the unit is."""
    return f'pnmi_{label}'

  @staticmethod
  def threshold(label: str) -> str:
    """The highest PNMI of shuffled units (`units.quality.threshold`)."""
    return f'pnmi_threshold_{label}'

  @staticmethod
  def purity(label: str) -> str:
    """Share of frames whose label is the commonest of their unit."""
    return f'ref_purity_{label}'


class Pretrain:
  """Of every run: of all held-out windows, and of each domain's.

  Names are those of the objectives' metrics, and LOSS. Of a stream it is
  `of(measure, stream)`, a mean over the tokens to be filled in or foreseen.
  """

  STAGE = 'pretrain'
  LOSS = 'loss'
  LOSS_BITS = 'loss_bits'
  # Shares of units named rightly.
  MASKED_ACCURACY = 'masked_accuracy'
  UNMASKED_ACCURACY = 'unmasked_accuracy'
  ACCURACY = 'accuracy'  # Of units to come, all steps ahead.
  NEXT_ACCURACY = 'accuracy_1'  # Of the next step's alone.
  MASKED_FRACTION = 'masked_fraction'  # Share of steps or tokens hidden.
  # Measures of a stream.
  ERROR = 'error'  # Squared, 1: always the mean; of units: nats / log(vocab).
  WRONG = 'wrong'  # Share of units named wrongly.
  # Guesses that need no learning, in the unit of ERROR; of units, of WRONG.
  COPY_LAST = 'copy_last'
  INTERPOLATION = 'interpolation'
  LINEAR = 'linear'

  @staticmethod
  def of(measure: str, stream: str) -> str:
    """The name of a stream's measure."""
    return f'{measure}/{stream}'

  @staticmethod
  def parts(name: str) -> tuple[str, str]:
    """(measure, stream) of a name; the stream is '' where it has none."""
    measure, _, stream = name.partition('/')
    return measure, stream


class Probe:
  """Of every kind of features and domain: R^2 on held-out clips."""

  STAGE = 'probe'
  VISIBLE = 'visible'  # Label: what of the state a single frame shows.

  @staticmethod
  def r2(label: str) -> str:
    """The name of a label's R^2."""
    return f'{label}_r2'

  STATE_R2 = 'state_r2'
  VISIBLE_R2 = 'visible_r2'
  # Of the image model minus that of `edges`, paired by pipeline.
  OVER_EDGES = 'visible_r2_over_edges'
  VELOCITY_R2 = 'velocity_r2'
  ACTION_R2 = 'action_r2'


class Finetune:
  """Of every cell and domain."""

  STAGE = 'finetune'
  LOSS = 'loss'


class Values:
  """Of every method of values ('cql', 'cal_ql') and domain, over seeds."""

  STAGE = 'finetune'
  PLAYED = 'online_return'  # Mean of a round, `steps` rounds after the switch.
  # The worst of the first rounds online minus what came from recorded episodes.
  DROP = 'switch_drop'
  REGRET = 'online_regret'  # Mean distance to the best round of all.
  BOUNDED = 'bounded'  # Share of values that the bound holds, by `split`.


class Deployed:
  """Of every way to learn from what was deployed and domain, over seeds."""

  STAGE = 'finetune'
  SUCCESS = 'deployed_success'  # Of policies alone, after so many rounds.
  HELPED = 'expert_share'  # Of the steps of their next deployment.
  FINISHED = 'helped_success'  # Of its episodes.
  SIZE = 'steps_learned_from'
  GAIN = 'deployed_gain'  # Success after the last round - that of another way.
  # Ways (`method`): demonstrations alone; all steps alike, or weighed by class,
  # and that of what a memory keeps.
  DEMOS, UNIFORM, WEIGHTED = 'demos', 'uniform', 'weighted'
  LFI, MFI, FIFO, FILO, RANDOM = 'lfi', 'mfi', 'fifo', 'filo', 'random'
  PAIRS = (
    (UNIFORM, DEMOS),
    (WEIGHTED, DEMOS),
    (WEIGHTED, UNIFORM),
    (LFI, WEIGHTED),
    (RANDOM, WEIGHTED),
    (LFI, RANDOM),
    (MFI, LFI),
    (FIFO, LFI),
    (FILO, LFI),
  )


class Acting:
  """Of every cell, domain and group of domains with one measure.

  Differences are of scores, paired by seed.
  """

  STAGE = 'evaluate'
  SCORES = 'scores.npz'  # File: {'<domain>/<cell>': [seeds, episodes]}.
  SCORE = 'score'
  SUCCESS = 'success'  # Share of all seeds' episodes, 0 to 1.
  SEEN = 'score_seen'  # Of episodes before backgrounds that were trained on,
  UNSEEN = 'score_unseen'  # and of those before others.
  COPY_LAST = 'copy_last'  # Score of repeating the last action; no policy's.
  # Of cells that end where they are decided: better than scratch (1), worse
  # (-1) or neither (0) at a level of .05 each, and episodes of a seed until so.
  DECIDED = 'decided'
  PAIRS = 'decided_after'
  OVER_SCRATCH = 'paired_difference'
  BOOTSTRAP = 'paired_difference_bootstrap'  # The same, by another interval.
  OVER_FROZEN = 'tuning_difference'  # Tuned minus what it went on from.
  COMPARISON = 'comparison'  # One run minus `other`, which answers `question`.
  # Of runs by the tag `predictor` and by their scores: from -1 to 1.
  RANK = 'rank_correlation'
  # Demonstrations that scratch needs to score as much. A value or a bound is
  # null where it is more than the tag `most`, 0 where it is `least` or fewer.
  WORTH = 'worth'

  @staticmethod
  def p(difference: str) -> str:
    """The name of a difference's p, corrected for its table (Holm)."""
    return f'{difference}_p'


class Watching:
  """Of every monitor of a domain's kept policy and world, of EPISODES each."""

  STAGE = 'evaluate'
  WORLD = 'as it was'  # `world` that policies learned in.
  SUCCESS = 'watched_success'  # Share of episodes; of no monitor.
  DETECTED = 'detected'  # Share of failures with an alarm.
  FALSE = 'false_alarms'  # Share of successes with one.
  # The same in the world as it was, a mean over ways to split successes into
  # those of the threshold and others.
  FALSE_MEAN = 'false_alarms_mean'
  WHEN = 'alarm_after'  # Share of the steps of a failure, where one was raised.

  @staticmethod
  def by_step(monitor: str) -> str:
    """The name of a monitor whose threshold is one of each step."""
    return f'{monitor}, by step'


class Guiding:
  """Of a domain's kept policy, whose chunks a critic chooses."""

  STAGE = 'evaluate'
  SUCCESS = 'guided_success'  # Share of the episodes of all critics.
  GAIN = 'guided_gain'  # The same minus that of one chunk, paired by episode.
  # Choices: the best, one by softmax; the best by a critic that learned from
  # actions of other states; any.
  BEST, SOFTMAX, SHUFFLED, ANY = 'best', 'softmax', 'shuffled', 'any'
  CHOICES = BEST, SOFTMAX, SHUFFLED, ANY


class Imagine:
  """Of every kind of goal, and of pairs of them, paired by seed."""

  STAGE = 'imagine'
  PICTURES = 'goals.npz'  # File: what page and reader look at.
  ACCURACY = 'code_accuracy'  # Share of held-out codes named rightly.
  NAMED = 'score_accuracy'  # Share of scenes whose true goal suits them best.
  MATCH = 'score'  # Cosine of a goal and its sentence.
  # What a linear probe reads of a goal: how far the block that was asked for is
  # from where it is in the true one, in sides of a frame, and the share of
  # goals in which all are where they should be.
  OFF = 'pose_error'
  RIGHT = 'poses_right'
  SUCCESS = 'goal_success'  # Of the policy that is shown it.
  # Kinds of goals. The true one, as it is and as its codes show it; the best
  # of several draws, one draw, one of another sentence; that of another scene.
  TRUE, CODED, BEST, ONE = 'true', 'coded', 'best', 'one'
  SHUFFLED, OTHER = 'shuffled', 'random'
  # As latents of the model of captions.
  LATENT_TRUE, LATENT = 'latent_true', 'latent'
  GOALS = TRUE, CODED, BEST, ONE, SHUFFLED, OTHER, LATENT_TRUE, LATENT

  @staticmethod
  def over(name: str) -> str:
    """The name of a difference between two kinds of goals."""
    return f'{name}_difference'


class Tune:
  """Of every cell of the grid and domain, and what it says suits a method."""

  STAGE = 'tune'
  SCORE = 'tuning_score'
  STEPS = 'best_steps'
  RATE = 'best_rate'


class Measure(NamedTuple):
  """What scores are, and how a page speaks of them."""

  name: str  # The tag `measure`.
  title: str  # Of the section.
  scale: str  # What 0 and 1 are.
  score: str  # As an axis is named.
  scores: str  # Verb before a number.
  statistic: str  # {seeds}: how many there are.
  env: str  # One of what policies are scored on.
  intervals: str  # What is resampled, and what that is worth.
  note: str = ''  # What a reader must know of it.


class Cell(NamedTuple):
  """What one entry of the results table is about: its tags but the domain."""

  run: str  # Pretraining run, NO_RUN for scratch.
  method: str  # SCRATCH, PROBE, FINETUNE, HEAD_FIRST, TUNED.
  demos: int
  encoder: str = FROZEN  # What trains of the image model.
  eyes: str = ''  # Encoder in the place of the config's.

  @property
  def name(self):
    """`next-finetune-4`, `next-tuned-4-lora8`, `none-scratch-4-edges`."""
    name = f'{self.run}-{self.method}-{self.demos}'
    mode = self.encoder.replace(':', '') if self.method == TUNED else ''
    return '-'.join(part for part in (name, mode, self.eyes) if part)

  @property
  def tags(self) -> dict[str, Any]:
    """Of its rows; without `eyes` where they are the config's own."""
    tags = self._asdict()
    return tags if self.eyes else {k: v for k, v in tags.items() if k != 'eyes'}

  @property
  def scratch(self):
    """The cell that learns as much without pretraining."""
    return Cell(NO_RUN, SCRATCH, self.demos)

  @property
  def untuned(self):
    """The cell that a tuned one goes on from."""
    return Cell(self.run, FINETUNE, self.demos)


def row(
  stage: str, name: str, value, interval=None, seeds=None, **tags: Unpack[Tags]
) -> Row:
  """One tidy line of `results.jsonl`; raises ValueError for an unknown tag.

  JSON has no infinity and no NaN: what is not finite is null.
  """
  _check_tags(tags)
  return {
    'stage': stage,
    'name': name,
    'value': _finite(value),
    'interval': None if interval is None else [_finite(x) for x in interval],
    'seeds': seeds,
    'tags': tags,
  }


def select(
  rows: list[Row], name: str | None = None, **tags: Unpack[Tags]
) -> list[Row]:
  """Rows with this name and these tags, in order.

  A tag given as a tuple accepts any of its values, None accepts rows without
  it; costs, controls with other eyes and single pipelines of several are left
  out unless asked for by the tags `kind`, `eyes` and `pipeline`.
  """
  _check_tags(tags)
  tags = dict.fromkeys(('kind', 'eyes', 'pipeline')) | tags
  return [
    row
    for row in rows
    if (name is None or row['name'] == name)
    and all(_matches(row['tags'].get(k), v) for k, v in tags.items())
  ]


def latest(rows: list[Row], name: str, **tags: Unpack[Tags]) -> Row | None:
  """The last such row (a later row replaces an earlier one), or None."""
  selected = select(rows, name, **tags)
  return selected[-1] if selected else None


def tag(row: Row, key: str) -> Any:
  """A row's tag, None where it has none; ValueError for an unknown one."""
  _check_tags((key,))
  return row['tags'].get(key)


def unique(rows: list[Row], key: str) -> list:
  """Values of a tag in order of appearance, without repeats."""
  values = (tag(row, key) for row in rows)
  return list(dict.fromkeys(v for v in values if v is not None))


def check(rows: list[Row]) -> list[Row]:
  """The rows themselves; raises ValueError naming the first malformed one."""
  for i, row in enumerate(rows):
    missing = {'stage', 'name', 'value', 'tags'} - set(row)
    if missing:
      raise ValueError(
        f'results row {i}: found {sorted(row)}, expected also '
        f'{sorted(missing)}: every stage writes all of them'
      )
    interval = row.get('interval')
    if interval is not None and len(interval) != 2:
      raise ValueError(
        f'results row {i} ({row["name"]}): found interval {interval}, '
        'expected [low, high] or null'
      )
  return rows


def _finite(x) -> float | None:
  return float(x) if x is not None and math.isfinite(x) else None


def _check_tags(tags):
  unknown = set(tags) - set(Tags.__annotations__)
  if unknown:
    raise ValueError(
      f'tags of a row: found {sorted(unknown)}, expected some of '
      f'{sorted(Tags.__annotations__)}; a new one is named in results.Tags'
    )


def _matches(value, wanted) -> bool:
  return value in wanted if isinstance(wanted, tuple) else value == wanted
