// What answers turned out to be worth: measures with intervals, how much is labelled, calibration, slices.

import { meter, table, timeFigure } from "./charts.js";
import { h } from "./dom.js";
import { measure, number, percent } from "./format.js";
import { badge, best } from "./words.js";

/** By the document of `GET /api/performance/NAME`; where there is none yet, by ground truth's windows. */
export function performance(document, truth) {
  const found = document ?? fromWindows(truth);
  if (!found || !found.versions?.length) return h("p", { class: "quiet" }, "No ground truth has come yet. Send it to ", h("code", {}, "POST /api/ground-truth"), " or with ", h("code", {}, "serinus feedback"), ".");
  const name = found.measure ?? best(found.versions[0].windows.findLast((window) => window.measures && Object.keys(window.measures).length)?.measures ?? {})[0];
  return [h("div", { class: "two" }, overTime(found, name), labelled(found)),
    found.versions.map((version) => one(version, name))];
}

function fromWindows(truth) {
  if (!truth) return null;
  const versions = new Map();
  for (const window of truth.windows) {
    const key = `${window.version} ${window.role}`;
    if (!versions.has(key)) versions.set(key, { version: window.version, role: window.role, windows: [] });
    versions.get(key).windows.push({ hour: window.window, rows: window.predictions, labelled: window.labelled, measures: window.measures, estimate: null });
  }
  return { versions: [...versions.values()] };
}

const seconds = (hour) => (typeof hour === "number" ? hour : Date.parse(hour) / 1000);

function over(found, value) {
  const times = [...new Set(found.versions.flatMap((version) => version.windows.map((window) => seconds(window.hour))))].sort((a, b) => a - b);
  const at = (version) => new Map(version.windows.map((window) => [seconds(window.hour), window]));
  const known = found.versions.map(at);
  return { times, values: (place) => times.map((time) => value(known[place].get(time)) ?? null) };
}

function overTime(found, name) {
  const pick = (side, part = "measures") => over(found, (window) => window?.[part]?.[name]?.[side]);
  const { times, values } = pick("value"), low = pick("low"), high = pick("high"), guess = pick("value", "estimate");
  const lines = found.versions.flatMap((version, place) => {
    const label = `${version.version} ${version.role}`;
    const estimates = guess.values(place);
    return [{ label, place, values: values(place), band: [low.values(place), high.values(place)] }, ...(estimates.some((value) => value !== null) ? [{ label: `${label}, estimated`, place, dash: 1, values: estimates }] : [])];
  });
  return timeFigure({ key: "measure", title: name, note: "by hour, with 95 % intervals; estimated without ground truth dashed", times, lines, low: null, show: (value) => measure({ value }), points: true });
}

function labelled(found) {
  const { times, values } = over(found, (window) => (window?.rows ? (100 * window.labelled) / window.rows : null));
  return timeFigure({ key: "labelled", title: "Labelled", note: "percent of the hour's predictions whose ground truth is known", times, points: true, show: (value) => (value === null || value === undefined ? "–" : `${number(value)} %`),
    lines: found.versions.map((version, place) => ({ label: `${version.version} ${version.role}`, place, values: values(place) })) });
}

function one(version, name) {
  const latest = version.windows.findLast((window) => window.measures && Object.keys(window.measures).length), whole = version.measures ?? latest?.measures ?? {};
  const share = version.rows ? version.labelled / version.rows : latest ? latest.labelled / latest.rows : null;
  return h("div", { class: "version", "data-key": `performance-${version.version}-${version.role}` },
    h("h3", {}, `Version ${version.version} `, badge(version.role, ""), share === null ? null : h("span", { class: "quiet" }, ` ${percent(share, 0)} labelled`)),
    version.harm || version.calibration ? h("div", { class: "two" }, h("div", {}, harm(version.harm), remarks(version)), version.calibration ? calibration(version) : null) : remarks(version),
    measures(whole, name, version), slices(version.slices, name));
}

function harm(found) {
  if (!found) return null;
  const mood = found.state === "alarm" ? "bad" : found.state === "ok" ? "ok" : "";
  return h("div", { class: "card" }, h("h3", {}, "Harm ", badge(found.state, mood)), found.rows ? meter(found.evidence, "Evidence of harm", mood || "ok") : null, h("p", {}, found.text));
}

/** Why the loss changed, how good estimates were, gaps between groups, quality without labels. */
function remarks(version) {
  const told = [version.change?.text, version.estimates?.text, ...(version.fairness ?? []).map((gap) => gap.text), ...(version.quality ?? []).map((each) => each.text)].filter(Boolean);
  return told.length ? h("div", { class: "card" }, h("ul", {}, told.map((text) => h("li", {}, text)))) : null;
}

