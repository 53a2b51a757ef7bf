// Timeline of a file with lanes for scenes, texts, sound and hits, one playhead and a zoomable axis.

import { clock, h, signButton, svg } from "./dom.js";

const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const CLOSEST = 8; // least seconds on the axis
const AFTER = 4000; // milliseconds without following after the user scrolled

// Loudness as a mirrored area that stretches to any size.
export function waveform(levels) {
  const top = Math.max(...levels, 0.01);
  const tall = levels.map((level) => Math.max(0.015, (level / top) ** 2.5 * 0.48));
  const up = tall.map((y, x) => `${x},${(0.5 - y).toFixed(3)} ${x + 1},${(0.5 - y).toFixed(3)}`);
  const down = tall.map((y, x) => `${x + 1},${(0.5 + y).toFixed(3)} ${x},${(0.5 + y).toFixed(3)}`).reverse();
  const shape = svg("polygon", { points: `${up.join(" ")} ${down.join(" ")}` });
  return svg("svg", { viewBox: `0 0 ${levels.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true" }, shape);
}

export class Timeline {
  constructor(film, seek) {
    Object.assign(this, { film, seek, zoom: 1, left: 0, touched: 0 });
    this.ruler = h("div", { class: "ruler" });
    this.head = h("div", { class: "head" });
    this.sheet = h("div", { class: "extent", "aria-hidden": "true" }, this.ruler);
    this.axis = h("div", { class: "axis", tabindex: "0", role: "group", "aria-label": "Timeline" }, this.sheet);
    this.names = h("div", { class: "names", "aria-hidden": "true" }, h("span", { class: "ruler" }));
    this.tools = h("span", { class: "zoom" },
      signButton("Show more of the timeline", "−", () => this.scale(0.5)), signButton("Zoom in on the timeline", "+", () => this.scale(2)), signButton("Show the whole timeline", "All", () => this.scale(0)));
    this.element = h("section", { class: "timeline", "aria-label": "Timeline", hidden: true }, this.names, this.axis, this.tools);
    if (film.scenes.length > 1) this.lane("Scenes", "scenes", film.scenes.map((scene) => ({ ...scene, text: scene.labels.join(", "), name: scene.labels.join(", "), kind: scene.searchable ? "" : "waiting" })));
    for (const [name, kind, kinds] of [["Spoken", "spoken", ["spoken", "subtitle"]], ["On screen", "screen", ["screen"]], ["Captions", "text", ["caption"]]])
      this.lane(name, kind, film.texts.filter((text) => kinds.includes(text.kind) && text.start != null).map((text) => ({ ...text, kind: "" })));
    this.sheet.append(this.head);
    this.listen();
    new ResizeObserver(() => this.mark()).observe(this.axis);
  }

  // Lane of blocks {start, end, text (tooltip), name (label), kind}; omitted without blocks, unless `empty`.
  lane(name, kind, blocks, empty = false) {
    if (!blocks.length && !empty) return null;
    const row = h("div", { class: `lane ${kind}` }, ...blocks.map((block) => this.block(block)));
    this.element.hidden = false;
    this.names.append(h("span", { class: kind }, name));
    this.sheet.append(row);
    return row;
  }

  block({ start, end, text, kind, name }) {
    const element = h("div", { class: `block ${kind || ""}`, "data-start": start, title: text ? `${clock(Math.floor(start))} ${text}` : clock(Math.floor(start)) }, name || "");
    element.style.left = `${(100 * start) / this.film.seconds}%`;
    element.style.width = `${(100 * (end - start)) / this.film.seconds}%`;
    return element;
  }

  // Lanes loaded later: loudness with named sounds, hits of a search.
  loudness(levels) {
    this.sound ||= this.lane("Sound", "heard", [], true);
    this.sound.prepend(waveform(levels));
  }

  sounds(named) {
    if (!named.length) return;
    this.sound ||= this.lane("Sound", "heard", [], true);
    this.sound.append(...named.map((sound) => this.block({ ...sound, text: sound.name, kind: `named ${sound.words}` })));
  }

  hits(moments) {
    this.lane("Found", "hits", moments);
  }

  // -- zoom ------------------------------------------------------------------------------------------------------------

  // Zooms by a factor about the playhead or a place on the axis; 0 shows all.
  scale(factor, at = null) {
    const { axis } = this;
    const most = Math.max(1, this.film.seconds / CLOSEST);
    const zoom = factor ? Math.min(most, Math.max(1, this.zoom * factor)) : 1;
    const x = at ?? Math.min(Math.max(this.left * axis.scrollWidth - axis.scrollLeft, 0), axis.clientWidth);
    const share = (axis.scrollLeft + x) / axis.scrollWidth;
    this.zoom = zoom;
    this.sheet.style.width = `${100 * zoom}%`;
    axis.scrollLeft = share * axis.scrollWidth - x;
    this.mark();
  }

  mark() {
    const { seconds } = this.film;
    const width = this.axis.clientWidth * this.zoom;
    const step = STEPS.find((one) => (one / seconds) * width >= 64) || STEPS.at(-1);
    const from = Math.max(0, Math.floor(((this.axis.scrollLeft - 400) / width) * seconds / step));
    const to = Math.min(seconds / step, ((this.axis.scrollLeft + this.axis.clientWidth + 400) / width) * seconds / step);
    const ticks = [];
    for (let n = from; n <= to && (1 - (n * step) / seconds) * width > 30; n++) { // visible ones and a few more; the last one needs room
      const tick = h("span", {}, clock(n * step));
      tick.style.left = `${(100 * n * step) / seconds}%`;
      ticks.push(tick);
    }
    this.ruler.replaceChildren(...ticks);
  }

  move(now, playing) {
    this.left = now / this.film.seconds;
    this.head.style.left = `${100 * this.left}%`;
    if (this.zoom === 1 || !playing || performance.now() - this.touched < AFTER) return;
    const x = this.left * this.axis.scrollWidth - this.axis.scrollLeft;
    if (x < 0 || x > this.axis.clientWidth * 0.9) this.axis.scrollLeft += x - this.axis.clientWidth * 0.1;
  }

  // -- pointer ---------------------------------------------------------------------------------------------------------

  secondsAt(event) {
    const box = this.sheet.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * this.film.seconds;
  }

  listen() {
    const touched = () => { this.touched = performance.now(); };
    this.axis.addEventListener("wheel", (event) => {
      touched();
      if (!event.ctrlKey && !event.metaKey) return; // plain scrolling
      event.preventDefault();
      this.scale(Math.exp(-event.deltaY / 150), event.clientX - this.axis.getBoundingClientRect().left);
    }, { passive: false });
    this.axis.addEventListener("scroll", () => this.mark(), { passive: true });
    this.axis.addEventListener("pointerdown", touched);
    this.sheet.addEventListener("click", (event) => {
      if (event.target.closest(".ruler")) return;
      const block = event.target.closest("[data-start]");
      this.seek(block ? Number(block.dataset.start) : this.secondsAt(event));
    });
    this.ruler.addEventListener("pointerdown", (event) => {
      this.ruler.setPointerCapture(event.pointerId);
      this.seek(this.secondsAt(event));
    });
    this.ruler.addEventListener("pointermove", (event) => this.ruler.hasPointerCapture(event.pointerId) && this.seek(this.secondsAt(event)));
  }
}
