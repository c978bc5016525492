"""The page in headless Chromium: what a reader can do with it."""

import dataclasses
import os

import chromium
import fake
import numpy as np
import pytest

from rpt_jax.reporting import page

EVIL = '</script><script>window.broken = true</script><b>reach & "grasp"</b>'
TIP = "document.querySelector('#training .asked .tip')?.textContent || ''"
SCRUB = """(() => {
  const slider = document.querySelector('#explorer-live input[type=range]');
  slider.value = %d;
  slider.dispatchEvent(new Event('input'));
})()"""
SHOWN = "document.querySelector('canvas.frame').dataset.drawn"


@pytest.fixture(scope='module')
def browser():
  if not chromium.program():
    if os.environ.get(chromium.SHOULD_BE_THERE):
      pytest.fail('no Chromium; as root: apt-get install -y chromium')
    pytest.skip('no Chromium here: tests/run.sh installs it')
  with chromium.open_browser() as opened:
    yield opened


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  """A page of two environments, told what is no plain text."""
  content = fake.content(envs=fake.ENVS[:2])
  rng = np.random.default_rng(1)
  rows = fake.quality_rows(rng)
  content = dataclasses.replace(
    content,
    explored=fake.explored(rng, fake.ENVS[:2], text=EVIL),
    rows=[r for r in rows if r['tags']['env'] == 'mean'],
  )
  path = tmp_path_factory.mktemp('page') / 'report.html'
  page.write(path, content)
  return path


@pytest.fixture
def opened(browser, path):
  tab = browser.open(path)
  yield tab
  assert tab.errors == []


def texts(tab, selector):
  return tab.ask(
    f'[...document.querySelectorAll({selector!r})].map((e) => e.textContent)'
  )


def test_scrubbing_moves_the_lanes(opened):
  opened.wait_for(f"{SHOWN} === '0:0'")
  clip = opened.ask('JSON.parse(document.getElementById("explorer-data")'
                    '.textContent).clips[0].units')  # fmt: skip
  for step in (0, 7):
    opened.ask(SCRUB % step)
    opened.wait_for(f"{SHOWN} === '0:{step}'")
    assert texts(opened, '.lane .now') == [str(u[step]) for u in clip.values()]
    at = opened.ask('document.querySelector(".track .cursor").style.left')
    assert float(at.rstrip('%')) == pytest.approx(100 * (step + 0.5) / 40)
  opened.ask('document.querySelector(".track").focus()')
  opened.press('ArrowRight')
  opened.press('ArrowRight')
  opened.wait_for(f"{SHOWN} === '0:9'")
  opened.press(']')
  opened.wait_for(f"{SHOWN} === '1:9'")


def test_clicking_a_unit_shows_its_frames_and_what_comes_next(opened):
  lane = '.lane[data-lane="clip-mean + delta"] '
  opened.click(f'{lane}.track', 0.6)
  unit, *_ = texts(opened, f'{lane}.now')
  panel = 'section.unit'
  assert texts(opened, f'{panel} .facts .swatch')[0] == unit
  strips = f'document.querySelectorAll("{panel}")[0].querySelectorAll("canvas")'
  opened.wait_for(f'[...{strips}].every((c) => c.dataset.drawn)')
  drawn = opened.ask(f'[...{strips}].map((c) => c.dataset.drawn)')
  nearest = opened.ask(
    'JSON.parse(document.getElementById("explorer-data").textContent).lanes'
    f'.find((l) => l.name === "clip-mean + delta").units'
    f'.find((u) => u.unit === {unit}).nearest'
  )
  assert drawn == [
    f'{clip}:' + ','.join(map(str, range(step, min(step + 9, 40))))
    for clip, step in nearest
  ]
  colours = opened.ask(
    f'[...{strips}].map((c) => new Set(c.getContext("2d")'
    '.getImageData(0, 0, c.width, c.height).data).size)'
  )
  assert min(colours) > 20  # Pictures, not one colour.
  assert '30 % would be' in texts(opened, f'{panel} .facts')[0]
  assert {'<i>x</i>', 'action 1'} <= {*texts(opened, f'{panel} td')}


def test_recipes_stand_side_by_side(opened):
  boxes = opened.ask(
    '[...document.querySelectorAll("section.unit")].map((e) => '
    '[e.getBoundingClientRect().top, e.querySelector("select").value])'
  )
  (top, one), (other_top, other) = boxes
  assert top == other_top and [one, other] == ['raw', 'clip-mean']


def test_curves_say_their_numbers(opened):
  about = opened.ask(
    'JSON.parse(document.querySelector("#training .hover").dataset.plot)'
  )
  (left, _, width, _), (low, high) = about['box'], about['x']
  at = left + width * (about['at'][5] - low) / (high - low)
  assert not opened.ask(TIP)
  opened.click('#training .hover', at)
  shown = opened.ask(TIP)
  assert shown.startswith(about['names'][5])
  label, _, said = about['lines'][0]
  assert f'{label} {said[5]}' in shown
  opened.press('ArrowRight')
  assert opened.ask(TIP).startswith(about['names'][6])
  table = texts(opened, '#training details.data tbody tr')
  assert len(table) > 20 and any(r.startswith('see: loss') for r in table)


def test_rollouts_play_side_by_side(opened):
  films = '[...document.querySelectorAll(".film canvas")]'
  frames = f'{films}.map((c) => Number(c.dataset.frame))'
  opened.wait_for(f'{frames}.every((x) => x === 0)')
  opened.click('#rollouts .bar button')
  opened.wait_for(f'{frames}.every((x) => x > 2)')
  assert len(set(opened.ask(frames))) == 1  # All at the same moment.
  opened.click('#rollouts .bar button')
  assert texts(opened, '#rollouts .bar button') == ['Play']
  stopped = opened.ask(frames)
  opened.ask('new Promise((done) => setTimeout(done, 150))')
  assert opened.ask(frames) == stopped


def test_theme_and_sections_by_keys(opened):
  ink = 'getComputedStyle(document.body).color'
  light = opened.ask(ink)
  opened.click('.theme')
  assert opened.ask(ink) != light
  opened.click('.theme')
  assert opened.ask(ink) == light
  opened.click('.theme')
  top = '[...document.querySelectorAll("main > section")].map((e) => ' \
    'Math.abs(e.getBoundingClientRect().top) < 3)'  # fmt: skip
  opened.ask('document.documentElement.style.scrollBehavior = "auto"')
  opened.ask('scrollTo(0, 0)')
  for at in (0, 1):
    opened.press('j')
    opened.wait_for(f'{top}[{at}]')
  opened.press('k')
  opened.wait_for(f'{top}[0]')


def test_text_of_datasets_stays_text(opened):
  assert texts(opened, '.told') == [f'“{EVIL}”']
  assert opened.ask('window.broken === undefined')


def test_it_fits_a_phone(browser, path):
  tab = browser.open(path, width=390, height=800)
  wide = tab.ask('document.documentElement.scrollWidth')
  assert wide <= 390 and tab.errors == []


def test_without_scripts_and_on_paper_pictures_stand_still(browser, path):
  seen = '(() => [...document.querySelectorAll(".still, .live")].map((e) => ' \
    '[e.className, getComputedStyle(e).display !== "none"]))()'  # fmt: skip
  tab = browser.open(path)
  assert ['still', True] not in tab.ask(seen)
  tab.send('Emulation.setEmulatedMedia', media='print')
  still = browser.open(path, scripts=False)
  for each in (tab, still):
    assert all(shown == (kind == 'still') for kind, shown in each.ask(seen))
  assert still.errors == []
