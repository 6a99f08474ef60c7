// One model: traffic by version, predictions, drift, novelty, violations, performance.

import { ask, askFor, part } from "./api.js";
import { colour, meter, timeFigure } from "./charts.js";
import { drift } from "./drift.js";
import { h } from "./dom.js";
import { milliseconds, number, percent } from "./format.js";
import { performance } from "./performance.js";
import { alertsOf, driftBadge, phaseBadge } from "./words.js";

export const title = (name) => name;

export async function look(name, shared) {
  const [models, monitors, alerts, rollout, truth, performance] = await Promise.all([
    ask("models"), ask("monitors"), ask("alerts"), askFor(`rollouts/${part(name)}`), ask("ground-truth"), askFor(`performance/${part(name)}`), shared.traffic.look()]);
  const model = models.models.find((each) => each.name === name);
  return { model, monitors: monitors.versions.filter((each) => each.model === name), alerts, rollout, truth: truth.models[name], performance };
}

const SECTIONS = [["traffic", "Traffic"], ["predictions", "Predictions"], ["drift", "Drift"], ["novelty", "Novelty"], ["violations", "Violations"], ["performance", "Performance"]];

export function draw(data, name, { traffic }) {
  if (!data.model) return [h("h1", {}, name), h("p", {}, "No model of this name is registered here.")];
  const arms = traffic.arms(name);
  return [h("h1", {}, name), facts(data),
    h("nav", { class: "jump", "aria-label": "On this page" }, SECTIONS.map(([id, text]) =>
      h("button", { type: "button", class: "quiet", click: () => document.getElementById(id).scrollIntoView() }, text))),
    section("traffic", armsTable(arms, traffic), charts(arms, traffic)),
    section("predictions", mix(arms, traffic)),
    section("drift", drift(data.monitors)),
    section("novelty", novelty(data.monitors)),
    section("violations", violations(name, traffic)),
    section("performance", performance(data.performance, data.truth))];
}

const section = (id, ...content) => h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, SECTIONS.find(([each]) => each === id)[1]), content);

function facts(data) {
  const view = data.monitors.find((each) => each.version === data.model.stable);
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("dl", { class: "facts" },
    fact("Stable", `version ${data.model.stable ?? "–"}`), fact("Registered", data.model.versions.join(", ")), fact("Loaded", data.model.loaded.join(", ") || "none"),
    fact("Drift", driftBadge(view)), fact("Rollout", phaseBadge(data.rollout?.record)), fact("Alerts", alertsOf(data.alerts.alerts, data.model.name)));
}

const named = (arm) => `${arm.version} ${arm.role}`;

function armsTable(arms, traffic) {
  if (!arms.length) return h("p", { class: "quiet" }, "No request in the last quarter of an hour.");
  const heads = ["Version", "Requests", "Rows", "Failed", "Refused", "p50", "p95", "p99"];
  const row = (arm) => {
    const sum = traffic.sum(arm, undefined, traffic.points.length), at = (share) => milliseconds(traffic.quantile(share)(sum));
    const cells = [number(sum.requests), number(sum.rows), percent(sum.failed / sum.requests, 2), percent(sum.refused / sum.requests, 2), at(0.5), at(0.95), at(0.99)];
    return h("tr", {}, h("th", { scope: "row" }, named(arm)), cells.map((cell, place) => h("td", { class: "number", "data-label": heads[place + 1] }, cell)));
  };
  return h("div", { class: "wide" }, h("table", { class: "cards" }, h("caption", {}, "The last quarter of an hour"),
    h("thead", {}, h("tr", {}, heads.map((head, place) => h("th", { scope: "col", class: place ? "number" : null }, head)))), h("tbody", {}, arms.map(row))));
}

function charts(arms, traffic) {
  const lines = (value, more = {}) => arms.map((arm, place) => ({ label: named(arm), place, values: traffic.line(arm, value), ...more }));
  const times = traffic.times;
  return h("div", { class: "three" },
    timeFigure({ key: "rate", title: "Requests per second", note: "by version", times, lines: lines(traffic.rate) }),
    timeFigure({ key: "latency", title: "Latency", note: "median, and 99th percentile dashed", times, show: milliseconds,
      lines: [...lines(traffic.quantile(0.5)), ...lines(traffic.quantile(0.99), { dash: 1 }).map((line) => ({ ...line, label: `${line.label} p99` }))] }),
    timeFigure({ key: "failed", title: "Failed requests", note: "percent, by version", times, show: (value) => (value === null || value === undefined ? "–" : `${number(value)} %`), lines: lines(traffic.failures) }));
}

