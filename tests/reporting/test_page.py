"""The page: self-contained, well formed, complete, honest, the same twice."""

import base64
import dataclasses
import html.parser
import io
import re
import xml.etree.ElementTree

import fake
import numpy as np
import pytest
from PIL import Image

from rpt_jax import results
from rpt_jax.domains.measures import PREDICTION, RETURN
from rpt_jax.reporting import acting, explorer, frames, page, words

VOID = {'meta', 'img', 'br', 'link', 'input', 'hr', 'source'}
SVG_VOID = {'path', 'rect', 'circle'}


class Outline(html.parser.HTMLParser):
  """Checks that tags nest; keeps attributes, sections and text."""

  def __init__(self):
    super().__init__()
    self.stack, self.attributes, self.sections, self.text = [], [], [], ''

  def handle_starttag(self, tag, attributes):
    self.attributes += [(tag, name, value) for name, value in attributes]
    if tag == 'section':
      self.sections.append(dict(attributes)['id'])
    if tag not in VOID:
      self.stack.append(tag)

  def handle_startendtag(self, tag, attributes):
    assert tag in SVG_VOID, tag
    self.attributes += [(tag, name, value) for name, value in attributes]

  def handle_endtag(self, tag):
    assert self.stack and self.stack[-1] == tag, (tag, self.stack)
    self.stack.pop()

  def handle_data(self, data):
    if not self.stack or self.stack[-1] not in ('style', 'script'):
      self.text += data


def outline(text):
  found = Outline()
  found.feed(text)
  assert not found.stack
  return found


@pytest.fixture(scope='module')
def content():
  return fake.content(envs=fake.ENVS[:2])


@pytest.fixture(scope='module')
def text(content):
  return page.compose(content)


def test_every_resource_is_inside(text):
  found = outline(text)
  for tag, name, value in found.attributes:
    if name in ('src', 'srcset', 'poster', 'data', 'action'):
      assert value.startswith('data:'), (tag, value[:80])
    if name in ('href', 'xlink:href'):
      assert value.startswith('#'), (tag, value)
  outside = re.sub(r'data:[\w/+]+;base64,[\w+/=]+', '', text)
  outside = outside.replace('http://www.w3.org/2000/svg', '')  # A name.
  assert not re.search(r'https?://|url\(|@import|<link', outside)


def test_links_lead_to_sections(text):
  found = outline(text)
  links = [v[1:] for _, name, v in found.attributes if name == 'href']
  assert links.pop(0) == 'main'
  assert links == found.sections
  assert len(set(found.sections)) == len(found.sections) == 11


def test_every_picture_decodes(text):
  uris = re.findall(r'src="data:([\w/+]+);base64,([\w+/=]+)"', text)
  kinds = set()
  for mime, data in uris:
    data = base64.b64decode(data, validate=True)
    kinds.add(mime)
    if mime == 'image/svg+xml':
      root = xml.etree.ElementTree.fromstring(data)
      assert root.tag.endswith('svg')
      assert b'DejaVu' not in data
    else:
      image = Image.open(io.BytesIO(data))
      image.load()
      assert image.get_format_mimetype() == mime
  assert {'image/svg+xml', 'image/webp', 'image/png'} <= kinds
  alts = [v for tag, name, v in outline(text).attributes if name == 'alt']
  assert len(alts) == len(uris) and all(alts)


def test_equal_content_gives_equal_bytes(text):
  again = page.compose(fake.content(envs=fake.ENVS[:2]))
  assert again == text


def test_write_is_atomic_and_bounded(content, tmp_path, monkeypatch):
  content = page.Content(samples=content.samples)
  path = tmp_path / 'deep' / 'report.html'
  size = page.write(path, content)
  assert size == path.stat().st_size < page.MAX_BYTES
  assert [p.name for p in path.parent.iterdir()] == ['report.html']
  monkeypatch.setattr(page, 'MAX_BYTES', 1000)
  with pytest.raises(ValueError, match='at most 1000'):
    page.write(path, content)
  assert path.stat().st_size == size


def test_pictures_of_a_full_page_are_small_enough(text):
  """Eight environments, twice the pictures a default run shows."""
  content = fake.content()
  content = dataclasses.replace(
    content,
    rows=(),
    losses={},
    rollouts=[*content.rollouts] * 2,
    explored=content.explored._replace(clips=[*content.explored.clips] * 2),
  )
  size = len(page.compose(content).encode())
  assert size < 0.8 * page.MAX_BYTES
  svg = re.findall(r'data:image/svg\+xml;base64,([\w+/=]+)', text)
  assert sum(map(len, svg)) < 0.2 * page.MAX_BYTES


def test_nothing_given_nothing_shown():
  found = outline(page.compose(page.Content()))
  assert found.sections == []


def rows_named(content, *names, kind=None):
  return [r for name in names for r in results.select(content.rows, name,
                                                   kind=kind)]  # fmt: skip


