"""Headless Chromium by the DevTools protocol, over a pipe: no package needed.

`open_browser()` starts one; `Browser.open` gives a page to look at, and
`Page.errors` what went wrong in it: exceptions, errors of the console, and
requests that left the file.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

SHOULD_BE_THERE = 'RPT_JAX_CHROMIUM'  # tests/run.sh sets it: no skipping then.
_FLAGS = (
  '--headless=new',
  '--no-sandbox',  # Containers run tests as root.
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--remote-debugging-pipe',
)


def program() -> str | None:
  """Where Chromium is; None where there is none."""
  names = ('chromium', 'chromium-browser', 'google-chrome')
  return next(filter(None, map(shutil.which, names)), None)


class Browser:
  """Commands go out and answers come in as JSON with a zero byte after it."""

  def __init__(self, folder):
    (self._read, out), (into, self._write) = os.pipe(), os.pipe()
    flags = *_FLAGS, f'--user-data-dir={folder}', 'about:blank'
    # Chromium reads commands at descriptor 3 and answers at 4.
    shell = f'exec "$0" "$@" 3<&{into} 4>&{out}'
    self._process = subprocess.Popen(
      ['bash', '-c', shell, program(), *flags],
      pass_fds=(into, out),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    os.close(into)
    os.close(out)
    self._ids, self._rest, self.events = itertools.count(1), b'', []

  def send(self, method, session=None, **params):
    """The result of a command; RuntimeError where it is refused."""
    number = next(self._ids)
    command = {'id': number, 'method': method, 'params': params}
    if session:
      command['sessionId'] = session
    os.write(self._write, json.dumps(command).encode() + b'\0')
    while True:
      message = self._next()
      if message.get('id') == number:
        if 'error' in message:
          raise RuntimeError(f'{method}: {message["error"]}')
        return message['result']
      self.events.append(message)

  def wait(self, method, session):
    """The next event of this name."""
    while True:
      for i, message in enumerate(self.events):
        if (message.get('method'), message.get('sessionId')) == (
          method,
          session,
        ):
          return self.events.pop(i)
      self.events.append(self._next())

  def _next(self):
    while b'\0' not in self._rest:
      block = os.read(self._read, 1 << 16)
      if not block:
        raise RuntimeError('Chromium has ended')
      self._rest += block
    message, _, self._rest = self._rest.partition(b'\0')
    return json.loads(message)

  def open(self, path, width=1280, height=900, dark=False, scripts=True):
    """A page of a file, loaded."""
    target = self.send('Target.createTarget', url='about:blank')['targetId']
    attached = self.send('Target.attachToTarget', targetId=target, flatten=True)
    page = Page(self, attached['sessionId'])
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      page.send(f'{domain}.enable')
    size = {'width': width, 'height': height, 'deviceScaleFactor': 1}
    page.send('Emulation.setDeviceMetricsOverride', mobile=False, **size)
    scheme = {'name': 'prefers-color-scheme', 'value': 'dark'}
    page.send('Emulation.setEmulatedMedia', features=[scheme] if dark else [])
    page.send('Emulation.setScriptExecutionDisabled', value=not scripts)
    page.send('Page.navigate', url=pathlib.Path(path).absolute().as_uri())
    self.wait('Page.loadEventFired', page.session)
    return page

  def close(self):
    with contextlib.suppress(RuntimeError, OSError):
      self.send('Browser.close')
    self._process.wait(10)
    os.close(self._read)
    os.close(self._write)


class Page:
  """One tab."""

  def __init__(self, browser, session):
    self._browser, self.session = browser, session

  def send(self, method, **params):
    return self._browser.send(method, self.session, **params)

  def ask(self, expression):
    """The value of a JavaScript expression, which may be awaited."""
    answer = self.send(
      'Runtime.evaluate',
      expression=expression,
      awaitPromise=True,
      returnByValue=True,
    )
    if 'exceptionDetails' in answer:
      raise RuntimeError(str(answer['exceptionDetails'])[:600])
    return answer['result'].get('value')

  def wait_for(self, expression, seconds=5):
    """Until an expression holds; RuntimeError where it never does."""
    held = self.ask(
      'new Promise((done) => { const end = Date.now() + '
      f'{1000 * seconds}; const look = () => {{ if ({expression}) done(true); '
      'else if (Date.now() > end) done(false); else setTimeout(look, 20); }; '
      'look(); })'
    )
    if not held:
      raise RuntimeError(f'never came true: {expression}')

  def press(self, key):
    """A key, by its name in the DOM."""
    text = {'text': key} if len(key) == 1 else {}
    if key == 'Enter':
      text = {'text': '\r'}
    for kind in ('keyDown', 'keyUp'):
      self.send('Input.dispatchKeyEvent', type=kind, key=key, **text)
      text = {}

  def click(self, selector, x=0.5):
    """The mouse, at a share `x` of the width of the first such element."""
    left, top = self.ask(
      f'(() => {{ const e = document.querySelector({json.dumps(selector)}); '
      'e.scrollIntoView({block: "center", behavior: "instant"}); '
      'const b = e.getBoundingClientRect(); '
      f'return [b.left + {x} * b.width, b.top + b.height / 2]; }})()'
    )
    self.point(left, top)
    for kind in ('mousePressed', 'mouseReleased'):
      self.send(
        'Input.dispatchMouseEvent',
        type=kind,
        x=left,
        y=top,
        button='left',
        clickCount=1,
      )

  def point(self, x, y):
    """The mouse, over a point of the window."""
    self.send('Input.dispatchMouseEvent', type='mouseMoved', x=x, y=y)

  @property
  def errors(self):
    """What went wrong so far."""
    self.ask('0')  # What happened before has been told by now.
    bad = []
    for event in self._browser.events:
      if event.get('sessionId') != self.session:
        continue
      method, about = event['method'], event['params']
      if method == 'Runtime.exceptionThrown':
        bad.append(str(about['exceptionDetails'])[:400])
      elif method == 'Runtime.consoleAPICalled' and about['type'] in (
        'error',
        'warning',
        'assert',
      ):
        bad.append(str(about['args'])[:400])
      elif method == 'Log.entryAdded' and about['entry']['level'] == 'error':
        bad.append(about['entry']['text'])
      elif method == 'Network.requestWillBeSent':
        url = about['request']['url']
        if not url.startswith(('file:', 'data:', 'about:')):
          bad.append(f'a request to {url}')
    return bad

  def screenshot(self, path, whole=False):
    """A PNG of the window, or of the whole page."""
    shot = self.send('Page.captureScreenshot', captureBeyondViewport=whole)
    pathlib.Path(path).write_bytes(base64.b64decode(shot['data']))


@contextlib.contextmanager
def open_browser():
  """A browser with a profile of its own, which leaves nothing behind."""
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    browser = Browser(folder)
    try:
      yield browser
    finally:
      browser.close()
