// The page: what is typed is asked, what is asked stands in the address, and the keyboard reaches everything.

import { Refused, ask, key, of, openFile } from "./api.js";
import * as drawings from "./drawings.js";
import * as filters from "./filters.js";
import * as hits from "./hits.js";
import { Indexing } from "./indexing.js";
import * as pages from "./pages.js";
import * as pictures from "./pictures.js";
import * as reader from "./reader.js";
import { read, write } from "./state.js";
import { Tasks } from "./tasks.js";

const PAUSE = 180; // milliseconds without a key before what is typed is asked
const PAGE = 10;
const MOST_COLLECTIONS = 64; // that a search may name
const CHANCE = 0.99; // below this percentile a best hit is as near as chance makes one

const at = (id) => document.getElementById(id);
let state = read();
let server = { role: "read", folders: [], files: false, rerankers: [] };
let collections = [];
let known = new Map(); // fields by the collections that are asked
let modelless = new Set(); // collections without a model, which can't be asked by meaning
let count = PAGE;
let current = -1;
let running = null;
let typing = 0;
let drawing = new AbortController(); // ends the pictures of results that are shown no longer
const titles = new Map(); // of documents whose like was asked for
let picture = null; // the file that is asked by, which no address can hold

const chosen = () => state.collections.filter((name) => collections.some((one) => one.name === name));
const sound = () => collections.filter((one) => !one.error).map((one) => one.name);
const wished = () => (chosen().length ? chosen() : sound());
const asked = () => wished().slice(0, MOST_COLLECTIONS);

function fail(error) {
  if (error.name === "AbortError") return;
  if (error instanceof Refused && error.status === 401) return wantKey(error);
  const ofFilter = error instanceof Refused && (error.param === "where" || error.code === "invalid_filter");
  const place = ofFilter ? at("where-error") : at("reader").open ? at("reader-failure") : at("failure");
  place.textContent = error.message;
  place.hidden = false;
  if (ofFilter) at("narrowing").open = true;
  if (!(error instanceof Refused)) console.error(error);
}

function wantKey(error) {
  const dialog = at("key-asked");
  if (dialog.open) return;
  at("key-error").textContent = error.message;
  at("key-error").hidden = !key.get(); // that one is wanted is said already
  key.set("");
  dialog.returnValue = "";
  dialog.showModal();
}

function change(what, { replace = false } = {}) {
  state = { ...state, ...what };
  count = PAGE;
  write(state, { replace });
  show();
}

let shown = ""; // what the results are of: reading a document asks nothing anew

function show() {
  at("query").value = document.activeElement === at("query") ? at("query").value : state.q;
  const sparse = asked().length === 1 && Boolean(collections.find((one) => one.name === asked()[0])?.sparse);
  at("mode").querySelector("[value=sparse]").hidden = !sparse && state.mode !== "sparse";
  at("mode").value = state.mode;
  at("rerank").checked = state.rerank;
  at("explain").checked = state.explain;
  if (document.activeElement !== at("where")) at("where").value = state.where;
  at("picture-away").hidden = !picture;
  at("mode").disabled = Boolean(picture); // which is asked by what it shows
  drawCollections();
  const { document: _, ...searched } = state;
  const wanted = JSON.stringify([searched, picture && [picture.name, picture.size, picture.lastModified]]);
  if (wanted === shown) readAsked();
  else search().then(readAsked).catch(unanswered);
  shown = wanted;
}

function showAsked() {
  if (state.document) reader.open(...parsed(state.document)).catch(unread);
  else reader.close();
}

/** What the address says of a document: a list, whatever somebody made of it. */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    if (Array.isArray(value) && typeof value[0] === "string" && typeof value[1] === "string") return value;
  } catch {
    // told below
  }
  throw new Refused({ code: "invalid_address", message: "the address of the page names no document." }, 400);
}

function readAsked() {
  try {
    showAsked();
  } catch (error) {
    unread(error);
  }
}

/** What was not answered is asked anew by the next that is done, though it be the same. */
function unanswered(error) {
  if (error.name !== "AbortError") shown = "";
  fail(error);
}

