"""The page's markup and style: in a module, so that the hash of the code covers them and no edit leaves a stale page.

The page stands alone: no script, no font, no address. `absld.report.page` puts the colours in front of the style.
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ told.sentence }}</title>
<style>
{{ style }}
</style>
</head>
<body>
{%- macro entry(of) -%}
<td{% if of.words %} class="words"{% endif %}>
{%- if of.detail -%}
<details class="detail{% if of.failed %} failed{% endif %}"{% if of.failed %} open{% endif %}>
<summary>{{ of.text }}</summary><p>{{ of.detail }}</p></details>
{%- elif of.best %}<strong>{{ of.text }}</strong>{% else %}{{ of.text }}{% endif -%}
{%- if of.note %} <span class="note">{{ of.note }}</span>{% endif -%}
</td>
{%- endmacro %}
{%- macro table(of) %}
<div class="scroll" tabindex="0" role="region" aria-labelledby="{{ of.name }}-caption">
<table>
<caption id="{{ of.name }}-caption"><span>{{ of.caption }}</span></caption>
<thead><tr><th scope="col">{{ of.corner }}</th>
{%- for name, cell in zip(of.columns, of.groups[0].lines[0].cells) -%}
<th scope="col"{% if cell.words %} class="words"{% endif %}>{{ name }}</th>
{%- endfor -%}
</tr></thead>
{%- for group in of.groups %}
<tbody>
{%- if group.title %}
<tr class="group"><th scope="rowgroup" colspan="{{ of.columns | length + 1 }}"><span>{{ group.title }}</span></th></tr>
{%- endif %}
{%- for line in group.lines %}
<tr><th scope="row">{{ line.head }}</th>{% for cell in line.cells %}{{ entry(cell) }}{% endfor %}</tr>
{%- endfor %}
</tbody>
{%- endfor %}
</table>
</div>
{%- endmacro %}
{%- macro figure(of) %}
<figure>
<div class="scroll" tabindex="0" role="region" aria-label="{{ of.title }}">{{ drawn[of.name] }}</div>
<figcaption><b>{{ of.title }}.</b> {{ of.caption }}</figcaption>
</figure>
{%- endmacro %}
<header>
<p class="eyebrow">{{ eyebrow }}</p>
<h1>{{ told.sentence }}</h1>
<table class="standings">
<caption>{{ standings_caption }}</caption>
<thead><tr><th scope="col">Method</th><th scope="col">{{ tail }}</th><th scope="col">Average</th></tr></thead>
<tbody>
{%- for row in standings %}
<tr><th scope="row">{{ row.label }}{% if row.baseline %} <span class="note">baseline</span>{% endif %}</th>
<td><div class="measure"><span class="track" aria-hidden="true" style="--hue: var(--{{ row.hue }})">
<i class="bar" style="width: {{ row.tail }}%; opacity: {{ row.fill }}"></i>
<i class="edge" style="width: {{ row.tail }}%"></i>
{%- if row.low %}<i class="whisker" style="left: {{ row.low }}%; width: {{ row.range }}%"></i>{% endif -%}
<i class="tick" style="left: {{ row.average }}%"></i></span><b>{{ row.tail }}</b></div></td>
<td>{{ row.average }}</td></tr>
{%- endfor %}
</tbody>
</table>
<ul class="details">
{%- for detail in told.details %}
<li>{{ detail }}</li>
{%- endfor %}
</ul>
{%- for warning in warnings %}
<p class="warning"><strong>Mind:</strong> {{ warning }}</p>
{%- endfor %}
</header>
<main>
<section><h2>Results</h2>{{ table(results) }}</section>
{%- for section in sections %}
{%- set first = loop.first %}
<section><h2>{{ section.title }}</h2>
{%- for picture in section.pictures %}{{ figure(picture) }}{% endfor %}
{%- for of in section.tables %}
<details{% if first and loop.first %} open{% endif %}>
<summary>{{ of.title }}, in numbers</summary>{{ table(of.table) }}
</details>
{%- endfor %}
</section>
{%- endfor %}
<section><h2>Checks</h2>{{ table(checks) }}</section>
<section><h2>How it was measured</h2>
<dl>
{%- for term, text in facts %}
<dt>{{ term }}</dt><dd>{{ text }}</dd>
{%- endfor %}
</dl>
{{ table(attacks) }}
{{ table(epochs) }}
{{ table(runs) }}
</section>
</main>
</body>
</html>
"""

