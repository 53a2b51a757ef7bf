// Results of the query in the address: films of all indexes together, clips of one index, or two indexes side by side.

import * as api from "./api.js";
import { card, cardKeys, cardOf, KINDS } from "./cards.js";
import { $, clock, h, many, problemBox } from "./dom.js";
import { counted, sections } from "./filmcards.js";
import { moreOf, weightOf as weightOfClip } from "./own.js";
import { stop } from "./player.js";
import { files, nameOf, TOGETHER, weights } from "./query.js";
import { saveButton } from "./saved.js";

export { cardKeys as keys };
export const KEYS = [
  [["j", "k"], "next and previous result"], [["Enter"], "play or stop it; open a photo"], [["←", "→"], "moments on its timeline"],
  [["x"], "select or deselect it"], [["m"], "more like it"], [["l"], "copy a link to its moment"],
];

const K = 24, MOST = 192;
const MODALITIES = { seen: "video", heard: "audio" }; // for one index; all other kinds are text
const FIELDS = ["label", "source", "says", "min", "max"];

let shell = null;
let parts = []; // {key, name, weight, text | clip | file}
let pending = null; // controller of the running search
let shownK = K;

const called = (name) => {
  const run = name && shell.about.runs.find((one) => one.name === name);
  return run?.title || name || TOGETHER;
};

export async function show(outlet, params, given) {
  shell = given;
  outlet.append(
    h("ul", { id: "parts", "aria-label": "Query" }), filterForm(),
    h("div", { class: "saying" }, h("p", { id: "said", role: "status", "aria-live": "polite" }), saveButton()),
    h("section", { id: "moment", "aria-label": "The moment", hidden: true }),
    h("section", { id: "results", "aria-label": "Results" }));
  await update(params);
  return () => pending?.abort();
}

export async function update(params) {
  pending?.abort();
  readParts(params);
  readFilters(params);
  showParts();
  shell.title(asked());
  $("moment").hidden = true;
  $("moment").replaceChildren();
  if (!params.has("clip")) return search();
  $("save").hidden = true;
  return showMoment(params.get("clip"), Number(params.get("t") ?? NaN));
}

// -- the address --------------------------------------------------------------------------------------------------------

function readParts(params) {
  const text = (params.get("q") || "").trim();
  parts = text ? [{ key: "text", name: `“${text}”`, text }] : [];
  for (const how of ["like", "unlike"]) {
    const clips = params.getAll(how);
    for (const clip of clips) parts.push({ key: `${how} ${clip}`, name: nameOf(clip), clip, how, usual: weightOfClip(how, clips.length) });
  }
  for (const name of params.getAll("added")) parts.push({ key: `file ${name}`, name, ...files.get(name) });
  for (const part of parts) part.weight = weights.get(part.key) ?? part.usual ?? 1;
}

function readFilters(params) {
  for (const name of FIELDS) $(name).value = params.get(name) || "";
  for (const name of ["kinds", "splits"]) {
    const on = params.getAll(name);
    for (const box of $(name).querySelectorAll("input")) box.checked = on.includes(box.value);
  }
  $("hybrid").checked = params.has("hybrid");
  $("hybrid-label").hidden = !$("run").value && !$("with").value; // searches of all together always do so
  const count = FIELDS.filter((name) => $(name).value).length + checked("kinds").length + checked("splits").length + Number($("hybrid").checked);
  $("filter-count").textContent = count ? `(${count})` : "";
  $("filters").open ||= count > 0 && matchMedia("(min-width: 40rem)").matches;
}

const checked = (name) => [...$(name).querySelectorAll("input:checked")].map((box) => box.value);

// Goes to the address for the search box, the filters and the parts.
function ask() {
  const given = new URLSearchParams();
  if ($("q").value.trim()) given.set("q", $("q").value.trim());
  for (const part of parts) {
    if (part.clip) given.append(part.how, part.clip);
    else if (!part.text) given.append("added", part.name);
  }
  for (const name of [...FIELDS, "run", "with"]) if ($(name).value) given.set(name, $(name).value);
  for (const name of ["kinds", "splits"]) for (const value of checked(name)) given.append(name, value);
  if ($("hybrid").checked) given.set("hybrid", "1");
  return shell.go(given.size ? `/?${given}` : "/");
}

// -- asking -------------------------------------------------------------------------------------------------------------

function filters() {
  return {
    source: $("source").value.trim(),
    labels: $("label").value ? [$("label").value] : [],
    splits: checked("splits"),
    min_seconds: $("min").value === "" ? null : Math.max(0, Number($("min").value)),
    max_seconds: $("max").value === "" ? null : Math.max(0, Number($("max").value)),
    says: $("says").value.trim(),
  };
}

