// The page: what is asked, kept in its address; moments of all indexes together, or results of one, or two beside each other.

import * as api from "./api.js";
import { card, KINDS, stageOf } from "./cards.js";
import { $, clock, h, many, problemBox, toast } from "./dom.js";
import { Sky } from "./map.js";
import { stop } from "./player.js";

const K = 24;
const MODALITIES = { seen: "video", heard: "audio" }; // of one index; all else is text
const FIELDS = ["label", "source", "says", "min", "max"];

let about = null; // what the server said of the library
let parts = []; // {kind: "clip", id, name} or {kind: "file", file, name, ...}, each with a weight
let pending = null; // aborts the search that is under way
let sky = null;
let shownK = K;

// -- the address ------------------------------------------------------------------------------------------------------

function readAddress() {
  const given = new URLSearchParams(location.search);
  $("q").value = given.get("q") || "";
  const files = parts.filter((part) => part.kind === "file");
  parts = given.getAll("like").map((id) => ({ kind: "clip", id, name: id, weight: 1 }));
  if (history.state?.files) parts.push(...files); // a file cannot be in an address
  const names = about.runs.map((run) => run.name);
  $("run").value = names.includes(given.get("run")) ? given.get("run") : "";
  $("with").value = names.includes(given.get("with")) ? given.get("with") : "";
  $("details").open ||= Boolean($("run").value || $("with").value);
  for (const name of FIELDS) $(name).value = given.get(name) || "";
  for (const name of ["kinds", "splits"]) {
    const on = given.getAll(name);
    for (const box of $(name).querySelectorAll("input")) box.checked = on.includes(box.value);
  }
  $("hybrid").checked = given.has("hybrid");
  $("filters").open ||= countFilters() > 0 && matchMedia("(min-width: 40rem)").matches;
  return given;
}

function writeAddress(push = true) {
  const given = new URLSearchParams();
  if ($("q").value.trim()) given.set("q", $("q").value.trim());
  for (const part of parts) if (part.kind === "clip") given.append("like", part.id);
  if ($("run").value) given.set("run", $("run").value);
  if ($("with").value) given.set("with", $("with").value);
  for (const name of FIELDS) if ($(name).value) given.set(name, $(name).value);
  for (const name of ["kinds", "splits"]) for (const value of checked(name)) given.append(name, value);
  if ($("hybrid").checked) given.set("hybrid", "1");
  if (!$("map").hidden) given.set("view", "map");
  const address = `${location.pathname}${given.size ? `?${given}` : ""}`;
  const state = { files: parts.some((part) => part.kind === "file") };
  if (push && address !== location.pathname + location.search) history.pushState(state, "", address);
  else history.replaceState(state, "", address);
}

const checked = (name) => [...$(name).querySelectorAll("input:checked")].map((box) => box.value);

function countFilters() {
  return FIELDS.filter((name) => $(name).value).length + checked("kinds").length + checked("splits").length + Number($("hybrid").checked);
}

// -- asking -----------------------------------------------------------------------------------------------------------

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

async function partsFor(run, signal) {
  const asked = [];
  const text = $("q").value.trim();
  if (text) asked.push({ text, weight: textWeight() });
  for (const part of parts) {
    if (part.kind === "clip") asked.push({ clip: part.id, weight: part.weight });
    else {
      part.sent ||= {};
      part.sent[run] ||= await api.upload(part.file, run, signal).catch((problem) => {
        if (problem.message) problem.message = `${part.name}: ${problem.message}`;
        throw problem;
      });
      const about_ = part.sent[run];
      if (!part.found) Object.assign(part, { found: about_ }) && showParts();
      const modality = about_.modalities.includes(part.modality) ? part.modality : null;
      asked.push({ upload: about_.id, modality, weight: part.weight });
    }
  }
  return asked;
}

const textWeight = () => Number($("parts").querySelector("[data-text] input")?.value ?? 1);

async function searchIn(run, signal, tries = 1) {
  const kinds = checked("kinds");
  const alone = { modalities: [...new Set(kinds.map((kind) => MODALITIES[kind] || "text"))], hybrid: $("hybrid").checked };
  try {
    return await api.search({ parts: await partsFor(run, signal), run, k: shownK, filters: filters(), ...(run ? alone : { kinds }) }, signal);
  } catch (problem) {
    if (problem.code !== "upload_gone" || !tries) throw problem;
    for (const part of parts) if (part.sent) delete part.sent[run];
    return searchIn(run, signal, tries - 1);
  }
}

