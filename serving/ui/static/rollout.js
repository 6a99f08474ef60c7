// One model's rollout: steps, both arms, evidence, journal, and what a person can do.

import { ask, askFor, part } from "./api.js";
import { meter, timeFigure } from "./charts.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import { ago, clock, duration, milliseconds, number, percent } from "./format.js";
import { badge, phase, running, trial } from "./words.js";

export const title = (name) => `Rollout of ${name}`;

const journals = new Map();

export async function look(name, shared) {
  const [status, analysis] = await Promise.all([askFor(`rollouts/${part(name)}`), askFor(`rollouts/${part(name)}/analysis`), shared.traffic.look()]);
  return { status, analysis, journal: status ? await journal(name) : [] };
}

/** Entries never change: only those behind the last one are asked for. */
async function journal(name) {
  const known = journals.get(name) ?? [];
  const found = await ask(`rollouts/${part(name)}/journal?after=${known.at(-1)?.seq ?? 0}`);
  journals.set(name, [...known, ...found.entries]);
  return journals.get(name);
}

export function draw(data, name, shared) {
  const head = h("h1", {}, "Rollout of ", h("a", { href: `#/models/${part(name)}` }, name));
  const record = data.status?.record;
  if (!record) return [head, h("p", {}, "Nothing is known of a rollout of this model.")];
  return [head, facts(data), veto(data.status.veto), buttons(record, data, shared), steps(record), verdict(data), arms(data, shared.traffic), evidence(data.analysis), history(data.journal)];
}

function facts({ status, analysis }) {
  const record = status.record, fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const following = status.workers.filter((worker) => worker.follows).length;
  return h("dl", { class: "facts" },
    fact("Phase", badge(...phase(record))), fact("Stable", `version ${record.stable ?? "–"}`), record.candidate ? fact("Candidate", trial(record)) : null,
    fact("Since", `${clock(record.updated)}, ${ago(record.updated)}`), fact("By", record.actor || "nobody"),
    analysis && running(record) ? fact("Verdict", badge(analysis.verdict, { successful: "ok", failed: "bad", error: "bad", inconclusive: "warn" }[analysis.verdict] ?? "info")) : null,
    fact("Workers", `${following} of ${status.workers.length} follow`),
    record.previous_stable && record.previous_until * 1000 > Date.now() ? fact("Can go back to", `version ${record.previous_stable}, for ${duration(record.previous_until - Date.now() / 1000)}`) : null);
}

const veto = (found) => (found ? h("p", { class: "problem" }, `Version ${found.stable} answers alone on this host, by ${found.actor}: ${found.reason}. The store does not say so yet.`) : null);

function buttons(record, data, shared) {
  const name = record.model, on = running(record);
  const judged = Boolean(record.plan?.judgement), back = record.previous_stable && record.previous_until * 1000 > Date.now();
  const post = (verb, body) => async (reason, who) => {
    await ask(`rollouts/${part(name)}/${verb}`, { ...body, actor: who || "dashboard", reason: reason || `${verb} from the dashboard` });
    shared.again();
  };
  const button = (verb, text, sentence, { enabled = on, danger = false, body = {}, path = verb } = {}) => h("button", {
    type: "button", class: danger ? "danger" : null, disabled: !enabled, "data-verb": verb,
    click: () => confirm({ title: `${text}?`, text: sentence, verb: text, danger, act: post(path, body) }),
  }, text);
  const held = record.phase === "hold" || record.phase === "frozen";
  return h("div", { class: "row", role: "group", "aria-label": "What you can do" },
    judged ? button("promote", "Promote by force", `Version ${record.candidate} becomes stable now, whatever the evidence says, and the journal says that you did it.`, { body: { force: true } })
      : button("promote", "Promote", `Version ${record.candidate} takes the next step; after the last one it answers every request.`),
    record.plan?.judgement?.approve ? button("approve", "Approve", `You agree that this step may end. So far: ${record.approvals?.join(", ") || "nobody"}; ${record.plan.judgement.approve} wanted.`) : null,
    held ? button("resume", "Resume", "The rollout goes on where it was held.") : button("pause", "Pause", "The candidate keeps its share, and nothing advances until you resume."),
    button("abort", "Abort", `The rollout ends: version ${record.stable} answers every request, and version ${record.candidate} can be tried again.`),
    button("rollback", "Roll back", on ? `Version ${record.candidate} is taken off at once, on every worker of this host; version ${record.stable} answers every request.` : `Version ${record.previous_stable} answers every request again, at once.`, { enabled: on || back, danger: true }));
}

