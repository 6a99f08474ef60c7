// What states are called, and how they look.

import { h } from "./dom.js";
import { percent } from "./format.js";

const DRIFT = {
  off: ["off", "", "Not watched"], learning: ["learning", "", "Learns what is normal"], collecting: ["collecting", "", "Too few rows yet"],
  ok: ["ok", "ok", "No drift"], warn: ["warn", "warn", "Half the evidence is there"], alarm: ["alarm", "bad", "Drift"], act: ["act", "bad", "Drift, and it is large"],
};
const PHASES = { hold: "warn", frozen: "warn", rolling_back: "bad", rolled_back: "bad", rejected: "bad", promoted: "ok", idle: "" };

export const badge = (text, mood, about) => h("span", { class: `badge ${mood}`, title: about ?? null }, text);

export function driftBadge(view) {
  const [word, mood, about] = DRIFT[view?.state ?? "off"] ?? [view.state, "", ""];
  return badge(word, mood, about);
}

export const running = (record) => ["preflight", "shadow", "canary", "soak", "hold", "frozen"].includes(record?.phase);

export const trial = (record) => `version ${record.candidate}${record.weight ? ` at ${percent(record.weight / 10000, record.weight % 100 ? 2 : 0)}` : ""}`;

/** Word and mood. */
export const phase = (record) => [record.phase.replace("_", " "), PHASES[record.phase] ?? "info"];

export function phaseBadge(record) {
  if (!record || !record.rollout_id) return h("span", { class: "quiet" }, "none");
  const link = h("a", { href: `#/rollouts/${encodeURIComponent(record.model)}` }, badge(...phase(record)));
  return running(record) ? [link, h("div", { class: "quiet" }, trial(record))] : link;
}

export function alertsOf(alerts, model) {
  const open = alerts.filter((alert) => alert.model === model && alert.state !== "resolved");
  if (!open.length) return h("span", { class: "quiet" }, "none");
  return h("a", { href: "#/alerts" }, open.map((alert) => badge(alert.kind.replace("_", " "), alert.state === "firing" ? "bad" : "warn", alert.summary)));
}

const ORDER = ["accuracy", "balanced_accuracy", "roc_auc", "f1", "rmse", "mae", "r2"];

/** The measure that says most, by name. */
export function best(measures) {
  const known = Object.entries(measures).filter(([, found]) => found && found.value !== null);
  const rank = ([name]) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return known.sort((a, b) => rank(a) - rank(b))[0] ?? ["", { value: null }];
}
