// Learning: cost, progress, and results with examples.

import * as api from "./api.js";
import { dated, fileName, h, many, problemBox, sentence } from "./dom.js";

const WORKING = ["working", "stopping"];
const SOON = 1000, LATER = 5000; // milliseconds between two polls

export async function show(outlet, params, shell) {
  shell.title("Learn");
  const plan = h("section", { class: "panel", "aria-label": "Training data" });
  const verdict = h("section", { class: "panel", "aria-label": "Results", hidden: true });
  outlet.append(
    h("h2", { class: "big" }, "Learn from these recordings"),
    h("p", { class: "soft lead" }, "seehear can learn what belongs together in your own films: which sound goes with which picture, and what your words mean here. What it learns is kept only where it is better than what you have. Nothing leaves this machine."),
    plan, verdict);
  const view = { plan, verdict, shell, seen: "", shown: "", was: "", timer: 0 };
  await look(view);
  return () => { clearTimeout(view.timer); view.left = true; };
}

async function look(view) {
  let now;
  try {
    now = await api.learn();
  } catch (problem) {
    view.seen = "";
    view.plan.replaceChildren(problemBox(problem));
  }
  if (view.left) return;
  clearTimeout(view.timer);
  if (now) draw(view, now);
  const soon = now && (WORKING.includes(now.state) || (now.state !== "few" && !now.cost && !now.unknown));
  view.timer = setTimeout(() => look(view), soon ? SOON : LATER);
}

// Unchanged parts are left alone, since the focus may be in them.
function draw(view, now) {
  const { verdict, ...rest } = now;
  const plan = JSON.stringify({ ...rest, working: now.working && now.state }), told = JSON.stringify(verdict);
  if (plan !== view.seen) view.plan.replaceChildren(...planned(view, now).filter(Boolean));
  if (now.working && now.state === "working") follow(view.plan, now.working);
  if (told !== view.shown) {
    view.verdict.hidden = !verdict;
    view.verdict.replaceChildren(...(verdict ? judged(verdict) : []));
  }
  if (WORKING.includes(view.was) && !WORKING.includes(now.state)) view.shell.refresh?.();
  Object.assign(view, { seen: plan, shown: told, was: now.state });
}

// -- before and meanwhile -----------------------------------------------------------------------------------------------

function planned(view, now) {
  const problem = now.problem ? problemBox({ message: now.problem }) : null;
  const act = (name, call, attributes = {}) => h("button", { type: "button", ...attributes, onclick: (event) => press(view, event.target, call) }, name);
  const from = now.why ? sentence(now.why) : "";
  if (now.state === "few") return [h("h3", {}, "There is too little to learn from yet"), h("p", {}, from), h("p", { class: "soft" }, `Learning takes about ${now.needed}, a fifth of which only test it. Add recordings, labels or captions; search works without learning.`), problem];
  if (now.state === "elsewhere") return [h("h3", {}, "Another program is learning from this library"), h("p", { class: "soft" }, "It can be started here once that has ended. This page updates automatically.")];
  if (WORKING.includes(now.state)) {
    return [
      h("h3", {}, now.state === "stopping" ? "Stopping…" : "Learning…"),
      h("progress", { id: "learned", "aria-label": "Progress" }), h("p", { id: "learning", class: "soft" }),
      now.state === "stopping" ? h("p", { class: "soft" }, "Progress is kept.") : act("Stop", api.stopLearning, { class: "edged" }),
    ];
  }
  const again = now.state === "stopped" ? "Resume learning" : now.verdict ? "Learn again" : "Learn from these recordings";
  const cost = now.cost ? `${now.cost.fits ? "It takes " : ""}${now.cost.line}.` : now.unknown ? `The cost could not be measured: ${sentence(now.unknown, false)}` : "Measuring time and memory…";
  return [
    h("h3", {}, now.state === "stopped" ? "Learning was stopped" : "Training data"),
    h("p", {}, now.state === "stopped" ? "Its progress is kept; learning resumes from there." : `From ${now.why}.`),
    h("p", { id: "cost", class: "soft", role: "status" }, cost), problem,
    act(again, api.startLearning, { class: "go", disabled: Boolean(now.cost && !now.cost.fits) }),
    h("p", { class: "soft small" }, "You can search meanwhile and stop at any time. If seehear ends, progress is saved; press the button again to resume."),
  ];
}

