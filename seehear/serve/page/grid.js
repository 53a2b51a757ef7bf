// The grid of films, photos and sounds. Only tiles in or near the viewport are in the document: the list has its full
// height, and tiles are placed in it as it scrolls.

import * as api from "./api.js";
import { h } from "./dom.js";
import { faceOf, Preview } from "./tiles.js";

export const PART = 200; // entries fetched at once
export const kept = { by: "date", at: 0 }; // for the lifetime of the page: order, and place of the focus
const GAP = 14, CAPTION = 52, HEAD = 58; // pixels, as in home.css
const NEAR = 600; // pixels above and below the viewport

export class Grid {
  constructor(shell) {
    this.shell = shell;
    this.parts = new Map(); // number of a part -> its films, or their promise
    this.tiles = new Map(); // place -> tile
    this.sections = new Map(); // group number -> its section and list
    this.element = h("div", { id: "films" });
    this.preview = new Preview();
    this.asked = 0;
    this.moved = () => { this.asked ||= requestAnimationFrame(() => this.render()); };
    this.sized = new ResizeObserver(() => this.measure());
    addEventListener("scroll", this.moved, { passive: true });
    this.sized.observe(this.element);
  }

  close() {
    removeEventListener("scroll", this.moved);
    cancelAnimationFrame(this.asked);
    this.sized.disconnect();
    this.preview.stop();
  }

  draw(list, working) {
    Object.assign(this, { list, working });
    this.parts.clear();
    this.parts.set(0, list.films);
    kept.at = Math.min(kept.at, Math.max(0, list.total - 1));
    this.width = 0;
    this.measure();
  }

  clear() {
    const focused = this.element.contains(document.activeElement);
    for (const place of [...this.tiles.keys()]) this.drop(place);
    this.element.replaceChildren();
    this.sections.clear();
    return focused;
  }

  // Computes the position of every group for the current width.
  measure() {
    const width = this.element.clientWidth;
    if (!this.list || !width || width === this.width) return;
    this.width = width;
    this.columns = Math.max(2, Math.floor((width + GAP) / (208 + GAP)));
    this.tile = Math.floor((width - GAP * (this.columns - 1)) / this.columns);
    this.picture = Math.round((this.tile * 9) / 16);
    this.row = this.picture + CAPTION + GAP;
    let top = 0, first = 0;
    this.groups = this.list.groups.map((group) => {
      const own = { ...group, top, first, height: HEAD + Math.ceil(group.count / this.columns) * this.row };
      top += own.height;
      first += group.count;
      return own;
    });
    this.element.style.height = `${top}px`;
    this.element.style.setProperty("--tile", `${this.tile}px`);
    this.element.style.setProperty("--picture", `${this.picture}px`);
    const focused = this.clear();
    this.render();
    if (focused) this.focus(kept.at);
  }

  // Adds the tiles near the viewport to the document, and removes the others.
  render() {
    this.asked = 0;
    if (!this.groups) return;
    const above = this.element.getBoundingClientRect().top;
    const from = -above - NEAR, to = -above + innerHeight + NEAR;
    const wanted = new Map(); // group number -> places
    for (let n = this.groupAt(from); n < this.groups.length && this.groups[n].top < to; n++) wanted.set(n, this.inside(n, from, to));
    this.keepFocused(wanted);
    for (const [n, section] of this.sections) {
      if (wanted.has(n)) continue;
      for (const tile of [...section.list.children]) this.drop(Number(tile.dataset.place));
      section.element.remove();
      this.sections.delete(n);
    }
    for (const n of [...wanted.keys()].sort((a, b) => a - b)) this.fill(n, wanted.get(n));
  }

