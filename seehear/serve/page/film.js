// One film, sound or photo, with a timeline of its scenes, texts, sounds and hits.

import * as api from "./api.js";
import { KINDS, copy, filmAddress } from "./cards.js";
import { clock, dated, h, iconButton, many, problemBox } from "./dom.js";
import { correction, labels } from "./own.js";
import { Photo } from "./photo.js";
import { Playback } from "./playback.js";
import { Timeline, waveform } from "./timeline.js";
import { Transcript } from "./transcript.js";

const SHOWN = 40; // hits of a search in one film
const RATES = [0.5, 1, 1.25, 1.5, 2];
const ICONS = {
  play: "M7 4.5v15l12-7.5z", pause: "M7 4.5h3.6v15H7zM13.4 4.5H17v15h-3.6z", full: "M4 9V4h5v2H6v3zM15 4h5v5h-2V6h-3zM4 15h2v3h3v2H4zM18 15h2v5h-5v-2h3z",
  loud: "M4 9.5v5h3.5L12 19V5L7.5 9.5zM14.5 8.5a5 5 0 0 1 0 7l1.2 1.2a6.7 6.7 0 0 0 0-9.4z", mute: "M4 9.5v5h3.5L12 19V5L7.5 9.5zM14 10l1.2-1.2L17 10.6l1.8-1.8L20 10l-1.8 1.9 1.8 1.8-1.2 1.2-1.8-1.8-1.8 1.8L14 13.7l1.8-1.8z",
};

export const KEYS = [
  [["Space", "k"], "play, pause"], [["j", "l"], "10 seconds back, forward"], [["←", "→"], "5 seconds back, forward; move a photo"], [[",", "."], "one frame back, forward"],
  [["0", "9"], "to the beginning, to nine tenths"], [["c", "C"], "next and previous scene"], [["↑", "↓"], "louder, quieter"], [["m"], "mute"], [["f"], "full screen"],
  [["+", "−"], "zoom the timeline or the photo"], [["Esc"], "go back"],
];

const sized = (bytes) => {
  const [unit, name] = bytes < 1e6 ? [1e3, "kB"] : bytes < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  return `${(bytes / unit).toFixed(bytes / unit < 10 ? 1 : 0)} ${name}`;
};

// The styles are loaded with the view: other views do not wait for them.
const styled = new Promise((done) => { document.head.append(h("link", { rel: "stylesheet", href: "/film.css", onload: done, onerror: done })); });

let view = null; // the current file

export async function show(outlet, params, shell) {
  const [film] = await Promise.all([api.film(params.get("file") || ""), styled]);
  view = new FilmAnswer(outlet, film, shell);
  view.begin(params);
  return () => view.close();
}

// Shows another moment of the file, or another file.
export async function update(params) {
  if (params.get("file") === view.film.file) return view.begin(params);
  const { outlet, shell } = view;
  const film = await api.film(params.get("file") || "");
  view.close();
  outlet.replaceChildren();
  view = new FilmAnswer(outlet, film, shell);
  return view.begin(params);
}

export const keys = (event) => view.keys(event);

class FilmAnswer {
  constructor(outlet, film, shell) {
    Object.assign(this, { outlet, film, shell, asked: null });
    const seek = (at) => this.jump(at);
    this.lasts = film.seconds > 0 && film.kind !== "text";
    const texts = [...film.texts];
    if (!this.lasts) for (const text of texts) text.start = null;
    this.note = h("p", { class: "soft note", role: "status", hidden: true });
    const on = { moved: (now) => this.moved(now), changed: () => this.changed(), told: (text) => this.tell(text), failed: (problem) => this.fail(problem) };
    this.playback = this.lasts && film.kind !== "picture" || film.has_sound ? new Playback(film, on) : null;
    this.photo = film.kind === "picture" ? new Photo(film, on) : null;
    this.timeline = this.lasts && !this.photo ? new Timeline(film, seek) : null;
    this.transcript = this.timeline && texts.some((text) => text.start != null) ? new Transcript(texts, seek) : null;
    this.stage = h("div", { class: `film-screen ${film.kind}` }, this.photo?.element || this.playback?.media);
    if (film.kind === "video" && film.width) this.stage.style.aspectRatio = `${film.width} / ${film.height}`;
    if (film.kind === "sound") this.stage.addEventListener("click", (event) => this.jump((event.offsetX / this.stage.clientWidth) * film.seconds, false));
    else if (this.playback && !this.photo) this.stage.addEventListener("click", () => this.playback.toggle());
    this.player = h("div", { class: "player" }, this.stage, this.playback ? this.controls() : null);
    this.found = h("div", { class: "found", hidden: true });
    this.chapters = this.timeline && film.scenes.length > 1 ? this.scenes() : null;
    outlet.append(this.heading(),
      h("div", { class: `film-parts${this.transcript ? "" : " alone"}` },
        h("div", { class: "film-main" }, this.player, this.note, this.found, this.timeline?.element),
        this.transcript?.element || this.words(texts)),
      this.chapters || "");
    // A click gives the keys back to the player; with Tab the focus stays.
    outlet.addEventListener("click", (event) => event.detail && event.target.closest("button")?.blur());
    shell.title(film.name);
    if (film.problem) this.fail(film.problem);
    if (this.timeline && film.has_sound && !film.problem) this.listen();
  }