function follow(plan, working) {
  const bar = plan.querySelector("#learned"), line = plan.querySelector("#learning");
  if (working.total) Object.assign(bar, { max: working.total, value: working.done });
  else bar.removeAttribute("value");
  line.textContent = sentence(working.line);
}

async function press(view, button, call) {
  button.disabled = true;
  try {
    await call();
  } catch (problem) {
    view.shell.toast(sentence(problem.message));
  }
  view.seen = "";
  await look(view);
}

// -- afterwards ---------------------------------------------------------------------------------------------------------

function judged(verdict) {
  const used = verdict.index ? "Search uses it already." : verdict.better ? "Not searched yet: resume learning to index it." : "";
  return [
    h("h3", {}, verdict.headline),
    h("p", { class: "soft" }, [`Learned on ${dated(Date.parse(verdict.made) / 1000)}.`, ...verdict.lines, used].filter(Boolean).join(" ")),
    verdict.directions.length ? shares(verdict) : null,
    ...listed("Found earlier than before", verdict.earlier.filter((one) => one.before != null)),
    ...listed("Found later than before", verdict.later),
    ...listed("Not possible before: the best, the middle and the worst", verdict.earlier.filter((one) => one.before == null)),
    verdict.earlier.length + verdict.later.length ? h("p", { class: "soft small" }, "Examples from the clips that were set aside. A place is the rank of the right clip among all answers.") : null,
    verdict.index ? h("p", { class: "soft small dev" }, `Index ${verdict.index}`) : null,
  ].filter(Boolean);
}

function shares(verdict) {
  const percent = (share) => (share == null ? "not possible" : `${Math.round(100 * share)} of 100`);
  const bar = (share, kind) => {
    const element = h("span", { class: `share ${kind}`, "aria-hidden": "true" });
    element.style.setProperty("--share", share ?? 0);
    return element;
  };
  const row = (one) => h("tr", {},
    h("th", { scope: "row" }, one.what, h("small", { class: "soft dev" }, ` ${many(one.asked, "query", "queries")}`)),
    h("td", {}, bar(one.before, "before"), percent(one.before)), h("td", {}, bar(one.after, "after"), percent(one.after)));
  return h("table", {},
    h("caption", {}, `${verdict.first ? "Searches whose first answer is the right one" : "Searches that find the right one among the first ten"}; by chance ${percent(verdict.chance)}`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Kind of search"), h("th", { scope: "col" }, "Before"), h("th", { scope: "col" }, "Now"))),
    h("tbody", {}, ...verdict.directions.map(row)));
}

function listed(title, examples) {
  if (!examples.length) return [];
  return [h("h4", {}, title), h("ul", { class: "examples" }, ...examples.map(example))];
}

function example(one) {
  const address = `/film?${new URLSearchParams({ file: one.source, t: String(Math.round(one.start * 10) / 10) })}`;
  const name = one.asked === "text" && one.text ? `“${one.text}”` : fileName(one.source);
  return h("li", {}, h("a", { href: address },
    one.picture ? h("img", { src: api.posterOf(one.clip), alt: "", loading: "lazy" }) : h("span", { class: "no-picture", "aria-hidden": "true" }),
    h("span", { class: "name" }, name), h("span", { class: "soft" }, one.what),
    h("span", { class: "places" }, one.before == null ? "" : `${ordinal(one.before)}, now `, h("strong", {}, ordinal(one.after)), ` of ${one.of}`)));
}

function ordinal(n) {
  const end = n % 100 > 10 && n % 100 < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[n % 10] || "th";
  return `${n}${end}`;
}