STYLE = """\
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body {
  margin: 0 auto; padding: clamp(1.25rem, 4vw, 4rem) clamp(1rem, 4vw, 2.5rem) 5rem; max-width: 61rem;
  background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.55 Charter, "Bitstream Charter", "Sitka Text", Cambria, "Source Serif 4", "Liberation Serif", serif;
}
.eyebrow, table, figcaption, summary, dl, .details, .warning {
  font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif;
}
.eyebrow { margin: 0 0 .75rem; font-size: .8125rem; letter-spacing: .02em; color: var(--muted) }
h1, h2 { line-height: 1.18; font-weight: 600; text-wrap: balance }
h1 { margin: 0 0 1.75rem; max-width: 24em; font-size: clamp(1.6rem, 4.4vw, 2.5rem) }
h2 { margin: 4rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--ink); font-size: 1.375rem }
.details { margin: 1.5rem 0 0; padding: 0 0 0 1.1em; max-width: 44em; font-size: .9375rem }
.details li { margin: .2rem 0 }
.warning {
  margin: 1rem 0 0; padding: .6rem .9rem; max-width: 52em;
  border-left: 3px solid var(--vermillion); font-size: .9375rem;
}

.scroll { overflow-x: auto; overscroll-behavior-x: contain }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--blue); outline-offset: 3px }
section > .scroll + .scroll { margin-top: 2.2rem }
table {
  width: 100%; border-collapse: collapse;
  font-size: .875rem; line-height: 1.35; font-variant-numeric: tabular-nums lining-nums;
}
caption { caption-side: bottom; padding: .7rem 0 0; text-align: left; color: var(--muted); font-size: .8125rem }
caption span { position: sticky; left: 0; display: inline-block; max-width: min(48em, 92vw) }
th { font-weight: 400; text-align: left }
td, thead th:not(:first-child) { text-align: right }
thead th {
  min-width: 4.5em; padding: .4rem .6rem; border-bottom: 1px solid var(--ink);
  vertical-align: bottom; font-weight: 600;
}
tbody th, td { padding: .3rem .6rem; white-space: nowrap }
tbody tr + tr > * { border-top: 1px solid var(--rule) }
th:first-child { position: sticky; left: 0; z-index: 1; padding-left: 0; background: var(--paper) }
td:last-child, thead th:last-child { padding-right: 0 }
thead th:last-child:not(:nth-child(-n + 3)) { min-width: 7em }
thead:has(th:nth-child(12)) th { min-width: 0 !important }
table:has(thead th:nth-child(12)) :is(th, td):not(:first-child, :last-child) { padding-inline: .35rem }
.words.words.words { text-align: left }
td.words { white-space: normal; min-width: 9em }
.group th { padding-top: 1.3rem; font-weight: 600 }
tbody:not(:has(.group)) + tbody > :first-child > * { border-top: 1px solid var(--ink) }
.note { display: inline-block; min-width: 3em; color: var(--muted); font-size: .92em; text-align: left }
strong { font-weight: 700 }

.standings { max-width: 46rem; font-size: .9375rem }
.standings th { white-space: nowrap }
.standings th:first-child { width: 1%; padding-right: 1rem }
.measure { display: flex; align-items: center; gap: .7rem }
.standings td:nth-child(2) { min-width: 7.5rem }
.standings thead th:nth-child(2) { text-align: left }
.standings td:last-child, .standings thead th:last-child { width: 1% }
.track { position: relative; flex: 1; min-width: 4rem; height: 1.05rem; border-bottom: 1px solid var(--rule) }
.track i { position: absolute; top: 0; bottom: 0; left: 0 }
.bar { background: var(--hue) }
.edge { border: 1px solid var(--hue) }
.track .whisker { top: 50%; bottom: auto; height: 1px; background: var(--ink); box-shadow: 0 0 0 .5px var(--paper) }
.track .tick { top: -.15rem; bottom: -.15rem; width: 2px; margin-left: -1px; background: var(--hue) }

figure { margin: 2.2rem 0 2.6rem }
figure svg { display: block; width: 100%; min-width: 36rem; height: auto }
.footnote { display: none }
figcaption { max-width: 52em; margin-top: .7rem; color: var(--muted); font-size: .8125rem; line-height: 1.45 }
figcaption b { color: var(--ink); font-weight: 600 }
details { margin: 1rem 0; border-top: 1px solid var(--rule); padding-top: .7rem }
summary { cursor: pointer; font-size: .9375rem }
details .scroll { max-height: 36rem; overflow-y: auto; margin-top: .6rem }
details thead th {
  position: sticky; top: 0; z-index: 2; background: var(--paper);
  border-bottom: 0; box-shadow: 0 1px 0 var(--ink);
}
details thead th:first-child { z-index: 3 }
td:has(> .detail) { min-width: 6.5em; padding-inline: .35rem; vertical-align: top }
tr:has(.detail) > th { vertical-align: top }
details.detail { margin: 0; padding: 0; border: 0 }
.detail summary { font-size: inherit; white-space: nowrap }
.detail p { max-width: 22em; margin: .2rem 0 .3rem; color: var(--muted); font-size: .92em }
.failed summary { color: var(--vermillion); font-weight: 700 }
.failed p { color: var(--ink) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.6rem; margin: 0 0 2.4rem; font-size: .875rem }
dt { color: var(--muted) }
dd { margin: 0; max-width: 56em; overflow-wrap: anywhere }

@media (max-width: 34rem) {
  dl { grid-template-columns: 1fr; gap: 0 }
  dd { margin-bottom: .7rem }
  tbody th, td, thead th { padding-left: .4rem; padding-right: .4rem }
  .standings th { white-space: normal }
  .standings th:first-child { padding-right: .4rem }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt }
  h2 { break-after: avoid }
  figure, tr { break-inside: avoid }
  .scroll { overflow: visible; max-height: none !important }
  figure svg { min-width: 0 }
}
"""