/** What can't be read stands no longer in the address, but where a key is wanted for it. */
function unread(error) {
  fail(error);
  if (error.status === 401) return;
  state = { ...state, document: null };
  write(state, { replace: true });
}

function drawCollections() {
  const place = at("collections");
  const several = collections.length > 1;
  place.hidden = !several;
  const drawn = collections.map((one) => {
    const label = document.createElement("label");
    const check = document.createElement("input");
    check.type = "checkbox";
    check.checked = state.collections.includes(one.name);
    check.disabled = Boolean(one.error);
    check.addEventListener("change", () => {
      const rest = state.collections.filter((name) => name !== one.name);
      change({ collections: check.checked ? [...rest, one.name] : rest, chosen: Object.create(null), ranges: Object.create(null), like: null });
    });
    const facts = one.error ?? [one.description, `${one.documents?.toLocaleString()} documents`].filter(Boolean).join(" · ");
    label.title = facts;
    label.append(check, ` ${one.name}`);
    return label;
  });
  const focused = place.contains(document.activeElement) ? [...place.querySelectorAll("input")].indexOf(document.activeElement) : -1;
  place.replaceChildren(place.querySelector("legend"), ...drawn);
  if (focused >= 0) place.querySelectorAll("input")[focused]?.focus();
}

async function search({ again = false } = {}) {
  running?.abort();
  const mine = (running = new AbortController());
  for (const id of ["failure", "where-error"]) at(id).hidden = true;
  const names = asked();
  const results = at("results");
  const one = names.length === 1 ? names[0] : null;
  const together = JSON.stringify(names);
  try {
    if (names.length && !known.has(together)) known.set(together, await filters.fieldsOf(names, mine.signal));
  } catch (error) {
    if (error.code !== "collection_not_found" || again) throw error;
    await refresh({ quiet: true });
    return search({ again: true });
  }
  const types = known.get(together)?.types ?? new Map();
  drawFilters(names, mine.signal).catch((error) => error.code === "collection_not_found" || fail(error)); // which the search tells
  if (!names.length) return say("There is no collection yet: index a folder below, or with semsearch index FOLDER.", []);
  at("by-picture").hidden = !types.has("image_format") && !picture;
  if (!state.q.trim() && !state.like && !picture) return say("", []);
  results.classList.add("waiting");
  results.setAttribute("aria-busy", "true");
  try {
    const where = filters.filter(state, types);
    const how = { k: count + 1, ...(where && { where }), ...(state.explain && { explain: true }), ...(state.rerank && server.rerankers.length && { rerank: true }) };
    let found;
    if (state.like) {
      const [name, id] = parsed(state.like);
      found = await ask("POST", `${of(name)}/similar`, { ids: [id], k: count + 1, ...(where && { where }) }, mine.signal);
      found.hits.forEach((hit) => (hit.collection ??= name));
    } else if (picture) {
      const image = await pictures.base64(picture);
      const { explain, rerank, ...plain } = how; // which read the words of a question
      const words = state.q.trim() ? { query: state.q, matches: true, ...how } : plain;
      found = await ask("POST", "v1/search", { image, collections: names, ...words }, mine.signal);
    } else {
      const single = ["lexical", "sparse"].includes(state.mode); // whose scores compare within one collection
      const lacks = state.mode === "sparse" && !collections.find((other) => other.name === one)?.sparse;
      const mode = (names.length > 1 && single) || lacks ? "hybrid" : modelless.has(one) ? "lexical" : state.mode;
      found = await ask("POST", "v1/search", { query: state.q, collections: names, mode, matches: true, ...how }, mine.signal);
      if (mode === "hybrid" && names.length > 1 && single) found.notes.push("Words alone don't compare among collections: asked by meaning and words.");
      else if (lacks) found.notes.push(`'${one}' has no sparse model: asked by meaning and words.`);
      if (mode === "lexical" && mode !== state.mode) found.notes.push(`'${one}' has no model of this server: asked by words.`);
    }
    const gone = state.collections.filter((name) => !collections.some((one) => one.name === name));
    for (const name of gone) found.notes.push(`There is no collection '${name}' any more.`);
    const wanted = wished().length;
    if (wanted > names.length) found.notes.push(`${names.length} of ${wanted} collections were asked: choose others above.`);
    say(summary(found), found.hits, found.notes);
  } catch (error) {
    if (error.code === "collection_not_found" && !again) {
      await refresh({ quiet: true }); // somebody dropped one that was shown: ask the others
      return search({ again: true });
    }
    if (["invalid_request", "model_mismatch"].includes(error.code) && one && !again && (await isModelless(one))) return search({ again: true });
    if (error.status === 404) say("", []);
    throw error;
  } finally {
    if (running === mine) {
      results.classList.remove("waiting");
      results.removeAttribute("aria-busy");
    }
  }
}

