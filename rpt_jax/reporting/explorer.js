// The explorer of units, drawn from the block of JSON `explorer-data`
// (`explorer.py` says what it holds).
'use strict';
(() => {
  const { el, svg, options, number } = dom;
  const root = document.getElementById('explorer-live');
  const data = JSON.parse(
    document.getElementById('explorer-data').textContent);
  const LINES = ['#0072b2', '#d17c00', '#009e73', '#b4558d', '#4e9fd1',
    '#a3420a', '#8a8a8a', '#9c8f1c'];
  const lanes = data.lanes;
  const chosen = data.clips.filter((clip) => Object.keys(clip.units).length);
  const state = { clip: chosen[0], step: 0, timer: null, panels: [] };
  if (!chosen.length) return;
  const { draw, swatch, newPanel } = unitPanels(
    data,
    (lane) => state.clip.units[lane][state.step],
    (clip, step) => chosen.includes(clip) && step < count(clip),
    (clip, step) => { open(clip); move(step); });

  function count(clip) { // Steps one can move through.
    return Object.values(clip.units)[0].length;
  }

  function runs(units) {
    const joined = [];
    units.forEach((unit, t) => {
      const last = joined[joined.length - 1];
      if (last && last.unit === unit) last.length += 1;
      else joined.push({ unit, start: t, length: 1 });
    });
    return joined;
  }

  // What stays: the bar, the frame, the curves, the lanes, two panels.
  const clipSelect = el('select', {
    'aria-label': 'Clip',
    onchange: () => open(chosen[clipSelect.value]),
  });
  options(clipSelect, chosen.map((clip, i) => [i, clip.name]));
  const play = el('button', { type: 'button', onclick: toggle }, 'Play');
  const slider = el('input', {
    type: 'range', min: 0, value: 0, 'aria-label': 'Frame',
    oninput: () => move(Number(slider.value)),
  });
  const place = el('output', { class: 'place' });
  const text = el('p', { class: 'told' });
  const picture = el('canvas', { class: 'frame', role: 'img' });
  const curves = el('div', { class: 'curves' });
  const laneBox = el('div', { class: 'lanes' });
  const panelBox = el('div', { class: 'panels' });
  const table = el('div', { class: 'scroll', tabindex: 0 });
  const details = el('details', { class: 'data', ontoggle: fillTable },
    el('summary', {}, 'Data of this clip'), table);
  root.append(
    el('div', { class: 'bar' }, clipSelect, play, slider, place), text,
    el('div', { class: 'stage' }, picture, curves), laneBox, panelBox, details);

  function open(clip) {
    state.clip = clip;
    clipSelect.value = chosen.indexOf(clip);
    slider.max = count(clip) - 1;
    text.textContent = clip.text ? `“${clip.text}”` : '';
    drawLanes();
    drawCurves();
    move(Math.min(state.step, count(clip) - 1));
    fillTable();
  }

  function move(step) {
    const last = count(state.clip) - 1;
    state.step = Math.max(0, Math.min(step, last));
    state.panels.forEach((panel) => { panel.asked = null; });
    show();
  }

  function toggle() {
    if (state.timer) {
      clearInterval(state.timer);
      state.timer = null;
    } else {
      state.timer = setInterval(
        () => move((state.step + 1) % count(state.clip)), 100);
    }
    play.textContent = state.timer ? 'Pause' : 'Play';
  }

  function show() {
    const { clip, step } = state;
    slider.value = step;
    place.textContent = `frame ${step + 1} of ${count(clip)}`;
    picture.setAttribute('aria-label', `${clip.name}, frame ${step + 1}`);
    draw(picture, clip, [step]);
    const along = `${100 * (step + 0.5) / count(clip)}%`;
    root.querySelectorAll('.cursor').forEach((line) => {
      line.style.left = along;
    });
    laneBox.querySelectorAll('.lane').forEach((row) => {
      const unit = clip.units[row.dataset.lane][step];
      row.querySelector('.now').replaceChildren(swatch(unit));
      const track = row.querySelector('.track');
      track.setAttribute('aria-valuenow', step);
      track.setAttribute('aria-valuetext',
        `frame ${step + 1}, unit ${unit < 0 ? 'none' : unit}`);
    });
    curves.querySelectorAll('.values').forEach((line) => {
      const values = clip.curves[line.dataset.stream][step];
      [...line.children].forEach((chip, i) => {
        chip.textContent = number(values[i]);
      });
    });
    state.panels.forEach((panel) => panel.show());
  }

  // Lanes: a block a run; a click moves there and shows the unit.
  function drawLanes() {
    const { clip } = state;
    laneBox.replaceChildren(...lanes.map((lane) => {
      const units = clip.units[lane.name];
      const blocks = runs(units).map((run) => {
        const block = el('span', { class: 'block' });
        block.style.width = `${100 * run.length / units.length}%`;
        if (run.unit >= 0) {
          const [fill, ink] = data.colours[run.unit];
          block.style.background = fill;
          block.style.color = ink;
          block.title = `unit ${run.unit}, frames ${run.start + 1} to ` +
            `${run.start + run.length}`;
          if (run.length / units.length >= 0.03) block.textContent = run.unit;
        }
        return block;
      });
      const track = el('div', {
        class: 'track', tabindex: 0, role: 'slider', 'aria-valuemin': 0,
        'aria-valuemax': units.length - 1,
        'aria-label': `Units of ${lane.name}`,
        onclick: (event) => {
          const box = track.getBoundingClientRect();
          const share = (event.clientX - box.left) / box.width;
          ask(lane.name, Math.floor(share * units.length));
        },
        onfocus: () => focusLane(lane.name),
      }, ...blocks, el('span', { class: 'cursor' }));
      return el('div', { class: 'lane', 'data-lane': lane.name },
        el('span', { class: 'name' }, lane.name), track,
        el('span', { class: 'now' }));
    }));
  }

  function focusLane(name) {
    if (!state.panels.some((panel) => panel.select.value === name)) {
      state.panels[0].select.value = name;
      state.panels[0].list();
      state.panels[0].show();
    }
  }

  function ask(name, step) {
    focusLane(name);
    move(step);
  }

  // Curves of one stream share an axis; a line a number.
  function drawCurves() {
    const { clip } = state;
    curves.replaceChildren(...Object.entries(clip.curves).map(
      ([stream, rows]) => {
        const all = rows.flat().filter((x) => x !== null);
        if (!all.length) return '';
        const low = Math.min(...all);
        const span = (Math.max(...all) - low) || 1;
        const box = svg('svg', {
          viewBox: `0 0 ${rows.length} 100`, preserveAspectRatio: 'none',
          'aria-hidden': 'true',
        });
        const width = rows[0].length;
        for (let i = 0; i < width; i += 1) {
          const points = rows.map((row, t) => { // A step a frame.
            const y = 96 - 92 * (row[i] - low) / span;
            return row[i] === null ? '' : `${t},${y} ${t + 1},${y}`;
          }).join(' ');
          box.append(svg('polyline', { points, stroke: LINES[i], fill: 'none',
            'stroke-width': 1.6, 'vector-effect': 'non-scaling-stroke' }));
        }
        const values = el('span', { class: 'values', 'data-stream': stream });
        for (let i = 0; i < width; i += 1) {
          const chip = el('span', {});
          chip.style.color = LINES[i];
          values.append(chip);
        }
        return el('div', { class: 'curve' },
          el('div', { class: 'head' }, el('b', {}, stream), values,
            el('span', { class: 'range' },
              `${number(low)} to ${number(low + span)}`)),
          el('div', { class: 'plot' }, box, el('span', { class: 'cursor' })));
      }));
    curves.hidden = !curves.children.length;
  }

  // The numbers behind what is drawn, made when they are asked for.
  function fillTable() {
    if (!details.open) {
      table.replaceChildren();
      return;
    }
    const { clip } = state;
    const streams = Object.entries(clip.curves);
    const head = ['frame', ...lanes.map((lane) => lane.name),
      ...streams.flatMap(([name, rows]) => rows[0].map((_, i) =>
        `${name} ${i}`))];
    const body = [];
    for (let t = 0; t < count(clip); t += 1) {
      const cells = [t + 1, ...lanes.map((lane) => clip.units[lane.name][t]),
        ...streams.flatMap(([, rows]) => rows[t].map(number))];
      body.push(el('tr', {}, ...cells.map((x) => el('td', {}, String(x)))));
    }
    table.replaceChildren(el('table', {},
      el('thead', {}, el('tr', {}, ...head.map((x) => el('th', {}, x)))),
      el('tbody', {}, ...body)));
  }

  function turn(by) {
    const at = chosen.indexOf(state.clip) + by;
    open(chosen[(at + chosen.length) % chosen.length]);
  }

  root.addEventListener('keydown', (event) => {
    const field = event.target.matches('select, input, button, summary');
    const own = {
      ArrowLeft: () => move(state.step - 1),
      ArrowRight: () => move(state.step + 1),
      Home: () => move(0),
      End: () => move(count(state.clip) - 1),
      ' ': toggle,
    };
    const everywhere = { '[': () => turn(-1), ']': () => turn(1) };
    const act = everywhere[event.key] || (field ? null : own[event.key]);
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });

  state.panels = [newPanel(lanes[0].name)];
  if (lanes.length > 1) state.panels.push(newPanel(lanes[1].name));
  panelBox.append(...state.panels.map((panel) => panel.box));
  open(chosen[0]);
})();
