"use strict";
// Points are painted into an array of pixels: this needs no graphics card, and no time for each point but its pixels.
// Texts of documents only ever become text nodes.
(async () => {
  const NONE = 65535, CELLS = 256, REACH = 10, FOUND = 20;
  const canvas = document.getElementById("map"), tip = document.getElementById("tip");
  const details = document.getElementById("details"), find = document.getElementById("find");
  const topicButtons = [...document.querySelectorAll("#topics button")];
  const brush = canvas.getContext("2d", { alpha: false });
  const dark = matchMedia("(prefers-color-scheme: dark)");

  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  }

  const data = await unpacked("data");
  const headLength = new DataView(data).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, headLength)));
  const count = head.points, first = 4 + headLength;
  const numbers = (at) => new Uint16Array(data.slice(first + 2 * at * count, first + 2 * (at + 1) * count));
  const xs = numbers(0), ys = numbers(1), topicOf = numbers(2), colourOf = numbers(3);

  let texts = null; // read when they are asked for
  async function allTexts() {
    texts ??= JSON.parse(new TextDecoder().decode(await unpacked("words")));
    return texts;
  }

  // Colours
  function rgb(hue, saturation, lightness) {
    const part = (n) => {
      const k = (n + hue / 30) % 12;
      return Math.round(255 * (lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
    };
    return [part(0), part(8), part(4)];
  }
  const pixel = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  let shades = [], faint = [], background = 0, ink = "", halo = "";
  function colourAll() {
    const light = dark.matches ? 0.62 : 0.45;
    const colours = [];
    for (let i = 0; i < head.colours; i++) {
      const hue = head.ordered ? 240 - 220 * i / Math.max(head.colours - 1, 1) : (i * 137.508 + 210) % 360;
      colours.push(rgb(hue, 0.65, light + (head.ordered ? 0 : (i % 3 - 1) * 0.08)));
    }
    colours.push(dark.matches ? [110, 110, 110] : [150, 150, 150]);
    background = pixel(dark.matches ? [22, 24, 28] : [255, 255, 255]);
    [ink, halo] = dark.matches ? ["#eee", "#16181c"] : ["#111", "#fff"];
    shades = Uint32Array.from(colours, pixel);
    faint = pixel(dark.matches ? [48, 50, 54] : [225, 225, 225]);
    const paint = (span, colour) => { span.style.background = `rgb(${colours[Math.min(colour, head.colours)]})`; };
    document.querySelectorAll("#colours span").forEach(paint);
    topicButtons.forEach((button, i) => head.by ? button.querySelector("span")?.remove() : paint(button.querySelector("span"), i));
  }

  // View: a point (x, y) of 0..65535 is painted at (x * scale + left, y * scale + top)
  let width = 0, height = 0, dense = 1, image = null, pixels = null;
  let scale = 1, left = 0, top = 0, whole = 1, topic = -1, chosen = -1, hits = null, waiting = false;
  function fit() {
    whole = scale = 0.94 * Math.min(width, height) / 65535;
    left = (width - scale * 65535) / 2;
    top = (height - scale * 65535) / 2;
  }
  function resize() {
    dense = Math.min(devicePixelRatio || 1, 2);
    const [w, h] = [Math.max(1, Math.round(canvas.clientWidth * dense)), Math.max(1, Math.round(canvas.clientHeight * dense))];
    if (w === width && h === height) return;
    [width, height] = [w, h];
    canvas.width = w;
    canvas.height = h;
    image = brush.createImageData(w, h);
    pixels = new Uint32Array(image.data.buffer);
    fit();
    ask();
  }
  function zoom(factor, x, y) {
    const wanted = Math.min(Math.max(scale * factor, whole * 0.5), whole * 2000) / scale;
    left = x - (x - left) * wanted;
    top = y - (y - top) * wanted;
    scale *= wanted;
    ask();
  }
  function ask() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  const stamps = new Map(); // of each size the spans of its lines: a disc
  function stamp(size) {
    if (!stamps.has(size)) {
      const spans = [], middle = (size - 1) / 2, reach = size > 3 ? size / 2 : size;
      for (let y = 0; y < size; y++) {
        const half = Math.sqrt(Math.max(0, reach * reach - (y - middle) ** 2));
        spans.push([Math.max(0, Math.ceil(middle - half)), Math.min(size - 1, Math.floor(middle + half))]);
      }
      stamps.set(size, spans);
    }
    return stamps.get(size);
  }
  function dot(i, colour, size, spans) {
    const x = (xs[i] * scale + left - size / 2) | 0, y = (ys[i] * scale + top - size / 2) | 0;
    if (x < 0 || y < 0 || x + size >= width || y + size >= height) return;
    for (let line = 0, start = y * width + x; line < size; line++, start += width) {
      for (let at = start + spans[line][0], end = start + spans[line][1]; at <= end; at++) pixels[at] = colour;
    }
  }
  const bright = (i) => (topic < 0 || topicOf[i] === topic) && (hits === null || hits[i]);
  function draw() {
    pixels.fill(background);
    const base = dense * (count > 50000 ? 1.5 : count > 5000 ? 2.5 : 5);
    const size = Math.max(1, Math.min(14, Math.round(base * Math.max(1, scale / whole) ** 0.4)));
    const spans = stamp(size), last = shades.length - 1, some = topic >= 0 || hits !== null;
    if (some) for (let i = 0; i < count; i++) if (!bright(i)) dot(i, faint, size, spans);
    for (let i = 0; i < count; i++) {
      if (!some || bright(i)) dot(i, shades[colourOf[i] === NONE ? last : colourOf[i]], size, spans);
    }
    brush.putImageData(image, 0, 0);
    names();
    if (chosen >= 0) {
      brush.strokeStyle = ink;
      brush.lineWidth = 2 * dense;
      brush.beginPath();
      brush.arc(xs[chosen] * scale + left, ys[chosen] * scale + top, size / 2 + 4 * dense, 0, 7);
      brush.stroke();
    }
  }
  let widths = null;
  function names() {
    const high = 13 * dense;
    brush.font = `600 ${high}px system-ui, sans-serif`;
    brush.textAlign = "center";
    brush.textBaseline = "middle";
    brush.lineJoin = "round";
    brush.lineWidth = 4 * dense;
    widths ??= head.topics.map((one) => brush.measureText(one.name).width / dense);
    const taken = [];
    head.topics.forEach((one, i) => {
      if (topic >= 0 && i !== topic) return;
      const x = one.x * scale + left, y = one.y * scale + top, half = widths[i] * dense / 2 + 3 * dense;
      if (x < 0 || y < 0 || x > width || y > height) return;
      if (taken.some(([u, v, other]) => Math.abs(u - x) < half + other && Math.abs(v - y) < 1.4 * high)) return;
      taken.push([x, y, half]);
      brush.strokeStyle = halo;
      brush.strokeText(one.name, x, y);
      brush.fillStyle = ink;
      brush.fillText(one.name, x, y);
    });
  }

  // What lies where: points in the order of the cells of a grid
  const cellOf = (i) => (ys[i] >> 8) * CELLS + (xs[i] >> 8);
  let begins = null, inCells = null;
  function grid() {
    begins = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < count; i++) begins[cellOf(i) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) begins[c + 1] += begins[c];
    const next = begins.slice();
    inCells = new Uint32Array(count);
    for (let i = 0; i < count; i++) inCells[next[cellOf(i)]++] = i;
  }
  function nearest(x, y) {
    if (begins === null) grid();
    const u = (x - left) / scale, v = (y - top) / scale, reach = REACH * dense / scale;
    let best = -1, least = reach * reach;
    const bound = (value) => Math.min(CELLS - 1, Math.max(0, value >> 8));
    for (let row = bound(v - reach); row <= bound(v + reach); row++) {
      const from = begins[row * CELLS + bound(u - reach)], to = begins[row * CELLS + bound(u + reach) + 1];
      for (let at = from; at < to; at++) {
        const i = inCells[at], far = (xs[i] - u) ** 2 + (ys[i] - v) ** 2;
        if (far <= least && bright(i)) [best, least] = [i, far];
      }
    }
    return best;
  }

  // What is told
  function element(kind, text) {
    const made = document.createElement(kind);
    made.dir = "auto";
    made.textContent = text;
    return made;
  }
  const topicName = (i) => topicOf[i] === NONE ? "in no topic" : head.topics[topicOf[i]].name;
  async function choose(i) {
    chosen = i;
    ask();
    if (i < 0) return details.replaceChildren();
    const [id, text] = (await allTexts())[i];
    const said = [element("h2", id), element("blockquote", text), element("p", topicName(i))];
    if (head.by) said.push(element("p", `${head.by}: ${colourOf[i] === NONE ? "none" : head.legend[colourOf[i]]}`));
    if (parent !== window) { // within the page of a server, which shows the document
      const read = element("button", "Read it");
      read.type = "button";
      read.addEventListener("click", () => parent.postMessage({ read: id }, "*"));
      said.push(read);
    }
    details.replaceChildren(...said);
  }
  function chooseTopic(wanted) {
    topic = wanted === topic ? -1 : wanted;
    topicButtons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === topic)));
    chosen = -1;
    ask();
    if (topic < 0) return details.replaceChildren();
    const one = head.topics[topic];
    details.replaceChildren(element("h2", one.name), element("p", one.words), ...one.standing.map((text) => element("blockquote", text)));
  }
  topicButtons.forEach((button, i) => button.addEventListener("click", () => chooseTopic(i)));
  find.addEventListener("input", async () => {
    const wanted = find.value.trim().toLowerCase(), all = await allTexts();
    if (wanted !== find.value.trim().toLowerCase()) return;
    hits = wanted ? Uint8Array.from(all, ([, text]) => text.toLowerCase().includes(wanted) ? 1 : 0) : null;
    ask();
    if (hits === null) return details.replaceChildren();
    const list = document.createElement("ol"), total = hits.reduce((sum, hit) => sum + hit, 0);
    for (let i = 0; i < count && list.children.length < FOUND; i++) {
      if (!hits[i]) continue;
      const item = document.createElement("li"), button = element("button", all[i][1] || all[i][0]);
      button.type = "button";
      button.addEventListener("click", () => { centre(i); choose(i); });
      item.append(button);
      list.append(item);
    }
    details.replaceChildren(element("p", `${total.toLocaleString("en")} found`), list);
  });
  function centre(i) {
    scale = Math.max(scale, whole * 8);
    left = width / 2 - xs[i] * scale;
    top = height / 2 - ys[i] * scale;
  }

  // Pointers and keys
  const held = new Map();
  let moved = 0;
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * dense, (event.clientY - box.top) * dense];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, placeOf(event));
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(event), before = held.get(event.pointerId);
    if (before === undefined) return hover(x, y, event);
    const others = [...held].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const [u, v] = others[0][1];
      zoom(Math.hypot(x - u, y - v) / (Math.hypot(before[0] - u, before[1] - v) || 1), (x + u) / 2, (y + v) / 2);
    } else {
      left += x - before[0];
      top += y - before[1];
      ask();
    }
    moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    held.set(event.pointerId, [x, y]);
    tip.hidden = true;
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      const was = held.delete(event.pointerId);
      if (was && kind === "pointerup" && moved < 4 * dense) choose(nearest(...placeOf(event)));
    });
  }
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...placeOf(event));
  }, { passive: false });
  let hovered = -1;
  async function hover(x, y) {
    const found = hovered = nearest(x, y);
    if (found < 0) { tip.hidden = true; return; }
    const [id, text] = (await allTexts())[found];
    if (hovered !== found) return;
    tip.replaceChildren(element("div", text || id), element("small", topicName(found)));
    tip.hidden = false;
    tip.style.left = `${Math.max(0, Math.min(x / dense + 12, canvas.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, Math.min(y / dense + 12, canvas.clientHeight - tip.offsetHeight - 4))}px`;
  }
  const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) {
      left += moves[event.key][0] * width / 10;
      top += moves[event.key][1] * height / 10;
      ask();
    } else if (event.key === "+" || event.key === "=") zoom(1.5, width / 2, height / 2);
    else if (event.key === "-") zoom(1 / 1.5, width / 2, height / 2);
    else if (event.key === "0") { fit(); ask(); }
    else return;
    event.preventDefault();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (topic >= 0) chooseTopic(topic);
    find.value = "";
    hits = null;
    choose(-1);
  });

  dark.addEventListener("change", () => { colourAll(); ask(); });
  colourAll();
  new ResizeObserver(resize).observe(canvas);
  resize();
  draw();
  performance.mark("first picture");
})();
