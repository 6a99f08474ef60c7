// Elements from plain calls. Whatever comes from the server becomes text or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = new Set(["svg", "g", "path", "rect", "line", "circle", "polyline", "text", "title", "desc"]);

/** An element; attributes that are null or false are left out, functions listen, children are nodes or text. */
export function h(tag, attributes, ...children) {
  const element = SHAPES.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element[`on${name}`] = value;
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "href" && !/^(#|https?:\/\/|[./\w-]*$)/.test(value)) continue;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : String(child));
  }
}

const KEPT = new Set(["open"]); // what the reader has changed stays
const HANDLERS = ["onclick", "onsubmit", "onchange", "oninput"];

/** Make `old` look like `fresh` and keep its nodes, and so focus, selection and what is unfolded. */
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.dataset?.keep) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !KEPT.has(name) && name !== "style") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (name === "style" || KEPT.has(name)) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style && old.style.cssText !== fresh.style.cssText) old.style.cssText = fresh.style.cssText;
  for (const handler of HANDLERS) old[handler] = fresh[handler];
  if (old.nodeName === "INPUT" || old.nodeName === "SELECT" || old.nodeName === "TEXTAREA") return;
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((child, place) => (place < before.length ? morph(before[place], child) : old.append(child)));
  for (const child of before.slice(after.length)) child.remove();
}

/** Show `nodes` in `place`. */
export function show(place, ...nodes) {
  const fresh = place.cloneNode(false);
  add(fresh, nodes);
  for (const handler of HANDLERS) fresh[handler] = place[handler];
  morph(place, fresh);
}