PARTS = {
  'return': lambda c: {
    'rows': rows_named(c, 'score', 'paired_difference'),
    'measures': c.measures,
  },
  'units': lambda c: {'rows': rows_named(c, 'nmi_clip', 'pnmi_action')},
  'choices': lambda c: {
    'rows': rows_named(c, 'score'),
    'runs': c.runs,
    'measures': c.measures,
  },
  'explorer': lambda c: {'explored': c.explored},
  'probes': lambda c: {'rows': rows_named(c, 'state_r2')},
  'samples': lambda c: {'samples': c.samples},
  'rollouts': lambda c: {'rollouts': c.rollouts[:2]},
  'training': lambda c: {'losses': c.losses},
  'cost': lambda c: {'rows': rows_named(c, 'seconds', kind='cost')},
  'again': lambda c: {'config': c.config},
  'findings': lambda c: {'notes': ('Only a note.',)},
}


@pytest.mark.parametrize('section', PARTS)
def test_a_section_stands_by_its_content_alone(section, content):
  found = outline(page.compose(page.Content(**PARTS[section](content))))
  assert section in found.sections
  others = {
    'return': {'findings', 'choices'}, 'units': {'findings'},
    'choices': {'findings', 'return'}, 'probes': {'findings'},
    'cost': {'findings'},
  }  # fmt: skip
  assert set(found.sections) <= {section} | others.get(section, set())


def test_what_a_frame_shows_has_a_table_where_it_was_probed(content):
  title = 'R² of what a single frame shows of it'
  for names in (('state_r2',), ('state_r2', 'visible_r2')):
    rows = rows_named(content, *names)
    document = page.compose(page.Content(rows=rows))
    assert (title in document) == ('visible_r2' in names)


def test_what_pretraining_takes_stands_where_something_is_pretrained(content):
  for names in (('seconds',), ('seconds', 'flops')):
    rows = rows_named(content, *names, kind='cost')
    document = page.compose(page.Content(rows=rows))
    said = 'in TFLOP (of its products, all steps): clip-mean + delta 0.41, '
    assert (said in document) == ('flops' in names)


def test_text_is_escaped():
  evil = '<script>alert("&")</script>'
  rows = [
    results.row('quantize', name, value, [0.1, 0.2], recipe=evil, env=env)
    for name, value in (('nmi_clip', 0.1), ('pnmi_action', 0.2))
    for env in ('mean', evil)
  ]
  rows += [
    results.row('evaluate', 'score', 0.1 * i, [0, 1], 3, env=evil, demos=1,
             method=method, run=evil, measure=RETURN.name)
    for i, method in enumerate(('scratch', 'probe', 'finetune'))
  ]  # fmt: skip
  rows.append(results.row(evil, 'seconds', 1, kind='cost'))
  clip = np.zeros((4, 8, 8, 3), np.uint8)
  shown = explorer.Clip(evil, 0, range(4), clip, {evil: np.arange(4)}, {}, evil)
  unit = explorer.Unit(1, 1, [(0, 1)], [], 1.0, 1.0)
  explored = explorer.Explorer([shown], {evil: [unit]})
  text = page.compose(page.Content(
    title=evil, subtitle=evil, rows=rows, config={evil: evil}, command=evil,
    notes=(evil,), versions={evil: {evil: evil}}, main_run=evil,
    measures={RETURN.name: RETURN},
    losses={evil: [{'step': 0, 'loss': 1.0}, {'step': 1, 'loss': 0.5}]},
    explored=explored, main_recipe=evil,
    futures=[frames.Timeline(evil, clip, {evil: np.arange(4)})],
    rollouts=[frames.Rollout(clip, evil, evil, 1, 0.5, RETURN)],
  ))  # fmt: skip
  found = outline(text)
  scripts = re.findall(r'<script[^>]*>', text)
  assert scripts == [
    '<script type="application/json" id="explorer-data">',
    *['<script>'] * 4,
  ]
  assert found.text.count(evil) > 15
  assert {'return', 'units', 'explorer', 'rollouts'} <= set(found.sections)


@pytest.mark.parametrize(
  'rows, message',
  [
    ([{'stage': 'a', 'name': 'b', 'tags': {}}], r"row 0.*'value'"),
    (
      [{'stage': 'a', 'name': 'b', 'value': 1, 'interval': [1], 'tags': {}}],
      r'row 0 \(b\): found interval \[1\]',
    ),
  ],
)
def test_malformed_rows_are_named(rows, message):
  with pytest.raises(ValueError, match=message):
    page.compose(page.Content(rows=rows))


