"""The page's look: one style sheet, no external resource.

`PARTS` is of panels, tables, clips and tiles, wherever they stand; `CSS` is the
page's, with them.
"""

_DARK = """
    color-scheme: dark;
    --ink: #e8e8ea; --soft: #a2a5ad; --rule: #3a3c42; --paper: #17181b;
    --panel: #1a1a1a; --tint: #2a2d33; --accent: #6cb8e6; --best: #17384b;
    --good: #4cc79f; --mixed: #e5a54a; --bad: #f0877f;
"""
# Plots are drawn in ink on white: turned over, their hues stay what they are.
_DARK_PLOTS = """:is(img.plot, .legend svg, .tip i) {
    filter: invert(.9) hue-rotate(180deg); }"""
PARTS = """
.panel { background: var(--panel); border-radius: 4px;
  padding: 12px; border: 1px solid var(--rule); }
.panel img, .panel svg { display: block; }
.panel th:first-child, .panel td:first-child { background: var(--panel); }
.grid { display: grid; gap: 14px 18px; }
.grid img.plot { width: 100%; height: auto; }
.small { grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); }
.small .first { grid-area: span 2 / span 2; }
.medium { grid-template-columns: repeat(auto-fill, minmax(212px, 1fr)); }
.wide { grid-template-columns: repeat(auto-fit, minmax(286px, 1fr)); }
.rolls { display: grid; gap: 6px 8px; align-content: start;
  grid-template-columns: repeat(4, minmax(0, 1fr)); }
.one { display: block; }
.one img.plot { width: 100%; max-width: 560px; height: auto; margin: 0 auto; }
.legend { grid-column: 1 / -1; display: flex; flex-wrap: wrap;
  gap: 4px 20px; margin: 0 0 4px;
  padding: 0; list-style: none; font: 12.5px/1.5 var(--sans); }
.legend svg { display: inline-block; vertical-align: -2px; margin-right: 6px; }

.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font: 13.5px/1.35 var(--sans);
  font-variant-numeric: tabular-nums lining-nums; min-width: 100%;
  border-top: 1.5px solid var(--ink); border-bottom: 1.5px solid var(--ink); }
th, td { padding: 6px 9px; text-align: right; white-space: nowrap;
  vertical-align: top; }
thead th { border-bottom: 1px solid var(--ink); font-weight: 600;
  vertical-align: bottom; white-space: normal; }
thead tr.group th { border-bottom: 0; text-align: center;
  padding-bottom: 0; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: var(--paper); }
tbody tr + tr td { border-top: 1px solid var(--tint); }
tbody tr.rule td { border-top: 1px solid var(--rule); }
th.text { text-align: left; }
td.said { white-space: normal; text-align: left; min-width: 18em; }
td.wrap { white-space: normal; min-width: 8.5em; max-width: 17em; }
td.text { text-align: left; color: var(--soft); }
td.sure { font-weight: 650; }
td .mark { color: var(--soft); font-size: 11.5px; font-style: italic;
  margin-left: 5px; }
td.best { background: var(--best); font-weight: 650; }
td .interval { display: block; font-size: 11px; font-weight: 400;
  color: var(--soft); }
th .arrow { color: var(--soft); font-weight: 400; }
.chip { display: inline-block; min-width: 19px; padding: 0 5px;
  border-radius: 10px; background: var(--accent); color: var(--paper);
  font: 700 11px/19px var(--sans); text-align: center; margin-right: 8px; }
.chip.base { background: var(--soft); }
.above { color: var(--good); } .below { color: var(--bad); }

.clip { min-width: 660px; display: grid; gap: 5px 12px;
  grid-template-columns: 128px minmax(0, 1fr); align-items: center;
  font: 12.5px/1.25 var(--sans); }
.clip .name { text-align: right; overflow-wrap: anywhere; }
.clip img { width: 100%; height: auto; image-rendering: pixelated; }
.clip svg.strip { width: 100%; height: 24px; }
.clip + .clip { margin-top: 18px; }
svg.strip text { font: 600 11px var(--sans); text-anchor: middle; }
svg.strip path { stroke: var(--panel); stroke-width: 1; }
.tile { margin: 0; font: 12.5px/1.35 var(--sans); min-width: 0; }
.tile img { width: 100%; height: auto; image-rendering: pixelated;
  border-radius: 2px; }
.tile .under { display: block; margin-top: 5px; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.tile .under b { color: var(--ink); }
.rolls .under { font-size: 12px; margin-top: 4px; }
.swatch { display: inline-block; padding: 0 6px; border-radius: 3px;
  font: 700 11px/17px var(--sans); margin-right: 5px; }
.columns { display: flex; font: 600 12px/1.3 var(--sans); color: var(--soft);
  text-align: center; margin-bottom: 2px; }
.columns span { flex: 1; }
.rowhead { grid-column: 1 / -1; font: 600 13.5px/1.3 var(--sans);
  margin: 0; }
"""
CSS = (
  """
:root {
  --ink: #1c1c1e; --soft: #5c5f66; --rule: #dcdcdf; --paper: #fdfdfc;
  --panel: #ffffff; --tint: #f4f5f7; --accent: #0072b2; --best: #e3f0f8;
  --good: #00795a; --mixed: #a36100; --bad: #b3261e;
  --serif: 'Iowan Old Style', 'Palatino Linotype', Palatino, 'Book Antiqua',
    'Source Serif 4', Georgia, 'Times New Roman', serif;
  --sans: system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif;
  --mono: ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono',
    monospace;
}
* { box-sizing: border-box; }
@media (prefers-reduced-motion: no-preference) {
  html { scroll-behavior: smooth; }
}
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 var(--serif);
}
.page {
  max-width: 1180px; margin: 0 auto; padding: 0 28px 80px;
  display: grid; grid-template-columns: 176px minmax(0, 1fr); gap: 0 44px;
}
header { grid-column: 1 / -1; padding: 52px 0 20px; }
header, section { max-width: 100%; }
h1 { font-size: 33px; line-height: 1.18; margin: 0 0 8px; font-weight: 600;
  letter-spacing: -.012em; }
.subtitle { color: var(--soft); font-size: 17px; margin: 0; max-width: 62em; }
nav {
  font: 13.5px/1.35 var(--sans); position: sticky; top: 24px;
  align-self: start; padding-top: 12px;
}
nav ol { list-style: none; margin: 0; padding: 0; counter-reset: toc; }
nav li { counter-increment: toc; margin: 0; }
nav a { color: var(--soft); text-decoration: none; display: block;
  padding: 5px 0 5px 22px; position: relative; }
nav a::before { content: counter(toc); position: absolute; left: 0;
  color: var(--soft); opacity: .6; font-variant-numeric: tabular-nums; }
nav a:hover, nav a:focus { color: var(--accent); }
section { padding: 8px 0 28px; border-top: 1px solid var(--rule); }
section:first-of-type { border-top: 0; }
h2 { font-size: 22px; line-height: 1.25; margin: 22px 0 8px;
  font-weight: 600; }
h2 .no { color: var(--soft); font-weight: 400; margin-right: .55em; }
h3 { font: 600 14.5px/1.3 var(--sans); margin: 26px 0 8px; }
p { margin: 0 0 14px; max-width: 44em; }
code, pre { font-family: var(--mono); font-size: .84em; }
a { color: var(--accent); }

.findings { list-style: none; margin: 0; padding: 0; }
.findings li { padding: 11px 0 11px 136px; position: relative;
  border-top: 1px solid var(--rule); max-width: 56em; font-size: 16.5px; }
.findings li:first-child { border-top: 0; }
.verdict { position: absolute; left: 0; top: 14px;
  font: 600 12px/1.5 var(--sans); }
.verdict::before { content: ''; display: inline-block; width: 8px; height: 8px;
  border-radius: 50%; margin-right: 7px; background: currentColor; }
.yes { color: var(--good); } .mixed { color: var(--mixed); }
.no-effect { color: var(--bad); } .fact { color: var(--soft); }

.findings + p { margin-top: 16px; color: var(--soft); font-size: 14.5px; }
figure { margin: 18px 0 26px; }
figcaption { font: 13.5px/1.5 var(--sans); color: var(--soft);
  margin-top: 9px; max-width: 58em; }
figcaption b { color: var(--ink); }
"""
  + PARTS
  + """
.live { display: none; }
.alive .live { display: revert; }
.alive div.live, .alive canvas.live { display: block; }
.alive .still { display: none; }
.hover { position: relative; align-self: start; cursor: crosshair; }
.here, .tip { display: none; position: absolute; pointer-events: none; }
.here { width: 1px; background: var(--ink); opacity: .5; }
.tip { top: calc(100% - 4px); z-index: 2; width: max-content; padding: 5px 8px;
  max-width: min(340px, 94vw);
  background: var(--paper); border: 1px solid var(--rule); border-radius: 4px;
  font: 11.5px/1.45 var(--sans); font-variant-numeric: tabular-nums; }
.tip span { display: block; }
.tip i { display: inline-block; width: 8px; height: 8px; margin-right: 5px;
  border-radius: 50%; }
.asked .here, .asked .tip { display: block; }
.bar { font: 13px/1.4 var(--sans); }
.alive .bar.live { display: flex; flex-wrap: wrap; gap: 8px 12px;
  align-items: center; margin-bottom: 10px; }
.bar input[type=range] { flex: 1; min-width: 140px; }
.film canvas { width: 100%; }
.theme { margin-top: 14px; }
nav a.in { color: var(--ink); font-weight: 600; }
figure details.data { border: 0; margin-top: 4px; }
.still .tile img { width: auto; max-width: 100%; }
details.data > summary { font-size: 12.5px; font-weight: 400; padding: 3px 0;
  color: var(--soft); }
#explorer-live { font: 13px/1.4 var(--sans); }
#explorer-live .bar { display: flex; flex-wrap: wrap; gap: 8px 12px;
  align-items: center; margin-bottom: 8px; }
#explorer-live select { max-width: 100%; }
button, select { font: 13px/1.3 var(--sans); color: inherit; cursor: pointer;
  background: var(--tint); border: 1px solid var(--rule); border-radius: 4px;
  padding: 4px 9px; }
button.go { padding: 0 6px; font-size: 11.5px; }
.place { font-variant-numeric: tabular-nums; min-width: 8.5em; }
.told { margin: 0 0 8px; font-style: italic; }
.stage { display: grid; gap: 14px; margin-bottom: 12px;
  grid-template-columns: minmax(0, 260px) minmax(0, 1fr); }
canvas { display: block; image-rendering: pixelated; border-radius: 2px; }
canvas.frame { width: 100%; }
.curve + .curve { margin-top: 10px; }
.curve .head { display: flex; flex-wrap: wrap; gap: 2px 12px; }
.curve .range { color: var(--soft); margin-left: auto; }
.curve .values { display: inline-flex; flex-wrap: wrap; gap: 0 10px;
  font-variant-numeric: tabular-nums; }
.curve .plot { position: relative; border-bottom: 1px solid var(--rule); }
.curve svg { width: 100%; height: 84px; }
.lane { display: grid; gap: 10px; align-items: center; margin-top: 5px;
  grid-template-columns: 128px minmax(0, 1fr) 44px; }
.lane .name { text-align: right; overflow-wrap: anywhere; }
.track { position: relative; display: flex; height: 26px; cursor: pointer; }
.block { overflow: hidden; text-align: center; font-weight: 600;
  font-size: 11px; line-height: 26px; box-shadow: inset 1px 0 var(--panel); }
.cursor { position: absolute; top: -2px; bottom: -2px; width: 2px;
  margin-left: -1px; background: var(--ink); pointer-events: none; }
.panels { display: grid; gap: 22px; margin-top: 20px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
section.unit { border: 0; padding: 0; min-width: 0; }
.said, .facts { margin: 0 0 8px; }
.nearest { margin: 0 0 8px; }
.nearest figcaption { margin-top: 2px; font-size: 11.5px; }
.about caption { text-align: left; padding: 8px 0 4px; font-weight: 600; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 12px; top: 8px; background: var(--paper); padding: 4px; }

details { border-top: 1px solid var(--rule); padding: 2px 0; }
details:last-of-type { border-bottom: 1px solid var(--rule); }
details + figure, details + h3, details + p { margin-top: 22px; }
summary { cursor: pointer; font: 600 14px/1.4 var(--sans); padding: 9px 0; }
summary::marker { color: var(--soft); }
details > div { padding: 2px 0 14px; }
pre { background: var(--tint); padding: 14px 16px; overflow-x: auto;
  border-radius: 4px; line-height: 1.45; margin: 0 0 14px; }
footer { grid-column: 1 / -1; color: var(--soft); padding-top: 18px;
  font: 13px/1.5 var(--sans); border-top: 1px solid var(--rule); }

@media (max-width: 900px) {
  .page { display: block; padding: 0 16px 48px; }
  header { padding: 30px 0 12px; }
  h1 { font-size: 26px; }
  nav { position: static; padding: 12px 0 20px; }
  nav ol { columns: 2; column-gap: 20px; }
  .findings li { padding: 10px 0; font-size: 16px; }
  .verdict { position: static; display: block; }
  .panel { padding: 10px; }
  .grid { gap: 12px; }
  .medium { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
  .clip { grid-template-columns: 92px minmax(0, 1fr); min-width: 600px; }
  .small { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
  th, td { padding: 6px 8px; }
  td.said { min-width: 13em; }
  .stage { grid-template-columns: minmax(0, 1fr); }
  canvas.frame { max-width: 260px; }
  .lane { grid-template-columns: minmax(0, 1fr) 44px; gap: 0 8px; }
  .lane .name { grid-column: 1 / -1; text-align: left; }
}
@media print {
  .alive .live { display: none !important; }
  .alive .still { display: block; }
  nav { display: none; }
  .page { display: block; max-width: none; }
  figure, table { break-inside: avoid; }
}
"""
)

# By the reader's system, unless `page.js` says which theme was chosen.
CSS += f"""
@media screen {{
  :root[data-theme=dark] {{{_DARK}}}
  :root[data-theme=dark] {_DARK_PLOTS}
}}
@media screen and (prefers-color-scheme: dark) {{
  :root:not([data-theme=light]) {{{_DARK}}}
  :root:not([data-theme=light]) {_DARK_PLOTS}
}}
"""
