// Pages that tasks made, a map or topics, within this one: in a frame that is of nobody, runs its own script alone, and
// says only which document is wanted. The policy of this page holds there too, and names that script by its digest.

import { fetched } from "./api.js";

const at = (id) => document.getElementById(id);
let frame = null;
let wanted = 0; // the last that was asked for is shown
let told = () => {};

/** Show the page of a task; `read` is called with the id of a document that is chosen there. */
export async function open(task, path, read) {
  const mine = ++wanted;
  const { content } = await fetched(path);
  const html = await content.text();
  if (mine !== wanted) return;
  frame?.remove();
  frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.title = `${task.kind} of ${task.collection}`;
  frame.srcdoc = html;
  told = read;
  at("drawing-title").textContent = `${task.collection}: ${task.kind}`;
  at("drawing").append(frame);
  if (!at("drawing").open) at("drawing").showModal();
}

export function listen() {
  at("drawing-close").addEventListener("click", () => at("drawing").close());
  at("drawing").addEventListener("close", () => {
    wanted++;
    frame?.remove();
    frame = null;
  });
  addEventListener("message", (event) => {
    if (!frame || event.source !== frame.contentWindow || typeof event.data?.read !== "string") return;
    at("drawing").close();
    told(event.data.read);
  });
}
