// Home: contents of the library, state of indexing, and a grid of all files by date or by folder.

import * as api from "./api.js";
import { h, many } from "./dom.js";
import { Grid, kept, PART } from "./grid.js";
import { savedSearches } from "./saved.js";

export const KEYS = [[["↑", "↓", "←", "→"], "move through the grid"], [["Enter"], "open the film or photo"]];

const NAMES = { video: ["film"], picture: ["photo"], sound: ["sound"], aside: ["file could not be used", "files could not be used"] };
let grid = null; // the current one

export const keys = (event) => Boolean(grid?.key(event));

export async function show(outlet, params, shell) {
  const [list, now] = await Promise.all([api.films(kept.by, 0, PART), api.progress().catch(() => null)]);
  const head = new Head(shell, (by) => { kept.by = by; kept.at = 0; refresh(true); });
  const mine = (grid = new Grid(shell));
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

  // While the folder is indexed, files appear and change: poll for a new version of the list.
  async function watch() {
    let wait = 15_000;
    if (!document.hidden) {
      if (head.ideas.hidden) head.suggest(); // the server may have been counting still
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
    this.state = h("p", { class: "soft state", role: "status", id: shell.about.problem ? "problem" : null });
    this.bar = h("progress", { "aria-label": "Indexing", max: "1", hidden: true });
    this.switch = ["date", "folder"].map((by) => {
      const box = h("input", { type: "radio", name: "by", value: by, checked: by === kept.by, onchange: () => choose(by) });
      return h("label", {}, box, h("span", {}, by === "date" ? "By date" : "By folder"));
    });
    this.ideas = h("ul", { id: "ideas", "aria-label": "Frequent in these recordings", hidden: true });
    this.element = h("header", { class: "homehead" },
      h("div", { class: "told" }, this.count, this.state, this.bar),
      h("fieldset", { class: "switch" }, h("legend", { class: "unseen" }, "Order"), ...this.switch), this.ideas);
    if (kept.ideas) this.offer(kept.ideas); // at once: a row that comes later would move the place that going back restores
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
    return this.shell.about.clips ? "This library contains only texts" : "No films, photos or sounds yet";
  }

  // Summary of the searchable files; current work is shown in the line above.
  said(list, now) {
    const waiting = list.waiting.index || 0;
    if (!list.total) return [this.empty(now)];
    const done = !this.shell.about.runs.length ? "Nothing can be searched yet"
      : waiting ? `${many(waiting, "file is", "files are")} not fully searchable yet` : "All files are searchable";
    const aside = list.kinds.aside ? `; ${many(list.kinds.aside, ...NAMES.aside)}` : "";
    return [`${done}${aside}.`];
  }

  empty(now) {
    if (now?.state === "working") return "Nothing can be searched yet. Films, photos and sounds appear here as they are found.";
    if (now?.state === "waiting") return `${now.line}. They appear here as soon as there are any.`;
    if (this.shell.about.clips) return `${many(this.shell.about.clips, "text")}: search them above.`;
    return "Give the library a folder of media: seehear prepare FOLDER --library " + this.shell.about.library;
  }

  async suggest() {
    kept.ideas = await api.suggest("", 8).catch(() => []);
    this.offer(kept.ideas);
  }

  offer(found) {
    const idea = (one) => h("li", {}, h("button", { type: "button", onclick: () => this.shell.search(one.text) }, one.text));
    this.ideas.replaceChildren(h("li", { class: "soft", "aria-hidden": "true" }, "Frequent here"), ...found.map(idea));
    this.ideas.hidden = !found.length;
  }
}

const joined = (parts) => (parts.length > 2 ? [parts.slice(0, -1).join(", "), parts.at(-1)] : parts).join(" and ");
