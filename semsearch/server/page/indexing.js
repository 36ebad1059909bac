// Indexing a folder that the server was started with, into a collection that is there or is made for it.

import { Refused, ask, of } from "./api.js";

const at = (id) => document.getElementById(id);

export class Indexing {
  /** `begun` is called with each task that was begun, `changed` where a collection was made. */
  constructor({ begun, changed, fail }) {
    Object.assign(this, { begun, changed, fail, running: false });
    at("indexing").addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin().catch((error) => this.refused(error));
    });
  }

  /** What may be chosen now. */
  draw(server, collections) {
    at("indexing").hidden = server.role === "read";
    at("no-folders").hidden = server.folders.length > 0;
    at("has-folders").hidden = server.folders.length === 0;
    const chosen = at("folder").value;
    at("folder").replaceChildren(...server.folders.map(option));
    if (server.folders.includes(chosen)) at("folder").value = chosen;
    at("names").replaceChildren(...collections.map((one) => option(one.name)));
  }

  async begin() {
    if (this.running) return;
    this.running = true;
    at("indexing-error").hidden = true;
    try {
      const name = at("into").value.trim().normalize("NFC");
      const index = () => ask("POST", `${of(name)}/index`, { folder: at("folder").value, path: at("path").value.trim() });
      const task = await index().catch(async (error) => {
        if (!["collection_not_found", "not_found"].includes(error.code)) throw error; // a slip makes no collection
        await this.make(name);
        return index();
      });
      this.begun(task);
    } finally {
      this.running = false;
    }
  }

  async make(name) {
    try {
      await ask("POST", "v1/collections", { name });
    } catch (error) {
      if (error.code !== "collection_exists") throw error; // another tab was faster
    }
    await this.changed();
  }

  refused(error) {
    if (!(error instanceof Refused) || error.status === 401) return this.fail(error);
    at("indexing-error").textContent = error.message;
    at("indexing-error").hidden = false;
  }
}

function option(name) {
  const box = document.createElement("option");
  box.value = box.textContent = name;
  return box;
}
