// Upkeep: collections read again, and how far the server's long work is.

import { ask, of } from "./api.js";

const EVERY = 1000; // milliseconds between two looks while something is done

export class Tasks {
  constructor(box, upkeep, list, collections, fail) {
    Object.assign(this, { box, upkeep, list, collections, fail, timer: 0 });
    if (box.dataset.ready) return;
    box.dataset.ready = "yes";
    box.addEventListener("toggle", () => (box.open ? this.look() : clearTimeout(this.timer)));
  }

  async look() {
    clearTimeout(this.timer);
    try {
      this.drawUpkeep();
      const { tasks } = await ask("GET", "v1/tasks");
      this.list.replaceChildren(...(tasks.length ? tasks.slice(0, 20).map((task) => this.drawTask(task)) : [plain("nothing was done yet")]));
      if (this.box.open && tasks.some((task) => ["queued", "running"].includes(task.state)))
        this.timer = setTimeout(() => this.look(), EVERY);
    } catch (error) {
      this.fail(error);
    }
  }

  drawUpkeep() {
    this.upkeep.replaceChildren(
      ...this.collections().map((one) => {
        const line = document.createElement("p");
        line.append(`${one.name}: ${one.error ?? `${one.documents.toLocaleString()} documents`} `);
        const sync = document.createElement("button");
        sync.type = "button";
        sync.textContent = "Read its sources again";
        sync.setAttribute("aria-label", `Read the sources of ${one.name} again`);
        sync.addEventListener("click", () => this.begin(`${of(one.name)}/sync`));
        line.append(sync);
        return line;
      }),
    );
  }

  async begin(path) {
    try {
      await ask("POST", path, {});
      await this.look();
    } catch (error) {
      this.fail(error);
    }
  }

  drawTask(task) {
    const item = plain(`${task.kind} ${task.collection}: ${task.state}`);
    const told = Object.entries(task.progress ?? {}).filter(([, value]) => value !== null);
    if (told.length) item.append(` (${told.map(([name, value]) => `${name} ${Number(value).toLocaleString()}`).join(", ")})`);
    if (task.error) item.append(`: ${task.error.message}`);
    if (["queued", "running"].includes(task.state)) {
      const stop = document.createElement("button");
      stop.type = "button";
      stop.textContent = "Cancel";
      stop.setAttribute("aria-label", `Cancel ${task.kind} of ${task.collection}`);
      stop.addEventListener("click", () => this.begin(`v1/tasks/${encodeURIComponent(task.id)}/cancel`));
      item.append(" ", stop);
    }
    return item;
  }
}

function plain(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}