async function search({ push = true, k = K } = {}) {
  stop();
  shownK = k;
  view("search");
  showFilterCount();
  showParts();
  writeAddress(push);
  $("moment").hidden = true;
  $("moment").replaceChildren();
  pending?.abort();
  if (!$("q").value.trim() && !parts.length) return begin();
  $("start").hidden = true;
  const { signal } = (pending = new AbortController());
  const runs = [$("run").value, ...($("with").value ? [$("with").value] : [])].filter((name, n, all) => all.indexOf(name) === n);
  $("results").setAttribute("aria-busy", "true");
  $("said").textContent = "Searching…";
  const found = await Promise.all(runs.map((run) => searchIn(run, signal).catch((problem) => ({ run, problem, hits: [] }))));
  if (signal.aborted) return undefined;
  $("results").removeAttribute("aria-busy");
  show(found);
  return undefined;
}

// -- showing ----------------------------------------------------------------------------------------------------------

function show(found) {
  const places = found.map((answer) => new Map(answer.hits.map((hit, n) => [hit.clip.id, n + 1])));
  const both = found.length > 1;
  $("results").className = both ? "two" : "";
  $("results").replaceChildren(...found.map((answer, n) => column(answer, both ? { name: called(found[1 - n].run), places: places[1 - n] } : null)));
  const fine = found.filter((answer) => !answer.problem);
  const time = Math.round(Math.max(0, ...fine.map((answer) => answer.milliseconds)));
  if (!fine.length) $("said").textContent = "";
  else if (both) {
    const shared = [...places[0].keys()].filter((id) => places[1].has(id)).length;
    $("said").textContent = `${fine.map((a) => `${called(a.run)}: ${many(a.hits.length, a.run ? "clip" : "moment")}`).join(", ")}; ${shared} in both`;
  } else if (fine[0].hits.length && fine[0].words === "nothing close") {
    $("said").textContent = `Nothing close to ${asked()}; the nearest are:`;
  } else $("said").textContent = fine[0].hits.length ? `${many(fine[0].hits.length, fine[0].run ? "clip" : "moment")}, best first, in ${time} ms` : "";
}

const called = (run) => run || "all together";

// What is searched for, for a sentence.
function asked() {
  const text = $("q").value.trim();
  return [...(text ? [text] : []), ...parts.map((part) => part.name)].map((name) => `'${name}'`).join(" + ");
}

function column(answer, other) {
  const ranked = $("hybrid").checked;
  const cards = answer.hits.map((hit, n) => {
    const there = other?.places.get(hit.clip.id);
    const note = other ? (there ? `${other.name}: ${there === n + 1 ? "the same place" : `place ${there}`}` : `${other.name}: not in its first ${shownK}`) : "";
    return card(hit, { query: $("q").value, more: like, other: note, rank: n + 1, ranked });
  });
  const part = h("div", { class: "column", "data-run": answer.run });
  if (other) part.append(h("h2", {}, called(answer.run)));
  if (answer.problem) part.append(problemBox(answer.problem));
  else if (!cards.length) part.append(h("p", { class: "nothing" }, "Nothing found: the filters leave no clip."));
  else part.append(h("ol", { class: "cards" }, ...cards));
  if (cards.length === shownK && shownK < 192) part.append(h("button", { type: "button", class: "further", onclick: () => search({ push: false, k: Math.min(192, shownK * 2) }) }, "Show more"));
  return part;
}

function showParts() {
  const text = $("q").value.trim();
  const weigh = parts.length + Number(Boolean(text)) > 1;
  const weight = (value, set, name) => {
    const number = h("output", {}, `×${value}`);
    const slider = h("input", { type: "range", min: "-1", max: "2", step: "0.1", value, "aria-label": `Weight of ${name}`,
      oninput: () => { number.textContent = `×${slider.value}`; set(Number(slider.value)); }, onchange: () => search({ push: false }) });
    return weigh ? h("span", { class: "weight" }, slider, number) : null;
  };
  const chips = [];
  if (text && weigh) chips.push(h("li", { "data-text": true }, h("span", { class: "name" }, `“${text}”`), weight(textWeight(), () => {}, "the words")));
  for (const part of parts) {
    const remove = h("button", { type: "button", class: "remove", "aria-label": `Remove ${part.name}`, onclick: () => { parts = parts.filter((one) => one !== part); search(); } }, "×");
    chips.push(h("li", {}, face(part), h("span", { class: "name" }, part.kind === "clip" ? `like ${part.name}` : part.name),
      sides(part), weight(part.weight, (value) => { part.weight = value; }, part.name), remove));
  }
  $("parts").replaceChildren(...chips);
}

