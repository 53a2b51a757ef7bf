// Results as cards, with their actions.

import { clock, h, iconButton, KINDS, marked, toast } from "./dom.js";
import * as own from "./own.js";
import { Stage } from "./player.js";
import { saver, selectable, toggle } from "./select.js";

export { KINDS };
const LINK = "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.7-5.7L12 7m2 3a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.7 5.7L12 17";
const stages = new WeakMap();

// Returns the stage of a card, after setting it to `stage` if given.
export function cardOf(element, stage = null) {
  if (stage) {
    stages.set(element, stage);
    selectable(element, stage, momentLink(stage.clip, stage.start));
  }
  return stages.get(element);
}

// Address of a film, sound or photo at a second; `query`: words whose hits it marks.
export function filmAddress(file, seconds = null, query = "") {
  const at = seconds == null ? {} : { t: String(Math.round(seconds * 100) / 100) };
  return `/film?${new URLSearchParams({ file, ...at, ...(query ? { q: query } : {}) })}`;
}

function momentLink(clip, start) {
  const address = clip.source ? filmAddress(clip.source, clip.end > clip.start ? start : null) : `/?${new URLSearchParams({ clip: clip.id })}`;
  return new URL(address, location.href).href;
}

// Buttons of a clip, `first` before the others.
export function acts(clip, start, more, first = null) {
  return h("div", { class: "acts" }, first,
    h("button", { type: "button", class: "more", onclick: () => more(clip) }, "More like this"),
    own.notThis(clip),
    h("span", { class: "icons" }, own.labelButton(clip), saver(clip, cardOf),
      iconButton("Copy link", LINK, { class: "link", onclick: () => copy(momentLink(clip, start)) })));
}

// Tags of a clip: labels, and the split among the details.
export function aside(clip) {
  return [...clip.labels.map((label) => h("span", { class: "tag" }, label)), clip.split ? h("span", { class: "tag split" }, clip.split) : null];
}

// Card of a hit from /api/search, or of a clip: {clip, start, end, text}.
export function card(hit, { query = "", more, other = "", rank = 0, ranked = false } = {}) {
  const { clip } = hit;
  const stage = new Stage(clip, hit);
  const title = hit.text || clip.texts[0]?.text || clip.labels[0] || clip.source;
  const element = h(
    "li", { class: "card", tabindex: "0", "data-id": clip.id, "aria-label": `${rank ? `${rank}: ` : ""}${title}` },
    stage.element,
    h("div", { class: "body" },
      h("p", { class: "words" }, ...marked(title, query)),
      hit.kind ? scored(hit, ranked) : null,
      h("p", { class: "where" }, title === clip.source ? null : h("span", { class: "path", title: clip.source }, clip.source || "text alone"),
        ...aside(clip)),
      alsoIn(hit),
      other ? h("p", { class: "other" }, other) : null,
      stage.note,
      transcript(clip, stage, query),
      acts(clip, hit.start, more)),
  );
  cardOf(element, stage);
  return element;
}

// Confidence of a hit in words: among close ones, a hit that is not close is 'unlikely'.
export const sureness = (hit) => h("span", { class: "number", title: `confidence ${hit.confidence.toFixed(2)}` }, hit.words === "nothing close" ? "unlikely" : hit.words);

function scored(hit, ranked) {
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("i"));
  bar.firstChild.style.width = `${Math.round(100 * Math.min(1, Math.max(0, hit.confidence ?? (ranked ? hit.score * 30 : hit.score))))}%`;
  const number = hit.words
    ? sureness(hit)
    : h("span", { class: "number", title: ranked ? "sum of reciprocal ranks" : "cosine" }, hit.score.toFixed(ranked ? 4 : 2));
  return h("p", { class: "score" }, h("span", { class: `mod ${hit.kind}` }, KINDS[hit.kind]), bar, number);
}

// Other places of a hit's or film's file.
export function alsoIn({ also = [] }) {
  const names = also.map((path) => path.split("/").slice(-2).join("/"));
  return also.length ? h("p", { class: "also", title: also.join("\n") }, `also in ${names.join(", ")}`) : null;
}

function transcript(clip, stage, query) {
  if (!clip.texts.length) return null;
  const lines = clip.texts.map((text) => {
    const words = h("span", {}, ...marked(text.text, query));
    const line = { clip: clip.id, ...text };
    const correct = own.correction(words, line);
    if (text.start == null || !stage.playable) return h("li", {}, words, correct);
    const jump = () => {
      Object.assign(stage, { start: text.start, end: text.end > text.start ? text.end : clip.end }); // plays that line
      if (stage.media) stage.media.currentTime = text.start - stage.offset;
      if (!stage.media || stage.media.paused) stage.toggle();
    };
    return h("li", {}, h("button", { type: "button", class: "at", onclick: jump }, clock(text.start)), " ", words, correct);
  });
  return h("details", { class: "transcript" }, h("summary", {}, clip.texts.length === 1 ? "Its text" : `All ${clip.texts.length} texts`), h("ul", {}, ...lines));
}

export async function copy(address) {
  try {
    await navigator.clipboard.writeText(address);
    toast("The link to this moment is copied.");
  } catch {
    history.replaceState(null, "", address);
    toast("The link to this moment is in the address bar.");
  }
}

// Handles a key for the focused card, or moves the focus to one. Returns whether the key was used.
export function cardKeys(event) {
  const cards = [...document.querySelectorAll("main .card")].filter((one) => one.offsetParent);
  const here = document.activeElement.closest?.(".card");
  const on = here === document.activeElement;
  const play = () => (here.querySelector(".open") || { click: () => cardOf(here).toggle() }).click();
  const act = {
    j: () => focusCard(cards[cards.indexOf(here) + 1]),
    k: () => focusCard(cards[Math.max(cards.indexOf(here) - 1, 0)]),
    Enter: on && here && play,
    " ": on && here && play,
    x: here && (() => toggle(here)),
    m: here && (() => here.querySelector(".more").click()),
    l: here && (() => here.querySelector(".link").click()),
  }[event.key];
  if (act) act();
  return Boolean(act);
}

function focusCard(one) {
  one?.focus();
  one?.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}
