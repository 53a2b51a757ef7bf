// Parts of a query that its address cannot contain.

import { clock, fileName } from "./dom.js";

export const TOGETHER = "all together"; // the models

export const files = new Map(); // added files by name, lost by a reload
const names = new Map(); // names of clips in queries, by id
export const weights = new Map(); // weights of the parts of a query, by key

// Adds a file, and returns its name in the address.
export function addFile(file) {
  const plain = file.name || "a file";
  let name = plain;
  for (let n = 2; files.has(name); n++) name = `${plain} (${n})`;
  files.set(name, { file, sent: {} });
  return name;
}

// After a reload only the id of a clip is known: a file, and usually seconds.
export function nameOf(id) {
  const [, file, start] = /^(.*?)(?:#([\d.]+)-[\d.]+)?$/.exec(id);
  return names.get(id) || fileName(file) + (start > 0 ? ` at ${clock(Math.floor(start))}` : "");
}

export function nameClip(clip) {
  names.set(clip.id, clip.texts[0]?.text || fileName(clip.source));
  weights.delete(`like ${clip.id}`);
}
