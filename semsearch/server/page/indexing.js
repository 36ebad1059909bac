// Indexing a folder that the server was started with, or files from here, into a collection that is there or is made for it.

import { Refused, ask, of } from "./api.js";

const at = (id) => document.getElementById(id);

export class Indexing {
  /** `begun` is called with each task that was begun, `changed` where a collection was made. */
  constructor({ begun, changed, fail }) {
    Object.assign(this, { begun, changed, fail, running: false });
    at("indexing").addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin().catch((error) => this.refused(error, "indexing-error"));
    });
    at("uploading").addEventListener("submit", (event) => {
      event.preventDefault();
      this.putIn().catch((error) => this.refused(error, "uploading-error"));
    });
  }

  /** What may be chosen now. */
  draw(server, collections) {
    this.largest = server.max_upload;
    at("uploading").hidden = server.role === "read" || !server.files;
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
      this.begun(await this.into(name, index));
    } finally {
      this.running = false;
    }
  }

  /** What `act` gives, in a collection that is made where it is not there. */
  async into(name, act) {
    return act().catch(async (error) => {
      if (!["collection_not_found", "not_found"].includes(error.code)) throw error; // a slip makes no collection
      await this.make(name);
      return act();
    });
  }

  /** Put the chosen files in, one after the other; what is refused is told, and the others go on. */
  async putIn() {
    if (this.running) return;
    this.running = true;
    at("uploading-error").hidden = true;
    const files = [...at("files").files];
    const refused = [];
    try {
      const name = at("uploaded-into").value.trim().normalize("NFC");
      for (const [place, file] of files.entries()) {
        at("uploading-said").textContent = `${file.name} (${place + 1} of ${files.length}) …`;
        try {
          if (file.size > this.largest) throw new Refused({ code: "too_large", message: `${file.name} has ${file.size.toLocaleString()} bytes; the server takes ${this.largest.toLocaleString()}.` }, 413);
          const put = () => ask("POST", `${of(name)}/files/${encodeURIComponent(file.name)}`, file);
          this.begun(await this.into(name, put));
        } catch (error) {
          if (!(error instanceof Refused) || error.status === 401 || error.status === 0) throw error;
          refused.push(error.message);
        }
      }
      at("uploading-said").textContent = `${files.length - refused.length} of ${files.length} files were put in: the tasks below index them.`;
      if (refused.length) throw new Refused({ code: "refused", message: refused.join(" ") }, 400);
      at("files").value = "";
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

  refused(error, place) {
    if (!(error instanceof Refused) || error.status === 401) return this.fail(error);
    at(place).textContent = error.message;
    at(place).hidden = false;
  }
}

function option(name) {
  const box = document.createElement("option");
  box.value = box.textContent = name;
  return box;
}
