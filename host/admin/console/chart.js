// A line chart of the last hour: drawn in SVG, so that it follows the theme, and read with a pointer or the arrow keys.
import { html, nothing, svg } from "./vendor/lit-html.js";
import { clock } from "./text.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [560, 150, 46, 18, 8];
const HOUR = 3_600_000;
/** What is drawn at least, of a host that has just begun. */
const LEAST = 600_000;
/** A gap longer than this in samples is one in the line too. */
const GAP = 35_000;

/**
 * `lines`: [{ name, points: [[ms, value or null]] }], in the order of their colours. `say` makes a value readable. `look` is
 * what the chart keeps of where somebody looks: an object of its owner, and `redraw` draws it again.
 */
export function chart({ title, lines, say, look, redraw, zero = "nothing in the last hour" }) {
  const end = Date.now();
  const first = Math.min(end, ...lines.map((line) => line.points[0]?.[0] ?? end));
  const begin = end - Math.min(HOUR, Math.max(LEAST, end - first));
  const length = end - begin;
  const all = lines.flatMap((line) => line.points.map(([, value]) => value)).filter((value) => value !== null);
  const ticks = scale(Math.max(0, ...all));
  const top = ticks.at(-1);
  const x = (at) => LEFT + ((at - begin) / length) * (WIDTH - LEFT);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const times = [...new Set(lines.flatMap((line) => line.points.map(([at]) => at)))].sort((a, b) => a - b);
  const seen = times.length === 0 ? null : times[Math.min(look.at ?? times.length - 1, times.length - 1)];
  const move = (to) => { look.at = to === null ? null : Math.max(0, Math.min(times.length - 1, to)); redraw(); };
  const point = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const wanted = begin + (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT) * length;
    const nearest = times.reduce((best, at, index) =>
      Math.abs(at - wanted) < Math.abs(times[best] - wanted) ? index : best, 0);
    if (times.length > 0 && look.at !== nearest) move(nearest);
  };
  const key = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || times.length === 0) return;
    event.preventDefault();
    move((look.at ?? times.length - 1) + step);
  };
  const marks = Array.from({ length: 4 }, (_, index) => begin + ((index + 0.5) * length) / 4);
  const values = lines.map((line) => line.points.find(([at]) => at === seen)?.[1] ?? null);
  return html`<figure class="chart">
    <figcaption><h3>${title}</h3><span class="dim">${all.length === 0 ? nothing
      : look.at === null || look.at === undefined ? "now" : clock(seen)}</span></figcaption>
    ${all.length === 0 ? html`<p class="dim nothing">${zero}</p>` : html`
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" tabindex="0" aria-label="${title}, the last hour; arrow keys go through it"
      @pointermove=${point} @pointerleave=${() => move(null)} @keydown=${key} @blur=${() => move(null)}>
      ${ticks.map((tick) => svg`<line class="grid" x1=${LEFT} x2=${WIDTH} y1=${y(tick)} y2=${y(tick)}></line>
        <text class="axis" x=${LEFT - 6} y=${y(tick) + 3.5} text-anchor="end">${tick === 0 ? "0" : say(tick).replace(/\.0(?= |$)/, "")}</text>`)}
      ${marks.map((at) => svg`<text class="axis" x=${x(at)} y=${HEIGHT - 4} text-anchor="middle">${clock(at)}</text>`)}
      ${lines.map((line, index) => svg`<path class="line c${index % 6}" d=${path(line.points, begin, x, y)}></path>`)}
      ${seen === null || look.at === null || look.at === undefined ? nothing
        : svg`<line class="look" x1=${x(seen)} x2=${x(seen)} y1=${TOP} y2=${HEIGHT - BOTTOM}></line>`}
      ${values.map((value, index) => value === null || seen === null ? nothing
        : svg`<circle class="dot c${index % 6}" cx=${x(seen)} cy=${y(value)} r="3"></circle>`)}
    </svg>
    <ul class="legend">${lines.map((line, index) => html`<li><svg viewBox="0 0 18 8" aria-hidden="true">
      <path class="line c${index % 6}" d="M0 4H18"></path></svg>${line.name}
      <b>${values[index] === null ? "–" : say(values[index])}</b></li>`)}</ul>`}
  </figure>`;
}

function path(points, begin, x, y) {
  let text = "";
  let before = null;
  for (const [at, value] of points) {
    if (value === null || at < begin) {
      before = null;
      continue;
    }
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    // A sample between gaps is a point.
    text += before !== null && at - before < GAP ? `L${place}` : `M${place}h.1`;
    before = at;
  }
  return text;
}

/** Three or four round values from zero to beyond `most`. */
function scale(most) {
  if (most <= 0) return [0, 1];
  const rough = most / 3;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * unit).find((size) => size * 3 >= most) ?? 10 * unit;
  const ticks = [0];
  while (ticks.at(-1) < most) ticks.push(ticks.at(-1) + step);
  return ticks;
}

/** How a whole is shared out: [[name, share, class]]. */
export function shares(name, parts) {
  let from = 0;
  return html`<svg class="shares" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${name}>
    ${parts.map(([, share, kind]) => {
      const left = from;
      from += share;
      return svg`<rect class=${kind} x=${left} width=${Math.max(0, share - 0.4)} height="6" rx="1"></rect>`;
    })}</svg>`;
}
