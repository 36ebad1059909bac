// Results as they are shown. Texts of documents go in as text alone: nothing of them is ever taken for markup.

const MOST_SHOWN = 1_500; // characters of a passage
const BEFORE = 200; // the first that was asked for

/** `text` with spans marked; spans are pairs of code points, as the server counts, relative to `offset`. */
export function marked(text, spans, offset = 0, mark = () => document.createElement("mark")) {
  const unit = units(text);
  const parts = [];
  let done = 0;
  for (const [start, end, ...rest] of spans) {
    const from = Math.max(unit(start - offset), done);
    const to = unit(end - offset);
    if (to <= from) continue;
    parts.push(text.slice(done, from));
    const box = mark(...rest);
    box.append(text.slice(from, to));
    parts.push(box);
    done = to;
  }
  parts.push(text.slice(done));
  return parts;
}

/** A function of code points, in ascending order, to where they begin in the text as JavaScript counts. */
export function units(text) {
  let [letter, unit] = [0, 0];
  return (wanted) => {
    for (; letter < wanted && unit < text.length; letter++) unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
    return unit;
  };
}

/** So much of a passage as a result shows: around its first words that were asked for, where it is long. */
function shown(text, spans, offset) {
  if (text.length <= MOST_SHOWN) return { text, offset };
  const unit = units(text);
  const first = spans.length ? Math.max(spans[0][0] - offset - BEFORE, 0) : 0;
  const from = unit(first);
  const end = unit(first + MOST_SHOWN);
  return { text: text.slice(from, end), offset: offset + first, before: from > 0, behind: end < text.length };
}

/** How strong a hit is, in words: what share of random pairs of question and passage it beats. */
export function strength(hit) {
  if (typeof hit.probability === "number") return { words: `${Math.round(100 * hit.probability)} % likely to be relevant`, good: hit.probability >= 0.5 };
  if (typeof hit.percentile !== "number") return null;
  const chance = 1 - hit.percentile;
  const words = chance <= 0 ? "beyond all random passages" : `1 in ${Math.round(1 / chance).toLocaleString()} random passages scores as high`;
  return { words, good: chance < 0.01 };
}

const span = (text, name) => {
  const box = document.createElement("span");
  box.textContent = text;
  if (name) box.className = name;
  box.dir = "auto";
  return box;
};

const button = (text, label, act) => {
  const box = document.createElement("button");
  box.type = "button";
  box.textContent = text;
  box.setAttribute("aria-label", label);
  box.addEventListener("click", act);
  return box;
};

export function where(place) {
  if (!place) return "";
  const at = [place.line && `line ${place.line}`, place.page && `page ${place.page}`, place.sheet && `sheet ${place.sheet}`, place.message && `message ${place.message}`];
  const near = place.path.split(/[\\/]/).slice(-2).join("/"); // the whole path is said on demand
  return [near, ...at.filter(Boolean)].join(", ");
}

/** Whether a hit stands on a page of a PDF, which can be shown as a picture. */
const isPaged = (hit) => /\.pdf$/i.test(hit.place?.path ?? "");

/** Whether a document is a picture, as its metadata say. */
export const isDrawn = (metadata) => Boolean(metadata?.image_format);

/** Whether a hit is a picture whose file is known, which can be shown small. */
export const isPicture = (hit) => isDrawn(hit.metadata) && Boolean(hit.place);

/** A picture, small, which a click reads as its title does; its words stand below, and a sentence where it can't be shown. */
function picture(hit, acts) {
  const box = document.createElement("div");
  box.className = "picture";
  box.addEventListener("click", () => acts.open(hit));
  acts.thumbnail(hit, box);
  return box;
}

/** One result; `acts` has `open`, `like`, `original`, `page` and `thumbnail`. */
export function draw(hit, acts) {
  const item = document.createElement("li");
  item.id = `hit-${hit.rank}`;
  const title = document.createElement("p");
  title.className = "title";
  const name = hit.title || hit.id;
  const open = button("", `Read ${name}`, () => acts.open(hit));
  open.dir = "auto";
  open.append(...(hit.title ? marked(hit.title, hit.matches?.title ?? []) : [hit.id]));
  title.append(open);
  const passage = document.createElement("p");
  passage.className = "passage";
  passage.dir = "auto";
  const part = shown(hit.text, hit.matches?.text ?? [], hit.start);
  passage.append(part.before ? "… " : "", ...marked(part.text, hit.matches?.text ?? [], part.offset), part.behind ? " …" : "");
  const facts = document.createElement("p");
  facts.className = "facts place";
  if (hit.collection) facts.append(span(hit.collection));
  if (hit.place) {
    const place = span(where(hit.place));
    place.title = hit.place.path;
    facts.append(place);
  }
  const strong = strength(hit);
  if (strong) facts.append(span(strong.words, strong.good ? "strength" : "strength weak"));
  if (isPicture(hit)) item.append(picture(hit, acts));
  item.append(title, passage, facts);
  if (hit.explanation) item.append(why(hit));
  const actions = document.createElement("p");
  actions.className = "actions";
  actions.append(button("More like this", `More like ${name}`, () => acts.like(hit)));
  if (hit.place) actions.append(button("Original", `The file of ${name}`, () => (isPaged(hit) ? acts.page(hit) : acts.original(hit))));
  item.append(actions);
  return item;
}

function why(hit) {
  const box = document.createElement("div");
  box.className = "why";
  const way = document.createElement("p");
  way.textContent = hit.explanation.way;
  box.append(way);
  const parts = (hit.explanation.parts ?? []).filter((part) => part.field === "text");
  if (parts.length) {
    const most = Math.max(...parts.map((part) => Math.abs(part.weight)));
    const telling = parts.filter((part) => part.weight > 0.25 * most).map((part) => [part.start, part.end, part.weight]);
    const text = document.createElement("p");
    text.className = "passage";
    text.dir = "auto";
    const shownPart = shown(hit.text, telling, hit.start);
    text.append(
      ...marked(shownPart.text, telling, shownPart.offset, (weight) => {
        const part = document.createElement("mark");
        part.className = "part";
        part.title = `${weight.toFixed(3)} of the score`;
        return part;
      }),
    );
    box.append(text);
  } else if (hit.explanation.why) box.append(span(hit.explanation.why));
  return box;
}
