// Pictures as the server draws them, small: of results, of the document that is read, and the one that is asked by.

import { fetched, of } from "./api.js";

const MOST_KEPT = 300; // small pictures, some 20 kB each: who goes on typing sees the same ones again

const kept = new Map(); // contents by address, the oldest first

async function drawn(path, signal) {
  const content = kept.get(path) ?? (await fetched(path, signal)).content;
  kept.delete(path);
  kept.set(path, content);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  return content;
}

/** Put the picture of a document into `place`, or the sentence that says why there is none, until `signal` ends it. */
export async function show(place, name, id, { side = 320, alt = "", signal } = {}) {
  const image = document.createElement("img");
  image.alt = alt;
  let shown = image;
  try {
    const content = await drawn(`${of(name)}/original/thumbnail?${new URLSearchParams({ id, side })}`, signal);
    image.src = URL.createObjectURL(content);
    await image.decode().finally(() => URL.revokeObjectURL(image.src));
  } catch (error) {
    shown = document.createElement("span");
    shown.className = "hint";
    shown.textContent = error.message;
  }
  if (!signal?.aborted) place.replaceChildren(shown);
}

/** Forget what was drawn: the files may be others now. */
export const forget = () => kept.clear();

/** The Base64 of a file's bytes. */
export async function base64(file) {
  const address = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(file);
  });
  return address.slice(address.indexOf(",") + 1);
}
