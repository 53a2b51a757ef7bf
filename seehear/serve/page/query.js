// Parts of a query as far as its address cannot hold them.

export const TOGETHER = "all together"; // of the models

export const files = new Map(); // those added, by name; a reload loses them
export const names = new Map(); // of clips that are searched by, by id
export const weights = new Map(); // of the parts of a query, by their key

// Returns the name under which the address keeps a file.
export function addFile(file) {
  const plain = file.name || "a file";
  let name = plain;
  for (let n = 2; files.has(name); n++) name = `${plain} (${n})`;
  files.set(name, { file, sent: {} });
  return name;
}

export function nameClip(clip) {
  names.set(clip.id, clip.texts[0]?.text || clip.source);
  weights.delete(`like ${clip.id}`);
}
