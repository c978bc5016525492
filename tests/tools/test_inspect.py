"""The commands on datasets: --inspect, --convert, --doctor."""

import re

import numpy as np
import pytest

from rpt_jax import domains, episodes, settings
from rpt_jax.episodes import survey
from rpt_jax.reporting import dataset, section
from rpt_jax.settings import datasets
from rpt_jax.tools import doctor, inspect
from tests.episodes.rlds.test_tfrecord import BRIDGE, needs_bridge
from tests.episodes.test_survey import clean
from tests.test_main import command


def test_a_page_and_a_summary(tmp_path, capsys):
  data = tmp_path / 'toy<b>'
  data.mkdir()
  for i in range(3):
    part = clean(i)
    part['instruction'] = np.array('push <script>')
    np.savez(data / f'{i}.npz', **part)
  page = inspect.run(f'{data},size=12x16', tmp_path / 'out')
  text = page.read_text()
  printed = capsys.readouterr().out
  assert '3 episodes, 120 steps' in printed and '3 episodes' in text
  assert re.search(r'front +image +uint8\[12, 16, 3\]', printed)
  assert text.count('class="tile"') == 10  # Two cameras: ends, three episodes.
  assert text.count('histogram of action[') == 2
  assert text.count('histogram of state[') == 3
  assert 'push <script>' not in text and 'src="http' not in text
  assert 'Nothing suspicious' in text
  assert [p.name for p in page.parent.iterdir()] == ['dataset.html']


def test_the_printed_section_reads_the_dataset(tmp_path, capsys):
  data = tmp_path / "it's <mine>"
  data.mkdir()
  for i in range(4):
    part = clean(i)
    part['wrist'][:] = 0
    np.savez(data / f'{i}.npz', **part)
  inspect.run(f'{data},size=12x16', tmp_path / 'out')
  printed = capsys.readouterr().out
  section = printed.partition('for a config:\n')[2].partition('\npage: ')[0]
  config = settings.base(title='x')
  exec(section, {'config': config, 'settings': settings})  # As if pasted.
  (domain,) = domains.of(settings.read(settings.Experiment, config))
  domain.check(as_stream=True)
  assert domain.name == 'it_s__mine_' and domain.cameras == ('front',)
  assert domain.widths == {'proprio': 3, 'action': 2}
  assert domain.open().streams['front'].shape == (12, 16, 3)


@pytest.mark.parametrize('name', ['class', 'items', '2 robots', 'a.b'])
def test_a_section_has_a_name_that_python_takes(tmp_path, name):
  (tmp_path / name).mkdir()
  np.savez(tmp_path / name / '0.npz', **clean(0))
  source = episodes.open(tmp_path / name)
  text = section.write(source, {}, survey.survey(source))
  config = settings.base(title='x')
  exec(text, {'config': config, 'settings': settings})
  assert len(settings.read(settings.Experiment, config).domains) == 1


def test_settings_of_a_spec():
  path, settings = datasets.parse('a/b,card=droid,fps=10,clip_steps=5,size=2x3')
  assert path == 'a/b'
  assert settings == {
    'card': 'droid',
    'fps': 10.0,
    'clip_steps': 5,
    'size': (2, 3),
  }
  for spec, words in (
    ('a,card', "found 'card', expected key=value"),
    ('a,fps=fast', "fps: found 'fast', expected a number"),
    ('a,clip_steps=1.5', "clip_steps: found '1.5', expected a whole number"),
    ('a,size=96', "size: found '96', expected height x width, as in 96x128"),
    ('a,size=0x0', "size: found '0x0', expected height x width"),
    ('a,size=-1x5', "size: found '-1x5', expected height x width"),
  ):
    with pytest.raises(ValueError, match=f'^--inspect: {words}'):
      datasets.parse(spec)


def test_a_path_with_commas_is_taken_where_it_exists(tmp_path):
  folder = tmp_path / 'comma, dir'
  folder.mkdir()
  assert datasets.parse(f'{folder}') == (f'{folder}', {})
  assert datasets.parse(f'{folder},fps=5') == (f'{folder}', {'fps': 5.0})


def test_the_doctor_names_packages_devices_and_datasets(tmp_path):
  (tmp_path / 'good').mkdir()
  np.savez(tmp_path / 'good/0.npz', **clean(0))
  (tmp_path / 'bad/meta').mkdir(parents=True)
  (tmp_path / 'bad/meta/info.json').write_text('{}')
  (tmp_path / 'none').mkdir()
  (tmp_path / 'part').mkdir()
  (tmp_path / 'part/dataset_dict.json').write_text('{"splits": ["train"]}')
  text = '\n'.join(doctor.report([str(tmp_path)]))
  assert re.search(r'\n  jax \d', text) and 'devices: 8 cpu' in text
  assert 'good: 1 episodes of front, state, wrist, action' in text
  assert 'bad: cannot be read' in text and 'none:' not in text
  (line,) = [x for x in text.splitlines() if x.startswith(f'  {tmp_path}/part')]
  assert line.endswith('train/state.json: no such file')
  (line,) = [x for x in text.splitlines() if x.startswith(f'  {tmp_path}/bad')]
  assert line.startswith(f'  {tmp_path}/bad: cannot be read: ')
  assert 'below /nowhere:\n  none' in '\n'.join(doctor.report(['/nowhere']))


def test_a_missing_extra_says_how_to_install_it(monkeypatch):
  monkeypatch.setitem(doctor._EXTRAS, 'no-such-package', 'video')
  assert any(
    "no-such-package not installed: pip install -e '.[video]'" in line
    for line in doctor.report([])
  )


@needs_bridge
def test_convert_then_inspect_from_the_command_line(tmp_path):
  done = command(f'--convert={BRIDGE}', workdir=tmp_path / 'bridge')
  assert done.returncode == 0, done.stderr
  assert '25 episodes' in done.stdout
  spec = f'--inspect={tmp_path / "bridge"}'
  done = command(spec, workdir=tmp_path / 'page')
  assert done.returncode == 0, done.stderr
  assert 'image_3: every frame seen is black' in done.stdout
  assert (tmp_path / 'page/dataset.html').stat().st_size > 100_000
  done = command(f'{spec},card=droid', workdir=tmp_path / 'page2')
  assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
  assert 'exterior_image_1_left' in done.stderr
  assert not (tmp_path / 'page2').exists()


def test_what_numbers_are_called_reaches_lines_and_tables(tmp_path, capsys):
  for i in range(3):
    part = clean(i)
    part['state'][:, 1] = 2.0
    np.savez(tmp_path / f'{i}.npz', **part)
  source = episodes.open(tmp_path)
  source.store.labels = {'state': ('hip', '<b>knee</b>', '$foot')}
  seen = survey.survey(source)
  assert seen.warnings == ['state: constant dimensions [1 (<b>knee</b>)]']
  assert 'state: hip, <b>knee</b>, $foot' in inspect.summary(seen)
  text = dataset.render(seen, '', '')
  assert '<b>knee' not in text and 'state[2], $foot' in text
  assert text.count('>1: &lt;b&gt;knee&lt;/b&gt;</td>') == 1
  assert text.count('<summary>Data</summary>') == 3  # And of lengths.
