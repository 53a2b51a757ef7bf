// Helpers: elements, and numbers in readable form.

export const KINDS = { seen: "Seen", heard: "Heard", spoken: "Spoken", screen: "On screen", text: "Caption" };

export const $ = (id) => document.getElementById(id);

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Icon button; `name` is its label for screen readers and its tooltip.
export function iconButton(name, drawing, attributes) {
  return h("button", { type: "button", "aria-label": name, title: name, ...attributes }, svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: drawing })));
}

// Button with a sign instead of words; `name` is its label for screen readers and its tooltip.
export function signButton(name, sign, onclick) {
  return h("button", { type: "button", "aria-label": name, title: name, onclick }, sign);
}

export const dated = (seconds) => (seconds == null ? "" : new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" }));

export const fileName = (path) => path.split("/").pop();

export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  const rest = (tenths % 600) / 10;
  const shown = (Number.isInteger(rest) ? String(rest) : rest.toFixed(1)).padStart(Number.isInteger(rest) ? 2 : 4, "0");
  if (minutes < 60) return `${minutes}:${shown}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${shown}`;
}

export const many = (n, one, more = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;

const SMALL = new Set("a an and are as at be by for from has have he her his in is it its my of on or our she that the their they this to was we were what where who with you your".split(" "));

// The text with the words of the query marked.
export function marked(text, query) {
  const wanted = new Set((query.toLowerCase().match(/[\p{L}\p{N}]+/gu) || []).filter((word) => word.length > 1 && !SMALL.has(word)));
  const parts = text.split(/([\p{L}\p{N}]+)/u);
  return parts.map((part) => (wanted.has(part.toLowerCase()) ? h("mark", {}, part) : part));
}

export function problemBox(problem, attributes = {}) {
  const box = h("div", { class: "problem", ...attributes }, h("p", {}, sentence(problem.message)));
  if (problem.todo) {
    const command = problem.todo.startsWith("seehear ");
    if (command) box.append(...problem.todo.split("; ").map((line) => h("code", {}, line)));
    else box.append(h("p", { class: "soft" }, sentence(problem.todo)));
  }
  return box;
}

export function sentence(text, capital = true) {
  const first = capital && /^\p{Ll}+[\s,:;]/u.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text; // not the name of a file
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

let toastTimer;
// `act`: {name, run} of its button.
export function toast(text, act = null) {
  let box = $("toast");
  if (!box) document.body.append((box = h("p", { id: "toast", role: "status" })));
  const hide = () => box.classList.remove("shown");
  box.replaceChildren(text, ...(act ? [h("button", { type: "button", onclick: () => { hide(); act.run(); } }, act.name)] : []));
  box.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(hide, act ? 10000 : 2500);
}

// A problem as one line.
export const told = (problem) => `${problem.message}${problem.todo ? `: ${problem.todo}` : ""}.`;
