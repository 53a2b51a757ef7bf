// Home: every film, photo and sound of the library as a grid by date or by folder. Of thousands only those that are in
// sight are in the document: the list lies in its full height, and its tiles are put where they belong as it scrolls.

import * as api from "./api.js";
import { clock, h, many, problemBox } from "./dom.js";
import { savedSearches } from "./own.js";

export const KEYS = [[["↑", "↓", "←", "→"], "move through the grid"], [["Enter"], "open the film or photo"]];

const PART = 200; // entries fetched at once
const GAP = 14, CAPTION = 52, HEAD = 58; // pixels; as home.css has them
const BARS = 40; // of a waveform
const AT_ONCE = 3; // pictures asked for: browsers keep six connections, and an answer must not wait behind pictures
const NEAR = 600; // pixels above and below what is in sight
const SETTLED = 120; // milliseconds that a tile stays before its picture is asked for
const HOVERED = 300, PREVIEW = 6; // milliseconds before a preview plays, and its seconds
const NAMES = { video: ["film"], picture: ["photo"], sound: ["sound"], aside: ["file set aside", "files set aside"] };
const WAITS = { scenes: "Scenes not found yet", speech: "Speech not read yet", screen: "Text on screen not read yet" };
const kept = { by: "date", at: 0 }; // while the page is open

let grid = null; // the one that is shown

export const keys = (event) => Boolean(grid?.key(event));

export async function show(outlet, params, shell) {
  const [list, now] = await Promise.all([api.films(kept.by, 0, PART), api.progress().catch(() => null)]);
  const head = new Head(shell, (by) => { kept.by = by; kept.at = 0; refresh(true); });
  const mine = (grid = new Grid(shell));
  if (shell.about.problem) outlet.append(h("section", { id: "problem", "aria-label": "What happens" }, problemBox(shell.about.problem, { class: "problem steps" })));
  outlet.append(head.element, savedSearches(), mine.element);
  draw(list, now);
  let timer = setTimeout(watch, 2500);
  return () => {
    clearTimeout(timer);
    mine.close();
    if (grid === mine) grid = null;
  };

  function draw(found, progress) {
    head.draw(found, progress);
    mine.draw(found, progress?.state === "working");
  }

  // While the folder is indexed films come and change: the list is asked whether it is another one now.
  async function watch() {
    let wait = 15_000;
    if (!document.hidden) {
      const working = await refresh(false).catch(() => false);
      if (working) wait = 2500;
    }
    if (grid === mine) timer = setTimeout(watch, wait);
  }

  async function refresh(again) {
    const [short, progress] = await Promise.all([api.films(kept.by, 0, 0), api.progress()]);
    if (again || short.version !== mine.list.version) draw(await api.films(kept.by, 0, PART), progress);
    else head.draw(mine.list, progress);
    return progress && progress.state !== "ready";
  }
}

// -- above the grid -----------------------------------------------------------------------------------------------------

class Head {
  constructor(shell, choose) {
    this.shell = shell;
    this.count = h("h1", { class: "count" });
    this.state = h("p", { class: "soft state", role: "status" });
    this.bar = h("progress", { "aria-label": "Indexing", max: "1", hidden: true });
    this.switch = ["date", "folder"].map((by) => {
      const box = h("input", { type: "radio", name: "by", value: by, checked: by === kept.by, onchange: () => choose(by) });
      return h("label", {}, box, h("span", {}, by === "date" ? "By date" : "By folder"));
    });
    this.ideas = h("ul", { id: "ideas", "aria-label": "Often in these recordings", hidden: true });
    this.element = h("header", { class: "homehead" },
      h("div", { class: "told" }, this.count, this.state, this.bar),
      h("fieldset", { class: "switch" }, h("legend", {}, "Order"), ...this.switch), this.ideas);
    this.suggest();
  }