  // -- parts of the view -------------------------------------------------------------------------------------------------

  heading() {
    const { film } = this;
    const waiting = film.scenes.filter((scene) => !scene.searchable).length;
    this.tags = h("p", { class: "labels" });
    this.showTags();
    const size = film.bytes ? sized(film.bytes) : "";
    const facts = [film.folder, this.lasts ? clock(Math.round(film.seconds)) : "", film.width ? `${film.width} × ${film.height}` : "", size, film.changed ? dated(Date.parse(film.changed) / 1000) : ""];
    const several = this.lasts && film.scenes.length > 1;
    this.link = h("button", { type: "button", onclick: () => copy(this.address()) }, "Copy link");
    this.like = h("button", { type: "button", onclick: () => this.more() }, several ? "More like this scene" : "More like this");
    const save = h("button", { type: "button", title: several ? "This scene as a file" : null, onclick: () => this.save() }, "Download");
    return h("div", { class: "film-head" },
      h("button", { type: "button", class: "back", "aria-label": "Back", title: "Back (Esc)", onclick: () => this.leave() }, "←"),
      h("div", {}, h("h2", {}, film.name), h("p", { class: "soft" }, facts.filter(Boolean).join(" · ")),
        this.tags,
        film.also.length ? h("p", { class: "soft" }, `also in ${film.also.join(", ")}`) : null,
        waiting ? h("p", { class: "soft" }, film.scenes.length === 1 ? "Not indexed yet, so searches do not find it." : `${waiting} of ${many(film.scenes.length, "scene")} not indexed yet, so searches do not find them.`) : null),
      h("div", { class: "film-acts" }, this.like, h("button", { type: "button", onclick: (event) => this.label(event.currentTarget) }, "Labels"), film.problem || film.kind === "text" ? null : save, this.link));
  }

  showTags() {
    const names = [...new Set(this.film.scenes.flatMap((scene) => scene.labels))];
    this.tags.replaceChildren(...names.slice(0, 12).map((name) => h("span", { class: "tag" }, name)));
  }

  // Labels of the current scene.
  label(from) {
    const { scenes } = this.film;
    const scene = scenes[this.lasts ? this.sceneAt(this.playback?.now || 0) : 0];
    const name = this.lasts && scenes.length > 1 ? `Labels of the scene at ${clock(Math.floor(scene.start))}` : "Labels";
    labels(scene, from, { name, changed: () => this.showTags() });
  }

  controls() {
    const { film, playback } = this;
    const tool = (name, icon, onclick, kind = null) => iconButton(name, ICONS[icon], { class: kind, onclick });
    this.button = tool("Play", "play", () => playback.toggle(), "play-pause");
    this.clock = h("span", { class: "clock" });
    this.slider = h("input", { type: "range", min: 0, max: film.seconds || 1, step: "any", value: 0, "aria-label": "Position", oninput: () => playback.seek(Number(this.slider.value)) });
    const bar = h("div", { class: "controls" }, this.button, this.clock, this.slider);
    if (!film.has_sound && !this.photo) this.silent = true;
    else {
      this.muting = tool("Mute", "loud", () => this.mute());
      this.volume = h("input", { type: "range", class: "volume", min: 0, max: 1, step: "any", value: 1, "aria-label": "Volume", oninput: () => this.louder(Number(this.volume.value) - playback.media.volume) });
      bar.append(this.muting, this.volume);
    }
    const rate = h("select", { "aria-label": "Speed", onchange: () => { playback.media.defaultPlaybackRate = playback.media.playbackRate = Number(rate.value); } },
      ...RATES.map((one) => h("option", { value: one, selected: one === 1 }, `${one}×`)));
    bar.append(rate);
    if (film.kind === "video") bar.append(tool("Full screen", "full", () => this.fullScreen()));
    return bar;
  }

