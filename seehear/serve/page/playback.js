// Plays a file directly or, if the browser cannot, in converted parts one after the other.

import * as api from "./api.js";
import { h } from "./dom.js";

const PART = 20; // seconds, as in seehear/serve/film.py

// Callbacks: `moved(now)`, `changed()` (playing, pausing, muting), `told(text)`, `failed(problem)`.
export class Playback {
  constructor(film, on) {
    Object.assign(this, { film, on, wanted: false, pending: null, part: -1, closed: false });
    this.seen = film.kind === "video";
    this.inParts = !film.played || film.kind === "picture" || (this.seen && film.separate_sound);
    const media = (this.media = h(this.seen ? "video" : "audio", { preload: "auto", playsinline: true, "aria-label": film.name }));
    media.addEventListener("loadedmetadata", () => this.loaded());
    media.addEventListener("error", () => this.broke());
    media.addEventListener("ended", () => this.ended());
    media.addEventListener("timeupdate", () => this.pending == null && this.on.moved(this.now));
    media.addEventListener("playing", () => this.ahead());
    // Media keys pause too. The end of a file also fires a pause first.
    media.addEventListener("play", () => { this.wanted = true; });
    media.addEventListener("pause", () => { if (!media.ended) this.wanted = false; });
    for (const event of ["play", "pause", "volumechange"]) media.addEventListener(event, () => this.on.changed());
    if (this.inParts) this.told();
  }

  get now() {
    return this.pending ?? (this.inParts ? Math.max(this.part, 0) * PART : 0) + this.media.currentTime;
  }

  get playing() {
    return this.wanted && !this.media.ended;
  }

  told() {
    this.on.told(this.film.played && this.film.separate_sound ? "Picture and sound, combined from two files." : "Browsers cannot play this kind of file; this is a converted preview.");
  }

  seek(seconds) {
    const at = Math.max(0, Math.min(seconds, this.film.seconds - 0.05));
    const part = this.inParts ? Math.floor(at / PART) : 0;
    if (part !== this.part) {
      this.part = part;
      this.pending = at;
      this.media.src = this.source = this.inParts ? api.partOf(this.film.file, part * PART) : api.mediaOf(this.film.scenes[0].id, this.seen ? "video" : "audio");
    } else if (this.media.readyState) {
      this.pending = null;
      this.media.currentTime = at - (this.inParts ? part * PART : 0);
    } else this.pending = at;
    this.on.moved(at);
  }

  loaded() {
    if (this.seen && !this.inParts && !this.media.videoWidth) return this.againInParts(); // sound alone: the browser lacks the video codec
    const at = this.pending ?? 0;
    this.pending = null;
    this.media.currentTime = at - (this.inParts ? this.part * PART : 0);
    if (this.wanted) this.play();
    return undefined;
  }

  broke() {
    if (this.closed) return;
    if (this.inParts) api.whyNot(this.source).then((problem) => this.on.failed(problem || { message: "This browser cannot play it", todo: "" }));
    else this.againInParts();
  }

  againInParts() {
    const at = this.now;
    Object.assign(this, { inParts: true, part: -1 });
    this.told();
    this.seek(at);
  }

  ended() {
    const next = (this.part + 1) * PART;
    if (this.inParts && next < this.film.seconds) this.seek(next);
    else {
      this.wanted = false;
      this.on.changed();
    }
  }

  // Requests the next part, to be converted while this one plays.
  ahead() {
    const next = (this.part + 1) * PART;
    if (this.inParts && next < this.film.seconds) fetch(api.partOf(this.film.file, next), { headers: { range: "bytes=0-0" } }).catch(() => {});
  }

  play() {
    this.wanted = true;
    if (this.now >= this.film.seconds - 0.1) this.seek(0);
    this.media.play().catch((error) => {
      if (error.name !== "NotAllowedError") return; // the source is being replaced
      this.wanted = false; // browsers refuse until the page is touched
      this.on.changed();
    });
  }

  pause() {
    this.wanted = false;
    this.media.pause();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  close() {
    this.closed = true;
    this.pause();
    this.media.removeAttribute("src");
    this.media.load();
  }
}
