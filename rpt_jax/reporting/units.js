// What is said of one unit, for the explorer: its frames, what comes next, what
// is done meanwhile. `now(lane)` is the unit of a lane at the frame shown,
// `has(clip, step)` says whether a frame can be, `move(clip, step)` shows it.
'use strict';
const unitPanels = (data, now, has, move) => {
  const { el, options, number, percent } = dom;
  const laneOf = Object.fromEntries(
    data.lanes.map((lane) => [lane.name, lane]));

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
    const asked = `${data.clips.indexOf(clip)}:${steps}`;
    canvas.dataset.shows = asked;
    const image = await sheet(clip);
    if (canvas.dataset.shows !== asked) return; // Another was asked for since.
    canvas.width = width * steps.length;
    canvas.height = height;
    const context = canvas.getContext('2d');
    steps.forEach((step, i) => {
      const at = clip.steps.indexOf(step);
      context.drawImage(image, width * (at % clip.columns),
        height * Math.floor(at / clip.columns), width, height,
        width * i, 0, width, height);
    });
    canvas.dataset.drawn = asked;
  }

  function swatch(unit) {
    if (unit < 0) return el('span', { class: 'swatch none' }, 'none');
    const [fill, ink] = data.colours[unit];
    const chip = el('span', { class: 'swatch' }, String(unit));
    chip.style.background = fill;
    chip.style.color = ink;
    return chip;
  }

  function frames(n) { return n === 1 ? '1 frame' : `${n} frames`; }

  // A panel of a recipe: the unit of this frame, or one asked for by its number
  // until the frame changes.
  function newPanel(name) {
    const panel = { asked: null, list: () => listUnits(panel),
      show: () => showPanel(panel) };
    panel.select = el('select', {
      'aria-label': 'Recipe',
      onchange: () => {
        panel.asked = null;
        listUnits(panel);
        showPanel(panel);
      },
    });
    options(panel.select, data.lanes.map((lane) => [lane.name, lane.name]));
    panel.select.value = name;
    panel.units = el('select', {
      'aria-label': 'Unit',
      onchange: () => {
        panel.asked = Number(panel.units.value);
        showPanel(panel);
      },
    });
    panel.body = el('div', { class: 'about' });
    panel.box = el('section', { class: 'unit', 'aria-label': 'A unit' },
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
    const unit = panel.asked === null ? now(lane.name) : panel.asked;
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
      const go = has(clip, step) ? el('button', { type: 'button', class: 'go',
        onclick: () => move(clip, step) }, 'go there') : '';
      return el('figure', { class: 'nearest' }, canvas,
        el('figcaption', {}, label, ' ', go));
    });
  }

  function actionTable(action) {
    const head = action.spread ? ['', 'mean', 'spread'] : ['', 'share'];
    const rows = action.mean.map((mean, i) => el('tr', {},
      el('td', {}, action.names[i] ||
        (action.spread ? `action ${i}` : `action ${i} is chosen`)),
      el('td', {}, action.spread ? number(mean) : percent(mean)),
      ...(action.spread ? [el('td', {}, `± ${number(action.spread[i])}`)] :
        [])));
    return el('div', { class: 'scroll' }, el('table', {},
      el('caption', {}, `${action.domain}, ${frames(action.count)}`),
      el('thead', {}, el('tr', {}, ...head.map((x) => el('th', {}, x)))),
      el('tbody', {}, ...rows)));
  }

  return { draw, swatch, newPanel };
};
