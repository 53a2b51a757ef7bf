// Results by film: a card for each film with its best moments and a timeline of all; photos and sounds in lists.

import { acts, alsoIn, aside, cardOf, filmAddress, KINDS, sureness } from "./cards.js";
import { clock, fileName, h, many, marked } from "./dom.js";
import { correction } from "./own.js";
import { Stage } from "./player.js";

const SECTIONS = { video: ["film"], picture: ["photo"], sound: ["sound"], text: ["text"] };

// "2 films, 1 photo"
export function counted(films) {
  return Object.keys(grouped(films)).map((kind) => many(grouped(films)[kind].length, ...SECTIONS[kind])).join(", ");
}

// A list for each kind of file, best results first. `films`, `words`: from /api/search.
export function sections({ films, words }, { query, more }) {
  const options = { query, more, sure: words === "nothing close" ? () => null : sureness };
  const groups = Object.entries(grouped(films));
  return groups.map(([kind, own]) => {
    const cards = own.map((film) => (kind === "video" ? filmCard : fileCard)(film, options));
    const name = `${SECTIONS[kind][0][0].toUpperCase()}${SECTIONS[kind][0].slice(1)}s`;
    const list = h("ol", { class: `cards ${kind}s`, "aria-label": name }, ...cards);
    return h("section", { class: "kind" }, h("h2", { class: groups.length > 1 ? null : "unseen" }, name), list);
  });
}

function grouped(films) {
  const groups = {};
  for (const film of films) (groups[film.clip.kind] ||= []).push(film);
  return groups;
}

const folder = (path) => path.split("/").slice(0, -1).join("/");

// A moment's clip for the player, from the moment's start to its end.
function clipOf(film, hit) {
  const { start, end } = film.clip.id === hit.clip ? film.clip : hit;
  return { ...film.clip, id: hit.clip, start, end };
}

function filmCard(film, { query, more, sure }) {
  const title = fileName(film.source);
  const [best] = film.hits;
  const note = h("p", { class: "note", hidden: true });
  const link = filmAddress(film.source, best.start, query);
  let stage = null;
  const element = h("li", { class: "card film", tabindex: "0", "data-id": film.clip.id, "data-source": film.source, "aria-label": title });
  const use = (hit) => {
    stage?.media?.pause();
    const next = new Stage(clipOf(film, hit), hit);
    next.note = note; // all moments share one place for notes
    note.hidden = true;
    if (stage) stage.element.replaceWith(next.element);
    stage = cardOf(element, next);
    return stage;
  };
  const play = (hit) => use(hit).toggle();
  use(best);
  element.append(
    stage.element,
    h("div", { class: "body" },
      h("h3", { class: "title" }, h("a", { href: link }, title)),
      h("p", { class: "where" }, folder(film.source) && h("span", { class: "path", title: film.source }, folder(film.source)), ...aside(film.clip)),
      h("ol", { class: "moments" }, ...film.hits.map((hit) => h("li", {}, ...correctable(momentRow(hit, query, play, sure), hit, hit.clip)))),
      alsoIn(film), note, acts(film.clip, best.start, more, h("a", { href: link }, "Open film"))),
    strip(film, play));
  widens(element);
  return element;
}

// The text of a hit, and the button to correct it.
function correctable(element, hit, clip) {
  return ["seen", "heard"].includes(hit.kind) || !hit.text ? [element] : [element, correction(element, { clip, text: hit.text })];
}

// Not for hits that are seen or heard: the clip's text need not be about them.
function momentRow(hit, query, play, sure) {
  return h("button", { type: "button", class: "moment", onclick: () => play(hit) },
    h("span", { class: `mod ${hit.kind}` }, KINDS[hit.kind]), h("span", { class: "when" }, clock(Math.floor(hit.start))), sure(hit),
    ["seen", "heard"].includes(hit.kind) ? null : h("span", { class: "words" }, ...marked(hit.text, query)));
}

// Card of a sound, a photo or a text.
function fileCard(film, { query, more, sure }) {
  const { clip } = film, [hit] = film.hits;
  const title = fileName(film.source);
  const element = h("li", { class: `card ${clip.kind}`, tabindex: "0", "data-id": clip.id, "data-source": film.source, "aria-label": title || hit.text });
  const stage = cardOf(element, new Stage(clip, hit));
  const link = filmAddress(film.source, clip.kind === "sound" ? hit.start : null, clip.kind === "sound" ? query : "");
  if (clip.kind === "picture" && !clip.missing) stage.element.append(h("a", { class: "open", href: link, tabindex: "-1", "aria-label": `Open ${title}` }));
  element.append(
    stage.element,
    h("div", { class: "body" },
      title ? h("h3", { class: "title" }, h("a", { href: link }, title)) : null,
      h("p", { class: "score" }, h("span", { class: `mod ${hit.kind}` }, KINDS[hit.kind]), sure(hit)),
      ...(hit.text ? correctable(h("p", { class: ["seen", "heard"].includes(hit.kind) ? "words soft" : "words" }, ...marked(hit.text, query)), hit, clip.id) : []),
      h("p", { class: "where" }, folder(film.source) && h("span", { class: "path", title: film.source }, folder(film.source)), ...aside(clip)),
      alsoIn(film), stage.note, acts(clip, hit.start, more)));
  return element;
}

// Timeline of all moments of a film.
function strip(film, play) {
  const length = Math.max(film.seconds, ...film.hits.map((hit) => hit.end), 0.1);
  const now = h("i", { class: "now", hidden: true });
  const hits = [...film.hits].sort((a, b) => a.start - b.start);
  const marks = hits.map((hit, n) => {
    const name = `${KINDS[hit.kind]} at ${clock(Math.floor(hit.start))}${hit.text && !["seen", "heard"].includes(hit.kind) ? `: ${hit.text}` : ""}`;
    const mark = h("button", { type: "button", class: `mark ${hit.kind}`, tabindex: n ? "-1" : "0", "aria-label": name, title: name, onclick: () => play(hit) });
    mark.style.left = `${(100 * hit.start) / length}%`;
    mark.style.width = `${(100 * (hit.end - hit.start)) / length}%`;
    mark.style.opacity = 0.45 + 0.55 * hit.confidence;
    return mark;
  });
  const step = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = marks[marks.indexOf(document.activeElement) + by];
    if (!next) return;
    for (const mark of marks) mark.tabIndex = mark === next ? 0 : -1;
    next.focus();
  };
  const track = h("div", { class: "track", role: "group", "aria-label": "Moments along the film", onkeydown: step }, ...marks, now);
  track.moved = (seconds) => {
    now.hidden = false;
    now.style.left = `${Math.min(100, (100 * seconds) / length)}%`;
  };
  return h("div", { class: "strip" }, track, h("span", { class: "soft" }, clock(Math.round(length))));
}

// The playing card is enlarged, and its timeline shows the position. Media events do not bubble, so they are captured.
function widens(element) {
  element.addEventListener("play", () => {
    for (const other of document.querySelectorAll(".card.playing")) other.classList.toggle("playing", other === element);
    if (element.classList.contains("playing")) return;
    element.classList.add("playing");
    element.scrollIntoView({ block: "nearest" });
  }, true);
  element.addEventListener("timeupdate", (event) => element.querySelector(".track").moved(event.target.currentTime + cardOf(element).offset), true);
}
