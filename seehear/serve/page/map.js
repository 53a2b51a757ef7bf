// The map of the library: each clip is a point on a canvas; hovering shows and plays it, dragging selects.

import * as api from "./api.js";
import { card, cardKeys } from "./cards.js";
import { $, h, many, problemBox } from "./dom.js";
import { stop } from "./player.js";

const COLOURS = ["#3b82c4", "#e07b39", "#3f9a56", "#c94f6d", "#8a63c9", "#b8912a", "#2aa198", "#d05fa8", "#6b8e23", "#5b73d6", "#b3593b", "#4aa3b5"];
const PLAIN = "#8b929b"; // of 'others' and 'none'
const COLOURED = { cluster: "What is in it", label: "Label", source: "Folder", kind: "Seen or heard", split: "Split" };
const WITHOUT = { label: "without a label", cluster: "without a name" };
const LISTED = 40, NEAR = 12, TOUCHED = 22, MARGIN = 24;
const SLOW = 10_000, LONGEST = 330_000; // milliseconds until the page reports that drawing takes long, and that it failed

export { cardKeys as keys };
export const KEYS = [[["j", "k"], "next and previous clip of a group"], [["Enter"], "play or stop it"], [["m"], "more like it"]];

export async function show(outlet, params, shell) {
  shell.title("Map");
  outlet.append(...parts());
  const sky = new Sky({ more: shell.like });
  sky.open(params.get("run") || ""); // not awaited: the user may leave meanwhile
  return () => sky.close();
}

function parts() {
  const check = (id, name, on) => h("label", { class: "check" }, h("input", { type: "checkbox", id, checked: on }), ` ${name}`);
  const button = (id, text, name = null) => h("button", { type: "button", id, "aria-label": name }, text);
  const sky = "Each point is a clip; similar clips are close together. The groups below select by keyboard.";
  return [
    h("div", { class: "map-tools" },
      h("label", {}, "Colour by ", h("select", { id: "colour" })),
      h("label", { class: "dev" }, "Drawn by ", h("select", { id: "method" }, h("option", { value: "pca" }, "PCA"), h("option", { value: "tsne" }, "t-SNE"))),
      check("hover-plays", "Play on hover", true), check("moves", "Pan", false),
      h("span", { class: "zoom" }, button("zoom-out", "−", "Zoom out"), button("zoom-in", "+", "Zoom in"), button("zoom-all", "All"))),
    h("div", { class: "map-parts" },
      h("div", { class: "map-sheet" }, h("canvas", { id: "sky", role: "img", "aria-label": sky }), h("div", { id: "tip", hidden: true }), h("p", { id: "map-said", role: "status" })),
      h("aside", {}, h("h2", { id: "region-title" }, "Groups"), h("ul", { id: "legend" }), h("ol", { id: "region", class: "cards small" }))),
  ];
}

class Sky {
  constructor({ more }) {
    Object.assign(this, { more, canvas: $("sky"), run: null, drawn: null, view: { scale: 1, x: 0, y: 0 }, chosen: new Set(), box: null, at: -1, known: new Map(), sound: null });
    for (const id of ["colour", "method"]) $(id).addEventListener("change", () => (id === "method" ? this.fetch() : this.recolour()));
    $("hover-plays").addEventListener("change", () => this.hush());
    $("zoom-in").addEventListener("click", () => this.zoom(1.5));
    $("zoom-out").addEventListener("click", () => this.zoom(1 / 1.5));
    $("zoom-all").addEventListener("click", () => this.zoom(0));
    this.touches = new Map(); // positions of fingers on the canvas
    this.watching = new ResizeObserver(() => this.paint());
    this.watching.observe(this.canvas);
    this.listen();
  }

  open(run) {
    this.run = run;
    this.fetch();
  }

