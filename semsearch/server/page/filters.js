// Filters made of the metadata there are: values with their counts, ranges of numbers and dates.

import { ask } from "./api.js";

const MOST_FIELDS = 12;
const MOST_VALUES = 30;
const TELLING = 0.5; // of the documents: a field whose values are nearly all different narrows nothing

const quoted = (text) => `"${text.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`;
const written = (value) => (typeof value === "string" ? quoted(value) : String(value));
const named = (field) => `\`${field}\``;

/** The filter as the server reads it, of what was typed, chosen and set; empty without any. */
export function filter(state, types) {
  const typed = state.where.trim();
  const all = [];
  for (const [field, values] of Object.entries(state.chosen)) {
    const kinds = types.get(field) ?? [];
    const one = (value) =>
      kinds.includes("list") ? `${named(field)} contains ${written(value)}` : `${named(field)} = ${written(value)}`;
    if (values.length) all.push(`(${values.map(one).join(" or ")})`);
  }
  for (const [field, [least, most]] of Object.entries(state.ranges)) {
    if (least) all.push(`${named(field)} >= ${least}`);
    if (most) all.push(`${named(field)} <= ${most}`);
  }
  if (typed) all.unshift(all.length ? `(${typed})` : typed); // alone as it was typed, for errors quote it
  return all.join(" and ");
}

/** The fields of collections that can be chosen from, with the types of all. */
export async function fieldsOf(names, signal) {
  const { fields } = await ask("POST", "v1/fields", { collections: names }, signal);
  const types = new Map(fields.map((field) => [field.name, field.types]));
  const sound = fields.filter((field) => !field.name.includes("`") && !field.types.includes("object"));
  const twofold = names.length > 1 ? sound.filter((field) => isTwofold(field.types)) : [];
  const usable = sound.filter((field) => !twofold.includes(field));
  return { types, usable: usable.slice(0, MOST_FIELDS), twofold: twofold.map((field) => field.name) };
}

/** Lists here and single values there: no one filter asks for both. */
const isTwofold = (types) => types.includes("list") && types.some((type) => type !== "list" && type !== "null");

/** Draw the fields into `place`; `changed` is called with what was chosen. */
export async function draw(place, names, state, known, documents, changed, signal) {
  const texts = known.usable.filter((field) => !isRange(field.types)).map((field) => field.name);
  let counts = {};
  let failed = null;
  try {
    counts = await countsOf(names, texts, state, known.types, signal);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    failed = error; // what was chosen can be taken back all the same
  }
  const drawn = [];
  for (const field of known.usable) {
    if (isRange(field.types)) drawn.push(range(field, state, changed));
    else if (narrows(counts[field.name] ?? [], documents, state.chosen[field.name]))
      drawn.push(choice(field, counts[field.name] ?? [], state, changed));
  }
  const offered = new Set(known.usable.map((field) => field.name));
  const missing = (fields) => Object.keys(fields).filter((one) => !offered.has(one)).map((one) => ({ name: one, types: known.types.get(one) ?? [] }));
  drawn.push(...missing(state.chosen).map((field) => choice(field, [], state, changed)));
  drawn.push(...missing(state.ranges).map((field) => range(field, state, changed)));
  replace(place, drawn);
  if (failed) throw failed;
}

/** The values of fields with their counts, under all that is chosen in the other fields: each tells what it would leave. */
async function countsOf(names, fields, state, types, signal) {
  const chosen = fields.filter((field) => state.chosen[field]?.length);
  const groups = [fields.filter((field) => !chosen.includes(field)), ...chosen.map((field) => [field])];
  const asked = groups.filter((group) => group.length).map(async (group) => {
    const others = Object.entries(state.chosen).filter(([field]) => !group.includes(field));
    const where = filter({ ...state, chosen: Object.fromEntries(others) }, types);
    return (await ask("POST", "v1/facets", { collections: names, fields: group, limit: MOST_VALUES, ...(where && { where }) }, signal)).facets;
  });
  return Object.assign({}, ...(await Promise.all(asked)));
}

/** Put fields in place of those that are drawn; what was opened stays open, and the keyboard stays where it is. */
function replace(place, drawn) {
  const opened = new Set([...place.querySelectorAll("details[open]")].map((box) => box.dataset.field));
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const at = [focused?.closest("details").dataset.field, focused?.dataset.value];
  place.replaceChildren(...drawn);
  for (const box of place.querySelectorAll("details")) {
    box.open ||= opened.has(box.dataset.field);
    if (box.dataset.field === at[0])
      ([...box.querySelectorAll("[data-value]")].find((one) => one.dataset.value === at[1]) ?? box.querySelector("summary")).focus();
  }
}

const isRange = (types) => !types.includes("list") && (types.includes("number") || types.includes("date"));

function narrows(values, documents, chosen) {
  if (chosen?.length) return true;
  const counted = values.reduce((sum, value) => sum + value.documents, 0);
  const parts = values.length > 1 || (values.length === 1 && counted < documents);
  return parts && (values.length < MOST_VALUES || counted > TELLING * documents || values[0].documents > 2);
}

function details(title, open) {
  const box = document.createElement("details");
  box.open = open;
  box.dataset.field = title;
  const summary = document.createElement("summary");
  summary.textContent = title;
  box.append(summary);
  return box;
}

function choice(field, values, state, changed) {
  const chosen = state.chosen[field.name] ?? [];
  const box = details(field.name, chosen.length > 0);
  const list = document.createElement("ul");
  const seen = new Set(values.map((one) => JSON.stringify(one.value)));
  const all = [...values, ...chosen.filter((value) => !seen.has(JSON.stringify(value))).map((value) => ({ value, documents: 0 }))];
  for (const { value, documents } of all) {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const check = document.createElement("input");
    check.type = "checkbox";
    check.dataset.value = JSON.stringify(value);
    check.checked = chosen.some((one) => one === value);
    check.addEventListener("change", () => {
      const rest = chosen.filter((one) => one !== value);
      changed({ chosen: { ...state.chosen, [field.name]: check.checked ? [...rest, value] : rest } });
    });
    const name = document.createElement("span");
    name.textContent = String(value);
    name.dir = "auto";
    const count = document.createElement("span");
    count.className = "count";
    count.textContent = documents.toLocaleString();
    label.append(check, name, count);
    item.append(label);
    list.append(item);
  }
  box.append(list);
  return box;
}

function range(field, state, changed) {
  const dated = field.types.includes("date");
  const set = state.ranges[field.name] ?? ["", ""];
  const box = details(field.name, Boolean(set[0] || set[1]));
  const both = document.createElement("div");
  both.className = "range";
  ["from", "to"].forEach((word, place) => {
    const input = document.createElement("input");
    input.type = dated ? "date" : "number";
    input.dataset.value = word;
    if (!dated) input.step = "any";
    input.value = set[place];
    input.setAttribute("aria-label", `${field.name} ${word}`);
    const label = document.createElement("label");
    const words = document.createElement("span");
    words.className = "hint";
    words.textContent = word;
    input.addEventListener("change", () => {
      const next = [...set];
      next[place] = input.value;
      changed({ ranges: { ...state.ranges, [field.name]: next } });
    });
    label.append(words, input);
    both.append(label);
  });
  box.append(both);
  return box;
}
