// Requests to the server, and its refusals.

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
    throw new Problem(0, { message: "The server does not answer.", todo: "Start seehear again in the terminal; this page then works again." });
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
export const map = (run, method, signal) => ask(address("/api/map", { run, method }), { signal });
export const upload = (file, run, signal) =>
  ask(address("/api/uploads", { run }), {
    method: "POST", headers: { "content-type": "application/octet-stream" }, body: file, signal,
  });

export const mediaOf = (id, of = "video") => address("/api/media", { clip: id, of });
export const previewOf = (id, start, end) => address("/api/preview", { clip: id, start, end });
export const posterOf = (id, at) => address("/api/poster", at == null ? { clip: id } : { clip: id, at });

// Reason for which an address gives no picture or sound, since media elements do not report it.
export async function whyNot(path) {
  const response = await fetch(path, { headers: { range: "bytes=0-0" } }).catch(() => null);
  if (!response) return new Problem(0, { message: "The server does not answer." });
  return response.ok ? null : problemOf(response);
}

// The user's labels, corrected lines and saved searches.
export const label = (change) => post("/api/labels", change);
export const correct = (line) => post("/api/texts", line);
export const undoEdit = (edit) => post("/api/texts", { undo: edit });
export const savedSearches = () => ask("/api/saved");
export const saveSearch = (search) => post("/api/saved", search);
export const deleteSearch = (name) => ask(address("/api/saved", { name }), { method: "DELETE" });
// Learning.
export const learn = () => ask("/api/learn");
export const startLearning = () => ask("/api/learn", { method: "POST" });
export const stopLearning = () => ask("/api/learn", { method: "DELETE" });
// One film, sound or photo.
export const film = (file) => ask(address("/api/film", { file }));
export const loudness = (file) => ask(address("/api/loudness", { file }));
export const heard = (file) => ask(address("/api/heard", { file }));
export const partOf = (file, start) => address("/api/part", { file, start });
// Home: the files of the library, and suggested words.
export const films = (by, offset, limit) => ask(address("/api/films", { by, offset, limit }));
export const suggest = (q, limit) => ask(address("/api/suggest", { q, limit })).then((answer) => answer.suggestions);
// Downloads of clips and lists.

export const cutOf = (id, start, end) => address("/api/cut", { clip: id, start, end });

// Content and name of a downloaded file.
export async function exported(query) {
  const response = await fetch("/api/export", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(query) })
    .catch(() => { throw new Problem(0, { message: "The server does not answer." }); });
  if (!response.ok) throw await problemOf(response);
  const name = decodeURIComponent(response.headers.get("content-disposition").split("filename*=UTF-8''")[1]);
  return { file: await response.blob(), name };
}