  draw(list, now) {
    const kinds = Object.keys(NAMES).filter((kind) => kind !== "aside" && list.kinds[kind]);
    this.count.textContent = joined(kinds.map((kind) => many(list.kinds[kind], ...NAMES[kind]))) || this.nothing();
    this.state.replaceChildren(...this.said(list, now));
    const known = now?.state === "working" && now.total;
    this.bar.hidden = !known;
    if (known) this.bar.value = Math.min(1, now.done / now.total);
    for (const box of this.element.querySelectorAll("fieldset")) box.hidden = !list.total;
  }

  nothing() {
    return this.shell.about.clips ? "This library holds texts alone" : "No films, photos or sounds yet";
  }

  // What can be searched, and what happens at the moment.
  said(list, now) {
    const waiting = list.waiting.index || 0;
    if (!list.total) return [this.empty(now)];
    const nothing = !this.shell.about.runs.length;
    const done = nothing ? "Nothing can be searched yet" : waiting ? `${many(waiting, "file is", "files are")} not searchable in full yet` : "All can be searched";
    const aside = list.kinds.aside ? [`, ${many(list.kinds.aside, ...NAMES.aside)}`] : [];
    const left = now?.seconds_left != null ? `, about ${clock(Math.round(now.seconds_left))} left` : "";
    if (now?.state === "working") return [`${done}${aside}. Now: ${now.step}${left}.`];
    if (now?.state === "waiting") return [`${done}${aside}. ${now.line}.`];
    return [`${done}${aside}.`];
  }

  empty(now) {
    if (now?.state === "working") return "The folder is being looked through. Films, photos and sounds appear here as they are found.";
    if (now?.state === "waiting") return `${now.line}. They appear here as soon as there are any.`;
    if (this.shell.about.clips) return `${many(this.shell.about.clips, "text")}: search them above.`;
    return "Give the library a folder of media: seehear prepare FOLDER --library " + this.shell.about.library;
  }

  async suggest() {
    const found = await api.suggest("", 8).catch(() => []);
    const idea = (one) => h("li", {}, h("button", { type: "button", onclick: () => this.shell.search(one.text) }, one.text));
    this.ideas.replaceChildren(...found.map(idea));
    this.ideas.hidden = !found.length;
  }
}

const joined = (parts) => (parts.length > 2 ? [parts.slice(0, -1).join(", "), parts.at(-1)] : parts).join(" and ");

// -- the grid -----------------------------------------------------------------------------------------------------------

class Grid {
  constructor(shell) {
    this.shell = shell;
    this.parts = new Map(); // number of a part -> its films, or the promise of them
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

  // Where every group begins, for the width there is.
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

  // Puts what is in sight into the document, and takes out what is not.
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

  // Number of the group that is at a height.
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

  // Who moved away from the tile with the focus finds it again with the next arrow.
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
    if (by === "aside") return "Set aside: these files could not be used";
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
    if (image && !image.complete) image.src = ""; // ends its request, with an error
    tile?.remove();
    this.tiles.delete(place);
  }

