// The pages of a PDF as pictures that the server draws: a file itself can do more in a browser than be read.

import { fetched, of, openFile } from "./api.js";

const at = (id) => document.getElementById(id);
let shown = null; // collection, document and page
let pages = 0;
let wanted = 0; // the last page that was asked for is shown
let address = "";

/** Show page `page` of the file of a document. */
export async function open(name, id, page, title) {
  shown = { name, id, page: page || 1 };
  pages = 0;
  at("pages-title").textContent = title;
  at("pages-title").dir = "auto";
  if (!at("pages").open) at("pages").showModal();
  await turn(0);
}

async function turn(by) {
  const mine = ++wanted;
  const asked = shown.page + by;
  at("pages-failure").hidden = true;
  at("pages-drawn").setAttribute("aria-busy", "true");
  try {
    const { content, headers } = await fetched(`${of(shown.name)}/original/page?${new URLSearchParams({ id: shown.id, page: asked })}`);
    if (mine !== wanted) return;
    [shown.page, pages] = [asked, Number(headers.get("X-Pages"))];
    drop();
    address = URL.createObjectURL(content);
    const picture = document.createElement("img");
    picture.src = address;
    picture.alt = `Page ${asked} of ${at("pages-title").textContent}, as a picture; its text is shown by reading the result.`;
    at("pages-drawn").replaceChildren(picture);
  } catch (error) {
    if (mine !== wanted) return;
    at("pages-failure").textContent = error.message;
    at("pages-failure").hidden = false;
    if (error.status === 401) throw error;
  } finally {
    if (mine === wanted) {
      at("pages-drawn").removeAttribute("aria-busy");
      at("pages-place").textContent = pages ? `page ${shown.page} of ${pages.toLocaleString()}` : "";
      at("pages-before").disabled = shown.page <= 1;
      at("pages-behind").disabled = shown.page >= pages;
    }
  }
}

function drop() {
  if (address) URL.revokeObjectURL(address);
  address = "";
}

/** `fail` is told of what goes wrong. */
export function listen(fail) {
  at("pages-before").addEventListener("click", () => turn(-1).catch(fail));
  at("pages-behind").addEventListener("click", () => turn(1).catch(fail));
  at("pages-save").addEventListener("click", () => openFile(`${of(shown.name)}/original?${new URLSearchParams({ id: shown.id })}`).catch(fail));
  at("pages-close").addEventListener("click", () => at("pages").close());
  at("pages").addEventListener("close", () => {
    wanted++;
    drop();
    at("pages-drawn").replaceChildren();
  });
  at("pages").addEventListener("keydown", (event) => {
    if (event.key === "PageDown" && !at("pages-behind").disabled) turn(1).catch(fail);
    else if (event.key === "PageUp" && !at("pages-before").disabled) turn(-1).catch(fail);
    else return;
    event.preventDefault();
  });
}