function steps(record) {
  const plan = record.plan;
  if (!plan) return null;
  const judgement = plan.judgement, list = [];
  if (judgement) list.push(["preflight", "Preflight", "checked and loaded"]);
  if (judgement?.shadow) list.push(["shadow", "Shadow", `${percent(judgement.shadow / 10000, 0)} copied`]);
  plan.steps.forEach((weight, place) => list.push([`canary ${place}`, `Step ${place + 1}`, percent(weight / 10000, weight % 100 ? 2 : 0)]));
  if (judgement?.soak_s) list.push(["soak", "Soak", `all but ${percent(judgement.holdback / 10000, 0)}`]);
  list.push(["promoted", "Stable", "100 %"]);
  const phase = record.held ?? record.phase, here = phase === "canary" ? `canary ${record.step}` : phase;
  const at = list.findIndex(([key]) => key === here);
  return h("section", { "aria-labelledby": "steps-title" }, h("h2", { id: "steps-title" }, "Steps"),
    h("ol", { class: "steps" }, list.map(([key, text, note], place) => h("li", { class: at < 0 ? null : place < at ? "done" : place === at ? "now" : null, "aria-current": place === at ? "step" : null },
      h("strong", {}, text), h("span", { class: "quiet" }, note)))),
    record.reason && running(record) ? h("p", {}, h("span", { class: "quiet" }, "Last change: "), record.reason) : null);
}

/** What the judge says; of a rollout that is over, why it ended. */
function verdict({ analysis, status, journal }) {
  const ended = running(status.record) ? null : journal.findLast((entry) => entry.body.rollout_id === status.record.rollout_id && entry.reason);
  const reason = ended?.reason ?? analysis?.reason;
  if (!reason || !analysis?.rollout_id) return null;
  return h("div", { class: "card" }, h("p", {}, h("strong", {}, reason)), analysis.risk ? h("p", { class: "quiet" }, `Not known: ${analysis.risk}.`) : null,
    analysis.reverse.length ? [h("p", {}, "After a promotion, a rollback would break:"), h("ul", {}, analysis.reverse.map((sentence) => h("li", {}, sentence)))] : null);
}

function arms({ status: { record }, analysis }, traffic) {
  const versions = [record.stable, record.candidate, record.previous_stable, analysis?.judged?.candidate];
  const found = traffic.arms(record.model).filter((arm) => versions.includes(arm.version));
  const heads = ["Version", "Requests", "Failed", "p50", "p95", "p99"];
  const label = (arm) => `${arm.version} ${arm.role}`;
  const lines = (value) => found.map((arm, place) => ({ label: label(arm), place, values: traffic.line(arm, value) }));
  return h("section", { "aria-labelledby": "arms-title" }, h("h2", { id: "arms-title" }, "Side by side"),
    found.length ? h("div", { class: "wide" }, h("table", { class: "cards" }, h("caption", {}, "The last quarter of an hour"), h("thead", {}, h("tr", {}, heads.map((head, place) => h("th", { scope: "col", class: place ? "number" : null }, head)))),
      h("tbody", {}, found.map((arm) => {
        const sum = traffic.sum(arm, undefined, traffic.points.length), at = (share) => milliseconds(traffic.quantile(share)(sum));
        return h("tr", {}, h("th", { scope: "row" }, label(arm)), [number(sum.requests), percent(sum.failed / sum.requests, 2), at(0.5), at(0.95), at(0.99)].map((cell, place) => h("td", { class: "number", "data-label": heads[place + 1] }, cell)));
      })))) : h("p", { class: "quiet" }, "No request in the last quarter of an hour."),
    h("div", { class: "two" }, timeFigure({ key: "arm-rate", title: "Requests per second", note: "by version", times: traffic.times, lines: lines(traffic.rate) }),
      timeFigure({ key: "arm-p95", title: "Latency, 95th percentile", times: traffic.times, show: milliseconds, lines: lines(traffic.quantile(0.95)) })));
}

