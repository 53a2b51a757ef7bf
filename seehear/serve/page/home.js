// Home: what can be searched for.

import { h } from "./dom.js";
import { savedSearches } from "./own.js";

export async function show(outlet, params, shell) {
  const ideas = Object.keys(shell.about.labels).slice(0, 8);
  const idea = (name) => h("li", {}, h("button", { type: "button", onclick: () => shell.search(name) }, name));
  outlet.append(h("section", { id: "start" },
    h("p", { class: "big" }, "Search by what is seen, heard or said."),
    h("p", { class: "soft" }, "Type words, or drop a sound, a picture or a video anywhere on this page. Both together work too."),
    h("ul", { id: "ideas", "aria-label": "Ideas" }, ...ideas.map(idea))), savedSearches());
}
