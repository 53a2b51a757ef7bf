// What the server is asked, and how it refuses.

export class Problem extends Error {
  constructor(status, answer) {
    super(answer.message || `the server answered ${status}`);
    this.status = status;
    this.code = answer.code || "";
    this.todo = answer.todo || "";
  }
}

async function answered(response) {
  if (response.ok) return response.json();
  throw await problemOf(response);
}

async function problemOf(response) {
  const answer = await response.json().catch(() => ({}));
  return new Problem(response.status, answer);
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { message: "The server does not answer.", todo: "seehear serve LIB" });
  }
  return answered(response);
}

const address = (path, values) => `${path}?${new URLSearchParams(values)}`;
const post = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

export const progress = () => ask("/api/progress");
export const status = () => ask("/api/status");
export const search = (query, signal) => post("/api/search", query, signal);
export const clip = (id) => ask(address("/api/clip", { id }));
export const clips = (ids) => post("/api/clips", { ids });
export const peaks = (id) => ask(address("/api/peaks", { clip: id }));
export const map = (run, method) => ask(address("/api/map", { run, method }));
export const upload = (file, run, signal) =>
  ask(address("/api/uploads", { run }), {
    method: "POST", headers: { "content-type": "application/octet-stream" }, body: file, signal,
  });

export const mediaOf = (id, of = "video") => address("/api/media", { clip: id, of });
export const previewOf = (id, start, end) => address("/api/preview", { clip: id, start, end });
export const posterOf = (id, at) => address("/api/poster", at == null ? { clip: id } : { clip: id, at });

// Why an address gives no picture or sound: media elements do not say.
export async function whyNot(path) {
  const response = await fetch(path, { headers: { range: "bytes=0-0" } }).catch(() => null);
  if (!response) return new Problem(0, { message: "The server does not answer." });
  return response.ok ? null : problemOf(response);
}

// The user's own: labels, corrected lines, saved searches.
export const label = (change) => post("/api/labels", change);
export const correct = (line) => post("/api/texts", line);
export const undoEdit = (edit) => post("/api/texts", { undo: edit });
export const savedSearches = () => ask("/api/saved");
export const saveSearch = (search) => post("/api/saved", search);
export const deleteSearch = (name) => ask(address("/api/saved", { name }), { method: "DELETE" });