function evidence(analysis) {
  if (!analysis?.checks.length) return null;
  const { candidate, stable } = analysis.judged;
  const count = (check, arm) => `${number(check[arm])} of ${number(check[`${arm}_units`])}`;
  const ratio = (check) => (check.ratio_low === 0 && check.ratio_high === null ? "not known" : `${number(check.ratio_low)} to ${check.ratio_high === null ? "any" : number(check.ratio_high)}`);
  const heads = ["Compared", "Evidence of harm", `Version ${candidate}`, `Version ${stable}`, "Ratio", "Says"];
  return h("section", { "aria-labelledby": "evidence-title" }, h("h2", { id: "evidence-title" }, "Evidence"),
    h("p", { class: "quiet" }, "A full meter takes the candidate off. The ratio is how many times as often it happens to the candidate; its bounds hold at every look."),
    h("div", { class: "wide" }, h("table", { class: "cards" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, [...analysis.checks].sort((a, b) => b.meter - a.meter).map((check) => h("tr", {}, h("th", { scope: "row", class: "break" }, compared(check.name)),
        h("td", { "data-label": heads[1] }, h("div", {}, meter(check.meter, `Evidence of harm in ${check.name}`, check.harmful ? "bad" : check.meter >= 0.5 ? "warn" : "ok"), h("span", { class: "quiet" }, `${number(check.e_value)} of ${number(Math.round(check.e_needed))} to one`))),
        h("td", { "data-label": heads[2] }, count(check, "candidate")), h("td", { "data-label": heads[3] }, count(check, "stable")), h("td", { "data-label": heads[4] }, ratio(check)), h("td", { "data-label": heads[5] }, says(check))))))));
}

/** `mix:pairs:benign` in words. */
function compared(name) {
  const [kind, ...rest] = name.replaceAll("_", " ").split(":"), pairs = rest[0] === "pairs";
  return [kind, ...(pairs ? rest.slice(1) : rest)].join(": ") + (pairs ? " (same requests, in the shadow)" : "");
}

function says(check) {
  if (check.harmful) return badge("worse", "bad");
  if (check.route) return badge({ ratio: "no worse", absolute: "rare enough", paired: "no worse, same inputs" }[check.route] ?? check.route, "ok");
  return check.upper === null ? "open" : `open; at most ${percent(check.upper)}`;
}

function history(entries) {
  if (!entries.length) return null;
  const latest = entries.slice(-200).reverse();
  return h("section", { "aria-labelledby": "journal-title" }, h("h2", { id: "journal-title" }, "Journal"),
    h("div", { class: "wide tall", tabindex: "0", role: "region", "aria-label": "Journal, latest first" }, h("table", { class: "cards" }, h("thead", {}, h("tr", {}, ["Time", "What", "By", "Why"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, latest.map((entry) => h("tr", { "data-key": String(entry.seq) }, h("th", { scope: "row" }, clock(entry.time)), h("td", { "data-label": "What" }, h("div", {}, badge(entry.kind.replace(/[_.]/g, " "), ""), entry.body.text ? h("div", {}, entry.body.text) : null)),
        h("td", { "data-label": "By" }, entry.actor), h("td", { "data-label": "Why" }, entry.reason || "–")))))));
}