async function partFor(part, run, signal) {
  const { text, clip, weight } = part;
  if (text) return { text, weight };
  if (clip) return { clip, weight };
  if (!part.file) throw new api.Problem(0, { message: `${part.name} is no longer known to this page`, todo: "Add it again: links do not contain files." });
  part.sent[run] ||= await api.upload(part.file, run, signal).catch((problem) => {
    if (problem.message) problem.message = `${part.name}: ${problem.message}`;
    throw problem;
  });
  const sent = part.sent[run], known = files.get(part.name);
  if (!known.modalities) {
    known.modalities = part.modalities = sent.modalities;
    showParts();
  }
  const modality = sent.modalities.includes(known.modality) ? known.modality : null;
  return { upload: sent.id, modality, weight };
}

const compares = () => Boolean($("with").value);

async function searchIn(run, signal, tries = 1) {
  const kinds = checked("kinds");
  const alone = { modalities: [...new Set(kinds.map((kind) => MODALITIES[kind] || "text"))], hybrid: $("hybrid").checked };
  try {
    const sent = [];
    for (const part of parts) sent.push(await partFor(part, run, signal));
    return await api.search({ parts: sent, run, k: shownK, filters: filters(), ...(run ? alone : { kinds, by: compares() ? "moment" : "film" }) }, signal);
  } catch (problem) {
    if (problem.code !== "upload_gone" || !tries) throw problem;
    for (const part of parts) if (part.sent) delete part.sent[run];
    return searchIn(run, signal, tries - 1);
  }
}

async function search({ k = K } = {}) {
  stop();
  shownK = k;
  pending?.abort();
  $("save").hidden = !parts.length;
  if (!parts.length) {
    $("said").textContent = "";
    $("results").replaceChildren(h("p", { class: "nothing" }, "Type words above, or add a sound, a picture or a video: the filters then apply to the search."));
    return;
  }
  const { signal } = (pending = new AbortController());
  const runs = [...new Set([$("run").value, ...($("with").value ? [$("with").value] : [])])];
  $("results").setAttribute("aria-busy", "true");
  $("said").textContent = "Searching…";
  const found = await Promise.all(runs.map((run) => searchIn(run, signal).catch((problem) => ({ run, problem, hits: [] }))));
  if (signal.aborted) return;
  $("results").removeAttribute("aria-busy");
  showFound(found);
}

// -- showing ------------------------------------------------------------------------------------------------------------

function showFound(found) {
  const places = found.map((answer) => new Map(answer.hits.map((hit, n) => [hit.clip.id, n + 1])));
  const both = found.length > 1;
  $("results").className = both ? "two" : "";
  $("results").replaceChildren(...found.map((answer, n) => column(answer, both ? { name: called(found[1 - n].run), places: places[1 - n] } : null)));
  const fine = found.filter((answer) => !answer.problem);
  if (both) {
    const shared = [...places[0].keys()].filter((id) => places[1].has(id)).length;
    $("said").textContent = fine.length ? `${fine.map((a) => `${called(a.run)}: ${many(a.hits.length, a.run ? "clip" : "moment")}`).join(", ")}; ${shared} in both` : "";
  } else $("said").replaceChildren(...(fine.length ? summary(fine[0]) : []));
}

// Summary of the results as a sentence.
function summary({ hits, films, words, milliseconds }) {
  if (!hits.length && !films?.length) return [];
  if (words === "nothing close") return ["Nothing close to ", h("em", {}, asked()), "; the nearest are:"];
  return [`${films ? counted(films) : many(hits.length, "clip")}, best first`, h("span", { class: "detail" }, `, in ${Math.round(milliseconds)} ms`)];
}

// The query, as part of a sentence.
function asked() {
  return parts.map((part) => part.text || `${part.how === "unlike" ? "not" : "like"} ${part.name}`).join(" + ");
}

function column(answer, other) {
  const part = h("div", { class: "column", "data-run": answer.run });
  if (other) part.append(h("h2", {}, called(answer.run)));
  const count = (answer.films || answer.hits).length;
  if (answer.problem) part.append(problemBox(answer.problem));
  else if (!count) part.append(h("div", { class: "nothing" }, h("p", {}, "Nothing matches with these filters."), h("button", { type: "button", class: "go", onclick: clearFilters }, "Clear filters")));
  else if (answer.films) part.append(...sections(answer, { query: $("q").value, more: moreOf }));
  else part.append(h("ol", { class: "cards" }, ...answer.hits.map((hit, n) => clipCard(hit, n, other))));
  if (count === shownK && shownK < MOST) part.append(h("button", { type: "button", class: "go further", onclick: () => search({ k: Math.min(MOST, shownK * 2) }) }, "Show more"));
  return part;
}

function clipCard(hit, n, other) {
  const there = other?.places.get(hit.clip.id);
  const note = other ? (there ? `${other.name}: ${there === n + 1 ? "the same place" : `place ${there}`}` : `${other.name}: not in its first ${shownK}`) : "";
  return card(hit, { query: $("q").value, more: moreOf, other: note, rank: n + 1, ranked: $("hybrid").checked });
}

