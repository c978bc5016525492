// The explorer of units, drawn from the block of JSON `explorer-data`
// (`explorer.py` says what it holds). All text goes in as text, never as HTML.
'use strict';
(() => {
  const root = document.getElementById('explorer-live');
  const data = JSON.parse(
    document.getElementById('explorer-data').textContent);
  const LINES = ['#0072b2', '#d17c00', '#009e73', '#b4558d', '#4e9fd1',
    '#a3420a', '#8a8a8a', '#9c8f1c'];
  const lanes = data.lanes;
  const laneOf = Object.fromEntries(lanes.map((lane) => [lane.name, lane]));
  const chosen = data.clips.filter((clip) => Object.keys(clip.units).length);
  // `asked` is a unit that was chosen by its number, until the frame changes.
  const state = { clip: chosen[0], step: 0, timer: null, panels: [] };
  if (!chosen.length) return;

  function el(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith('on')) {
        element.addEventListener(name.slice(2), value);
      } else if (value !== null) {
        element.setAttribute(name, value);
      }
    }
    element.append(...children);
    return element;
  }

  function svg(tag, attributes) {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) {
      element.setAttribute(name, value);
    }
    return element;
  }

  function options(select, pairs) {
    select.replaceChildren(...pairs.map(
      ([value, text]) => el('option', { value }, text)));
  }

  // Frames: one picture a clip, decoded once, of which canvases show parts.
  const sheets = new Map();
  function sheet(clip) {
    if (!sheets.has(clip)) {
      const image = new Image();
      sheets.set(clip, new Promise((resolve) => {
        image.onload = () => resolve(image);
      }));
      image.src = clip.sheet;
    }
    return sheets.get(clip);
  }

  async function draw(canvas, clip, steps) {
    const [width, height] = clip.size;
    const wanted = `${data.clips.indexOf(clip)}:${steps}`;
    canvas.dataset.shows = wanted;
    const image = await sheet(clip);
    if (canvas.dataset.shows !== wanted) return; // Another was asked for since.
    canvas.width = width * steps.length;
    canvas.height = height;
    const context = canvas.getContext('2d');
    steps.forEach((step, i) => {
      const at = clip.steps.indexOf(step);
      context.drawImage(image, width * (at % clip.columns),
        height * Math.floor(at / clip.columns), width, height,
        width * i, 0, width, height);
    });
    canvas.dataset.drawn = wanted;
  }

  function count(clip) { // Steps one can move through.
    return Object.values(clip.units)[0].length;
  }

  function runs(units) {
    const found = [];
    units.forEach((unit, t) => {
      const last = found[found.length - 1];
      if (last && last.unit === unit) last.length += 1;
      else found.push({ unit, start: t, length: 1 });
    });
    return found;
  }

  function swatch(unit) {
    if (unit < 0) return el('span', { class: 'swatch none' }, 'none');
    const [fill, ink] = data.colours[unit];
    const chip = el('span', { class: 'swatch' }, String(unit));
    chip.style.background = fill;
    chip.style.color = ink;
    return chip;
  }

  function number(x) {
    if (x === null) return '–';
    const text = Math.abs(x) >= 100 ? x.toFixed(0) : x.toFixed(2);
    return text.replace('-', '−');
  }

  function frames(n) { return n === 1 ? '1 frame' : `${n} frames`; }

  function percent(x) { return `${Math.round(100 * x)} %`; }

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
  const table = el('div', { class: 'scroll' });
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
    state.panels.forEach(showPanel);
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
      listUnits(state.panels[0]);
      showPanel(state.panels[0]);
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

  // Two panels, each of a recipe: the unit of this frame, or one asked for.
  function newPanel(name) {
    const panel = { asked: null };
    panel.select = el('select', {
      'aria-label': 'Recipe',
      onchange: () => { panel.asked = null; listUnits(panel); showPanel(panel); },
    });
    options(panel.select, lanes.map((lane) => [lane.name, lane.name]));
    panel.select.value = name;
    panel.units = el('select', {
      'aria-label': 'Unit',
      onchange: () => {
        panel.asked = Number(panel.units.value);
        showPanel(panel);
      },
    });
    panel.body = el('div', { class: 'about' });
    panel.box = el('section', { class: 'unit', 'aria-live': 'polite' },
      el('div', { class: 'bar' }, panel.select, panel.units), panel.body);
    listUnits(panel);
    return panel;
  }

  function listUnits(panel) {
    options(panel.units, laneOf[panel.select.value].units.map((unit) => [
      unit.unit, `unit ${unit.unit}, ${frames(unit.count)}`]));
  }

  function showPanel(panel) {
    const lane = laneOf[panel.select.value];
    const unit = panel.asked === null ?
      state.clip.units[lane.name][state.step] : panel.asked;
    const shown = `${lane.name} ${unit}`;
    if (panel.shown === shown) return;
    panel.shown = shown;
    panel.units.value = unit;
    const about = lane.units.find((each) => each.unit === unit);
    panel.body.replaceChildren();
    if (lane.verdict) {
      panel.body.append(el('p', { class: 'said' }, lane.verdict));
    }
    if (!about) {
      panel.body.append(el('p', {}, 'This frame has no unit.'));
      return;
    }
    panel.body.append(facts(lane, about), ...strips(about),
      ...about.actions.map(actionTable));
  }

  function facts(lane, unit) {
    const total = lane.units.reduce((sum, each) => sum + each.count, 0);
    return el('p', { class: 'facts' }, swatch(unit.unit),
      `${frames(unit.count)}, ${percent(unit.count / total)} of all that are ` +
      `held out. ${percent(unit.share)} of them in one clip; shuffled, ` +
      `${percent(unit.chance)} would be.`);
  }

  function strips(unit) {
    if (!unit.nearest.length) {
      return [el('p', {}, 'This page has no room for its frames.')];
    }
    return unit.nearest.map(([at, step]) => {
      const clip = data.clips[at];
      const last = clip.steps[clip.steps.length - 1];
      const steps = [];
      for (let t = step; t <= Math.min(step + data.ahead, last); t += 1) {
        if (clip.steps.includes(t)) steps.push(t);
      }
      const rest = steps.length - 1;
      const after = rest === data.ahead ? `the next ${rest}` :
        `the ${rest} that are left of the clip`;
      const label = `${clip.name}, frame ${step + 1}` +
        (rest ? ` and ${after}` : ', the last of the clip');
      const canvas = el('canvas', { class: 'strip', role: 'img',
        'aria-label': label, width: clip.size[0] * steps.length,
        height: clip.size[1] });
      canvas.style.width = `${100 * steps.length / (data.ahead + 1)}%`;
      draw(canvas, clip, steps);
      const there = chosen.includes(clip) && step < count(clip);
      const go = there ? el('button', { type: 'button', class: 'go',
        onclick: () => { open(clip); move(step); } }, 'go there') : '';
      return el('figure', { class: 'nearest' }, canvas,
        el('figcaption', {}, label, ' ', go));
    });
  }

  function actionTable(action) {
    const head = action.spread ? ['', 'mean', 'spread'] : ['', 'share'];
    const rows = action.mean.map((mean, i) => el('tr', {},
      el('td', {}, action.spread ? `action ${i}` : `action ${i} is chosen`),
      el('td', {}, action.spread ? number(mean) : percent(mean)),
      ...(action.spread ? [el('td', {}, `± ${number(action.spread[i])}`)] :
        [])));
    return el('div', { class: 'scroll' }, el('table', {},
      el('caption', {}, `${action.domain}, ${frames(action.count)}`),
      el('thead', {}, el('tr', {}, ...head.map((x) => el('th', {}, x)))),
      el('tbody', {}, ...rows)));
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
