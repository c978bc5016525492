"""Tables of a page, as they stand in a README."""

import dataclasses
import re

import fake

from rpt_jax.reporting import html, markdown, page

EVIL = '<b>reach</b> | & "grasp"'


def test_heads_intervals_groups_and_what_is_best():
  doc = html.Document()
  groups = '<th colspan="1"></th><th colspan="2">2 demonstrations</th>'
  name = f'<td><span class="chip">1</span>{html.escape(EVIL)}</td>'
  body = [name + html.cell('0.5', '[0.4, 0.6]', True) + '<td>x</td>']
  whole = doc.table(
    html.table(['Task', 'Score', 'Gain'], body, groups), 'A. B.'
  )
  behind = html.details('Data', html.table(['left'], ['<td>out</td>']))
  assert markdown.tables(whole + behind, 'Made at <here>.').splitlines() == [
    'Made at &lt;here&gt;.',
    '',
    'Table 1. A. B.',
    '',
    '| Task | 2 demonstrations Score | 2 demonstrations Gain |',
    '| --- | --: | --- |',
    '| 1 &lt;b&gt;reach&lt;/b&gt; \\| &amp; "grasp" | **0.5 [0.4, 0.6]** | x |',
  ]


def test_every_numbered_table_of_a_page_is_there():
  content = dataclasses.replace(fake.content(envs=fake.ENVS[:2]), title=EVIL)
  text = page.compose(content)
  numbers = re.findall(r'<figcaption><b>Table (\d+)\.', text)
  said = markdown.tables(text, '')
  assert re.findall(r'(?m)^Table (\d+)\.', said) == numbers and numbers
  assert '<' not in said
  for table in re.findall(r'(?m)(?:^\|.*\n)+', said):
    assert len({line.count(' | ') for line in table.splitlines()}) == 1
