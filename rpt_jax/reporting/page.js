// What every page does: what is alive takes the place of what stands still;
// numbers under the pointer, films that play together, a theme, keys.
'use strict';
(() => {
  const { el } = dom;
  const root = document.documentElement;
  root.classList.add('alive');

  // Curves: the place nearest to the pointer, or the next one by the arrows.
  function hover(box) {
    const about = JSON.parse(box.dataset.plot);
    const [left, top, width, height] = about.box;
    const [low, high] = about.x;
    const line = el('span', { class: 'here' });
    const tip = el('div', { class: 'tip', role: 'status' });
    let place = -1;
    line.style.top = `${100 * top}%`;
    line.style.height = `${100 * height}%`;
    box.append(line, tip);
    box.tabIndex = 0;
    box.setAttribute('role', 'group');
    box.setAttribute('aria-label', 'Curves: arrow keys read their numbers');

    function show(at) {
      place = at;
      const share = left + width * (about.at[at] - low) / (high - low);
      line.style.left = `${100 * share}%`;
      const rows = about.lines.filter(([, , texts]) => texts[at] !== null).map(
        ([label, colour, texts]) => {
          const dot = el('i', {});
          dot.style.background = colour;
          return el('span', {}, dot, `${label} `, el('b', {}, texts[at]));
        });
      tip.replaceChildren(el('span', {}, about.names[at]), ...rows);
      box.classList.add('asked');
      const bounds = box.getBoundingClientRect();
      const most = root.clientWidth - tip.offsetWidth - 8; // Within the page.
      const x = Math.min(bounds.left + share * bounds.width + 8, most);
      tip.style.left = `${Math.max(8, x) - bounds.left}px`;
    }

    function leave() {
      place = -1;
      box.classList.remove('asked');
    }

    function near(event) {
      const bounds = box.querySelector('img').getBoundingClientRect();
      const share = (event.clientX - bounds.left) / bounds.width;
      const x = low + (high - low) * (share - left) / width;
      const far = about.at.map((at) => Math.abs(at - x));
      show(far.indexOf(Math.min(...far)));
    }

    box.addEventListener('pointermove', near);
    box.addEventListener('pointerdown', near);
    box.addEventListener('pointerleave', leave);
    box.addEventListener('blur', leave);
    box.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      show(Math.max(0, Math.min(place + by, about.at.length - 1)));
    });
  }

  // Films of a figure share a clock: one button plays them side by side.
  function together(figure) {
    const films = [...figure.querySelectorAll('.film')].map((box) => {
      const about = JSON.parse(box.dataset.film);
      const image = box.querySelector('img');
      const canvas = el('canvas', { class: 'live', role: 'img',
        'aria-label': image.alt, width: about.size[0],
        height: about.size[1] });
      image.classList.add('still');
      image.before(canvas);
      return { about, image, canvas };
    });
    const longest = Math.max(...films.map((film) => film.about.seconds));
    let began = null; // When second 0 would have been, while it plays.

    function show(seconds) {
      slider.value = seconds;
      time.textContent = `${seconds.toFixed(1)} of ${longest.toFixed(1)} s`;
      films.forEach(({ about, image, canvas }) => {
        if (!image.complete) return;
        const at = Math.min(about.count - 1,
          Math.floor(about.count * seconds / about.seconds));
        if (canvas.dataset.frame === String(at)) return;
        const [width, height] = about.size;
        canvas.dataset.frame = at;
        canvas.getContext('2d').drawImage(image, width * (at % about.columns),
          height * Math.floor(at / about.columns), width, height, 0, 0,
          width, height);
      });
    }

    function tick(now) {
      if (began === null) return;
      const seconds = (now - began) / 1000;
      show(Math.min(seconds, longest));
      if (seconds < longest) requestAnimationFrame(tick);
      else stop();
    }

    function stop() {
      began = null;
      button.textContent = 'Play';
    }

    function toggle() {
      if (began !== null) {
        stop();
        return;
      }
      const from = Number(slider.value) < longest ? Number(slider.value) : 0;
      button.textContent = 'Pause';
      began = performance.now() - 1000 * from;
      requestAnimationFrame(tick);
    }

    const button = el('button', { type: 'button', onclick: toggle }, 'Play');
    const slider = el('input', { type: 'range', min: 0, max: longest,
      step: 'any', value: 0, 'aria-label': 'Seconds',
      oninput: () => { stop(); show(Number(slider.value)); } });
    const time = el('output', { class: 'place' });
    figure.querySelector('.panel').prepend(
      el('div', { class: 'bar live' }, button, slider, time));
    films.forEach(({ image }) => {
      image.decode().then(() => show(Number(slider.value)));
    });
    show(0);
  }

  // The theme is that of the system until one is chosen.
  function themes() {
    const names = { '': 'Theme: system', light: 'Theme: light',
      dark: 'Theme: dark' };
    const next = { '': 'dark', dark: 'light', light: '' };
    let theme = '';
    const button = el('button', { type: 'button', class: 'theme live',
      onclick: () => use(next[theme]) });

    function use(name) {
      theme = name in names ? name : '';
      root.dataset.theme = theme;
      button.textContent = names[theme];
      try {
        localStorage.setItem('rpt_jax theme', theme);
      } catch { /* A browser may forbid it: the choice lasts for this page. */ }
    }

    let before = '';
    try {
      before = localStorage.getItem('rpt_jax theme') || '';
    } catch { /* As above. */ }
    use(before);
    document.querySelector('nav').append(button);
  }

  // j and k: the section after and before.
  function sections() {
    const all = [...document.querySelectorAll('main > section')];
    document.addEventListener('keydown', (event) => {
      const by = { j: 1, k: -1 }[event.key];
      const typing = event.target.matches('input, select, textarea');
      if (!by || typing || event.ctrlKey || event.metaKey || event.altKey) {
        return;
      }
      const passed = all.filter(
        (each) => each.getBoundingClientRect().top < 8).length - 1;
      const here = all[passed] && by < 0 &&
        all[passed].getBoundingClientRect().top < -8 ? passed : passed + by;
      const to = all[Math.max(0, Math.min(here, all.length - 1))];
      if (to) to.scrollIntoView();
    });
    const links = new Map([...document.querySelectorAll('nav a')].map(
      (link) => [link.hash.slice(1), link]));
    const seen = new IntersectionObserver((entries) => {
      entries.forEach((entry) => {
        links.get(entry.target.id).classList.toggle('in', entry.isIntersecting);
      });
    }, { rootMargin: '-20% 0px -70% 0px' });
    all.forEach((section) => seen.observe(section));
  }

  document.querySelectorAll('.hover').forEach(hover);
  document.querySelectorAll('figure').forEach((figure) => {
    if (figure.querySelector('.film')) together(figure);
  });
  document.querySelectorAll('.scroll, pre').forEach((box) => {
    box.tabIndex = 0; // What scrolls sideways can be reached by keys.
  });
  themes();
  sections();
})();
