// What is wrong and lasts, and who was told.

import { ask, part } from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import { ago, clock, number } from "./format.js";
import { badge } from "./words.js";

export const title = () => "Alerts";

export const look = async () => ({ alerts: await ask("alerts") });

const ORDER = { firing: 0, pending: 1, resolved: 2 };
const MOODS = { firing: "bad", pending: "warn", resolved: "ok" };

export function draw({ alerts }, _, shared) {
  const one = (alert) => card(alert, shared);
  const sorted = [...alerts.alerts].sort((a, b) => ORDER[a.state] - ORDER[b.state] || b.pending_since - a.pending_since);
  const open = sorted.filter((alert) => alert.state !== "resolved"), over = sorted.filter((alert) => alert.state === "resolved");
  return [h("h1", {}, "Alerts"),
    open.length ? open.map(one) : h("p", {}, "Nothing is wrong that anybody should hear of."),
    alerts.silences.length ? [h("h2", {}, "Silences"), h("ul", {}, alerts.silences.map((silence) => h("li", {}, `${silence.model ?? "every model"}${silence.kind ? `, ${silence.kind}` : ""}, until ${clock(silence.until)}, by ${silence.by ?? "nobody"}: ${silence.reason ?? ""}`)))] : null,
    over.length ? [h("h2", {}, "Resolved"), over.map(one)] : null, messages(alerts.notifications)];
}

function card(alert, shared) {
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("article", { class: `card alert ${MOODS[alert.state]}`, "data-key": alert.id },
    h("h3", {}, badge(alert.state, MOODS[alert.state]), " ", h("a", { href: `#/models/${part(alert.model)}` }, alert.version ? `${alert.model}:${alert.version}` : alert.model), ` ${alert.kind.replaceAll("_", " ")}`, alert.silenced ? h("span", { class: "quiet" }, " silenced") : null),
    h("p", {}, alert.summary),
    h("dl", { class: "facts" }, fact("Severity", alert.severity), fact("Since", `${clock(alert.pending_since)}, ${ago(alert.pending_since)}`),
      alert.resolved_since ? fact("Resolved", clock(alert.resolved_since)) : fact("Last heard", ago(alert.heard)), alert.told_at ? fact("People told", clock(alert.told_at)) : null,
      alert.acknowledged_by ? fact("Looked after by", alert.acknowledged_by) : null, alert.features?.length ? fact("Features", alert.features.join(", ")) : null),
    alert.state === "resolved" || alert.acknowledged_by ? null : take(alert, shared));
}

function take(alert, shared) {
  const act = async (_, actor) => { await ask(`alerts/${part(alert.id)}/acknowledge`, { actor }); shared.again(); };
  return h("button", { type: "button", "data-verb": "acknowledge", click: () => confirm({
    title: "Look after this alert?", text: `${alert.summary} Others will see who has it; it is not told again unless it gets worse.`,
    verb: "I look after it", reasoned: false, act }) }, "Look after it");
}

function messages(notifiers) {
  const names = Object.keys(notifiers);
  if (!names.length) return null;
  const heads = ["Notifier", "Delivered", "Failed attempts", "Given up", "Waiting"];
  return [h("h2", {}, "Messages"), h("div", { class: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head, place) => h("th", { scope: "col", class: place ? "number" : null }, head)))),
    h("tbody", {}, names.map((name) => h("tr", {}, h("th", { scope: "row" }, name), ["delivered", "failures", "given_up", "waiting"].map((key) => h("td", { class: "number" }, number(notifiers[name][key] ?? 0)))))))) ];
}
