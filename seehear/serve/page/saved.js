// Saved searches.

import * as api from "./api.js";
import { $, h, told, toast } from "./dom.js";

// Button that saves the search in the address.
export function saveButton() {
  return h("button", { type: "button", id: "save", class: "plain", onclick: () => save() }, "Save this search");
}

function save() {
  const params = new URLSearchParams(location.search);
  const field = h("input", { type: "text", maxlength: "200", required: true, "aria-label": "Name of the search" });
  field.value = params.get("q") || "";
  const said = h("p", { class: "soft", role: "status" }, params.has("added") ? "Added files are not saved; the rest of the search is." : "");
  const dialog = h("dialog", { class: "own", "aria-label": "Save this search" }, h("h2", {}, "Save this search"),
    h("form", { onsubmit: (event) => { event.preventDefault(); send(); } }, field, h("button", { class: "go", type: "submit" }, "Save")), said,
    h("form", { method: "dialog" }, h("button", { class: "plain" }, "Cancel")));
  const send = async () => {
    if (!field.value.trim()) return;
    params.delete("added");
    try {
      await api.saveSearch({ name: field.value.trim(), query: String(params) });
      dialog.close();
      toast("Saved on the home page.");
    } catch (problem) {
      said.textContent = told(problem);
    }
  };
  dialog.addEventListener("close", () => { dialog.remove(); $("save")?.focus(); });
  document.body.append(dialog);
  dialog.showModal();
  field.select();
}

// List of the saved searches, hidden if there are none.
export function savedSearches() {
  const list = h("ul", {});
  const box = h("section", { class: "saved", "aria-label": "Saved searches", hidden: true }, h("h2", {}, "Saved searches"), list);
  const show = ({ saved }) => {
    box.hidden = !saved.length;
    list.replaceChildren(...saved.map(({ name, query }) => h("li", {}, h("a", { href: `/?${query}` }, name),
      h("button", { type: "button", class: "remove", "aria-label": `Delete the search ${name}`, onclick: () => remove(name, query) }, "×"))));
  };
  const remove = async (name, query) => {
    try {
      show(await api.deleteSearch(name));
      toast("The search is deleted.", { name: "Undo", run: async () => show(await api.saveSearch({ name, query })) });
    } catch (problem) {
      toast(told(problem));
    }
  };
  api.savedSearches().then(show, () => {});
  return box;
}
