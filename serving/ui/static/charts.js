// Lines over time by uPlot, small drawings as SVG; behind each plot a table with the same numbers.

import { h } from "./dom.js";
import { clock, number } from "./format.js";

const drawn = new Map();
const wanted = new Map();
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

const shade = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const colour = (place) => `--c${place % 6}`;

/**
 * A figure with lines over time. `lines`: [{label, values, place, dash, band: [low, high]}]; `unit` is told in the caption.
 * `key` names it on its page: drawn once, then given new data.
 */
export function timeFigure({ key, title, note, times, lines, show = number, low = 0, points = false }) {
  wanted.set(key, { times, lines, show, low, points });
  const every = Math.max(1, Math.ceil(times.length / 15));
  const rows = times.map((_, place) => place).filter((place) => (times.length - 1 - place) % every === 0).reverse();
  return h("figure", { class: "plot", "data-key": key },
    h("figcaption", {}, h("strong", {}, title), note ? h("span", { class: "quiet" }, ` ${note}`) : null),
    times.length ? null : h("p", { class: "quiet" }, "Nothing was counted yet."),
    h("div", { class: "canvas", "data-keep": key, "data-key": `${key}-canvas`, "aria-hidden": "true", hidden: times.length === 0 }),
    table({ caption: title, heads: ["Time", ...lines.map((line) => line.label)],
            rows: rows.map((place) => [clock(times[place]), ...lines.map((line) => show(line.values[place]))]) }));
}

/** A table that is folded away behind a plot. */
export function table({ caption, heads, rows }) {
  return h("details", { class: "behind" }, h("summary", {}, "Table"),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
      h("table", {}, h("caption", { class: "unseen" }, caption),
        h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, place) =>
          place === 0 ? h("th", { scope: "row" }, cell) : h("td", { class: "number" }, cell))))))));
}

/** Draw every figure that stands in the page, and let go of those that do not. */
export function drawCharts() {
  for (const [key, plot] of drawn) {
    if (!plot.root.isConnected) {
      plot.watch.disconnect();
      plot.destroy();
      drawn.delete(key);
    }
  }
  for (const [key, spec] of wanted) {
    const place = document.querySelector(`[data-keep="${CSS.escape(key)}"]`);
    if (place) {
      place.hidden = spec.times.length === 0;
      if (spec.times.length) draw(key, place, spec);
    }
  }
  wanted.clear();
}

/** After the theme has changed, colours are other ones. */
export function forgetCharts() {
  for (const plot of drawn.values()) {
    plot.watch.disconnect();
    plot.destroy();
  }
  drawn.clear();
}

function draw(key, place, spec) {
  const shape = JSON.stringify(spec.lines.map((line) => [line.label, line.place, line.dash, Boolean(line.band)]));
  const data = [spec.times, ...spec.lines.map((line) => line.values), ...spec.lines.flatMap((line) => line.band ?? [])];
  const known = drawn.get(key);
  if (known?.shape === shape) {
    known.setData(data);
    return;
  }
  if (known) {
    known.watch.disconnect();
    known.destroy();
  }
  const plot = new window.uPlot(options(place, spec), data, place);
  plot.shape = shape;
  plot.watch = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: height(place) }));
  plot.watch.observe(place);
  drawn.set(key, plot);
}

const height = (place) => (place.clientWidth < 420 ? 150 : 180);

