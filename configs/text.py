"""BERT and GPT: the trunk of all other configs, on text alone.

Reads the documentation of the Python that runs it (the topics of `help()` and
the docstrings of the standard library, 2.2 million characters) as tokens of a
byte-level BPE, and pretrains one trunk in both ways on `token`, with the
objectives that robots are pretrained by: `masked_streams` hides 15 % of the
tokens, of which a tenth is shown as it is and a tenth as another one (BERT,
arXiv 1810.04805, 3.1); `next_streams` names the next one (GPT). A block is
pre-norm, as GPT-2's are; BERT's are post-norm.

    python -m rpt_jax.main --config=text
    python -m tests.benchmarks.text runs/text     bits a byte, labels, samples
    python -m rpt_jax.main --config=text:quicktest

Another corpus, a folder of .txt, .rst and .md, is
`--config.domains.documents.path=<folder>`.
"""

from rpt_jax import settings

QUICKTEST = 'quicktest'


def get_config(arg=''):
  """`arg`: '' (the default) or 'quicktest'."""
  arg = settings.argument(arg, (QUICKTEST,))
  # Nobody sees anything; what stands for latents is how far one has read.
  config = settings.base('pretrain', encoder='state')
  config.title = 'BERT and GPT'
  config.question = 'What does the trunk learn from text alone?'
  config.domains.documents = settings.plugin('domains', 'documents')
  config.pretrain.update(width=128, context=128, batch_size=32, steps=2000)
  config.pretrain.update(learning_rate=1e-3, main='gpt', streams=('token',))
  config.pretrain.motion = ()
  config.pretrain.trunk.depth = 4
  config.pretrain.runs = {
    'gpt': _run('next_streams'),
    'bert': _run('masked_streams', ratio=(0.15, 0.15), shown=(0.1, 0.1)),
  }
  if arg == QUICKTEST:
    _quicktest(config)
  return config


def _run(objective, **values):
  objective = settings.plugin('objectives', objective, **values)
  return settings.section(settings.Run, objective=objective)


def _quicktest(config):
  """Every stage on almost nothing: does it work?"""
  config.domains.documents.update(parts=('topics',), most=20, vocab=300)
  config.saving.update(log_steps=1, save_steps=2)
  config.pretrain.update(width=32, context=16, batch_size=8, steps=4)
  config.pretrain.trunk.update(depth=1, num_heads=2)
