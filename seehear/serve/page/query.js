// Parts of a query as far as its address cannot hold them.

import { clock, fileName } from "./dom.js";

export const TOGETHER = "all together"; // of the models

export const files = new Map(); // those added, by name; a reload loses them
const names = new Map(); // of clips that are searched by, by id
export const weights = new Map(); // of the parts of a query, by their key

// Returns the name under which the address keeps a file.
export function addFile(file) {
  const plain = file.name || "a file";
  let name = plain;
  for (let n = 2; files.has(name); n++) name = `${plain} (${n})`;
  files.set(name, { file, sent: {} });
  return name;
}

// After a reload a clip's id is all that is known of it: a file, and mostly its seconds.
export function nameOf(id) {
  const [, file, start] = /^(.*?)(?:#([\d.]+)-[\d.]+)?$/.exec(id);
  return names.get(id) || fileName(file) + (start > 0 ? ` at ${clock(Math.floor(start))}` : "");
}

export function nameClip(clip) {
  names.set(clip.id, clip.texts[0]?.text || fileName(clip.source));
  weights.delete(`like ${clip.id}`);
}