function options(place, spec) {
  const axis = { stroke: shade("--quiet"), grid: { stroke: shade("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const bands = [], edges = [];
  let next = spec.lines.length + 1;
  for (const line of spec.lines) {
    if (!line.band) continue;
    const stroke = shade(colour(line.place));
    bands.push({ series: [next + 1, next], fill: `${stroke}33` });
    for (const label of ["low", "high"]) edges.push({ label: `${line.label} ${label}`, stroke: `${stroke}00`, width: 0, points: { show: false } });
    next += 2;
  }
  return {
    width: place.clientWidth, height: height(place), bands, padding: [8, 20, 0, 0],
    cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 6 } },
    legend: { live: true },
    hooks: { draw: [(plot) => plot.cursor.idx ?? plot.setLegend({ idx: plot.data[0].length - 1 }, false)] },
    scales: { x: { range: ({ data: [[only, ...more]] }, first, last) => (more.length ? [first, last] : [only - 3600, only + 3600]) }, y: { range: (_, low, high) => range(spec.low, low, high) } },
    axes: [{ ...axis, size: 30, space: 70, values: (_, ticks, __, ___, step) => ticks.map((tick) => (step >= 86400 ? new Date(tick * 1000).toLocaleDateString("en-CA").slice(5) : clock(tick).slice(-8, step >= 60 ? -3 : undefined))) },
           { ...axis, size: 52, space: 32, values: (_, ticks) => ticks.map((tick) => spec.show(tick)) }],
    series: [{ label: "Time", value: (_, value) => (value ? clock(value) : "") },
      ...spec.lines.map((line) => ({ label: line.label, stroke: shade(colour(line.place)), width: 2, dash: DASHES[line.dash ?? 0], spanGaps: false,
        points: { show: spec.points || undefined, size: 5 }, value: (_, value) => spec.show(value) })),
      ...edges.map((edge) => ({ ...edge, class: "edge" }))],
  };
}

function range(floor, low, high) {
  if (low === null || high === null) return [floor ?? 0, (floor ?? 0) + 1];
  if (floor !== null) return [Math.min(floor, low), high > floor ? high * 1.08 : floor + 1];
  const room = (high - low || Math.abs(high) || 1) * 0.12;
  return [low - room, high + room];
}

/** A small line without axes, for a cell of a table. */
export function spark(values, label) {
  const known = values.map((value) => value ?? 0), top = Math.max(...known, 1e-9), width = 120, tall = 28;
  const at = (value, place) => `${((place * width) / Math.max(1, known.length - 1)).toFixed(1)},${(tall - 1 - (value / top) * (tall - 3)).toFixed(1)}`;
  return h("svg", { class: "spark", viewBox: `0 0 ${width} ${tall}`, role: "img", "aria-label": label, preserveAspectRatio: "none" },
    known.length > 1 ? h("polyline", { points: known.map(at).join(" ") }) : null);
}

/** A share from 0 to 1 as a bar; `mood`: ok, warn, bad. */
export function meter(share, label, mood = "ok") {
  const full = Math.min(1, Math.max(0, share ?? 0));
  return h("span", { class: `meter ${mood}`, role: "meter", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(100 * full)), "aria-label": label },
    h("span", { style: { width: `${100 * full}%` } }));
}

/**
 * Two distributions over the same bins, side by side. `bins`: [{label, reference, live}], shares of one.
 */
export function pairedBars(bins, label) {
  const top = Math.max(...bins.flatMap((bin) => [bin.reference, bin.live]), 1e-9), tall = 90, wide = 16, gap = 4;
  const bar = (value, place, side) => h("rect", { class: side, x: String(place * (2 * wide + gap) / 2 + (side === "live" ? wide / 2 : 0)), y: (tall - (value / top) * tall).toFixed(2),
    width: String(wide / 2 - 0.5), height: ((value / top) * tall).toFixed(2) });
  const width = bins.length * (2 * wide + gap) / 2;
  return h("svg", { class: "bars", viewBox: `0 0 ${width} ${tall + 1}`, role: "img", "aria-label": label, preserveAspectRatio: "none" },
    bins.map((bin, place) => h("g", {}, h("title", {}, `${bin.label}: reference ${(100 * bin.reference).toFixed(1)} %, live ${(100 * bin.live).toFixed(1)} %`), bar(bin.reference, place, "reference"), bar(bin.live, place, "live"))),
    h("line", { x1: "0", x2: String(width), y1: String(tall + 0.5), y2: String(tall + 0.5), class: "floor" }));
}
