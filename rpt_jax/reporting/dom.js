// What the other scripts of a page are written with. Text goes in as text,
// never as HTML.
'use strict';
const dom = (() => {
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

  function number(x) {
    if (x === null) return '–';
    const text = Math.abs(x) >= 100 ? x.toFixed(0) : x.toFixed(2);
    return text.replace('-', '−');
  }

  function percent(x) { return `${Math.round(100 * x)} %`; }

  return { el, svg, options, number, percent };
})();