function face(part) {
  if (part.kind === "file" && part.file.type.startsWith("image/")) {
    part.address ||= URL.createObjectURL(part.file);
    return h("img", { src: part.address, alt: "" });
  }
  return null;
}

// Of a video: what was seen, what was heard, or both.
function sides(part) {
  if ((part.found?.modalities.length || 0) < 2) return null;
  const choice = h("select", { "aria-label": `What of ${part.name}`, onchange: () => { part.modality = choice.value; search({ push: false }); } },
    ...[["", "seen and heard"], ["video", "seen"], ["audio", "heard"]].map(([value, name]) => h("option", { value, selected: (part.modality || "") === value }, name)));
  return choice;
}

function showFilterCount() {
  const count = countFilters();
  $("filter-count").textContent = count ? `(${count})` : "";
}

function begin() {
  $("results").replaceChildren();
  $("said").textContent = "";
  $("start").hidden = Boolean(about.problem);
  return undefined;
}

function like(clip) {
  $("q").value = "";
  parts = [{ kind: "clip", id: clip.id, name: clip.texts[0]?.text || clip.source, weight: 1 }];
  search();
  window.scrollTo({ top: 0 });
}

async function showMoment(id, time) {
  try {
    const clip = await api.clip(id);
    const start = Number.isFinite(time) && time >= clip.start && time < clip.end ? time : clip.start;
    const one = card({ clip, start, end: clip.end, text: "" }, { more: like });
    $("moment").replaceChildren(h("h2", {}, clip.end > clip.start ? `From ${clock(start)}` : "A clip"), h("ol", { class: "cards" }, one));
    stageOf(one).toggle();
  } catch (problem) {
    $("moment").replaceChildren(problemBox(problem));
  }
  $("moment").hidden = false;
  $("start").hidden = true;
}

// -- views ------------------------------------------------------------------------------------------------------------

// The index of the chosen run, or of the one beside it, lacks clips.
function showBehind() {
  const chosen = about.runs.filter((run) => run.behind && ([$("run").value, $("with").value].includes(run.name) || (run.together && !$("run").value)));
  const lines = new Map(chosen.map((run) => [run.behind.split(": run")[1], run.behind.replaceAll("`", "")])); // one for each command
  $("behind").textContent = [...lines.values()].join(" · ");
  $("behind").hidden = !chosen.length;
}

function view(name) {
  const map = name === "map";
  showBehind();
  $("map").hidden = !map;
  for (const id of ["ask", "results"]) $(id).hidden = map;
  $("said").hidden = map;
  if (map) $("start").hidden = $("moment").hidden = true;
  $("to-map").setAttribute("aria-pressed", map);
  $("to-search").setAttribute("aria-pressed", !map);
  $("with-label").hidden = map;
  $("hybrid-label").hidden = !$("run").value && !$("with").value; // of all together that is so anyway
}

function showMap({ push = true } = {}) {
  stop();
  view("map");
  writeAddress(push);
  sky ||= new Sky({ more: like });
  sky.open($("run").value);
}

async function go() {
  const given = readAddress();
  showFilterCount();
  if (given.get("view") === "map") return showMap({ push: false });
  if (given.has("clip")) {
    view("search");
    begin();
    return showMoment(given.get("clip"), Number(given.get("t") ?? NaN));
  }
  return search({ push: false });
}

// -- files ------------------------------------------------------------------------------------------------------------

function take(files) {
  const taken = [...files].slice(0, 7 - parts.length);
  for (const file of taken) {
    if (file.size > about.upload_mb * 1e6) toast(`${file.name} is larger than ${about.upload_mb} MB.`);
    else parts.push({ kind: "file", file, name: file.name || "a file", weight: 1 });
  }
  if (taken.length) search();
}

function watchDrops() {
  let depth = 0;
  const over = (on) => { $("drop").hidden = !on; };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && !about?.problem;
  addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; over(true); event.preventDefault(); } });
  addEventListener("dragleave", (event) => { if (hasFiles(event)) { depth -= 1; over(depth > 0); } });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    depth = 0;
    over(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => { if (event.clipboardData?.files.length && !about?.problem) take(event.clipboardData.files); });
}

// -- keys -------------------------------------------------------------------------------------------------------------

function watchKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    const field = event.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (event.key === "Escape") { stop(); if (field) field.blur(); return; }
    if (field) return;
    const cards = [...document.querySelectorAll("main .card")].filter((one) => one.offsetParent);
    const here = document.activeElement.closest?.(".card");
    const on = here === document.activeElement;
    const act = {
      "/": () => { if ($("ask").hidden) search({ push: false }); $("q").focus(); $("q").select(); },
      "?": () => $("help").showModal(),
      j: () => focusCard(cards[cards.indexOf(here) + 1]),
      k: () => focusCard(cards[Math.max(cards.indexOf(here) - 1, 0)]),
      Enter: on && (() => stageOf(here).toggle()),
      " ": on && (() => stageOf(here).toggle()),
      m: here && (() => here.querySelector(".more").click()),
      l: here && (() => here.querySelector(".link").click()),
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
}

function focusCard(one) {
  one?.focus();
  one?.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

// -- the start --------------------------------------------------------------------------------------------------------

function option(value, name = value) {
  return h("option", { value }, name);
}

function check(value, name) {
  return h("label", { class: "check" }, h("input", { type: "checkbox", value, onchange: () => search() }), ` ${name}`);
}

function prepare() {
  $("library").textContent = `${about.library.split("/").pop()} · ${many(about.clips, "clip")}`;
  $("library").title = about.library;
  document.title = `seehear · ${about.library}`;
  $("run").replaceChildren(option("", called("")), ...about.runs.map((run) => option(run.name)));
  $("with").replaceChildren(option("", "nothing"), ...about.runs.map((run) => option(run.name)));
  $("details").hidden = !about.runs.length;
  $("kinds").append(...Object.entries(KINDS).map(([kind, name]) => check(kind, name)));
  $("splits").append(...Object.entries(about.splits).map(([name, n]) => check(name, `${name} ${n.toLocaleString("en")}`)));
  $("label").append(...Object.entries(about.labels).map(([name, n]) => option(name, `${name} (${n})`)));
  $("folders").append(...about.folders.map((name) => option(`${name}/*`)));
  const ideas = Object.keys(about.labels).slice(0, 8);
  $("ideas").replaceChildren(...ideas.map((name) => h("li", {}, h("button", { type: "button", onclick: () => { $("q").value = name; search(); } }, name))));
  if (about.problem) {
    const steps = ["empty", "no_run", "indexing"].includes(about.problem.code); // nothing has gone wrong: it is to be begun
    const box = problemBox(about.problem, steps ? { class: "problem steps" } : {});
    $("problem").replaceChildren(box, h("p", { class: "soft" }, "This page goes on by itself when that is done."));
    $("problem").hidden = false;
    $("to-map").disabled = true;
    setInterval(askAgain, 3000);
  }
}

// How far the folder is indexed, in a line at the top; nothing where this server indexes none.
async function showProgress() {
  const now = await api.progress().catch((problem) => ({ line: `${problem.message} Is it still running?` }));
  if (!now) return;
  $("progress").textContent = now.line;
  $("progress").hidden = now.state === "ready";
  setTimeout(showProgress, now.state === "working" ? 2000 : 5000);
}

async function askAgain() {
  const now = await api.status().catch(() => about);
  if (now.problem?.code !== about.problem.code) location.reload();
}

function listen() {
  $("ask").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  $("file").addEventListener("change", () => { take($("file").files); $("file").value = ""; });
  $("to-search").addEventListener("click", () => search());
  $("to-map").addEventListener("click", () => showMap());
  $("home").addEventListener("click", (event) => { event.preventDefault(); history.pushState(null, "", "/"); parts = []; go(); });
  $("run").addEventListener("change", () => ($("map").hidden ? search() : showMap()));
  $("with").addEventListener("change", () => search());
  $("details").addEventListener("toggle", () => document.body.classList.toggle("detailed", $("details").open));
  for (const name of [...FIELDS, "hybrid"]) $(name).addEventListener("change", () => search());
  $("clear").addEventListener("click", () => {
    for (const name of FIELDS) $(name).value = "";
    for (const box of $("filters").querySelectorAll("input:checked")) box.checked = false;
    search();
  });
  $("keys").addEventListener("click", () => $("help").showModal());
  addEventListener("popstate", go);
}

async function main() {
  try {
    about = await api.status();
  } catch (problem) {
    $("problem").replaceChildren(problemBox(problem));
    $("problem").hidden = false;
    return;
  }
  prepare();
  listen();
  watchDrops();
  watchKeys();
  showProgress();
  if (about.problem) $("ask").hidden = true;
  else await go();
  document.documentElement.dataset.ready = "yes";
}


main();
