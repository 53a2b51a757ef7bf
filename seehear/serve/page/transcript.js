// Transcript of a file: follows the playback, can be searched, and plays a line on click.

import { clock, h, many, signButton } from "./dom.js";
import { correction } from "./own.js";

const KINDS = { spoken: "Spoken", subtitle: "Subtitles", screen: "On screen", caption: "Captions" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Transcript {
  constructor(texts, seek) {
    this.texts = texts.filter((text) => text.start != null);
    this.following = true;
    this.active = [];
    this.found = []; // marks of the search
    this.hidden = new Set(); // hidden kinds
    this.items = this.texts.map((text) => this.item(text, seek));
    this.list = h("ol", { class: "lines", tabindex: "0", "aria-label": "Lines" }, ...this.items);
    this.back = h("button", { type: "button", class: "follow", hidden: true, onclick: () => this.follow(true) }, "Follow the film");
    this.count = h("span", { class: "count", role: "status" });
    this.field = h("input", { type: "search", placeholder: "Find in this transcript", "aria-label": "Find in this transcript", autocomplete: "off", oninput: () => this.find() });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
    });
    this.element = h("section", { class: "transcribed", "aria-label": "Transcript" },
      h("div", { class: "find" }, this.field, this.count, signButton("Previous", "↑", () => this.step(-1)), signButton("Next", "↓", () => this.step(1))),
      this.chips(), this.list, this.back);
    for (const event of ["wheel", "touchmove"]) this.list.addEventListener(event, () => this.follow(false), { passive: true });
    this.list.addEventListener("pointerdown", (event) => event.target === this.list && this.follow(false)); // the scroll bar
    this.list.addEventListener("keydown", (event) => /^(Page|Home|End|Arrow(Up|Down))/.test(event.key) && this.follow(false));
  }

  item(text, seek) {
    const words = h("span", { class: "line-text" }, text.text);
    const label = h("span", { class: "own", title: "Your own, not a machine's", hidden: text.machine }, "yours");
    const row = h("button", { type: "button", onclick: () => { this.follow(true); seek(text.start); } },
      h("time", {}, clock(Math.floor(text.start))), h("i", { title: KINDS[text.kind] }), words, text.kind === "subtitle" ? null : label);
    const correct = correction(row, text, { opened: () => this.follow(false), changed: () => { label.hidden = text.machine; } });
    return h("li", { class: text.kind, "data-clip": text.clip }, row, correct);
  }

  // Switches for the kinds of lines, if there are several.
  chips() {
    const kinds = Object.keys(KINDS).filter((kind) => this.texts.some((text) => text.kind === kind));
    if (kinds.length < 2) return h("p", { class: "soft" }, many(this.texts.length, "line"));
    return h("div", { class: "chips" }, ...kinds.map((kind) => {
      const box = h("button", { type: "button", class: kind, "aria-pressed": "true" }, `${KINDS[kind]} ${this.texts.filter((text) => text.kind === kind).length}`);
      box.addEventListener("click", () => {
        const off = !this.hidden.has(kind);
        this.hidden[off ? "add" : "delete"](kind);
        box.setAttribute("aria-pressed", String(!off));
        this.list.classList.toggle(`no-${kind}`, off);
        this.find();
      });
      return box;
    }));
  }

  // -- following -------------------------------------------------------------------------------------------------------

  move(now) {
    let last = this.texts.length - 1;
    for (let first = 0; first <= last;) { // binary search for the current line
      const middle = (first + last) >> 1;
      if (this.texts[middle].start <= now) first = middle + 1;
      else last = middle - 1;
    }
    const active = [];
    for (let n = last; n >= 0 && n > last - 50; n--) if (now < Math.max(this.texts[n].end, this.texts[n].start + 0.5)) active.unshift(n);
    if (active.join() === this.active.join()) return;
    for (const n of this.active) this.items[n].removeAttribute("aria-current");
    for (const n of active) this.items[n].setAttribute("aria-current", "true");
    this.active = active;
    this.reveal();
  }

  follow(on) {
    this.following = on;
    this.back.hidden = on;
    this.reveal();
  }

  reveal() {
    const shown = this.active.filter((n) => !this.hidden.has(this.texts[n].kind));
    if (this.following && shown.length) this.scrollTo(this.items[shown[0]]);
  }

  scrollTo(item) {
    const top = item.offsetTop - this.list.clientHeight * 0.35;
    const far = Math.abs(top - this.list.scrollTop) > 3 * this.list.clientHeight;
    this.list.scrollTo({ top, behavior: far || calm.matches ? "auto" : "smooth" });
  }

  // -- finding ---------------------------------------------------------------------------------------------------------

  find() {
    for (const mark of this.found) mark.replaceWith(mark.textContent);
    for (const item of this.list.querySelectorAll(".has")) {
      item.classList.remove("has");
      item.querySelector(".line-text").normalize();
    }
    this.found = [];
    this.at = -1;
    const wanted = this.field.value.trim();
    this.count.textContent = "";
    if (!wanted) return;
    const pattern = new RegExp(wanted.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "giu");
    this.texts.forEach((text, n) => {
      if (this.hidden.has(text.kind) || text.text.search(pattern) < 0) return;
      const parts = [];
      let from = 0;
      for (const match of text.text.matchAll(pattern)) {
        const mark = h("mark", {}, match[0]);
        parts.push(text.text.slice(from, match.index), mark);
        this.found.push(mark);
        from = match.index + match[0].length;
      }
      this.items[n].classList.add("has");
      this.items[n].querySelector(".line-text").replaceChildren(...parts, text.text.slice(from));
    });
    this.step(1);
  }

  step(by) {
    const { found } = this;
    found[this.at]?.classList.remove("here");
    this.at = found.length ? (this.at + by + found.length) % found.length : -1;
    this.count.textContent = found.length ? `${this.at + 1} of ${found.length}` : this.field.value.trim() && "none";
    if (!found.length) return;
    this.follow(false);
    found[this.at].classList.add("here");
    this.scrollTo(found[this.at].closest("li"));
  }
}