/** Whether a collection turns out to have no model that the server can open. */
async function isModelless(name) {
  const info = await ask("GET", of(name));
  if (!info.encoder?.name) modelless.add(name);
  return modelless.has(name);
}

function summary(found) {
  if (!found.hits.length) return "Nothing is found.";
  const percentiles = found.hits.map((hit) => hit.percentile).filter((one) => typeof one === "number"); // the first may be so by its words
  const weak = percentiles.length > 0 && Math.max(...percentiles) < CHANCE && !state.like && !picture;
  if (weak) return "Nothing good is found: the best is no nearer than chance makes one.";
  const shown = Math.min(found.hits.length, count);
  const like = state.like ? `Most like ${titles.get(state.like) ?? parsed(state.like)[1]}: ` : picture ? "Most like it: " : "";
  return `${like}${shown} ${shown === 1 ? "result" : "results"}`;
}

function say(words, found, notes = []) {
  const ended = words && notes.length && !words.endsWith(".") ? `${words}.` : words;
  at("said").textContent = [ended, ...notes].filter(Boolean).join(" ");
  drawing.abort();
  drawing = new AbortController();
  current = -1;
  const acts = {
    open: (hit) => change({ document: JSON.stringify([hit.collection ?? asked()[0], hit.id, hit.start, hit.end]) }),
    like: (hit) => {
      scrollTo(0, 0); // where the results begin, and it is said what they are like
      at("results").focus({ preventScroll: true });
      const like = JSON.stringify([hit.collection ?? asked()[0], hit.id]);
      titles.set(like, hit.title || hit.id);
      change({ like, document: null });
    },
    page: (hit) => {
      pages.open(hit.collection ?? asked()[0], hit.id, hit.place.page, hits.where({ ...hit.place, page: 0 })).catch(fail);
    },
    thumbnail: (hit, place) => pictures.show(place, hit.collection ?? asked()[0], hit.id, { signal: drawing.signal }),
    original: (hit) => {
      at("failure").hidden = true;
      openFile(`${of(hit.collection ?? asked()[0])}/original?${new URLSearchParams({ id: hit.id, show: "true" })}`).catch(fail);
    },
  };
  at("results").classList.toggle("pictures", found.length > 0 && found.every(hits.isPicture));
  at("results").replaceChildren(...found.slice(0, count).map((hit) => hits.draw(hit, acts)));
  at("more").hidden = found.length <= count;
}

async function drawFilters(names, signal) {
  at("fields").hidden = !names.length;
  at("unoffered").hidden = true;
  if (!names.length) return;
  const own = known.get(JSON.stringify(names));
  at("unoffered").textContent = `Not offered, since it is a list in some collections and a value in others: ${own.twofold.join(", ")}.`;
  at("unoffered").hidden = !own.twofold.length;
  const documents = collections.filter((one) => names.includes(one.name)).reduce((sum, one) => sum + (one.documents ?? 0), 0);
  await filters.draw(at("fields"), names, state, own, documents, (what) => change({ ...what, like: null }), signal);
}

function move(by) {
  const items = [...at("results").children];
  if (!items.length) return;
  items[current]?.removeAttribute("aria-current");
  current = Math.max(0, Math.min(items.length - 1, current + by));
  items[current].setAttribute("aria-current", "true");
  items[current].querySelector(".title button").focus();
  items[current].scrollIntoView({ block: "nearest" });
}

/** How many results stand side by side. */
function columns() {
  const items = [...at("results").children];
  const next = items.findIndex((item) => item.offsetTop > items[0].offsetTop);
  return next < 0 ? Math.max(items.length, 1) : next;
}

