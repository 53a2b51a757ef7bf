// The shell: top bar, views by address, progress line, dropped files, keys.

import * as api from "./api.js";
import { $, fileName, h, many, problemBox, toast } from "./dom.js";
import { stop } from "./player.js";
import { addFile, nameClip, TOGETHER } from "./query.js";
import * as router from "./router.js";
import { attach } from "./suggest.js";

const KEYS = [[["/"], "search for words"], [["Esc"], "stop, close"]];

let about = null; // answer of /api/status

const shell = {
  get about() { return about; },
  go: router.go,
  toast,
  // Reads the status again, for example for a new index.
  async refresh() {
    about = await api.status();
    prepare();
    follow(router.view().name, new URLSearchParams(location.search));
  },
  // Searches for words with the filters of the current results, if any.
  search(words) {
    const params = asked();
    params.delete("q");
    if (words.trim()) params.set("q", words.trim());
    return router.go(address(params));
  },
  like(clip) {
    const params = asked();
    for (const name of ["q", "like", "unlike", "added"]) params.delete(name);
    params.set("like", clip.id);
    nameClip(clip);
    return router.go(address(params));
  },
  problem(problem) {
    const steps = ["empty", "no_run", "indexing"].includes(problem.code); // not an error: the user has to start the work
    const box = problemBox(problem, steps ? { class: "problem steps" } : {});
    $("view").replaceChildren(h("section", { id: "problem", "aria-label": "What to do" }, box));
  },
  title(text) {
    document.title = text ? `${text} · seehear` : `seehear · ${fileName(about?.library || "")}`;
  },
};

const address = (params) => (params.size ? `/?${params}` : "/");

// Parameters of the current results without those of a single moment; in other views only the chosen models.
function asked() {
  const params = new URLSearchParams(location.search);
  const kept = router.view().name === "results" ? [...params.keys()].filter((name) => !["clip", "t"].includes(name)) : ["run", "with"];
  for (const name of [...params.keys()]) if (!kept.includes(name)) params.delete(name);
  return params;
}

// -- files --------------------------------------------------------------------------------------------------------------

function take(files) {
  const params = asked();
  const some = [...files].slice(0, 7 - params.getAll("like").length - params.getAll("added").length);
  const fine = some.filter((file) => file.size <= about.upload_mb * 1e6);
  for (const file of some) if (!fine.includes(file)) toast(`${file.name} is larger than ${about.upload_mb} MB.`);
  for (const file of fine) params.append("added", addFile(file));
  if (fine.length) router.go(address(params));
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

// -- keys ---------------------------------------------------------------------------------------------------------------

function watchKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const field = event.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (event.key === "Escape") { stop(); field?.blur(); }
    if (field) return;
    if (event.key === "/" && !$("ask").hidden) { $("q").focus(); $("q").select(); }
    else if (event.key === "?") help();
    else if (!router.view().module?.keys?.(event)) return;
    event.preventDefault();
  });
}

function help() {
  const keys = router.view().module?.KEYS || [];
  const rows = [KEYS[0], ...keys, ...(keys.some(([own]) => own.includes("Esc")) ? [] : [KEYS[1]])];
  $("key-list").replaceChildren(...rows.flatMap(([keys, meaning]) => [h("dt", {}, ...keys.flatMap((key) => [h("kbd", {}, key), " "])), h("dd", {}, meaning)]));
  $("help").showModal();
}

// -- the bar ------------------------------------------------------------------------------------------------------------

function option(value, name = value) {
  return h("option", { value }, name);
}

function prepare() {
  $("library").textContent = `${fileName(about.library)} · ${many(about.clips, "clip")}`;
  $("library").title = about.library;
  $("run").replaceChildren(option("", TOGETHER), ...about.runs.map((run) => option(run.name, run.title)));
  $("with").replaceChildren(option("", "none"), ...about.runs.map((run) => option(run.name, run.title)));
  $("details").hidden = !about.runs.length;
  $("ask").hidden = Boolean(about.problem);
}

// Updates the bar from the address, before each view is drawn.
function follow(name, params) {
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("q").value = ["results", "film"].includes(name) ? params.get("q") || "" : "";
  for (const id of ["run", "with"]) $(id).value = about.runs.some((run) => run.name === params.get(id)) ? params.get(id) : "";
  if ($("run").value || $("with").value) $("details").open = true;
  $("with-label").hidden = name === "map";
  shell.title("");
  showBehind();
}

// Shows how many clips are missing in the chosen index and the one compared with it.
function showBehind() {
  const chosen = about.runs.filter((run) => run.behind && ([$("run").value, $("with").value].includes(run.name) || (run.together && !$("run").value)));
  const lines = new Map(chosen.map((run) => run.behind.replaceAll("`", "").split(": run ")).map(([said, command]) => [command, said])); // one for each command
  $("behind").replaceChildren(...[...lines].flatMap(([command, said]) => [h("span", {}, `${said}. To index them: `), h("code", {}, command), " "]));
  $("behind").hidden = !chosen.length;
}

// Shows the progress of indexing in a line at the top, if this server indexes a folder.
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

function choose(id) {
  const params = new URLSearchParams(location.search);
  if ($(id).value) params.set(id, $(id).value);
  else params.delete(id);
  router.go(location.pathname + (params.size ? `?${params}` : ""));
}

function listen() {
  $("ask").addEventListener("submit", (event) => { event.preventDefault(); shell.search($("q").value); });
  $("file").addEventListener("change", () => { take($("file").files); $("file").value = ""; });
  for (const id of ["run", "with"]) $(id).addEventListener("change", () => choose(id));
  $("details").addEventListener("toggle", () => document.body.classList.toggle("detailed", $("details").open));
  $("keys").addEventListener("click", help);
  attach($("q"), $("ask"), shell.search);
  watchDrops();
  watchKeys();
}

async function main() {
  try {
    about = await api.status();
  } catch (problem) {
    shell.problem(problem);
    return;
  }
  prepare();
  listen();
  showProgress();
  if (about.problem) setInterval(askAgain, 3000);
  if (about.problem && about.problem.code !== "indexing") { // otherwise home shows the files found so far
    shell.title("");
    shell.problem(about.problem);
    $("problem").append(h("p", { class: "soft" }, "This page updates automatically."));
  } else await router.start($("view"), shell, follow);
  document.documentElement.dataset.ready = "yes";
}

main();
