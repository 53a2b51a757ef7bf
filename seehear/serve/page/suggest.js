// Suggestions below the search box: a combobox with a list, following the WAI-ARIA pattern.

import * as api from "./api.js";
import { h, KINDS } from "./dom.js";

const WAIT = 80; // milliseconds after a letter
const NAMES = { ...KINDS, label: "Label" };
const ORDER = ["label", "seen", "spoken", "screen", "text"];

// `choose(words)`: called with the chosen words.
export function attach(input, form, choose) {
  const list = h("ul", { id: "suggestions", role: "listbox", "aria-label": "Words of these recordings" });
  const lead = h("p", { class: "soft" }, "Frequent in these recordings");
  const box = h("div", { class: "suggest", hidden: true }, lead, list);
  let found = [], at = -1, turn = 0, timer = 0;
  form.append(box);
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": "suggestions" }))
    input.setAttribute(name, value);

  function mark(place) {
    at = place;
    [...list.children].forEach((option, n) => option.setAttribute("aria-selected", String(n === at)));
    if (at < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at].scrollIntoView({ block: "nearest" });
    }
  }

  function close() {
    turn += 1;
    clearTimeout(timer);
    box.hidden = true;
    input.setAttribute("aria-expanded", "false");
    mark(-1);
  }

  async function ask() {
    const mine = ++turn, typed = input.value;
    const answer = await api.suggest(typed, 8).catch(() => []);
    if (mine !== turn || document.activeElement !== input) return;
    found = answer.filter((one) => one.text.toLowerCase() !== typed.trim().toLowerCase());
    list.replaceChildren(...found.map((one, n) => option(one, n, typed)));
    lead.hidden = Boolean(typed.trim());
    box.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!box.hidden));
    mark(-1);
  }

  function option(one, n, typed) {
    const kinds = ORDER.filter((kind) => one.found[kind]).sort((a, b) => one.found[b] - one.found[a]).slice(0, 2);
    return h("li", { role: "option", id: `suggestion-${n}`, "aria-selected": "false", onclick: () => take(n) },
      h("span", {}, ...boldened(one.text, typed)),
      h("span", { class: "kinds" }, ...kinds.map((kind) => h("span", { class: kind }, `${NAMES[kind]} ${one.found[kind].toLocaleString("en")}`))));
  }

  function take(n) {
    input.value = found[n].text;
    close();
    choose(input.value);
  }

  function key(event) {
    if (event.isComposing) return;
    const open = !box.hidden;
    if (event.key === "Escape" && open) close();
    else if (event.key === "Enter" && open && at >= 0) take(at);
    else if (event.key === "ArrowDown" && !open) ask();
    else if (event.key === "ArrowDown" && open) mark(at + 1 < found.length ? at + 1 : -1);
    else if (event.key === "ArrowUp" && open) mark(at < 0 ? found.length - 1 : at - 1);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the page's Escape would leave the box
  }

  input.addEventListener("keydown", key);
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, WAIT); });
  input.addEventListener("focus", () => { if (!input.value) ask(); });
  input.addEventListener("click", () => { if (box.hidden) ask(); });
  input.addEventListener("blur", close);
  form.addEventListener("submit", close);
  box.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
}

// The part that is not typed yet is emphasised.
function boldened(text, typed) {
  const same = typed.trim() && text.toLowerCase().startsWith(typed.toLowerCase());
  return same ? [text.slice(0, typed.length), h("b", {}, text.slice(typed.length))] : [text];
}
