// A clip's stage: a picture or waveform, replaced on demand by a player that begins at the right second.

import * as api from "./api.js";
import { clock, h, problemBox } from "./dom.js";

let playing = null; // the stage that plays

export function stop() {
  playing?.media?.pause();
}

// `start`, `end`: the moment in seconds of the file; `still`: the matching frame.
export class Stage {
  constructor(clip, { start = clip.start, end = clip.end, still = (start + end) / 2, kind = "", text = "" } = {}) {
    Object.assign(this, { clip, start, end, moment: { clip, start, end, kind, text }, at: still, media: null, offset: 0 });
    const name = clip.texts[0]?.text || clip.source;
    this.button = h("button", { class: "play", type: "button", "aria-label": `Play ${name}`, onclick: () => this.toggle() });
    this.element = h("div", { class: `stage ${clip.kind}` }, this.face(name));
    this.note = h("p", { class: "note", hidden: true });
    if (clip.missing) this.explain(api.mediaOf(clip.id, clip.kind === "sound" ? "audio" : "video"));
    else if (this.playable) this.element.append(this.button);
    if (end > start) this.element.append(h("span", { class: "time" }, `${clock(start)}–${clock(end)}`));
  }

  get playable() {
    return this.clip.kind === "video" || this.clip.has_sound;
  }

  get seen() {
    return this.clip.kind === "video";
  }

  face(name) {
    const { clip } = this;
    if (clip.kind === "text") return h("p", { class: "quote" }, clip.texts[0]?.text || clip.id);
    if (clip.missing) return h("div", { class: "blank" });
    if (clip.kind === "sound") return this.waveform();
    const image = h("img", { src: this.still(), alt: name, loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => this.explain(image.src), { once: true });
    return image;
  }

  still() {
    const at = Math.max(this.clip.start, Math.min(this.at, this.clip.end - 0.01));
    return api.posterOf(this.clip.id, this.clip.kind === "picture" ? null : at);
  }

  waveform() {
    this.canvas = h("canvas", { class: "wave", "aria-hidden": "true" });
    this.seek = h("input", {
      type: "range", class: "seek", min: this.clip.start, max: this.clip.end, step: "0.01", value: this.start,
      "aria-label": "Position", oninput: () => this.sought(),
    });
    api.peaks(this.clip.id).then((found) => this.drawn(found), (problem) => this.explained(problem));
    return h("div", { class: "sounding" }, this.canvas, this.seek);
  }

  drawn(found) {
    this.peaks = found;
    const observer = new ResizeObserver(() => this.paint());
    observer.observe(this.canvas);
  }

  paint() {
    const { canvas, peaks } = this;
    const scale = window.devicePixelRatio || 1;
    const width = (canvas.width = Math.round(canvas.clientWidth * scale));
    const height = (canvas.height = Math.round(canvas.clientHeight * scale));
    if (!width || !peaks) return;
    const style = getComputedStyle(canvas);
    const context = canvas.getContext("2d");
    const bar = 3 * scale, step = 5 * scale, count = Math.floor(width / step);
    const at = this.media ? (this.media.currentTime + this.offset - peaks.start) / (peaks.end - peaks.start) : 0;
    for (let n = 0; n < count; n++) {
      const from = Math.floor((n * peaks.peaks.length) / count);
      const to = Math.max(from + 1, Math.floor(((n + 1) * peaks.peaks.length) / count));
      const tall = Math.max(2 * scale, Math.max(...peaks.peaks.slice(from, to)) * height * 0.86);
      context.fillStyle = style.getPropertyValue(n / count < at ? "--accent" : "--wave");
      context.fillRect(n * step, (height - tall) / 2, bar, tall);
    }
  }

  sought() {
    if (!this.media) this.start = Number(this.seek.value);
    else this.media.currentTime = Number(this.seek.value) - this.offset;
    this.past = true;
  }

  toggle() {
    if (!this.playable || this.clip.missing) return;
    if (!this.media) this.load(!this.clip.played || (this.seen && this.clip.separate_sound));
    if (this.media.paused) this.play();
    else this.media.pause();
  }

  play() {
    if (playing && playing !== this) playing.media?.pause();
    playing = this;
    if (this.media.currentTime + this.offset >= this.end - 0.05) this.media.currentTime = this.start - this.offset;
    this.past = false;
    this.media.play().catch(() => {}); // browsers refuse until the page is touched; or the element is gone
  }

  load(preview) {
    const { clip } = this;
    const from = Math.min(clip.start, this.start), to = Math.max(clip.end, this.end); // a moment may extend over neighbouring clips
    this.offset = preview ? from : 0;
    const source = preview ? api.previewOf(clip.id, from, to) : api.mediaOf(clip.id, this.seen ? "video" : "audio");
    const media = h(this.seen ? "video" : "audio", {
      src: source, preload: "auto", controls: this.seen, playsinline: true,
      poster: this.seen ? this.still() : null, "aria-label": clip.texts[0]?.text || clip.source,
    });
    media.addEventListener("loadedmetadata", () => this.begin(media, preview));
    media.addEventListener("error", () => (preview ? this.explain(source) : this.again()));
    media.addEventListener("timeupdate", () => this.moved());
    for (const event of ["play", "pause", "ended"]) media.addEventListener(event, () => this.shown());
    this.media = media;
    if (preview) this.tell(clip.played ? "Picture and sound, combined from two files." : "Browsers cannot play this kind of file; this is a converted preview.");
    if (this.seen) this.element.replaceChildren(media);
    else this.element.append(media);
  }

  begin(media, preview) {
    if (this.seen && !preview && !media.videoWidth) return this.again(); // sound alone: the browser lacks the video codec
    media.currentTime = Math.max(this.start - this.offset, 0);
    return undefined;
  }

  again() {
    const wanted = !this.media.paused || playing === this;
    this.load(true);
    if (wanted) this.play();
  }

  moved() {
    const now = this.media.currentTime + this.offset;
    if (!this.past && now >= this.end && !this.media.paused) {
      this.media.pause();
      this.past = true; // playing on plays the rest
    }
    if (this.seek) {
      this.seek.value = now;
      this.seek.setAttribute("aria-valuetext", clock(now));
      this.paint();
    }
  }

  shown() {
    const on = !this.media.paused;
    this.element.classList.toggle("on", on);
    this.button.classList.toggle("on", on);
    if (on && this.seek) this.follow();
  }

  follow() {
    if (!this.media || this.media.paused) return;
    this.paint();
    requestAnimationFrame(() => this.follow());
  }

  tell(text) {
    this.note.textContent = text;
    this.note.hidden = false;
  }

  async explain(path) {
    this.explained((await api.whyNot(path)) || { message: "This browser cannot play it", todo: "" });
  }

  explained(problem) {
    this.button.remove();
    this.element.replaceChildren(problemBox(problem));
  }
}