/** Press the button of the present result that stands at that place, if it has one. */
function act(place) {
  at("results").children[current]?.querySelectorAll(".actions button")[place]?.click();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typed = event.target.matches("input:not([type=checkbox]), select, textarea");
  const across = columns();
  if (event.key === "ArrowDown" && (!typed || event.target === at("query"))) move(current < 0 ? 1 : across);
  else if (event.key === "ArrowUp" && !typed) {
    if (current < across) at("query").focus();
    else move(-across);
  } else if (across > 1 && !typed && current >= 0 && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    move(event.key === "ArrowLeft" ? -1 : 1);
  } else if (event.key === "/" && !typed) at("query").select();
  else if (event.key === "m" && !typed && current >= 0) act(0);
  else if (event.key === "o" && !typed && current >= 0) act(1);
  else if (event.key === "Escape" && event.target !== at("query")) at("query").focus();
  else return;
  event.preventDefault();
}

function listen() {
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    change({ q: at("query").value, like: null });
  });
  at("query").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ q: at("query").value, like: null }, { replace: true }), PAUSE);
  });
  at("picture").addEventListener("change", () => {
    picture = at("picture").files[0] ?? null;
    change({ like: null });
  });
  at("picture-away").addEventListener("click", () => {
    picture = null;
    at("picture").value = "";
    at("query").focus();
    change({});
  });
  at("mode").addEventListener("change", () => change({ mode: at("mode").value }));
  for (const flag of ["rerank", "explain"]) at(flag).addEventListener("change", () => change({ [flag]: at(flag).checked }));
  at("narrow").addEventListener("submit", (event) => {
    event.preventDefault();
    change({ where: at("where").value });
  });
  at("where").addEventListener("change", () => change({ where: at("where").value }));
  at("more").addEventListener("click", () => {
    const before = count;
    count += PAGE;
    search()
      .then(() => {
        current = Math.min(before, at("results").children.length) - 1;
        move(1); // to the first that is new
      })
      .catch(fail);
  });
  reader.listen();
  pages.listen(fail);
  drawings.listen();
  at("reader").addEventListener("close", () => state.document && change({ document: null }));
  at("key-asked").addEventListener("close", () => {
    const given = at("key").value.trim();
    at("key").value = "";
    if (at("key-asked").returnValue === "given" && given) {
      key.set(given);
      refresh({ again: true }).catch(fail);
    } else fail(new Refused({ code: "unauthorized", message: "without a key the server answers nothing: search again to give one." }, 0));
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !document.querySelector("dialog[open]")) refresh().catch(fail); // another tab may have changed something
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address says what is asked
    at("results").focus();
  });
  document.addEventListener("keydown", pressed);
  addEventListener("popstate", () => {
    state = read();
    at("query").value = state.q;
    show();
  });
}

/** Learn what the server has now. What is shown is asked anew if that is something else, or `again` says so. */
async function refresh({ again = false, quiet = false } = {}) {
  const [about, told] = await Promise.all([ask("GET", "v1/server"), ask("GET", "v1/collections")]);
  const changed = JSON.stringify(told.collections) !== JSON.stringify(collections);
  [server, collections] = [about, told.collections];
  if (changed || again) {
    [known, modelless] = [new Map(), new Set()];
    pictures.forget();
  }
  at("reranks").hidden = !server.rerankers.length;
  indexing.draw(server, collections);
  tasks.draw(server, collections);
  if (quiet) return drawCollections();
  if (!again && !changed) return;
  shown = "";
  show();
}

const showDrawing = (task, path) => drawings.open(task, path, (id) => change({ document: JSON.stringify([task.collection, id]) })).catch(fail);
const tasks = new Tasks({ finished: () => refresh({ again: true }).catch(fail), show: showDrawing, fail });
const indexing = new Indexing({ begun: (task) => tasks.note(task), changed: () => refresh(), fail });

/** On a phone filters are opened on demand, so that results come first; unless some narrow the answers. */
const phone = matchMedia("(max-width: 44rem)");
const fold = () => (at("narrowing").open = !phone.matches || filters.filter(state, new Map()) !== "");
phone.addEventListener("change", fold);
fold();
listen();
at("query").value = state.q;
at("query").focus();
refresh({ again: true }).catch(fail);
