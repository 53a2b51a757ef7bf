// Moments selected on cards of any view, and the actions for all of them: download, list, links.

import * as api from "./api.js";
import { $, clock, h, iconButton, many, toast } from "./dom.js";

const LISTS = { edl: "Editor: EDL", otio: "Editor: OpenTimelineIO", m3u: "Player: M3U", csv: "Table: CSV" };
const PRESS = 450; // milliseconds of a long press
const picked = new Map(); // {clip, start, end, kind, text, link}, in the order of selection

const keyOf = ({ clip, start, end }) => `${clip.id} ${start} ${end}`;
const savable = (clip) => clip.kind !== "text" && !clip.missing;

// Adds a check box to a card, visible on hover, that selects the moment of its stage; `link`: address of the moment.
export function selectable(card, { moment }, link) {
  card.querySelector(".pick")?.remove();
  if (!savable(moment.clip)) return;
  const { clip, start, end } = moment;
  const place = end > start ? ` at ${clock(Math.floor(start))}` : "";
  const box = h("input", { type: "checkbox", checked: picked.has(keyOf(moment)), "aria-label": `Select ${clip.source}${place}` });
  box.addEventListener("change", () => pick(moment, link, box.checked));
  card.prepend(h("label", { class: "pick" }, box));
}

// Button that downloads the current moment of a card's stage.
export function saver(clip, stageOf) {
  if (!savable(clip)) return null;
  return iconButton("Download", "M12 4v11m-4.5-4.5L12 15l4.5-4.5M4.5 19.5h15", { class: "save", onclick: (event) => save(stageOf(event.currentTarget.closest(".card"))) });
}

// Selects or deselects the moment of a card.
export function toggle(card) {
  card.querySelector(".pick input")?.click();
}

function save({ moment: { clip, start, end } }) {
  h("a", { href: api.cutOf(clip.id, start, end), download: "" }).click();
}

function pick(moment, link, on) {
  if (on) picked.set(keyOf(moment), { ...moment, clip: moment.clip.id, text: moment.text.slice(0, 500), link });
  else picked.delete(keyOf(moment));
  showBar();
}

function clear() {
  picked.clear();
  for (const box of document.querySelectorAll(".pick input:checked")) box.checked = false;
  showBar();
}

// -- the bar ------------------------------------------------------------------------------------------------------------

function showBar() {
  if (!$("picked")) document.body.append(bar());
  const count = picked.size;
  document.body.classList.toggle("picking", count > 0);
  $("picked").hidden = !count;
  $("picked-count").textContent = `${count.toLocaleString("en")} selected`;
  $("picked-save").textContent = count === 1 ? "Download clip" : "Download clips";
  $("picked-links").textContent = count === 1 ? "Copy link" : "Copy links";
  $("picked-problem").textContent = "";
}

function bar() {
  const button = (id, words, onclick) => h("button", { type: "button", id, onclick }, words);
  const choices = Object.entries(LISTS).map(([format, name]) => h("button", { type: "button", onclick: () => { $("picked-lists").hidePopover(); take(format); } }, name));
  return h("section", { id: "picked", "aria-label": "Selected moments", hidden: true },
    h("p", { id: "picked-problem", role: "alert" }),
    h("strong", { id: "picked-count", role: "status" }),
    button("picked-save", "", () => take("mp4")),
    h("button", { type: "button", popovertarget: "picked-lists" }, "Export as…"),
    h("div", { id: "picked-lists", popover: "auto", role: "group", "aria-label": "Export as" }, ...choices),
    button("picked-links", "", copyLinks),
    button("picked-clear", "Clear", clear));
}

async function take(format) {
  const hits = [...picked.values()].map(({ link, ...hit }) => hit);
  const button = $("picked-save"), words = button.textContent;
  $("picked").setAttribute("aria-busy", "true");
  $("picked-problem").textContent = "";
  if (format === "mp4") button.textContent = `Cutting ${many(hits.length, "clip")}…`;
  try {
    const { file, name } = await api.exported({ hits, format, title: $("q").value.slice(0, 200) });
    const address = URL.createObjectURL(file);
    h("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser reads it after the click
  } catch (problem) {
    $("picked-problem").textContent = [problem.message, problem.todo].filter(Boolean).join(": ");
  }
  button.textContent = words;
  $("picked").removeAttribute("aria-busy");
}

async function copyLinks() {
  const links = [...picked.values()].map((one) => one.link);
  try {
    await navigator.clipboard.writeText(links.join("\n"));
    toast(`${many(links.length, "link")} copied.`);
  } catch {
    $("picked-problem").textContent = "The browser refused to copy.";
  }
}

// -- fingers ------------------------------------------------------------------------------------------------------------

let press = null; // {timer, x, y} of a press on a picture

function release() {
  clearTimeout(press?.timer);
  press = null;
}

document.addEventListener("pointerdown", (event) => {
  const stage = event.pointerType === "touch" && event.target.closest?.(".card .stage");
  if (!stage) return;
  release();
  press = { x: event.clientX, y: event.clientY, timer: setTimeout(() => {
    press = null;
    toggle(stage.closest(".card"));
    addEventListener("click", (click) => { click.preventDefault(); click.stopPropagation(); }, { capture: true, once: true });
  }, PRESS) };
});
document.addEventListener("pointermove", (event) => {
  if (press && Math.hypot(event.clientX - press.x, event.clientY - press.y) > 10) release();
});
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, release);
document.addEventListener("contextmenu", (event) => { // a long press opens it too
  if (event.pointerType === "touch" && event.target.closest?.(".card .stage")) event.preventDefault();
});