  // Draws the map, or shows why it cannot; of two concurrent calls the later one counts.
  async fetch() {
    this.pending?.abort();
    const pending = (this.pending = new AbortController());
    const said = $("map-said");
    said.textContent = "Drawing the map…";
    const slow = setTimeout(() => { said.textContent = "Drawing the map: the first time it takes up to a few minutes for a large library…"; }, SLOW);
    const over = setTimeout(() => pending.abort(), LONGEST);
    try {
      const drawn = await api.map(this.run, $("method").value, pending.signal);
      if (pending === this.pending) this.arrived(drawn);
    } catch (problem) {
      if (pending !== this.pending) return;
      const late = problem.name === "AbortError";
      said.replaceChildren(problemBox(late ? { message: "the map was not drawn in time", todo: "Open this page again in a minute." } : problem));
    } finally {
      clearTimeout(slow);
      clearTimeout(over);
    }
  }

  arrived(drawn) {
    this.drawn = drawn;
    if (!$("colour").value) {
      $("colour").replaceChildren(...Object.keys(COLOURED).map((name) => h("option", { value: name, class: name === "split" ? "dev" : null }, COLOURED[name])));
      $("colour").value = drawn.colours.label.names.length > 1 ? "label" : "cluster";
    }
    this.choose([]);
    const some = drawn.ids.length < drawn.total ? `${drawn.ids.length.toLocaleString("en")} of ` : "";
    const how = matchMedia("(pointer: coarse)").matches ? "tap one, or a group below" : "drag over some, or choose a group, to list them";
    $("map-said").textContent = drawn.note ? `${drawn.note}.` : `${some}${many(drawn.total, "clip")}: ${how}`;
    this.recolour();
  }

  get colours() {
    return this.drawn.colours[$("colour").value];
  }

  colour(group) {
    const name = this.colours.names[group];
    return name === "others" || name === "none" ? PLAIN : COLOURS[group % COLOURS.length];
  }

  shownNames() {
    return this.colours.names.map((name) => (name === "none" ? WITHOUT[$("colour").value] || name : name));
  }

  recolour() {
    if (!this.drawn) return;
    const { of } = this.colours, names = this.shownNames();
    const counts = names.map(() => 0);
    for (const group of of) counts[group] += 1;
    $("legend").replaceChildren(...names.map((name, group) => {
      const dot = h("i", { "aria-hidden": "true" });
      dot.style.background = this.colour(group);
      const pick = () => this.choose(of.flatMap((own, n) => (own === group ? [n] : [])), name);
      return h("li", {}, h("button", { type: "button", onclick: pick }, dot, h("span", {}, name), h("small", {}, counts[group].toLocaleString("en"))));
    }));
    this.paint();
  }

  // -- drawing --------------------------------------------------------------------------------------------------------