  // Chapters: a poster for each scene, which plays it.
  scenes() {
    const { film } = this;
    this.current = -1;
    this.strip = film.scenes.map((scene, n) => {
      const still = film.kind === "video" && !film.problem ? h("img", { src: api.posterOf(scene.id), alt: "", loading: "lazy", decoding: "async", onerror: (event) => event.target.remove() }) : null;
      return h("li", {}, h("button", { type: "button", "aria-label": `Scene ${n + 1}, ${clock(Math.floor(scene.start))}`, onclick: () => this.jump(scene.start) }, h("span", { class: "poster" }, still), h("span", {}, clock(Math.floor(scene.start)))));
    });
    return h("section", { class: "chapters", "aria-label": "Scenes" }, h("h3", {}, many(film.scenes.length, "scene")), (this.reel = h("ol", { tabindex: "0", "aria-label": "Scenes" }, ...this.strip)));
  }

  // Texts of a photo or of a file as a whole.
  words(texts) {
    if (!texts.length) return null;
    const name = { screen: "On screen", spoken: "Spoken", subtitle: "Subtitles", caption: "Caption" };
    const kinds = [...new Set(texts.map((text) => text.kind))];
    return h("section", { class: "said", "aria-label": "Texts" }, ...kinds.flatMap((kind) => [h("h3", { class: kind }, name[kind]), ...texts.filter((text) => text.kind === kind).map((text) => {
      const said = h("span", {}, text.text);
      return h("p", {}, said, correction(said, text));
    })]));
  }

  // -- loaded later ---------------------------------------------------------------------------------------------------

  listen() {
    const { film, timeline } = this;
    api.loudness(film.file).then(({ levels }) => {
      timeline.loudness(levels);
      if (film.kind === "sound" && !this.failed) {
        this.played = h("div", { class: "played" }, waveform(levels));
        this.stage.append(h("div", { class: "unplayed" }, waveform(levels)), this.played);
        this.moved(this.playback.now);
      }
    }, () => {}); // the player shows the reason
    api.heard(film.file).then(({ sounds }) => timeline.sounds(sounds), () => {});
  }

  // Marks the hits of a search in this file.
  async search(words) {
    if (!words || words === this.asked || !this.timeline) return;
    this.asked = words;
    const source = this.film.file.replaceAll("*", "?"); // a pattern, so other names may match: they are removed below
    const answer = await api.search({ parts: [{ text: words }], k: SHOWN, filters: { source } }).catch(() => null);
    if (!answer) return;
    const hits = answer.hits.filter((hit) => hit.clip.source === this.film.file && hit.words !== "nothing close").sort((one, other) => one.start - other.start);
    this.timeline.hits(hits.map((hit) => ({ start: hit.start, end: Math.max(hit.end, hit.start + 1), text: hit.text, kind: hit.kind })));
    const said = hits.length ? `${many(hits.length, "moment")} for “${words}”` : `Nothing close to “${words}” in this file`;
    const chip = (hit) => h("li", {}, h("button", { type: "button", class: hit.kind, title: hit.text, onclick: () => this.jump(hit.start) }, h("time", {}, clock(Math.floor(hit.start))), h("span", {}, KINDS[hit.kind])));
    this.found.replaceChildren(h("p", {}, said), h("ul", {}, ...hits.map(chip)));
    this.found.hidden = false;
  }

  // -- playing -----------------------------------------------------------------------------------------------------------

  begin(params) {
    const at = Number.parseFloat(params.get("t"));
    if (this.playback && !this.failed) {
      this.playback.seek(Number.isFinite(at) ? at : 0);
      if (Number.isFinite(at)) this.playback.play();
    }
    this.search((params.get("q") || "").trim());
  }

  jump(at, play = true) {
    if (this.failed || !this.playback) return;
    this.playback.seek(at);
    if (play) this.playback.play();
  }

  moved(now) {
    const { film } = this;
    if (this.clock) {
      this.clock.textContent = `${clock(Math.floor(now))} / ${clock(Math.round(film.seconds))}`;
      this.slider.value = now;
      this.slider.setAttribute("aria-valuetext", clock(Math.floor(now)));
      this.slider.style.setProperty("--share", `${(100 * now) / film.seconds}%`);
    }
    this.link.textContent = this.lasts && now >= 1 ? `Copy link at ${clock(Math.floor(now))}` : "Copy link";
    this.timeline?.move(now, this.playback.playing);
    this.transcript?.move(now);
    if (this.played) this.played.style.clipPath = `inset(0 ${100 - (100 * now) / film.seconds}% 0 0)`;
    if (this.chapters) this.chapter(this.sceneAt(now));
  }

  // Returns the current scene.
  sceneAt(now) {
    return Math.max(0, this.film.scenes.findLastIndex((scene) => scene.start <= now + 0.05));
  }

  chapter(n) {
    if (n === this.current) return;
    this.strip[this.current]?.removeAttribute("aria-current");
    this.strip[n].setAttribute("aria-current", "true");
    this.current = n;
    this.reel.scrollLeft = this.strip[n].offsetLeft - this.reel.clientWidth / 2 + this.strip[n].clientWidth / 2;
  }

