// A photo that fits the page and zooms by wheel, pinch, double click, keys and buttons; dragging pans it.

import * as api from "./api.js";
import { h, signButton } from "./dom.js";

const MOST = 12; // largest zoom
const STEP = 60; // pixels per arrow key

export class Photo {
  constructor(film, { told, failed }) {
    this.scale = 1;
    this.x = this.y = 0; // offset of its centre from that of the frame
    this.pointers = new Map();
    const original = api.mediaOf(film.scenes[0].id);
    this.image = h("img", { src: original, alt: film.texts[0]?.text || film.name, draggable: "false" });
    this.image.addEventListener("error", () => this.smaller(film, original, { told, failed }), { once: true });
    this.shown = h("output", {}, "100 %");
    this.element = h("div", { class: "photo", tabindex: "0", role: "group", "aria-label": "Photo: plus and minus zoom, arrows move it" },
      this.image, h("span", { class: "zoom" }, signButton("Zoom out", "−", () => this.zoom(1 / 1.5)), this.shown, signButton("Zoom in", "+", () => this.zoom(1.5)), signButton("Fit", "Fit", () => this.zoom(0))));
    this.listen();
  }

  // Formats that browsers cannot show (HEIC) are replaced by a small JPEG.
  smaller(film, original, { told, failed }) {
    this.image.src = api.posterOf(film.scenes[0].id);
    this.image.addEventListener("error", async () => failed((await api.whyNot(original)) || (await api.whyNot(this.image.src)) || { message: "This browser cannot show it" }), { once: true });
    this.image.addEventListener("load", () => told("Browsers cannot show this kind of picture; this is a small preview."), { once: true });
  }

  // Zooms by a factor about a point of the frame, by default its centre; 0 fits the photo again.
  zoom(factor, x = 0, y = 0) {
    const before = this.scale;
    this.scale = factor ? Math.min(MOST, Math.max(1, before * factor)) : 1;
    const by = this.scale / before;
    this.place(x - (x - this.x) * by, y - (y - this.y) * by);
  }

  // Keeps the photo over the frame as far as it is large enough.
  place(x, y) {
    const room = (frame, image) => Math.max(0, (image * this.scale - frame) / 2);
    const wide = room(this.element.clientWidth, this.image.clientWidth);
    const tall = room(this.element.clientHeight, this.image.clientHeight);
    this.x = Math.max(-wide, Math.min(wide, x));
    this.y = Math.max(-tall, Math.min(tall, y));
    this.image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.element.classList.toggle("zoomed", this.scale > 1);
    this.shown.textContent = `${Math.round(100 * this.scale)} %`;
  }

  fromMiddle(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  }

  listen() {
    const { element } = this;
    const onTool = (event) => event.target.closest(".zoom");
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), ...this.fromMiddle(event));
    }, { passive: false });
    element.addEventListener("dblclick", (event) => onTool(event) || this.zoom(this.scale > 1 ? 0 : 2.5, ...this.fromMiddle(event)));
    element.addEventListener("pointerdown", (event) => {
      if (onTool(event) || event.button) return;
      element.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.fromMiddle(event));
    });
    element.addEventListener("pointermove", (event) => this.pointers.has(event.pointerId) && this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
  }

  drag(event) {
    const [before, now] = [this.pointers.get(event.pointerId), this.fromMiddle(event)];
    this.pointers.set(event.pointerId, now);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) return this.place(this.x + now[0] - before[0], this.y + now[1] - before[1]);
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    return this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2); // a pinch
  }

  keys(key) {
    const move = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
    if (move && this.scale > 1) this.place(this.x + STEP * move[0], this.y + STEP * move[1]);
    else if (["+", "="].includes(key)) this.zoom(1.5);
    else if (["-", "_"].includes(key)) this.zoom(1 / 1.5);
    else if (key === "0") this.zoom(0);
    else return false;
    return true;
  }
}