def test_one_seed_and_one_demo_still_make_a_page():
  """The smallest run: no intervals, one number of demonstrations."""
  rows = [
    results.row('evaluate', 'score', 0.3, env='CartPole-v1', demos=1,
             method=method, run='none' if method == 'scratch' else 'raw',
             measure=RETURN.name)
    for method in ('scratch', 'finetune')
  ]  # fmt: skip
  tags = {'env': 'CartPole-v1', 'method': 'finetune', 'run': 'raw'}
  tags['measure'] = RETURN.name
  rows.append(
    results.row('evaluate', 'paired_difference', 0.0, demos=1, **tags)
  )
  rows.append(results.row('pretrain', 'seconds', 0.2, kind='cost'))
  losses = {'see': [{'step': 0, 'loss': 1.0}], 'pretrain/raw': []}
  found = outline(
    page.compose(
      page.Content(rows=rows, losses=losses, measures={RETURN.name: RETURN})
    )
  )
  assert found.sections == ['findings', 'return', 'training', 'cost']


def test_of_one_environment_no_mean_stands_beside_it():
  rows = fake.score_rows(np.random.default_rng(0))
  for envs in (fake.ENVS[:1], fake.ENVS):
    of = [r for r in rows if results.tag(r, 'env') in (results.ALL, *envs)]
    content = dataclasses.replace(fake.content(), rows=of)
    text = page.compose(content)
    drawn = re.findall(r'alt="[^"]*? against demonstrations, (\S+?)"', text)
    group = () if len(envs) == 1 else (results.ALL,)
    assert drawn == [*group, *envs]


def test_best_in_each_column_is_marked(content):
  rows = [
    results.row('quantize', name, value, recipe=recipe, env='mean')
    for recipe, values in (
      ('a', {'nmi_clip': 0.5, 'pnmi_action': 0.125, 'perplexity': 9}),
      ('b', {'nmi_clip': 0.25, 'pnmi_action': 0.0625, 'perplexity': 7}),
    )
    for name, value in values.items()
  ]
  text = page.compose(page.Content(rows=rows))
  best = re.findall(r'<td class="best">([\d.]+)', text)
  assert best == ['0.125', '0.250']


def test_every_measure_of_alpha_has_a_panel(text):
  alts = [v for _, name, v in outline(text).attributes if name == 'alt']
  assert [a for a in alts if 'against alpha' in a] == [
    'score, finetune against alpha, 4 demonstrations',
    'mean R² against alpha, state probe',
    'accuracy against alpha, masked steps',
    'accuracy against alpha, unmasked steps',
  ]


def test_alpha_is_of_all_domains_together(content):
  """Accuracies of single domains have a tag and come later."""
  rest, acted = words.split(content.rows)
  runs = ('raw', 'raw, α 0')
  measures = acting._measures_of(rest, acted.values(), runs)
  row_of = measures['masked steps', 'accuracy']
  assert {run: row['tags'] for run, row in row_of.items()} == {
    run: {'run': run, 'sample': results.PIPELINES} for run in runs
  }


def test_training_shows_what_was_logged(text):
  alts = [v for _, name, v in outline(text).attributes if name == 'alt']
  assert {a for a in alts if 'against step' in a} == {
    'see: loss against step',
    'pretrain: loss against step',
    'pretrain: loss bits against step',
    'pretrain: accuracy against step',
    'pretrain: accuracy 1 against step',
    'pretrain: masked accuracy against step',
    'pretrain: unmasked accuracy against step',
  }


def test_tuned_policies_have_a_table_of_their_own():
  tags = {'env': 'g1', 'demos': 4, 'run': 'next', 'method': 'tuned'}
  tags['measure'] = PREDICTION.name
  rows = [
    {'stage': 'evaluate', 'name': name, 'value': value, 'seeds': 3,
     'interval': [0.1, 0.9], 'tags': tags | {'encoder': encoder}}
    for encoder in ('frozen', 'lora:8')
    for name, value in (('score', 0.5), ('tuning_difference', 0.07))
  ]  # fmt: skip
  measures = {PREDICTION.name: PREDICTION}
  text = page.compose(page.Content(rows=rows, measures=measures))
  assert 'lora:8' in text and '+0.07' in text and 'the control' in text


def test_frames_that_would_be_too_much_are_coarser(monkeypatch):
  noise = np.random.default_rng(0).integers(256, size=(16, 64, 64, 3))
  clip = explorer.Clip('a', 0, range(16), noise.astype(np.uint8), {}, {})
  shown = explorer.Explorer([clip], {})

  def size(most):
    monkeypatch.setattr(explorer, '_SHEET_BYTES', most)
    return len(explorer.json_of(shown, {})['clips'][0]['sheet'])

  assert size(10_000) < 0.6 * size(1_000_000)


def test_every_dataset_has_a_strip_and_samples_have_numbers():
  evil = '<script>x</script>'
  clip = np.zeros((4, 8, 6, 3), np.uint8)
  shown = page.Content(
    datasets=[frames.Timeline(evil, clip, {}, 99)],
    samples=frames.Samples(
      {'frame': clip, 'filled in': clip + np.uint8(40)}, 'Filled. All of it.'
    ),
  )
  text = page.compose(shown)
  assert evil not in text and text.count('&lt;script&gt;x') == 3
  strip, samples = text.split('id="samples"')
  assert '<td>99</td>' in strip.split('id="shown"')[1]
  assert samples.count('<td>40.0</td>') == 4
