// Upkeep: collections read again, and how far the server's long work is. What is drawn stays the same element while it
// changes, so that whoever stands on a button with the keyboard stays there.

import { ask, of, openFile } from "./api.js";

const EVERY = 1000; // milliseconds between two looks while something is done
const MOST_TASKS = 20;
const MOST_ERRORS = 5; // of a task
const UNFINISHED = ["queued", "running"];

export class Tasks {
  /** `finished` is called when a task came to its end, `show` with one and where its page is. */
  constructor({ finished, show, fail }) {
    Object.assign(this, { finished, show, fail, timer: 0, items: new Map(), lines: new Map(), states: new Map(), writes: false });
    this.box = document.getElementById("work");
    this.box.addEventListener("toggle", () => (this.box.open ? this.look() : clearTimeout(this.timer)));
  }

  /** Draw the collections, with what may be done with them. */
  draw(server, collections) {
    this.writes = server.role !== "read";
    const line = (one) => {
      const item = kept(this.lines, one.name, () => {
        const made = document.createElement("li");
        made.append(document.createElement("span"));
        const sync = button("Read its sources again", `Read the sources of ${one.name} again`, () => this.begin(`${of(one.name)}/sync`));
        made.append(" ", sync);
        for (const [words, what] of [["Topics", "topics"], ["Map", "map"]])
          made.append(" ", button(words, `${words} of ${one.name}`, () => this.begin(`${of(one.name)}/${what}`)));
        return made;
      });
      item.firstChild.textContent = `${one.name}: ${one.error ?? `${one.documents.toLocaleString()} documents`}`;
      for (const act of item.querySelectorAll("button")) act.hidden = !this.writes || Boolean(one.error);
      return item;
    };
    arrange(document.getElementById("upkeep"), collections.map(line));
    if (this.box.open) this.look();
  }

  async look() {
    clearTimeout(this.timer);
    const waiting = (this.looking = {}); // the last look alone goes on
    try {
      const { tasks } = await ask("GET", "v1/tasks");
      if (this.looking !== waiting) return;
      this.drawTasks(tasks.slice(0, MOST_TASKS));
      if (this.box.open && tasks.some((task) => UNFINISHED.includes(task.state))) this.timer = setTimeout(() => this.look(), EVERY);
    } catch (error) {
      this.fail(error);
      if (error.status === 0 && this.box.open) this.timer = setTimeout(() => this.look(), 5 * EVERY); // it may come back
    }
  }

  drawTasks(tasks) {
    let ended = false;
    for (const task of tasks) {
      const before = this.states.get(task.id);
      this.states.set(task.id, task.state);
      if (UNFINISHED.includes(before) && !UNFINISHED.includes(task.state)) {
        ended = true;
        document.getElementById("work-said").textContent = told(task);
      }
    }
    const items = tasks.map((task) => this.drawTask(kept(this.items, task.id, taskItem), task));
    arrange(document.getElementById("tasks"), items.length ? items : [kept(this.items, "", () => plain("nothing was done yet"))]);
    if (ended) this.finished();
  }

  async begin(path) {
    try {
      this.note(await ask("POST", path, {}));
    } catch (error) {
      this.fail(error);
    }
  }

  /** Follow a task that was begun. */
  note(task) {
    if (!this.states.has(task.id)) this.states.set(task.id, "queued");
    this.look();
  }

  drawTask(item, task) {
    const [words, bar, stop, show, save, errors] = item.children;
    words.textContent = told(task);
    const { bytes, compared, of: total } = task.progress ?? {};
    bar.hidden = task.state !== "running" || !(total > 0);
    if (!bar.hidden) [bar.max, bar.value] = [total, Math.min(bytes ?? compared ?? 0, total)];
    bar.setAttribute("aria-label", `How far ${task.kind} of ${task.collection} is`);
    const active = UNFINISHED.includes(task.state) && this.writes;
    if (!active && document.activeElement === stop) this.box.querySelector("summary").focus(); // the button goes
    stop.hidden = !active;
    stop.setAttribute("aria-label", `Cancel ${task.kind} of ${task.collection}`);
    stop.onclick = () => this.begin(`v1/tasks/${encodeURIComponent(task.id)}/cancel`);
    const formats = task.formats ?? [];
    const result = (format) => `v1/tasks/${encodeURIComponent(task.id)}/result?format=${format}`;
    show.hidden = !formats.includes("html");
    show.setAttribute("aria-label", `Show the ${task.kind} of ${task.collection}`);
    show.onclick = () => this.show(task, result("html"));
    save.hidden = !formats.length;
    save.setAttribute("aria-label", `Save the ${task.kind} of ${task.collection}`);
    save.onclick = () => openFile(result(formats.includes("html") ? "html" : formats[0])).catch(this.fail);
    const slips = (Array.isArray(task.result?.errors) ? task.result.errors : []).map(String);
    const more = slips.length > MOST_ERRORS ? [`and ${slips.length - MOST_ERRORS} more`] : [];
    errors.replaceChildren(...[...slips.slice(0, MOST_ERRORS), ...more].map(plain));
    return item;
  }
}

/** What there is to say of a task, in a line. */
function told(task) {
  const facts = task.state === "done" ? task.result : task.progress;
  const counts = Object.entries(facts ?? {}).filter(([name, value]) => typeof value === "number" && value && !["bytes", "compared", "of", "schema"].includes(name));
  const numbers = counts.length ? ` (${counts.map(([name, value]) => `${name.replaceAll("_", " ")} ${value.toLocaleString()}`).join(", ")})` : "";
  const state = task.cancelling && UNFINISHED.includes(task.state) ? "is being cancelled" : task.state;
  return `${task.kind} ${task.collection}: ${state}${numbers}${task.error ? `: ${task.error.message}` : ""}`;
}

function taskItem() {
  const item = document.createElement("li");
  const words = document.createElement("span");
  words.dir = "auto";
  const acts = ["Cancel", "Show", "Save"].map((name) => button(name, "", () => {}));
  item.append(words, document.createElement("progress"), ...acts, document.createElement("ul"));
  return item;
}

/** The element of that name, made where there is none. */
function kept(map, name, make) {
  if (!map.has(name)) map.set(name, make());
  return map.get(name);
}

/** Let `place` hold these elements in this order; those that stay are not moved, which would take the focus from them. */
function arrange(place, items) {
  for (const one of [...place.children]) if (!items.includes(one)) one.remove();
  items.forEach((item, index) => {
    if (place.children[index] !== item) place.insertBefore(item, place.children[index] ?? null);
  });
}

function button(text, label, act) {
  const box = document.createElement("button");
  box.type = "button";
  box.textContent = text;
  if (label) box.setAttribute("aria-label", label);
  box.addEventListener("click", act);
  return box;
}

function plain(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}