function measures(whole, name, version) {
  const estimates = version.windows.findLast((window) => window.estimate)?.estimate ?? {}, promised = version.promised ?? {};
  const names = [...new Set([...Object.keys(whole), ...Object.keys(estimates)])].sort((a, b) => (b === name) - (a === name));
  if (!names.length) return h("p", { class: "quiet" }, "Too few of its predictions have a known ground truth yet.");
  const columns = [["Measured", (each) => (whole[each]?.reason && whole[each].value === null ? whole[each].reason : measure(whole[each]))],
    ...(Object.keys(estimates).length ? [["Estimated, latest hour", (each) => measure(estimates[each])]] : []),
    ...(Object.keys(promised).length ? [["Promised", (each) => measure(typeof promised[each] === "object" ? promised[each] : { value: promised[each] })]] : []), ["Rows", (each) => number(whole[each]?.rows ?? estimates[each]?.rows)]];
  return h("div", { class: "card wide" }, h("table", {}, h("caption", {}, "With 95 % intervals"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Measure"), columns.map(([head]) => h("th", { scope: "col", class: "number" }, head)))),
    h("tbody", {}, names.map((each) => h("tr", {}, h("th", { scope: "row" }, each.replaceAll("_", " ")), columns.map(([, cell]) => h("td", { class: "number" }, cell(each))))))));
}

function calibration(version) {
  const classes = version.calibration.classes ?? [], size = 200;
  const worst = classes.find((each) => each.error === version.calibration.error) ?? classes[0];
  if (!worst) return null;
  const x = (value) => (value * size).toFixed(1), y = (value) => (size - value * size).toFixed(1);
  const most = Math.max(...worst.bins.map((bin) => bin.rows));
  return h("figure", { class: "plot" },
    h("figcaption", {}, h("strong", {}, "Calibration"), h("span", { class: "quiet" }, ` of class ${worst.class}: what was said against what happened`)),
    h("div", { class: "square" }, h("svg", { class: "calibration", viewBox: `-26 -6 ${size + 34} ${size + 30}`, role: "img", "aria-label": version.calibration.text },
      [0, 0.5, 1].map((at) => h("g", {}, h("line", { class: "floor", x1: x(at), x2: x(at), y1: "0", y2: String(size) }), h("line", { class: "floor", x1: "0", x2: String(size), y1: y(at), y2: y(at) }),
        h("text", { x: x(at), y: String(size + 14), "text-anchor": "middle" }, `${100 * at}`), h("text", { x: "-5", y: String(Number(y(at)) + 4), "text-anchor": "end" }, `${100 * at}`))),
      h("line", { class: "even", x1: "0", y1: String(size), x2: String(size), y2: "0" }),
      worst.bins.map((bin) => h("g", {}, h("title", {}, `said ${percent(bin.said)}, happened ${percent(bin.happened)} (${percent(bin.low)} to ${percent(bin.high)}), ${number(bin.rows)} rows`),
        h("line", { class: "interval", x1: x(bin.said), x2: x(bin.said), y1: y(bin.low), y2: y(bin.high) }),
        h("circle", { cx: x(bin.said), cy: y(bin.happened), r: (2.5 + 3.5 * Math.sqrt(bin.rows / most)).toFixed(1) }))))),
    h("p", { class: "quiet" }, version.calibration.text),
    table({ caption: "Calibration by bin", heads: ["Said", "Happened", "Interval", "Rows"], rows: worst.bins.map((bin) => [percent(bin.said), percent(bin.happened), `${percent(bin.low)} to ${percent(bin.high)}`, number(bin.rows)]) }));
}

function slices(found, name) {
  if (!found?.length) return null;
  const known = found.some((slice) => slice.measures[name]);
  const heads = ["Slice", "Rows", ...(known ? [name] : []), "Loss", "Elsewhere", "Says"];
  const cells = (slice) => [number(slice.rows), ...(known ? [measure(slice.measures[name])] : []), number(slice.loss), number(slice.others)];
  return h("div", { class: "card wide" }, h("table", { class: "cards" }, h("caption", {}, "Slices, declared and found"),
    h("thead", {}, h("tr", {}, heads.map((head, place) => h("th", { scope: "col", class: place && place < heads.length - 1 ? "number" : null }, head)))),
    h("tbody", {}, found.map((slice) => h("tr", {}, h("th", { scope: "row", class: "break" }, slice.slice, slice.kind === "found" ? h("span", { class: "quiet" }, " found") : null),
      cells(slice).map((cell, place) => h("td", { class: "number", "data-label": heads[place + 1] }, cell)), h("td", { "data-label": "Says" }, badge(slice.verdict, slice.verdict === "worse" ? "bad" : slice.verdict === "unknown" ? "" : "ok", slice.text)))))));
}
