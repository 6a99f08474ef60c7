// Pages by the part of the address behind #, how fresh they are, theme and token.

import { ask, token } from "./api.js";
import { drawCharts, forgetCharts } from "./charts.js";
import { askToken, closeDialog } from "./dialog.js";
import { h, morph, show } from "./dom.js";
import { duration } from "./format.js";
import { Live } from "./live.js";
import * as alerts from "./alerts.js";
import * as model from "./model.js";
import * as overview from "./overview.js";
import * as rollout from "./rollout.js";
import * as search from "./search.js";
import { Traffic } from "./traffic.js";

const ROUTES = [
  [/^#?\/?$/, overview], [/^#\/models\/([^/]+)$/, model], [/^#\/rollouts\/([^/]+)$/, rollout],
  [/^#\/alerts$/, alerts], [/^#\/predictions(?:\/([^/]+))?$/, search],
];
const PAGES = [["#/", "Models"], ["#/alerts", "Alerts"], ["#/predictions", "Predictions"]];
const STALE_MS = 15_000;

const place = (id) => document.getElementById(id);
/** What pages share: the traffic so far, this server's facts, how to look again. */
const shared = { traffic: new Traffic(), facts: null, again: () => live?.now(), redraw: () => last && draw(last) };
let live = null, page = null, last = null, heard = { at: 0, problem: null, next: 0 }, stale = null;

function go() {
  const [, found, name] = ROUTES.map(([pattern, module]) => [pattern, module, pattern.exec(location.hash)]).find(([, , match]) => match) ?? [null, overview, [null]];
  const argument = name[1] === undefined ? undefined : decodeURIComponent(name[1]);
  const moved = page !== null;
  live?.end();
  closeDialog();
  page = { module: found, argument };
  last = null;
  document.title = `${found.title(argument)} · Serinus`;
  navigation();
  place("main").replaceChildren(h("h1", {}, found.title(argument)), h("p", { class: "quiet" }, "Loading …"));
  if (moved) place("main").focus({ preventScroll: true });
  scrollTo(0, 0);
  live = new Live(look, (data) => draw((last = data)), hear);
  live.now();
}

async function look() {
  shared.facts ??= await ask("ui");
  return page.module.look(page.argument, shared);
}

function draw(data) {
  show(place("main"), page.module.draw(data, page.argument, shared));
  drawCharts();
  navigation(data.alerts?.counts?.firing);
  show(place("footer"), `Serinus ${shared.facts.version} on ${shared.facts.host}. `,
    h("a", { href: "../docs" }, "How to ask for predictions"), " · ", h("a", { href: "../metrics" }, "Metrics"), " · ", h("a", { href: "../openapi.json" }, "OpenAPI"));
}

let firing = 0;
function navigation(count) {
  firing = count ?? firing;
  show(place("nav"), PAGES.map(([href, title]) => h("a", { href, "aria-current": current(href) ? "page" : null }, title,
    href === "#/alerts" && firing ? h("span", { class: "badge bad" }, String(firing), h("span", { class: "unseen" }, " firing")) : null)));
}

const current = (href) => (href === "#/" ? !/^#\/(alerts|predictions)/.test(location.hash) : location.hash.startsWith(href));

function hear(told) {
  heard = told;
  tick();
  const problem = told.problem;
  if (problem?.status === 401) askToken(problem.message, (given) => { token.set(given); live.now(); });
  if (last === null && problem) show(place("main"), h("h1", {}, page.module.title(page.argument)));
}

function tick() {
  const age = Date.now() - heard.at, isStale = heard.at > 0 && age > STALE_MS, problem = heard.problem;
  const words = heard.at ? `Last answer ${duration(age / 1000)} ago` : problem ? "No answer yet" : "Loading …";
  show(place("status"), h("span", { class: `dot ${problem || isStale ? "bad" : heard.at ? "ok" : ""}` }), words);
  const next = Math.max(0, heard.next - Date.now()) / 1000;
  show(place("banner"), problem || isStale ? h("div", { class: "banner" }, h("strong", {}, heard.at ? "What you see is old. " : ""),
    problem ? problem.message : "", ` Trying again in ${duration(next)}. `, h("button", { type: "button", class: "quiet", click: () => live.now() }, "Now")) : null);
  const now = problem || isStale ? "stale" : heard.at ? "fresh" : null;
  if (now !== stale) {
    if (now === "stale") place("spoken").textContent = `The page is not up to date. ${problem?.message ?? ""}`;
    else if (stale === "stale" && now === "fresh") place("spoken").textContent = "The page is up to date again.";
    stale = now ?? stale;
  }
}

const THEMES = ["", "light", "dark"];
function theme(turn) {
  const now = document.documentElement.dataset.theme ?? "";
  const chosen = turn ? THEMES[(THEMES.indexOf(now) + 1) % 3] : now;
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("serinus.theme", chosen);
  place("theme").textContent = { "": "Theme: system", light: "Theme: light", dark: "Theme: dark" }[chosen];
  if (turn) {
    forgetCharts();
    shared.redraw();
  }
}

place("theme").onclick = () => theme(true);
place("token").onclick = () => askToken("", (given) => { token.set(given); live.now(); });
place("skip").onclick = (event) => { event.preventDefault(); place("main").focus(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetCharts(); shared.redraw(); });
addEventListener("hashchange", go);
setInterval(tick, 1000);
theme(false);
go();
