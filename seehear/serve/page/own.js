// The user's labels and corrected lines, "More like this" and "Not this".

import * as api from "./api.js";
import { h, iconButton, toast, told } from "./dom.js";
import { nameClip } from "./query.js";
import { go } from "./router.js";

const LIKED = 1, DISLIKED = -0.05; // total weight of all liked clips relative to the words, and of all disliked (benchmarks/refine.py)
const MOST = 12; // liked and disliked clips of a query

// -- more of this, not this ---------------------------------------------------------------------------------------------

// Weight of each of `count` liked or disliked clips.
export const weightOf = (how, count) => (how === "like" ? LIKED : DISLIKED) / count;

const asked = () => new URLSearchParams(location.search);

// Repeats the search with a preference for clips like this one ("like"), or without them ("unlike").
function refine(clip, how) {
  const params = asked();
  if (params.getAll("like").length + params.getAll("unlike").length >= MOST) return toast(`A search takes at most ${MOST} clips: remove one first.`);
  params.append(how, clip.id);
  nameClip(clip);
  return go(`/?${params}`);
}

export const moreOf = (clip) => refine(clip, "like");

export function notThis(clip) {
  if (location.pathname !== "/" || !["q", "like", "added"].some((name) => asked().has(name))) return null;
  return h("button", { type: "button", class: "not-this", title: "Leave out this clip and near copies of it", onclick: () => refine(clip, "unlike") }, "Not this");
}

// -- labels -------------------------------------------------------------------------------------------------------------

const TAG = "M4 4h7.5l8.5 8.5-7.5 7.5L4 11.5zM8 8h.01";

export const labelButton = (clip) => iconButton("Labels", TAG, { class: "labels", onclick: (event) => labels(clip, event.currentTarget) });

// Dialog for the labels of a clip {id, labels}. `from`: the button that opened it, whose card's tags are updated.
// `changed()` is called after each change.
export function labels(clip, from, { name = "Labels", changed = () => {} } = {}) {
  const known = h("datalist", { id: "own-known" });
  api.status().then(({ labels: all }) => known.append(...Object.keys(all).map((value) => h("option", { value }))), () => {});
  const list = h("ul", { class: "own-labels", "aria-label": "Labels of this clip" });
  const said = h("p", { class: "soft", role: "status" });
  const field = h("input", { type: "text", list: "own-known", maxlength: "200", "aria-label": "A label to add", placeholder: "a label", autocomplete: "off" });
  const show = () => {
    list.replaceChildren(...clip.labels.map((label) => h("li", { class: "tag" }, label, " ",
      h("button", { type: "button", class: "remove", "aria-label": `Remove ${label}`, onclick: () => send({ remove: [label] }) }, "×"))));
    said.textContent = clip.labels.length ? "" : "No labels yet.";
  };
  const send = async (change) => {
    try {
      const answer = await api.label({ clip: clip.id, ...change });
      clip.labels = answer.clip.labels;
      show();
      tags(from, clip);
      changed();
      field.focus();
    } catch (problem) {
      said.textContent = told(problem);
    }
  };
  const add = (event) => {
    event.preventDefault();
    const label = field.value.trim();
    field.value = "";
    if (label && !clip.labels.includes(label)) send({ add: [label] });
  };
  const dialog = h("dialog", { class: "own", "aria-label": name },
    h("h2", {}, name), list, said,
    h("form", { onsubmit: add }, field, known, h("button", { class: "go", type: "submit" }, "Add")),
    h("form", { method: "dialog" }, h("button", { class: "plain" }, "Done")));
  dialog.addEventListener("close", () => { dialog.remove(); from?.focus(); });
  document.body.append(dialog);
  show();
  dialog.showModal();
  field.focus();
}

function tags(from, clip) {
  const where = from?.closest(".card")?.querySelector(".where");
  if (!where) return;
  for (const tag of where.querySelectorAll(".tag:not(.split)")) tag.remove();
  const split = where.querySelector(".tag.split");
  for (const name of clip.labels) where.insertBefore(h("span", { class: "tag" }, name), split);
}

// -- corrected lines ----------------------------------------------------------------------------------------------------

// Button to correct a line. `words`: the element that shows it, in a part of class "words" or "line-text" if there is
// one; `line`: {clip, text} and, as far as known, {kind, start, end, machine}, kept up to date. `opened()` is called
// before editing, `changed()` after saving or undoing.
export function correction(words, line, { opened = () => {}, changed = () => {} } = {}) {
  const edit = () => { opened(); correct(words, line, button, changed); };
  const button = h("button", { type: "button", class: "correct", "aria-label": `Correct “${line.text}”`, title: "Correct", onclick: edit }, "✎");
  return button;
}

function correct(words, line, button, changed) {
  const field = h("textarea", { rows: "3", maxlength: "2000", "aria-label": "Corrected line" });
  field.value = line.text;
  const hint = h("p", { class: "soft" }, line.machine ? "Enter saves, Escape cancels. Empty: the line is removed." : "Enter saves, Escape cancels.");
  const form = h("form", { class: "correcting" }, field, h("div", {}, h("button", { type: "submit", class: "go" }, "Save"), h("button", { type: "button", class: "plain", onclick: () => leave() }, "Cancel")), hint);
  const leave = () => {
    form.replaceWith(words);
    button.hidden = false;
    button.focus();
  };
  const save = async () => {
    const text = field.value.split(/\s+/).filter(Boolean).join(" ");
    if (text === line.text) return leave();
    try {
      const answer = await api.correct({ clip: line.clip, kind: line.kind ?? null, start: line.start ?? null, end: line.end ?? null, before: line.text, text });
      const before = { ...line };
      Object.assign(line, { text, machine: false });
      showLine(words, line, button);
      leave();
      changed();
      const later = answer.searchable ? "" : " Searches find it when indexing has finished.";
      toast(`${text ? "The line is corrected." : "The line is removed."}${later}`, { name: "Undo", run: () => undo(answer.edits[0], before, line, words, button, changed) });
    } catch (problem) {
      hint.textContent = told(problem);
      hint.setAttribute("role", "alert");
    }
    return undefined;
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); save(); });
  form.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the page has keys of its own
    if (event.key === "Escape") leave();
    else if (event.key === "Enter" && event.target === field && !event.isComposing) { event.preventDefault(); save(); }
  });
  words.replaceWith(form);
  button.hidden = true;
  field.focus();
  field.select();
}

async function undo(edit, before, line, words, button, changed) {
  try {
    await api.undoEdit(edit);
    Object.assign(line, before);
    showLine(words, line, button);
    changed();
    toast("The correction is undone.");
  } catch (problem) {
    toast(told(problem));
  }
}

function showLine(words, line, button) {
  (words.querySelector(".words, .line-text") || words).textContent = line.text || "removed";
  words.classList.toggle("gone", !line.text);
  button.disabled = !line.text;
  button.setAttribute("aria-label", `Correct “${line.text}”`);
}