  changed() {
    if (!this.button) return;
    const { playing, media } = this.playback;
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.button.title = playing ? "Pause (k)" : "Play (k)";
    this.button.querySelector("path").setAttribute("d", ICONS[playing ? "pause" : "play"]);
    this.player.classList.toggle("playing", playing);
    if (this.muting) {
      const silent = media.muted || !media.volume;
      this.muting.setAttribute("aria-label", silent ? "Unmute" : "Mute");
      this.muting.querySelector("path").setAttribute("d", ICONS[silent ? "mute" : "loud"]);
      this.volume.value = silent ? 0 : media.volume;
    }
    if (playing && !this.drawing) this.draw();
  }

  // The playhead moves with every frame of the page: media events come only four times a second.
  draw() {
    this.drawing = this.playback.playing && !this.playback.closed;
    if (!this.drawing) return;
    if (this.playback.pending == null) this.moved(this.playback.now);
    requestAnimationFrame(() => this.draw());
  }

  mute() {
    if (this.playback) this.playback.media.muted = !this.playback.media.muted;
  }

  louder(by) {
    const { media } = this.playback;
    media.muted = false;
    media.volume = Math.max(0, Math.min(1, media.volume + by));
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.player.requestFullscreen?.().catch(() => {});
  }

  tell(text) {
    this.note.textContent = text;
    this.note.hidden = false;
  }

  fail(problem) {
    this.failed = true;
    this.playback?.pause();
    this.note.hidden = true;
    this.player.replaceChildren(problemBox(problem));
    this.like.disabled = !this.film.scenes.some((scene) => scene.searchable);
  }

  // -- other addresses ---------------------------------------------------------------------------------------------------

  address() {
    const now = this.lasts && this.playback ? Math.floor(this.playback.now * 10) / 10 : 0;
    return location.origin + filmAddress(this.film.file, now >= 1 ? now : null);
  }

  // Downloads the current scene.
  save() {
    const { id, start, end } = this.film.scenes[this.lasts ? this.sceneAt(this.playback?.now || 0) : 0];
    h("a", { href: api.cutOf(id, start, end), download: "" }).click();
  }

  more() {
    const { film } = this;
    const scene = film.scenes[this.lasts ? this.sceneAt(this.playback?.now || 0) : 0];
    if (!scene.searchable) this.shell.toast("This scene is not indexed yet.");
    else this.shell.like({ ...scene, source: this.lasts && film.scenes.length > 1 ? `${film.name} at ${clock(Math.floor(scene.start))}` : film.name, texts: [] });
  }

  leave() {
    if (this.asked && !history.state?.depth) this.shell.go(`/?${new URLSearchParams({ q: this.asked })}`);
    else if (history.length > 1) history.back();
    else this.shell.go("/");
  }

  close() {
    this.playback?.close();
  }

  // -- keys --------------------------------------------------------------------------------------------------------------

  keys(event) {
    const { key } = event;
    if (key === "Escape") return this.leave() ?? true;
    const pressing = event.target.closest("button, a, summary") && (key === " " || key === "Enter");
    if (pressing) return false; // the key presses the focused button
    if (this.photo?.keys(key)) return true;
    if (["+", "="].includes(key) && this.timeline) return this.timeline.scale(2) ?? true;
    if (["-", "_"].includes(key) && this.timeline) return this.timeline.scale(0.5) ?? true;
    if (!this.playback || this.failed) return false;
    return this.playerKeys(key, event.target);
  }

  playerKeys(key, target) {
    const { film, playback } = this;
    const scenes = film.scenes, at = this.sceneAt(playback.now), frame = 1 / (film.fps || 25);
    const step = (by) => { playback.pause(); playback.seek(playback.now + by); };
    const act = {
      " ": () => playback.toggle(), k: () => playback.toggle(), m: () => this.mute(),
      j: () => playback.seek(playback.now - 10), l: () => playback.seek(playback.now + 10),
      ArrowLeft: () => playback.seek(playback.now - 5), ArrowRight: () => playback.seek(playback.now + 5),
      ",": () => step(-frame), ".": () => step(frame),
      f: film.kind === "video" && (() => this.fullScreen()),
      c: scenes[at + 1] && (() => playback.seek(scenes[at + 1].start)),
      C: () => playback.seek(scenes[playback.now - scenes[at].start > 2 ? at : Math.max(at - 1, 0)].start),
      // In a scrolling list these keys scroll.
      ArrowUp: !target.closest(".lines, .volume") && (() => this.louder(0.05)), ArrowDown: !target.closest(".lines, .volume") && (() => this.louder(-0.05)),
    }[key] || (/^\d$/.test(key) && (() => playback.seek((film.seconds * Number(key)) / 10)));
    if (act) act();
    return Boolean(act);
  }
}
