// All models at a glance.

import { ask, askFor, part } from "./api.js";
import { meter, spark, timeFigure } from "./charts.js";
import { h } from "./dom.js";
import { measure, milliseconds, number, percent } from "./format.js";
import { alertsOf, best, driftBadge, phaseBadge } from "./words.js";

export const title = () => "Models";

export async function look(_, shared) {
  const [models, monitors, alerts, truth] = await Promise.all([ask("models"), ask("monitors"), ask("alerts"), ask("ground-truth"), shared.traffic.look()]);
  const rollouts = await Promise.all(models.models.map(rollout));
  return { models: models.models.map((model, place) => ({ ...model, rollout: rollouts[place] })), monitors: monitors.versions, alerts, truth };
}

const known = new Map();

/** Of the many models whose rollout is over, how it ended is asked for twice a minute only. */
async function rollout({ name, candidate }) {
  const last = known.get(name);
  if (!last || candidate || last.running || Date.now() - last.at > 30_000) known.set(name, { at: Date.now(), running: candidate, found: await askFor(`rollouts/${part(name)}`) });
  return known.get(name).found;
}

export function draw(data, _, { traffic }) {
  const names = data.models.map((model) => model.name);
  const all = traffic.sum({});
  if (!names.length) return [h("h1", {}, "Models"), h("p", {}, "No model is registered yet: ", h("code", {}, "serinus models register NAME PATH"), ".")];
  return [h("h1", {}, "Models"), summary(data, traffic, all),
    h("div", { class: "wide" }, h("table", { class: "models" }, h("caption", { class: "unseen" }, "Models, with the last half minute of each"),
      h("thead", {}, h("tr", {}, ["Model", "Traffic", "Latency", "Failed", "Drift", "Performance", "Rollout", "Alerts"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, data.models.map((model) => row(model, data, traffic))))),
    h("div", { class: "two" },
      timeFigure({ key: "all-rate", title: "Requests per second", note: "by model", times: traffic.times,
                   lines: names.map((model, place) => ({ label: model, place, dash: Math.floor(place / 6), values: traffic.line({ model }, traffic.rate) })) }),
      timeFigure({ key: "all-p95", title: "Latency, 95th percentile", note: "by model", times: traffic.times, show: milliseconds,
                   lines: names.map((model, place) => ({ label: model, place, dash: Math.floor(place / 6), values: traffic.line({ model }, traffic.quantile(0.95)) })) }))];
}

function summary(data, traffic, all) {
  const { firing, pending } = data.alerts.counts;
  const running = data.models.filter((model) => model.candidate).length;
  const tile = (name, value, note, mood = "") => h("div", { class: `tile ${mood}` }, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "quiet" }, note));
  return h("dl", { class: "tiles" },
    tile("Requests", `${number(traffic.rate(all) ?? 0)} /s`, `${number(data.models.length)} model${data.models.length === 1 ? "" : "s"}, last half minute`),
    tile("Latency", milliseconds(traffic.quantile(0.5)(all.buckets.length ? all : { buckets: [] })), `median; p99 ${milliseconds(traffic.quantile(0.99)(all))}`),
    tile("Failed", percent(all.requests ? all.failed / all.requests : null, 2), `${percent(all.requests ? all.refused / all.requests : null, 2)} refused as wrong`, all.failed ? "bad" : ""),
    tile("Alerts", number(firing), pending ? `${pending} pending` : "none pending", firing ? "bad" : ""),
    tile("Rollouts", number(running), "under way"));
}

function row(model, data, traffic) {
  const chosen = { model: model.name }, now = traffic.sum(chosen);
  const view = data.monitors.find((each) => each.model === model.name && each.version === model.stable);
  const cell = (label, ...content) => h("td", { "data-label": label }, h("div", {}, content));
  const rate = traffic.line(chosen, traffic.rate);
  return h("tr", { "data-key": model.name },
    h("th", { scope: "row" }, h("a", { href: `#/models/${part(model.name)}` }, model.name), h("div", { class: "quiet" }, `version ${model.stable ?? "–"}, of ${number(model.versions.length)} registered`)),
    cell("Traffic", spark(rate, `Requests per second, now ${number(rate.at(-1))}`), h("div", {}, `${number(rate.at(-1) ?? 0)} /s`)),
    cell("Latency", h("div", {}, milliseconds(traffic.quantile(0.5)(now))), h("div", { class: "quiet" }, `median; p95 ${milliseconds(traffic.quantile(0.95)(now))}`)),
    cell("Failed", percent(now.requests ? now.failed / now.requests : null, 2)),
    cell("Drift", driftBadge(view), view?.evidence !== undefined && view?.reference ? meter(view.evidence, "Evidence of drift", view.evidence >= 1 ? "bad" : view.evidence >= 0.5 ? "warn" : "ok") : null,
      view?.drift?.features?.[0]?.drifted ? h("div", { class: "quiet clip" }, view.drift.features[0].name) : null),
    cell("Performance", performance(data.truth, model)),
    cell("Rollout", phaseBadge(model.rollout?.record)),
    cell("Alerts", alertsOf(data.alerts.alerts, model.name)));
}

function performance(truth, model) {
  const windows = (truth?.models?.[model.name]?.windows ?? []).filter((window) => window.version === model.stable);
  const latest = windows.findLast((window) => window.measures);
  const labelled = windows.at(-1);
  if (!latest) return h("span", { class: "quiet" }, labelled ? `${percent(labelled.labelled_share, 0)} labelled` : "no ground truth");
  const [name, found] = best(latest.measures);
  return [h("div", {}, `${name} ${measure({ value: found.value })}`), h("div", { class: "quiet" }, `${percent(latest.labelled_share, 0)} labelled`)];
}
