// Contents of a grid tile: picture or waveform, loaded when scrolling stops, name, length, and a silent preview on hover.

import * as api from "./api.js";
import { clock, dated, fileName, h, svg } from "./dom.js";

const BARS = 40; // in a waveform
const AT_ONCE = 3; // concurrent pictures: browsers use six connections, and other answers must not wait for pictures
const SETTLED = 120; // milliseconds in view before the picture is requested
const HOVERED = 300, PREVIEW = 6; // milliseconds before a preview plays, and its seconds
const WAITS = { scenes: "Scenes not detected yet", speech: "Speech not transcribed yet", screen: "Text on screen not read yet" };

// `working`: the folder is being indexed; `some`: some files are searchable.
export function faceOf(tile, film, { working, some, preview }) {
  const aside = film.kind === "aside";
  const length = film.seconds ? h("span", { class: "length" }, clock(Math.max(1, Math.round(film.seconds)))) : null;
  const waits = some && waitsFor(film, working) ? h("span", { class: "waits" }, waitsFor(film, working)) : null;
  const over = film.waiting.includes("index") ? waits : null; // shown over the picture; other steps are listed below it
  const told = aside ? film.folder : film.problem || [film.kind === "sound" ? "Sound" : "", dated(film.date)].filter(Boolean).join(" · ");
  const picture = h("span", { class: "picture" }, aside ? h("span", { class: "why" }, film.problem) : length, over);
  tile.classList.add(film.kind);
  if (film.kind === "video") preview.watch(tile, picture, film);
  if (!aside) tile.timer = setTimeout(() => pictured(picture, () => (film.kind === "sound" ? waveform : poster)(picture, film)), SETTLED);
  return h(aside ? "div" : "a", { class: "face", href: aside ? null : `/film?${new URLSearchParams({ file: film.name })}` }, picture,
    h("span", { class: "name", title: [film.name, ...film.also].join("\n") }, fileName(film.name)),
    h("span", { class: film.problem && !aside ? "soft why" : "soft", title: film.problem || null }, told, waits && !over ? " · " : null, over ? null : waits));
}

function waitsFor(film, working) {
  if (film.waiting.includes("index")) return film.found ? `${Math.round((100 * film.found) / film.clips)} % searchable` : "Not searchable yet";
  return working && film.waiting.length ? WAITS[film.waiting[0]] : "";
}

// Queue of pictures: a few at once, the latest first, while their tile is in view.
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
  const found = await api.peaks(film.clip).catch(() => null); // none for a sound whose file has moved
  if (!found || !picture.isConnected) return;
  const each = found.peaks.length / BARS;
  const tall = Array.from({ length: BARS }, (_, n) => Math.max(2, 80 * Math.max(...found.peaks.slice(Math.floor(n * each), Math.ceil((n + 1) * each)))));
  const d = tall.map((height, n) => `M${n * 4 + 1} ${50 - height / 2}h2v${height}h-2z`).join("");
  picture.classList.add("drawn");
  picture.prepend(svg("svg", { viewBox: `0 0 ${BARS * 4} 100`, preserveAspectRatio: "none" }, svg("path", { d })));
}

// -- previews -----------------------------------------------------------------------------------------------------------

// Silent preview of the film under the pointer.
export class Preview {
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
    video.muted = true; // the attribute alone does not mute elements made by scripts
    video.addEventListener("playing", () => video.classList.add("on"));
    video.addEventListener("error", () => {
      if (video !== this.video) return;
      this.remove();
      if (!made) this.play(picture, film, true);
    });
    picture.append(video);
    video.play().catch(() => {}); // removed meanwhile, or not playable
  }

  remove() {
    this.video?.remove();
    this.video?.removeAttribute("src"); // otherwise it keeps loading
    this.video?.load();
    this.video = null;
  }

  stop() {
    clearTimeout(this.timer);
    if (this.video) this.remove();
    this.tile = null;
  }
}
