// What is asked, as the address of the page says it: a reload, a bookmark and the back button find it again.
// It stands behind the #, which stays in the browser: no log of a server has what people ask.

const FLAGS = ["rerank", "explain"];

export function read(address = location.hash.slice(1)) {
  const said = new URLSearchParams(address);
  const state = {
    q: said.get("q") ?? "",
    collections: said.getAll("in"),
    mode: ["hybrid", "dense", "lexical", "sparse"].includes(said.get("by")) ? said.get("by") : "hybrid",
    where: said.get("where") ?? "",
    like: said.get("like"),
    document: said.get("read"),
    chosen: Object.create(null), // by fields, which may be called anything
    ranges: Object.create(null),
  };
  for (const flag of FLAGS) state[flag] = said.get(flag) === "1";
  for (const [name, value] of said) {
    try {
      if (name === "has") {
        const [field, wanted] = JSON.parse(value);
        if (typeof field === "string" && wanted !== undefined) (state.chosen[field] ??= []).push(wanted);
      } else if (name === "range") {
        const [field, least, most] = JSON.parse(value);
        if (typeof field === "string") state.ranges[field] = [String(least ?? ""), String(most ?? "")];
      }
    } catch {
      // somebody edited the address: what can't be read is left out
    }
  }
  return state;
}

export function write(state, { replace = false } = {}) {
  const said = new URLSearchParams();
  if (state.q) said.set("q", state.q);
  for (const name of state.collections) said.append("in", name);
  if (state.mode !== "hybrid") said.set("by", state.mode);
  if (state.where) said.set("where", state.where);
  for (const flag of FLAGS) if (state[flag]) said.set(flag, "1");
  for (const [field, values] of Object.entries(state.chosen))
    for (const value of values) said.append("has", JSON.stringify([field, value]));
  for (const [field, [least, most]] of Object.entries(state.ranges))
    if (least || most) said.append("range", JSON.stringify([field, least, most]));
  if (state.like) said.set("like", state.like);
  if (state.document) said.set("read", state.document);
  const address = said.toString() ? `#${said}` : location.pathname;
  if ((location.hash || location.pathname) === address) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
}