  size() {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  place(n) {
    const { width, height } = this.size(), { scale, x, y } = this.view;
    const px = MARGIN + this.drawn.x[n] * (width - 2 * MARGIN), py = MARGIN + (1 - this.drawn.y[n]) * (height - 2 * MARGIN);
    return [(px - width / 2) * scale + width / 2 + x, (py - height / 2) * scale + height / 2 + y];
  }

  paint() {
    const { width, height } = this.size();
    if (!this.drawn || !width) return;
    const dense = window.devicePixelRatio || 1, context = this.canvas.getContext("2d");
    this.canvas.width = width * dense;
    this.canvas.height = height * dense;
    context.scale(dense, dense);
    const style = getComputedStyle(this.canvas), some = this.chosen.size > 0;
    const radius = (this.drawn.ids.length > 4000 ? 2 : 3.2) * Math.min(2, Math.sqrt(this.view.scale));
    for (const n of this.order()) {
      const [x, y] = this.place(n);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      context.globalAlpha = some && !this.chosen.has(n) ? 0.16 : 0.82;
      context.fillStyle = this.colour(this.colours.of[n]);
      context.beginPath();
      context.arc(x, y, n === this.at ? radius * 2 : radius, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
    if (["cluster", "label"].includes($("colour").value)) this.names(context, style);
    if (this.box) this.frame(context, style);
  }

  // Points without a group are drawn first, below the rest.
  order() {
    const plain = [], rest = [];
    for (let n = 0; n < this.drawn.ids.length; n++) (this.colour(this.colours.of[n]) === PLAIN ? plain : rest).push(n);
    return plain.concat(rest);
  }

  names(context, style) {
    const sums = this.colours.names.map(() => [0, 0, 0]);
    this.colours.of.forEach((group, n) => {
      const [x, y] = this.place(n);
      sums[group][0] += x; sums[group][1] += y; sums[group][2] += 1;
    });
    const { width, height } = this.size();
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = style.getPropertyValue("--card");
    context.fillStyle = style.getPropertyValue("--ink");
    const taken = []; // of two overlapping names the larger group's is shown
    this.labels = [];
    this.shownNames().forEach((name, group) => {
      const [sx, sy, count] = sums[group];
      if (!count || this.colour(group) === PLAIN) return;
      const text = fitted(context, name, width * 0.4), half = context.measureText(text).width / 2 + 4;
      const x = Math.min(Math.max(sx / count, half), width - half), y = Math.min(Math.max(sy / count, 14), height - 34);
      if (Math.abs(x - sx / count) > half || Math.abs(y - sy / count) > 60) return; // its group is outside of the view
      const place = [x - half, y - 12, x + half, y + 6];
      if (taken.some((t) => t[0] < place[2] && t[2] > place[0] && t[1] < place[3] && t[3] > place[1])) return;
      taken.push(place);
      this.labels.push({ text, place });
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    });
  }

  frame(context, style) {
    const { x0, y0, x1, y1 } = this.box;
    context.strokeStyle = style.getPropertyValue("--accent");
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    context.setLineDash([]);
  }

  zoom(by, at = null) {
    const { width, height } = this.size(), before = this.view.scale;
    const scale = Math.min(60, Math.max(1, before * by)), ratio = scale / before;
    const x = (at ? at[0] : width / 2) - width / 2, y = (at ? at[1] : height / 2) - height / 2;
    this.view = scale === 1 ? { scale, x: 0, y: 0 } : { scale, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this.canvas.classList.toggle("near", scale > 1);
    this.paint();
  }

  // -- pointing and selecting -----------------------------------------------------------------------------------------

  listen() {
    const { canvas } = this;
    const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY / 400), at(event)); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.drawn || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      const [x, y] = at(event), touch = event.pointerType === "touch";
      if (touch) this.touches.set(event.pointerId, [x, y]);
      this.drag = { x, y, touch, moves: touch || $("moves").checked || event.shiftKey, moved: this.touches.size > 1, view: { ...this.view } };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.drawn) return;
      const [x, y] = at(event);
      if (this.touches.size > 1) return this.pinch(event.pointerId, [x, y]);
      if (!this.drag) return this.point(x, y);
      this.drag.moved ||= Math.hypot(x - this.drag.x, y - this.drag.y) > 6;
      if (this.drag.moves) this.view = { ...this.view, x: this.drag.view.x + x - this.drag.x, y: this.drag.view.y + y - this.drag.y };
      else this.box = { x0: this.drag.x, y0: this.drag.y, x1: x, y1: y };
      return this.paint();
    });
    canvas.addEventListener("pointerup", (event) => {
      this.touches.delete(event.pointerId);
      if (this.touches.size) this.drag = null; // otherwise the remaining finger would jump
      else this.dropped(...at(event));
    });
    canvas.addEventListener("pointercancel", () => { this.touches.clear(); this.drag = this.box = null; this.paint(); });
    canvas.addEventListener("pointerleave", () => { if (!this.drag) this.leave(); });
  }

  // Pinch: the point between the fingers stays in place.
  pinch(id, to) {
    if (!this.touches.has(id)) return;
    const between = () => { const [a, b] = [...this.touches.values()]; return [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2]; };
    const [far, x, y] = between();
    this.touches.set(id, to);
    const [now, nx, ny] = between();
    this.view = { ...this.view, x: this.view.x + nx - x, y: this.view.y + ny - y };
    this.zoom(now / Math.max(far, 1), [nx, ny]);
  }

  dropped(x, y) {
    const { box, drag } = this;
    this.drag = this.box = null;
    if (!drag || (drag.moves && (!drag.touch || drag.moved))) return;
    if (box && Math.hypot(box.x1 - box.x0, box.y1 - box.y0) > 6) {
      const [left, right] = [box.x0, box.x1].sort((a, b) => a - b), [top, bottom] = [box.y0, box.y1].sort((a, b) => a - b);
      const inside = this.drawn.ids.flatMap((_, n) => { const [px, py] = this.place(n); return px >= left && px <= right && py >= top && py <= bottom ? [n] : []; });
      this.choose(inside, "the selected area");
    } else {
      const n = this.nearest(x, y, drag.touch ? TOUCHED : NEAR);
      this.choose(n < 0 ? [] : [n], "one");
    }
  }

  nearest(x, y, reach = NEAR) {
    let best = -1, least = reach * reach;
    for (let n = 0; n < this.drawn.ids.length; n++) {
      const [px, py] = this.place(n), far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least) [best, least] = [n, far];
    }
    return best;
  }

  point(x, y) {
    const n = this.nearest(x, y);
    if (n === this.at) return;
    this.at = n;
    this.paint();
    clearTimeout(this.waits);
    if (n < 0) this.leave();
    else this.waits = setTimeout(() => this.tip(n), 90);
  }

  async tip(n) {
    const id = this.drawn.ids[n];
    if (!this.known.has(id)) this.known.set(id, await api.clip(id).catch(() => null));
    const clip = this.known.get(id);
    if (this.at !== n || !clip) return;
    const [x, y] = this.place(n), { width, height } = this.size(), tip = $("tip");
    const picture = clip.kind === "video" || clip.kind === "picture" ? h("img", { src: api.posterOf(id), alt: "" }) : null;
    tip.replaceChildren(...[picture, h("p", {}, clip.texts[0]?.text || clip.source), h("p", { class: "soft" }, clip.source)].filter(Boolean));
    tip.hidden = false;
    tip.style.left = `${Math.min(Math.max(x + 14, 4), Math.max(width - tip.offsetWidth - 4, 4))}px`;
    tip.style.top = `${y + tip.offsetHeight + 20 > height ? Math.max(y - tip.offsetHeight - 14, 4) : y + 14}px`;
    this.hear(clip);
  }

  hear(clip) {
    this.hush();
    if (!$("hover-plays").checked || !clip.has_sound || clip.missing || !clip.played) return;
    const start = clip.start, of = clip.kind === "video" && !clip.separate_sound ? "video" : "audio";
    this.sound = new Audio(`${api.mediaOf(clip.id, of)}#t=${start},${clip.end}`);
    this.sound.volume = 0.7;
    this.sound.play().catch(() => {}); // browsers refuse until the page is touched
  }

  hush() {
    this.sound?.pause();
    this.sound = null;
  }

  leave() {
    clearTimeout(this.waits);
    this.hush();
    $("tip").hidden = true;
    if (this.at >= 0) { this.at = -1; this.paint(); }
  }

  close() {
    this.pending?.abort();
    this.pending = null;
    this.watching.disconnect();
    this.leave();
  }

  async choose(indices, name = "") {
    stop();
    this.chosen = new Set(indices);
    this.paint();
    $("region").replaceChildren();
    $("region-title").textContent = indices.length ? `${many(indices.length, "clip")}${name && name !== "one" ? ` in ${name}` : ""}` : "Groups";
    if (!indices.length) return;
    const chosen = this.chosen;
    try {
      const { clips } = await api.clips(indices.slice(0, LISTED).map((n) => this.drawn.ids[n]));
      if (chosen !== this.chosen) return;
      $("region").replaceChildren(...clips.map((clip) => card({ clip, start: clip.start, end: clip.end, text: "" }, { more: this.more })));
      if (indices.length > LISTED) $("region").append(h("li", { class: "soft" }, `and ${(indices.length - LISTED).toLocaleString("en")} more`));
    } catch (problem) {
      $("region").replaceChildren(h("li", {}, problemBox(problem)));
    }
  }
}

// The text, shortened to a width.
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let length = text.length;
  while (length > 4 && context.measureText(`${text.slice(0, length)}…`).width > width) length -= 1;
  return `${text.slice(0, length).trimEnd()}…`;
}
