// Drift of a model's versions: evidence, features ranked, their values against the reference's.

import { meter, pairedBars, table } from "./charts.js";
import { h } from "./dom.js";
import { clock, number, percent } from "./format.js";
import { driftBadge } from "./words.js";

const mood = (evidence) => (evidence >= 1 ? "bad" : evidence >= 0.5 ? "warn" : "ok");

export function drift(views) {
  if (!views.length) return h("p", { class: "quiet" }, "No version is watched.");
  return views.map((view) => h("div", { class: "version", "data-key": `drift-${view.version}` }, view.drift ? watched(view) : unwatched(view)));
}

const unwatched = (view) => h("p", {}, `Version ${view.version} `, driftBadge(view), ` ${view.text ?? ""}`);

function watched(view) {
  const features = view.drift.features, shown = features.filter((feature) => feature.histogram && (feature.evidence > 0 || feature.drifted)).slice(0, 6);
  const drawn = shown.length ? shown : features.filter((feature) => feature.histogram).slice(0, 3);
  return [
    h("h3", {}, `Version ${view.version} `, driftBadge(view)),
    h("p", {}, view.rows ? view.drift.text : "No row was observed yet."),
    h("dl", { class: "facts" },
      fact("Evidence", meter(view.evidence, "Evidence of drift", mood(view.evidence)), percent(view.evidence, 0)),
      fact("Rows", `${number(view.rows)} observed${view.observed_share !== null && view.observed_share < 0.995 ? `, ${percent(view.observed_share, 0)} of all` : ""}`),
      fact("Alarms", number(view.drift.alarms)), view.drift.since ? fact("Since", clock(view.drift.since)) : null,
      fact("False alarms", `at most 1 in ${number(view.run_length)} rows on average`),
      view.reference ? fact("Reference", `${number(view.reference.rows)} rows, ${view.reference.origin}`) : null),
    view.rows ? [legend(features), h("div", { class: "three" }, drawn.map((feature) => histogram(view, feature))), windows(view), ranked(view)] : null];
}

const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
const legend = (features) => h("p", { class: "quiet" }, h("span", { class: "key reference" }), "reference", h("span", { class: "key live" }), "live. Bins are those that share the reference's values out evenly.",
  features.some((feature) => feature.side === "joint") ? " A joint[…] mixes all numbers of a row: it moves when they no longer go together." : null);

function histogram(view, feature) {
  const { labels, edges, reference, live, rows } = feature.histogram;
  const bins = labels.map((label, place) => ({ label, reference: reference[place], live: live[place] })).filter((bin) => edges || bin.reference || bin.live);
  return h("figure", { class: "plot", "data-key": `${view.version}-${feature.name}` },
    h("figcaption", {}, h("strong", { class: "break" }, feature.name), " ", h("span", { class: "quiet" }, feature.direction || "no change")),
    pairedBars(bins, `${feature.name}: reference against ${rows} live rows`),
    h("div", { class: "ends quiet", "aria-hidden": "true" }, h("span", {}, bins[0]?.label), h("span", {}, bins.at(-1)?.label)),
    table({ caption: `${feature.name}, shares by bin`, heads: ["Values", "Reference", "Live"], rows: bins.map((bin) => [bin.label, percent(bin.reference), percent(bin.live)]) }));
}

function windows(view) {
  const kinds = ["16384", "4096", "1024", "256", "64"], all = view.drift.windows;
  const kind = kinds.find((each) => all.filter((window) => window.kind === each).length >= 8) ?? "64";
  const found = all.filter((window) => window.kind === kind);
  if (found.length < 2) return null;
  return h("details", { class: "behind" }, h("summary", {}, "Window by window"), h("div", { class: "wide" }, h("table", {}, h("caption", {}, `Windows of ${kind} rows and more, compared with the reference one by one`),
    h("thead", {}, h("tr", {}, ["From row", "Rows", "Largest change (PSI)", "p", "Changed"].map((head, place) => h("th", { scope: "col", class: place < 4 ? "number" : null }, head)))),
    h("tbody", {}, found.slice(-16).reverse().map((window) => h("tr", {}, [number(window.start), number(window.rows), number(Math.max(0, window.effect)), number(window.p)].map((cell) => h("td", { class: "number" }, cell)), h("td", {}, window.drifted.join(", ") || "–")))))));
}

function ranked(view) {
  const heads = ["Feature", "Evidence", "Change", "Effect (PSI)", "Missing", "Unseen"];
  const rows = view.drift.features.map((feature) => h("tr", {},
    h("th", { scope: "row", class: "break" }, feature.name, h("div", { class: "quiet" }, feature.side)),
    h("td", { "data-label": heads[1] }, h("div", {}, meter(feature.evidence, `Evidence about ${feature.name}`, mood(feature.evidence)), percent(feature.evidence, 0))),
    h("td", { "data-label": heads[2] }, feature.monitorable ? feature.direction || "–" : h("span", { class: "quiet" }, feature.reason)),
    h("td", { class: "number", "data-label": heads[3] }, number(Math.max(0, feature.effect))),
    h("td", { class: "number", "data-label": heads[4] }, change(feature.missing_reference, feature.missing)),
    h("td", { class: "number", "data-label": heads[5] }, change(feature.unseen_reference, feature.unseen))));
  const left = view.features_watched - rows.length;
  return h("details", { class: "behind", open: view.evidence > 0 }, h("summary", {}, `All ${view.features_watched} features, ranked`),
    h("div", { class: "wide tall", tabindex: "0", role: "region", "aria-label": "Features ranked by evidence of drift" }, h("table", { class: "cards" }, h("thead", {}, h("tr", {}, heads.map((head, place) => h("th", { scope: "col", class: place > 2 ? "number" : null }, head)))), h("tbody", {}, rows))),
    left > 0 ? h("p", { class: "quiet" }, `and ${left} less suspicious ones.`) : null);
}

const change = (before, now) => (Math.abs(before - now) < 5e-5 ? percent(now) : `${percent(before)} → ${percent(now)}`);
