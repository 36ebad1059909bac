// What the server is asked: JSON in, JSON out, a sentence for whatever goes wrong.

const KEY = "semsearch.key";

export class Refused extends Error {
  constructor(error, status) {
    super(error.message);
    this.code = error.code;
    this.param = error.param;
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

async function answered(method, path, body, signal) {
  const headers = {};
  const file = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = file ? "application/octet-stream" : "application/json";
  if (/[^\x21-\x7e]/.test(key.get() ?? "")) throw new Refused({ code: "unauthorized", message: "that is no key: it holds what none does." }, 401);
  if (key.get()) headers["Authorization"] = `Bearer ${key.get()}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined || file ? body : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ code: "unreachable", message: "the server does not answer. Is it running?" }, 0);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Refused(told?.error ?? noJSON(answer), answer.status);
}

const noJSON = (answer) => ({ code: "no_json", message: `the server answered ${answer.status}, and no JSON.` });

export async function ask(method, path, body, signal) {
  const answer = await answered(method, path, body, signal);
  const told = await answer.json().catch((error) => (error.name === "AbortError" ? Promise.reject(error) : null));
  if (told === null) throw new Refused(noJSON(answer), answer.status);
  return told;
}

/** The bytes of an answer, and what its headers say. */
export async function fetched(path, signal) {
  const answer = await answered("GET", path, undefined, signal);
  return { content: await answer.blob(), headers: answer.headers };
}

const KEPT = 60_000; // milliseconds that the browser has for taking a file over

/** Let the browser show the file at `path`, or save it, as the server says; a key stays out of every address. */
export async function openFile(path) {
  const leaving = new AbortController();
  const answer = await answered("GET", path, undefined, leaving.signal);
  const way = answer.headers.get("Content-Disposition") ?? "attachment";
  const link = document.createElement("a");
  link.rel = "noopener";
  if (key.get()) {
    link.href = URL.createObjectURL(await answer.blob());
    setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
  } else {
    leaving.abort(); // that it is there is known: the browser asks for it itself
    link.href = path;
  }
  if (way.startsWith("inline")) link.target = "_blank";
  else link.download = decodeURIComponent(way.split("UTF-8''")[1] ?? "");
  link.click();
}

export const of = (name) => `v1/collections/${encodeURIComponent(name)}`;
