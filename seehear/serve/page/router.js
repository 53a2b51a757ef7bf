// Views by address. A view's module exports `show(outlet, params, shell)`, which may return a function that cleans up;
// it may export `update(params)`, called instead when only the parameters of its address have changed, and `keys` and
// `KEYS`: handler of a key (true: handled), and [[keys, meaning], ...] for the help.

import { h } from "./dom.js";
import { stop } from "./player.js";

const VIEWS = {
  home: () => import("./home.js"),
  results: () => import("./results.js"),
  film: () => import("./film.js"),
  map: () => import("./map.js"),
  learn: () => import("./learn.js"),
};
const PATHS = { "/film": "film", "/map": "map", "/learn": "learn" };
const MODELS = ["run", "with"]; // parameters that are no query

let main, shell, changed; // set once
let turn = 0; // number of the navigation: a slowly loading view must not replace a later one
let current = { name: "", module: null, leave: null };

export const view = () => current;

function nameOf(path, params) {
  if (path !== "/") return PATHS[path];
  return [...params.keys()].some((key) => !MODELS.includes(key)) ? "results" : "home";
}

// `onChange(name, params)` is called before each view is drawn.
export function start(outlet, given, onChange) {
  [main, shell, changed] = [outlet, given, onChange];
  history.scrollRestoration = "manual"; // a view's height is known only when it is drawn
  addEventListener("popstate", () => draw(history.state?.scroll || 0));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const address = new URL(link.href);
    if (address.origin !== location.origin || link.hasAttribute("download") || link.target || address.hash) return;
    if (!nameOf(address.pathname, address.searchParams)) return;
    event.preventDefault();
    go(address.pathname + address.search);
  });
  return draw();
}

export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) replace = true;
  if (replace) history.replaceState(history.state, "", address);
  else {
    history.replaceState({ ...history.state, scroll: scrollY }, "");
    history.pushState({ depth: (history.state?.depth || 0) + 1 }, "", address); // number of earlier addresses of this page
  }
  return draw(replace ? null : 0);
}

// `scroll`: scroll position; null leaves it unchanged.
async function draw(scroll = null) {
  const params = new URLSearchParams(location.search);
  if (params.get("view") === "map") { // address of earlier versions
    params.delete("view");
    return go(`/map${params.size ? `?${params}` : ""}`, { replace: true });
  }
  const name = nameOf(location.pathname, params) || "home";
  const mine = ++turn;
  stop();
  changed(name, params);
  if (scroll === 0) scrollTo({ top: 0 });
  if (name === current.name && current.module?.update) await current.module.update(params);
  else await replaced(name, params, mine);
  if (mine === turn && scroll) scrollTo({ top: scroll }); // only now the page has its full height
  return undefined;
}

async function replaced(name, params, mine) {
  current.leave?.();
  const moved = current.name !== "";
  current = { name, module: null, leave: null };
  const outlet = h("div", { class: `view ${name}` });
  try {
    const module = await VIEWS[name]();
    if (mine !== turn) return;
    current.module = module;
    main.replaceChildren(outlet);
    // The focus moves so that screen readers announce the view, except while the user is typing.
    if (moved && !document.activeElement?.closest("#ask")) main.focus({ preventScroll: true });
    const leave = await module.show(outlet, params, shell);
    if (mine === turn) current.leave = leave;
    else if (current.module !== module) leave?.();
    else current.leave ||= leave; // parameters changed during loading
  } catch (problem) {
    if (mine === turn) shell.problem(problem);
  }
}