function mix(arms, traffic) {
  const parts = arms.map((arm) => [arm, traffic.counts("predicted", arm.model, arm.version, arm.role), traffic.counts("values", arm.model, arm.version, arm.role)]);
  const classes = [...new Set(parts.flatMap(([, counts]) => [...counts.keys()]))].sort();
  if (classes.length) return classMix(parts, classes);
  const numeric = parts.filter(([, , values]) => values.size);
  return numeric.length ? valueMix(numeric, traffic.valueBounds) : h("p", { class: "quiet" }, "No prediction in the last quarter of an hour.");
}

function classMix(parts, classes) {
  const rows = parts.map(([arm, counts]) => {
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const share = (each) => (all ? (counts.get(each) ?? 0) / all : 0);
    return h("tr", {}, h("th", { scope: "row" }, named(arm)),
      h("td", { class: "stretch" }, h("div", { class: "stack", "aria-hidden": "true" }, classes.map((each, place) => h("span", { style: { width: `${100 * share(each)}%`, background: `var(${colour(place)})` } })))),
      classes.map((each) => h("td", { class: "number" }, percent(share(each)))));
  });
  return h("div", { class: "wide" }, h("table", {}, h("caption", {}, "Predictions of each class, in the last quarter of an hour"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Version"), h("th", { scope: "col" }, h("span", { class: "unseen" }, "Share")),
      classes.map((each, place) => h("th", { scope: "col", class: "number" }, h("span", { class: "key", style: { background: `var(${colour(place)})` } }), each)))),
    h("tbody", {}, rows)));
}

function valueMix(parts, bounds) {
  const used = [...new Set(parts.flatMap(([, , values]) => [...values.keys()].map(Number)))].sort((a, b) => a - b);
  const label = (bucket) => (bucket === 0 ? `up to ${number(bounds[0])}` : bucket === bounds.length ? `over ${number(bounds.at(-1))}` : `${number(bounds[bucket - 1])} to ${number(bounds[bucket])}`);
  const sums = parts.map(([, , values]) => [...values.values()].reduce((sum, count) => sum + count, 0));
  return h("div", { class: "wide" }, h("table", {}, h("caption", {}, "Predicted values, in the last quarter of an hour"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Value"), parts.map(([arm]) => h("th", { scope: "col" }, named(arm))))),
    h("tbody", {}, used.map((bucket) => h("tr", {}, h("th", { scope: "row" }, label(bucket)), parts.map(([, , values], place) => {
      const share = (values.get(String(bucket)) ?? 0) / sums[place];
      return h("td", {}, meter(share, `Share of version ${parts[place][0].version}`, "info"), percent(share));
    }))))));
}

function novelty(views) {
  const watched = views.filter((view) => view.novelty && view.rows);
  if (!watched.length) return h("p", { class: "quiet" }, "No row was looked at yet.");
  return watched.map((view) => [
    h("p", {}, `Version ${view.version}: `, h("strong", {}, percent(view.novelty.share, 2)), ` of ${number(view.rows)} rows are as unusual as the strangest 1 % of the reference. 1 % is what to expect.`),
    view.evasion?.some((look) => look.told) ? h("ul", {}, view.evasion.filter((look) => look.told).map((look) => h("li", { class: "problem" }, `${look.kind.replaceAll("_", " ")}${look.feature ? ` in ${look.feature}` : ""}: ${percent(look.share)} of ${number(look.rows)} rows, ${percent(look.expected)} expected.`))) : null,
    view.examples.length ? h("details", {}, h("summary", {}, `${view.examples.length} recent unusual rows`), h("div", { class: "wide" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Prediction", "As unusual as", "Most by"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, view.examples.slice(0, 12).map((each) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: `#/predictions/${part(each.prediction_id)}`, class: "mono" }, each.prediction_id)),
        h("td", {}, `1 in ${number(Math.round(1 / Math.max(each.novelty_p, 1e-9)))}`), h("td", {}, each.feature ?? "several together"))))))) : null]);
}

function violations(name, traffic) {
  const kinds = [...traffic.counts("violated", name)].sort(([, a], [, b]) => b - a);
  if (!kinds.length) return h("p", { class: "quiet" }, "Every value of the last quarter of an hour was as expected.");
  return h("div", { class: "wide" }, h("table", {}, h("caption", {}, "Values that broke an expectation, in the last quarter of an hour"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Kind"), h("th", { scope: "col", class: "number" }, "Values"))),
    h("tbody", {}, kinds.map(([kind, count]) => h("tr", {}, h("th", { scope: "row" }, kind.replaceAll("_", " ")), h("td", { class: "number" }, number(count)))))));
}
