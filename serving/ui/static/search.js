// One prediction by its id: what was asked and answered, what became of it, its trace, and why this answer.

import { ask, askFor, part } from "./api.js";
import { meter } from "./charts.js";
import { h } from "./dom.js";
import { number } from "./format.js";
import { badge } from "./words.js";

export const title = () => "Predictions";

const asked = new Map();
const reasons = new Map();

/** Looking at a prediction is taken down by the server: it is asked for once, and its ground truth may come later. */
export async function look(id) {
  if (!id) return {};
  if (!asked.has(id)) asked.set(id, await askFor(`predictions/${part(id)}`));
  return { found: asked.get(id) };
}

export function draw({ found }, id, shared) {
  const field = h("input", { id: "prediction", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "0190a6b2-7c3e-7000-8000-000000000000-0", "data-key": `field-${id ?? ""}`, value: id ?? "" });
  const submit = (event) => {
    event.preventDefault();
    const wanted = event.target.querySelector("input").value.trim();
    asked.delete(wanted);
    if (wanted === id) shared.again();
    else location.hash = `#/predictions/${part(wanted)}`;
  };
  return [h("h1", {}, "Predictions"),
    h("form", { submit, role: "search", "data-key": `search-${id ?? ""}` }, h("label", { for: "prediction" }, "Prediction id"), h("div", { class: "row" }, field, h("button", { type: "submit", class: "main" }, "Look it up")),
      h("p", { class: "quiet" }, "Answers carry it: prediction_ids, or the header x-prediction-id followed by - and the row. Who looks is written down.")),
    found ? prediction(found, shared) : id ? h("p", {}, "This prediction is not in the log of this server.") : null];
}

function prediction(found, shared) {
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", { class: "break" }, value));
  return h("div", { "data-key": found.prediction_id },
    h("dl", { class: "facts" }, fact("Model", h("a", { href: `#/models/${part(found.model)}` }, `${found.model}:${found.version}`), " ", badge(found.role, "")), fact("Time", found.time.replace("T", " ").slice(0, 23)),
      fact("Request", h("span", { class: "mono" }, found.request_id)), fact("Trace", trace(found.trace_id, shared.facts.trace_url)), fact("Ground truth", truth(found.ground_truth)),
      found.novelty === null || found.novelty === undefined ? null : fact("Novelty", `p = ${number(found.novelty)}`)),
    h("div", { class: "two" }, values("Inputs", found.inputs), h("div", {}, values("Outputs", found.outputs), why(found, shared))));
}

function trace(id, template) {
  if (!id) return "none was sampled";
  return template ? h("a", { href: template.replace("{trace_id}", id), rel: "noreferrer", target: "_blank" }, id) : h("span", { class: "mono" }, id);
}

function truth(found) {
  if (!found) return h("span", { class: "quiet" }, "none yet");
  if (found.value === null || found.value === undefined) return h("span", { class: "quiet" }, found.reason ?? found.state);
  return [h("strong", {}, String(found.value)), ` ${found.state}`];
}

/** Values of one row as they were, to nine digits. */
const exact = (value) => String(Number.isInteger(value) ? value : Number(value.toPrecision(9)));
const text = (value) => (typeof value === "number" ? exact(value) : Array.isArray(value) ? value.map(text).join(", ") : typeof value === "string" ? value : JSON.stringify(value));

function values(name, found) {
  return h("div", { class: "card wide" }, h("table", {}, h("caption", {}, name), h("thead", { class: "unseen" }, h("tr", {}, h("th", { scope: "col" }, "Field"), h("th", { scope: "col" }, "Value"))),
    h("tbody", {}, Object.entries(found ?? {}).map(([key, value]) => h("tr", {}, h("th", { scope: "row", class: "break" }, key), h("td", { class: "number break" }, text(value)))))));
}

function why(found, shared) {
  const known = reasons.get(found.prediction_id);
  const explain = async (event) => {
    event.target.disabled = true;
    reasons.set(found.prediction_id, await ask(`explain/${part(found.model)}`, { prediction_id: found.prediction_id }).catch((problem) => ({ problem: problem.message })));
    shared.redraw();
  };
  if (!known) return h("p", { class: "row" }, h("button", { type: "button", click: explain, "data-verb": "explain" }, "Why this answer?"));
  if (known.problem) return h("p", { class: "problem" }, known.problem);
  const most = Math.max(...known.contributions.map((each) => Math.abs(each.contribution)), 1e-12);
  return h("div", { class: "card wide", id: "why" }, h("table", {}, h("caption", {}, known.text),
    h("thead", {}, h("tr", {}, ["Feature", "Contribution", "Value", "Usual"].map((head, place) => h("th", { scope: "col", class: place ? "number" : null }, head)))),
    h("tbody", {}, known.contributions.map((each) => h("tr", {}, h("th", { scope: "row", class: "break" }, each.feature),
      h("td", { class: "number" }, meter(Math.abs(each.contribution) / most, `Contribution of ${each.feature}`, each.contribution >= 0 ? "info" : "warn"), `${each.contribution >= 0 ? "+" : "−"}${number(Math.abs(each.contribution))}`),
      h("td", { class: "number" }, text(each.value)), h("td", { class: "number" }, text(each.usual)))))));
}
