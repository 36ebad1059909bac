// A document with the passage in view. Of a long one a part is drawn, which grows as one reads on.

import { Refused, ask, of } from "./api.js";
import { isDrawn, units } from "./hits.js";
import * as pictures from "./pictures.js";

const PART = 100_000; // characters that are drawn at first, and with each step

const at = (id) => document.getElementById(id);
const MOST_FIELDS = 200;
const LARGE = 1024; // pixels of a picture in either direction

let text = "";
let passage = [0, 0]; // as JavaScript counts
let drawn = [0, 0];
let reading = new AbortController(); // ends what is drawn of one that is read no longer
let wanted = 0; // the last document that was asked for is shown, whichever comes last

/** Where a part may begin or end: not within a character that takes two units. */
const whole = (place) => (place > 0 && place < text.length && (text.charCodeAt(place) & 0xfc00) === 0xdc00 ? place - 1 : place);

export async function open(name, id, start = 0, end = 0) {
  const mine = ++wanted;
  reading.abort();
  reading = new AbortController();
  const [found] = (await ask("POST", `${of(name)}/documents/get`, { ids: [id] })).documents; // an id is no path
  if (mine !== wanted) return;
  if (!found) throw new Refused({ code: "document_not_found", message: `there is no document '${id}' in '${name}' any more.` }, 404);
  at("reader-failure").hidden = true;
  at("reader-title").textContent = found.title || found.id;
  at("reader-title").dir = "auto";
  at("reader-place").textContent = [name, found.id].join(" · ");
  at("reader-place").dir = "auto";
  drawMetadata(found.metadata);
  at("reader-picture").replaceChildren();
  at("reader-picture").hidden = !isDrawn(found.metadata);
  if (isDrawn(found.metadata)) pictures.show(at("reader-picture"), name, id, { side: LARGE, alt: found.title || found.id, signal: reading.signal });
  text = found.text;
  const unit = units(text);
  passage = [unit(start), unit(end)];
  const from = whole(Math.max(passage[0] - PART / 4, 0));
  drawn = [from, whole(Math.min(from + PART, text.length))];
  draw();
  if (!at("reader").open) at("reader").showModal();
  at("reader-text").querySelector("mark")?.scrollIntoView({ block: "center" });
}

/** Show none, nor one that is on its way. */
export function close() {
  wanted++;
  reading.abort();
  if (at("reader").open) at("reader").close();
}

export function listen() {
  at("reader-before").addEventListener("click", () => {
    const height = at("reader").scrollHeight;
    drawn[0] = whole(Math.max(drawn[0] - PART, 0));
    draw();
    at("reader").scrollTop += at("reader").scrollHeight - height; // what is read stays where it is
    at("reader-text").focus({ preventScroll: true });
  });
  at("reader-behind").addEventListener("click", () => {
    drawn[1] = whole(Math.min(drawn[1] + PART, text.length));
    draw();
    at("reader-text").focus({ preventScroll: true });
  });
  at("reader-close").addEventListener("click", () => at("reader").close());
}

function draw() {
  const [from, to] = drawn;
  const [start, end] = passage.map((place) => Math.min(Math.max(place, from), to));
  const box = document.createElement("mark");
  box.className = "passage-in-view";
  box.append(text.slice(start, end));
  at("reader-text").dir = "auto";
  at("reader-text").replaceChildren(text.slice(from, start), ...(end > start ? [box] : []), text.slice(end, to));
  at("reader-before").hidden = from === 0;
  at("reader-behind").hidden = to === text.length;
}

function drawMetadata(metadata) {
  const all = Object.entries(metadata);
  const lines = all.slice(0, MOST_FIELDS).flatMap(([field, value]) => pair(field, written(value)));
  if (all.length > MOST_FIELDS) lines.push(...pair("…", `and ${(all.length - MOST_FIELDS).toLocaleString()} more fields`));
  at("reader-metadata").replaceChildren(...lines);
}

/** A value of metadata, as one reads it. */
function written(value) {
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}

function pair(field, value) {
  const [term, said] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = field;
  said.textContent = value;
  term.dir = said.dir = "auto";
  return [term, said];
}
