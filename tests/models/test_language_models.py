"""The trunk is GPT-2, and a pre-norm BERT: their weights give their outputs.

BERT's own blocks are post-norm, which this trunk is not: what is compared is
RoBERTa-PreLayerNorm (arXiv 2209.15055), the pre-norm BERT of transformers.
"""

import jax
import numpy as np
import pytest

from rpt_jax import target
from rpt_jax.models import sequence
from rpt_jax.models.heads import HeadSpec, linear
from rpt_jax.models.trunks import transformer
from rpt_jax.types import StreamSpec

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

V, D, T, DEPTH, HEADS = 23, 16, 9, 2, 4
TOKEN = StreamSpec('token', 'discrete', vocab=V)
IDS = np.random.default_rng(0).integers(V, size=(2, T), dtype=np.int32)
EPSILON = 1e-6  # Of norms here.


def model(rule, heads=()):
  return sequence.SequenceModel(
    (TOKEN,), heads, transformer.Settings(DEPTH, HEADS), D, T, visibility=rule
  )


def moved(theirs):
  """Their model with every parameter off its default."""
  torch.manual_seed(0)
  with torch.no_grad():
    for parameter in theirs.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  return theirs.eval()


def numpy(theirs):
  return {k: x.detach().numpy() for k, x in theirs.state_dict().items()}


def norm(w, name):
  return {'scale': w[f'{name}.weight'], 'bias': w[f'{name}.bias']}


def stacked(blocks):
  return jax.tree.map(lambda *x: np.stack(x), *blocks)


def params_of(embedding, positions, blocks, final, rule, heads=()):
  """Parameters of ours; what they lack (the mask vector) is as it begins."""
  own = jax.device_get(sequence.init(model(rule, heads), jax.random.key(0)))
  own['stem_token']['embed']['embedding'] = embedding
  own['trunk'] = {'time': {'embedding': positions}, 'blocks': stacked(blocks)}
  own['norm'] = final
  return own


def test_logits_are_those_of_gpt_2():
  c = transformers.GPT2Config(
    vocab_size=V,
    n_positions=T,
    n_embd=D,
    n_layer=DEPTH,
    n_head=HEADS,
    layer_norm_epsilon=EPSILON,
  )
  theirs = moved(transformers.GPT2LMHeadModel(c))
  w, blocks = numpy(theirs), []
  for i in range(DEPTH):
    of = f'transformer.h.{i}'
    dense = {
      ours: {
        'kernel': w[f'{of}.{name}.weight'],  # [in, out], as ours.
        'bias': w[f'{of}.{name}.bias'],
      }
      for ours, name in (
        ('qkv', 'attn.c_attn'),
        ('out', 'attn.c_proj'),
        ('up', 'mlp.c_fc'),
        ('down', 'mlp.c_proj'),
      )
    }
    norms = {
      'norm_attention': norm(w, f'{of}.ln_1'),
      'norm_mlp': norm(w, f'{of}.ln_2'),
    }
    blocks.append(dense | norms)
  embedding = w['transformer.wte.weight']
  heads = (HeadSpec(TOKEN, linear.Settings()),)
  params = params_of(
    embedding,
    w['transformer.wpe.weight'],
    blocks,
    norm(w, 'transformer.ln_f'),
    'interleaved',
    heads,
  )
  params['head_token'] = {  # Tied.
    'project': {'kernel': embedding.T, 'bias': np.zeros(V, np.float32)}
  }
  with target.rounding_to('float32'):
    apply = sequence.bind(model('interleaved', heads), params)
    reads = apply({'token': IDS[..., None]}, np.ones(IDS.shape, bool))['reads']
    logits = apply.head('token').logits(reads['token'])[:, :, 0, 0]
  with torch.no_grad():
    expected = theirs(torch.from_numpy(IDS).long()).logits.numpy()
  assert np.ptp(expected) > 1
  np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_features_are_those_of_a_pre_norm_bert():
  c = transformers.RobertaPreLayerNormConfig(
    vocab_size=V,
    hidden_size=D,
    num_hidden_layers=DEPTH,
    num_attention_heads=HEADS,
    intermediate_size=4 * D,
    hidden_act='gelu_new',
    layer_norm_eps=EPSILON,
  )
  theirs = moved(
    transformers.RobertaPreLayerNormModel(c, add_pooling_layer=False)
  )
  w, blocks = numpy(theirs), []
  for i in range(DEPTH):
    of = f'encoder.layer.{i}'
    names = {
      'qkv': [f'attention.self.{x}' for x in ('query', 'key', 'value')],
      'out': ['attention.output.dense'],
      'up': ['intermediate.dense'],
      'down': ['output.dense'],
    }
    dense = {
      ours: {
        'kernel': np.concatenate([w[f'{of}.{x}.weight'] for x in parts]).T,
        'bias': np.concatenate([w[f'{of}.{x}.bias'] for x in parts]),
      }
      for ours, parts in names.items()
    }
    norms = {
      'norm_attention': norm(w, f'{of}.attention.LayerNorm'),
      'norm_mlp': norm(w, f'{of}.intermediate.LayerNorm'),
    }
    blocks.append(dense | norms)
  rng = np.random.default_rng(1)
  embedding, positions = (
    rng.normal(size=(n, D)).astype(np.float32) for n in (V, T)
  )
  params = params_of(
    embedding, positions, blocks, norm(w, 'LayerNorm'), 'bidirectional'
  )
  valid_BT = np.arange(T)[None] < np.array([[T], [T - 3]])
  with target.rounding_to('float32'):
    apply = sequence.bind(model('bidirectional'), params)
    features = apply({'token': IDS[..., None]}, valid_BT)['features']
  x_BTD = torch.from_numpy(embedding[IDS] + positions[None])
  sees = torch.from_numpy(np.where(valid_BT, 0, -1e9).astype('f4'))
  with torch.no_grad():
    hidden = theirs.encoder(x_BTD, attention_mask=sees[:, None, None])[0]
    expected = theirs.LayerNorm(hidden).numpy()
  np.testing.assert_allclose(features[0], expected[0], atol=1e-5)
  np.testing.assert_allclose(features[1, :-3], expected[1, :-3], atol=1e-5)