  // Number of the group at a height.
  groupAt(height) {
    let low = 0, high = this.groups.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.groups[middle].top <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  inside(n, from, to) {
    const group = this.groups[n], start = group.top + HEAD;
    const first = Math.max(0, Math.floor((from - start) / this.row)) * this.columns;
    const last = Math.min(group.count, Math.max(0, Math.ceil((to - start) / this.row)) * this.columns);
    return Array.from({ length: Math.max(0, last - first) }, (_, i) => group.first + first + i);
  }

  // The focused tile may be outside of the viewport and the document: the next arrow key brings it back.
  keepFocused(wanted) {
    const place = Number(document.activeElement.closest?.("#films .tile")?.dataset.place ?? NaN);
    if (!this.tiles.has(place)) return;
    const n = this.groups.findLastIndex((group) => group.first <= place);
    const own = wanted.get(n) || [];
    if (!own.includes(place)) wanted.set(n, [...own, place].sort((a, b) => a - b));
  }

  fill(n, places) {
    if (!this.sections.has(n)) this.sections.set(n, this.section(n));
    const { list } = this.sections.get(n);
    const stay = new Set(places);
    for (const tile of [...list.children]) if (!stay.has(Number(tile.dataset.place))) this.drop(Number(tile.dataset.place));
    let next = list.firstChild;
    for (const place of places) {
      if (this.tiles.has(place)) {
        next = this.tiles.get(place).nextSibling;
        continue;
      }
      list.insertBefore(this.make(n, place), next);
    }
  }

  section(n) {
    const group = this.groups[n], list = h("ul", {});
    const element = h("section", { "aria-labelledby": `group-${n}` },
      h("h2", { id: `group-${n}` }, this.title(group), " ", h("span", { class: "soft" }, group.count.toLocaleString("en"))), list);
    element.style.top = `${group.top}px`;
    const after = [...this.sections.keys()].filter((other) => other > n).sort((a, b) => a - b)[0];
    this.element.insertBefore(element, after == null ? null : this.sections.get(after).element);
    return { element, list };
  }

  title({ by, key }) {
    if (by === "aside") return "Files that could not be used";
    if (by === "folder") return key.replace(/^\.\//, "") || this.list.root || "Top folder";
    if (!key) return "Without a date";
    const [year, month] = key.split("-").map(Number);
    return new Date(year, month - 1).toLocaleDateString("en", { month: "long", year: "numeric" });
  }

  drop(place) {
    const tile = this.tiles.get(place);
    clearTimeout(tile?.timer);
    this.preview.leave(tile);
    const image = tile?.querySelector("img");
    if (image && !image.complete) image.src = ""; // aborts its request, with an error event
    tile?.remove();
    this.tiles.delete(place);
  }

  // Places a tile, and fills it as soon as its entry is loaded.
  make(n, place) {
    const group = this.groups[n], at = place - group.first;
    const tile = h("li", { class: "tile", "data-place": place, "aria-setsize": group.count, "aria-posinset": at + 1 });
    const x = (at % this.columns) * (this.tile + GAP), y = Math.floor(at / this.columns) * this.row;
    tile.style.transform = `translate(${x}px, ${y}px)`;
    this.tiles.set(place, tile);
    const film = this.known(place);
    if (film) this.face(tile, film, place);
    else this.fetch(Math.floor(place / PART));
    return tile;
  }

  known(place) {
    const part = this.parts.get(Math.floor(place / PART));
    return Array.isArray(part) ? part[place % PART] : null;
  }

  async fetch(number) {
    if (this.parts.has(number)) return;
    const { list } = this;
    this.parts.set(number, "asked");
    const found = await api.films(kept.by, number * PART, PART).catch(() => null);
    if (list !== this.list) return;
    if (!found) {
      this.parts.delete(number); // requested again when it comes into view
      return;
    }
    this.parts.set(number, found.films);
    for (const [place, tile] of this.tiles) {
      const film = Math.floor(place / PART) === number && this.known(place);
      if (film && !tile.firstChild) this.face(tile, film, place);
    }
  }

  face(tile, film, place) {
    const face = faceOf(tile, film, { working: this.working, some: this.shell.about.runs.length > 0, preview: this.preview });
    face.tabIndex = place === kept.at ? 0 : -1;
    face.addEventListener("focus", () => this.here(place));
    tile.append(face);
  }

  // -- keys ---------------------------------------------------------------------------------------------------------------

  here(place) {
    this.tiles.get(kept.at)?.firstChild?.setAttribute("tabindex", "-1");
    kept.at = place;
    this.tiles.get(place)?.firstChild?.setAttribute("tabindex", "0");
  }

  key(event) {
    const tile = document.activeElement.closest?.("#films .tile");
    if (!tile || event.shiftKey) return false;
    const place = Number(tile.dataset.place), last = this.list.total - 1;
    const screen = Math.max(1, Math.floor((innerHeight - 160) / this.row));
    const to = {
      ArrowLeft: () => place - 1, ArrowRight: () => place + 1, Home: () => 0, End: () => last,
      ArrowUp: () => this.down(place, -1), ArrowDown: () => this.down(place, 1),
      PageUp: () => this.down(place, -screen), PageDown: () => this.down(place, screen),
    }[event.key];
    if (!to) return false;
    this.focus(Math.min(last, Math.max(0, to())));
    return true;
  }

  // Place some rows further down, in the same column or the last one.
  down(place, rows) {
    let at = place;
    for (let n = Math.abs(rows), step = Math.sign(rows); n > 0; n--) at = this.next(at, step);
    return at;
  }

  next(place, step) {
    const n = this.groups.findLastIndex((group) => group.first <= place && group.count);
    const group = this.groups[n], at = place - group.first, column = at % this.columns;
    const row = Math.floor(at / this.columns) + step, rows = Math.ceil(group.count / this.columns);
    if (row >= 0 && row < rows) return group.first + Math.min(row * this.columns + column, group.count - 1);
    const other = this.groups[n + step];
    if (!other) return place;
    const edge = step > 0 ? 0 : (Math.ceil(other.count / this.columns) - 1) * this.columns;
    return other.first + Math.min(edge + column, other.count - 1);
  }

  focus(place) {
    const n = this.groups.findLastIndex((group) => group.first <= place && group.count);
    if (n < 0) return;
    const group = this.groups[n], at = place - group.first;
    const top = this.element.getBoundingClientRect().top + scrollY + group.top + HEAD + Math.floor(at / this.columns) * this.row;
    const bar = document.querySelector(".top")?.getBoundingClientRect().bottom || 0;
    const room = Math.max(0, bar) + HEAD;
    if (top - room < scrollY) scrollTo({ top: top - room });
    else if (top + this.row > scrollY + innerHeight) scrollTo({ top: top + this.row - innerHeight });
    this.here(place);
    this.render();
    this.tiles.get(place)?.firstChild?.focus({ preventScroll: true });
  }
}
