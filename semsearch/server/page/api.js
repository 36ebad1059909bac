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

export async function ask(method, path, body, signal) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key.get()) headers["Authorization"] = `Bearer ${key.get()}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ code: "unreachable", message: "the server does not answer. Is it running?" }, 0);
  }
  const told = await answer.json().catch(() => null);
  if (!answer.ok || told === null) {
    const error = told?.error ?? { code: "no_json", message: `the server answered ${answer.status}, and no JSON.` };
    throw new Refused(error, answer.status);
  }
  return told;
}

export const of = (name) => `v1/collections/${encodeURIComponent(name)}`;