  // A tile where it belongs, filled as soon as what it shows is known.
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
      this.parts.delete(number); // asked again when it comes into sight
      return;
    }
    this.parts.set(number, found.films);
    for (const [place, tile] of this.tiles) {
      const film = Math.floor(place / PART) === number && this.known(place);
      if (film && !tile.firstChild) this.face(tile, film, place);
    }
  }

  face(tile, film, place) {
    const name = film.name.split("/").pop(), aside = film.kind === "aside";
    const picture = h("span", { class: "picture" });
    const length = film.seconds ? h("span", { class: "length" }, clock(Math.max(1, Math.round(film.seconds)))) : null;
    const waits = this.waits(film);
    const told = film.problem || [film.kind === "sound" ? "Sound" : "", dated(film.date)].filter(Boolean).join(" · ");
    picture.append(...[length, waits ? h("span", { class: "waits" }, waits) : null].filter(Boolean));
    const words = [h("span", { class: "name", title: film.name }, name), h("span", { class: film.problem ? "soft why" : "soft", title: film.problem || null }, told)];
    tile.classList.add(film.kind);
    const own = { class: "face", tabindex: place === kept.at ? "0" : "-1", onfocus: () => this.here(place) };
    if (!aside) own.href = `/film?${new URLSearchParams({ file: film.name })}`;
    tile.append(h(aside ? "div" : "a", own, picture, ...words));
    if (film.kind === "video") this.preview.watch(tile, picture, film);
    if (!aside) tile.timer = setTimeout(() => pictured(picture, () => (film.kind === "sound" ? waveform : poster)(picture, film)), SETTLED);
  }

  waits(film) {
    if (film.waiting.includes("index")) return film.found ? `${Math.round((100 * film.found) / film.clips)} % searchable` : "Not searchable yet";
    return this.working && film.waiting.length ? WAITS[film.waiting[0]] : "";
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

  // The place some rows further down, in the same column as far as there is one.
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

// The pictures of tiles, a few at once and the latest first, as long as their tile is in sight.
const queue = [];
let busy = 0;

function pictured(picture, load) {
  queue.push({ picture, load });
  nextPicture();
}

function nextPicture() {
  while (busy < AT_ONCE && queue.length) {
    const { picture, load } = queue.pop();
    if (!picture.isConnected) continue;
    busy += 1;
    load().finally(() => { busy -= 1; nextPicture(); });
  }
}

function poster(picture, film) {
  const image = h("img", { src: api.posterOf(film.clip), alt: "", decoding: "async" });
  picture.prepend(image);
  return new Promise((done) => {
    image.addEventListener("load", done);
    image.addEventListener("error", () => { image.remove(); picture.classList.add("blank"); done(); });
  });
}

async function waveform(picture, film) {
  const found = await api.peaks(film.clip).catch(() => null); // without: a sound whose file has moved
  if (!found || !picture.isConnected) return;
  const each = found.peaks.length / BARS;
  const tall = Array.from({ length: BARS }, (_, n) => Math.max(2, 80 * Math.max(...found.peaks.slice(Math.floor(n * each), Math.ceil((n + 1) * each)))));
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS(drawn.namespaceURI, "path");
  drawn.setAttribute("viewBox", `0 0 ${BARS * 4} 100`);
  drawn.setAttribute("preserveAspectRatio", "none");
  path.setAttribute("d", tall.map((height, n) => `M${n * 4 + 1} ${50 - height / 2}h2v${height}h-2z`).join(""));
  drawn.append(path);
  picture.classList.add("drawn");
  picture.prepend(drawn);
}

const dated = (seconds) => (seconds == null ? "" : new Date(seconds * 1000).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" }));

// -- previews -----------------------------------------------------------------------------------------------------------

// A few silent seconds of the film under the pointer.
class Preview {
  constructor() {
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
  }

  watch(tile, picture, film) {
    tile.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "mouse" || this.still.matches) return;
      this.stop();
      this.tile = tile;
      this.timer = setTimeout(() => this.play(picture, film, !film.played), HOVERED);
    });
    tile.addEventListener("pointerleave", () => this.leave(tile));
  }

  leave(tile) {
    if (tile && tile === this.tile) this.stop();
  }

  play(picture, film, made) {
    const start = film.start, end = Math.min(film.end, start + PREVIEW);
    const source = made ? api.previewOf(film.clip, start, end) : `${api.mediaOf(film.clip)}#t=${start},${end}`;
    const video = (this.video = h("video", { src: source, playsinline: true, "aria-hidden": "true", tabindex: "-1" }));
    video.muted = true; // the attribute alone does not mute what is made by a script
    video.addEventListener("playing", () => video.classList.add("on"));
    video.addEventListener("error", () => {
      if (video !== this.video) return;
      this.remove();
      if (!made) this.play(picture, film, true);
    });
    picture.append(video);
    video.play().catch(() => {}); // it is gone by then, or cannot be played
  }

  remove() {
    this.video?.remove();
    this.video?.removeAttribute("src"); // else it loads on
    this.video?.load();
    this.video = null;
  }

  stop() {
    clearTimeout(this.timer);
    if (this.video) this.remove();
    this.tile = null;
  }
}