async function showMoment(id, time) {
  try {
    const clip = await api.clip(id);
    const start = Number.isFinite(time) && time >= clip.start && time < clip.end ? time : clip.start;
    const one = card({ clip, start, end: clip.end, text: "" }, { more: shell.like });
    $("moment").replaceChildren(h("h2", {}, clip.end > clip.start ? `From ${clock(start)}` : "A clip"), h("ol", { class: "cards" }, one));
    cardOf(one).toggle();
  } catch (problem) {
    $("moment").replaceChildren(problemBox(problem));
  }
  $("said").textContent = "";
  $("results").replaceChildren();
  $("moment").hidden = false;
}

// -- parts and filters --------------------------------------------------------------------------------------------------

function showParts() {
  const weigh = parts.length > 1;
  $("parts").replaceChildren(...parts.filter((part) => weigh || !part.text).map((part) => {
    const remove = part.text ? null : h("button", { type: "button", class: "remove", "aria-label": `Remove ${part.name}`, onclick: () => { parts = parts.filter((one) => one !== part); ask(); } }, "×");
    return h("li", { "data-text": Boolean(part.text) }, face(part), h("span", { class: "name" }, part.clip ? `${part.how === "unlike" ? "not" : "like"} ${part.name}` : part.name), sides(part), weigh && part.how !== "unlike" ? weightOf(part) : null, remove);
  }));
}

function weightOf(part) {
  const number = h("output", {}, `×${Math.round(10 * part.weight) / 10}`);
  const slider = h("input", { type: "range", min: "-1", max: "2", step: "0.1", value: part.weight, title: "Weight in the search; below zero: less like this", "aria-label": `Weight of ${part.text ? "the words" : part.name}`,
    oninput: () => { number.textContent = `×${slider.value}`; part.weight = Number(slider.value); weights.set(part.key, part.weight); }, onchange: () => search() });
  return h("span", { class: "weight" }, slider, number);
}

function face(part) {
  if (!part.file?.type.startsWith("image/")) return null;
  const known = files.get(part.name);
  known.address ||= URL.createObjectURL(part.file);
  return h("img", { src: known.address, alt: "" });
}

// Choice for a video: search by its pictures, its sound, or both.
function sides(part) {
  if ((part.modalities?.length || 0) < 2) return null;
  const known = files.get(part.name);
  const choice = h("select", { "aria-label": `Picture or sound of ${part.name}`, onchange: () => { known.modality = choice.value; search(); } },
    ...[["", "seen and heard"], ["video", "seen"], ["audio", "heard"]].map(([value, name]) => h("option", { value, selected: (known.modality || "") === value }, name)));
  return choice;
}

function clearFilters() {
  for (const name of FIELDS) $(name).value = "";
  for (const box of $("filters").querySelectorAll("input:checked")) box.checked = false;
  return ask();
}

function filterForm() {
  const { labels, splits, folders } = shell.about;
  const option = (value, name = value) => h("option", { value }, name);
  const check = (value, name) => h("label", { class: "check" }, h("input", { type: "checkbox", value, onchange: ask }), ` ${name}`);
  return h("details", { id: "filters" },
    h("summary", {}, "Filters ", h("span", { id: "filter-count" })),
    h("div", { class: "fields" },
      h("fieldset", { id: "kinds" }, h("legend", {}, "Match only"), ...Object.entries(KINDS).map(([kind, name]) => check(kind, name))),
      h("fieldset", { id: "splits" }, h("legend", {}, "Split"), ...Object.entries(splits).map(([name, n]) => check(name, `${name} ${n.toLocaleString("en")}`))),
      h("label", {}, "Label ", h("select", { id: "label", onchange: ask }, option("", "any"), ...Object.entries(labels).map(([name, n]) => option(name, `${name} (${n})`)))),
      h("label", {}, "File or folder ", h("input", { id: "source", type: "text", list: "folders", placeholder: "talks/*", autocomplete: "off", onchange: ask })),
      h("datalist", { id: "folders" }, ...folders.map((name) => option(`${name}/*`))),
      h("label", {}, "Contains the words ", h("input", { id: "says", type: "text", placeholder: "any words", autocomplete: "off", onchange: ask })),
      h("fieldset", { class: "pair" }, h("legend", {}, "Length in seconds"),
        h("input", { id: "min", type: "number", min: "0", step: "any", placeholder: "0", "aria-label": "Shortest", onchange: ask }), "to",
        h("input", { id: "max", type: "number", min: "0", step: "any", placeholder: "any", "aria-label": "Longest", onchange: ask })),
      h("label", { class: "check", id: "hybrid-label" }, h("input", { id: "hybrid", type: "checkbox", onchange: ask }), " also by exact words"),
      h("button", { type: "button", id: "clear", onclick: clearFilters }, "Clear filters")));
}
