/* The map: all points as pixels of one canvas, coloured by what is known of them, picked out by lasso or legend.
   The points come as curation/map_file.py packs them; what the page knows beside them is in #map-facts. */
(() => {
  "use strict";
  const find = (selector) => document.querySelector(selector);
  const box = find("#map");
  const canvas = find("#map canvas");
  const tip = find(".map-tip");
  const facts = JSON.parse(find("#map-facts").textContent);
  const address = new URL(location.href);
  const GRID = 65535, NONE = 65535, SEVERAL = 65534, NEAR = 14;  // of a coordinate; no value; several people; pixels

  /* Okabe and Ito's colours that stay apart for the colour-blind, lighter on a dark ground; a ramp from bad to good. */
  const PALETTE = {
    light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6f4fa0", "#8c510a"],
    dark: ["#56b4e9", "#ff8f4a", "#2fc79a", "#e79bc8", "#f2c14e", "#a9dcff", "#b9a1ea", "#d8a56a"],
  };
  const RAMP = {
    light: ["#b2400a", "#e08a3c", "#d9c26a", "#6f9fd0", "#15508f"],
    dark: ["#ff7a3d", "#f0b076", "#f1e3a4", "#7db4e6", "#3f8fdc"],
  };
  const COLOURS = {  // column → its words, and how its numbers become the entries of the legend
    label: { words: "Label", none: "no label" },
    predicted: { words: "Predicted label", none: "no prediction" },
    quality: { words: "Label quality", none: "not scored", ramp: ["0 to 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 0.8", "0.8 to 1"],
      bin: (value) => value === 255 ? NONE : Math.min(4, Math.floor(value / 40)) },
    flag: { words: "What was found", none: "nothing found", fixed: [1, 3, 2, 0], bin: (value) => value === 255 ? NONE : value },
    annotator: { words: "Annotator", none: "no answer" },
    split: { words: "Split", none: "none" },
    cluster: { words: "Near-copies", none: "", ramp: ["alone", "2 alike", "3 to 5", "6 to 20", "more than 20"], reversed: true,
      bin: (value) => value < 2 ? 0 : value < 3 ? 1 : value < 6 ? 2 : value < 21 ? 3 : 4 },
  };

  let points, category, names, counts, chosen = new Set(), selected = null, view, width, height, dpr = 1, frame = 0, lasso = null;
  const theme = () => document.documentElement.dataset.bsTheme === "dark" ? "dark" : "light";
  const bits = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const has = (packed, row) => (packed[row >> 3] >> (row & 7)) & 1;
  const isShown = (row) => !chosen.size || chosen.has(category[row]);

  /* ---- the file ---- */
  function unpack(buffer) {
    const length = new DataView(buffer).getUint32(8, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, length)));
    const columns = {};
    for (const [name, [type, offset]] of Object.entries(header.columns)) {
      columns[name] = new (type === "u1" ? Uint8Array : Uint16Array)(buffer, 12 + length + offset, header.n);
    }
    return { n: header.n, columns, names: header.names };
  }

  /* ---- colours ---- */
  function colourBy(column) {
    const colour = COLOURS[column], values = points.columns[column];
    const known = column === "annotator" ? points.names.annotator.map((pk) => facts.annotators[pk] || "an annotator")
      : colour.ramp || points.names[column];
    names = new Map(known.map((name, number) => [number, name]));
    names.set(SEVERAL, "several people").set(NONE, colour.none);
    category = colour.bin ? Uint16Array.from(values, colour.bin) : values;
    counts = new Map();
    for (const number of category) counts.set(number, (counts.get(number) || 0) + 1);
    chosen = new Set([...counts.keys()].filter((number) => address.searchParams.getAll("only").includes(names.get(number))));
    address.searchParams.set("colour", column);
    find("#map-form [name=colour]").value = column;
    legend();
  }

  function entries() {  // ramps and kinds in their order, names with the commonest first, what has no value last
    const colour = COLOURS[find("#map-colour").value];
    const order = [...counts.keys()].sort((a, b) => colour.ramp || colour.fixed || a >= SEVERAL || b >= SEVERAL ? a - b : counts.get(b) - counts.get(a) || a - b);
    return order;
  }

  function colourOf() {
    const colour = COLOURS[find("#map-colour").value], found = new Map();
    if (colour.ramp) {
      const ramp = [...RAMP[theme()]];
      if (colour.reversed) ramp.reverse();
      colour.ramp.forEach((_, number) => found.set(number, ramp[number]));
      return found;
    }
    if (colour.fixed) {
      colour.fixed.forEach((place, entry) => found.set(entry, PALETTE[theme()][place]));
      return found;
    }
    const shown = entries().filter((number) => number !== NONE && (!chosen.size || chosen.has(number)));
    PALETTE[theme()].forEach((hex, place) => { if (place < shown.length) found.set(shown[place], hex); });
    return found;
  }

  function legend() {
    const colours = colourOf(), list = find("#map-names");
    list.replaceChildren(...entries().map((number) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const swatch = document.createElement("i"), name = document.createElement("span"), count = document.createElement("span");
      button.type = "button";
      button.setAttribute("aria-pressed", String(chosen.has(number)));
      swatch.style.backgroundColor = colours.get(number) || "var(--edge)";
      name.textContent = names.get(number);
      count.textContent = counts.get(number).toLocaleString("en");
      count.className = "quiet num small";
      button.append(swatch, name, count);
      button.addEventListener("click", () => toggle(number));
      item.append(button);
      return item;
    }));
    find("#map-hint").textContent = chosen.size ? "Only the entries that are pressed are shown." :
      entries().length > 9 && colours.size < entries().length - 1 ? "The commonest have a colour; choose entries to see only those, in colour." : "Choose entries to see only those.";
    later();
  }

  function toggle(number) {
    if (!chosen.delete(number)) chosen.add(number);
    address.searchParams.delete("only");
    chosen.forEach((one) => address.searchParams.append("only", names.get(one)));
    remember();
    const at = [...document.querySelectorAll("#map-names button")].indexOf(document.activeElement);
    legend();
    document.querySelectorAll("#map-names button")[at]?.focus();
  }

  function remember() {
    address.hash = `${view.x.toFixed(0)},${view.y.toFixed(0)},${(view.scale / whole().scale).toFixed(2)}`;
    history.replaceState(null, "", address);
  }

  /* ---- the view: pixels = (coordinate - centre) * scale + half the canvas ---- */
  const whole = () => ({ x: GRID / 2, y: GRID / 2, scale: 0.94 * Math.min(width, height) / GRID });
  const toX = (x) => (x - view.x) * view.scale + width / 2;
  const toY = (y) => height / 2 - (y - view.y) * view.scale;

  function zoom(factor, x = width / 2, y = height / 2) {
    const scale = Math.min(Math.max(view.scale * factor, whole().scale / 2), whole().scale * 400);
    view.x += (x - width / 2) * (1 / view.scale - 1 / scale);
    view.y -= (y - height / 2) * (1 / view.scale - 1 / scale);
    view.scale = scale;
    later();
    remember();
  }

  function pan(x, y) {
    view.x -= x / view.scale;
    view.y += y / view.scale;
    later();
  }

  function measure() {
    dpr = Math.min(devicePixelRatio || 1, 2);
    const factor = view ? view.scale / whole().scale : 1;
    [width, height] = [box.clientWidth, box.clientHeight];
    canvas.width = Math.round(width * dpr);
    canvas.height = Math.round(height * dpr);
    view = { ...(view || whole()), scale: whole().scale * factor };
    later();
  }

  /* ---- drawing ---- */
  function later() {
    if (!frame && points && view) frame = requestAnimationFrame(draw);
  }

  function number(hex, alpha = 255) {  // a colour as a little-endian pixel
    const rgb = parseInt(hex.slice(1), 16);
    return ((alpha << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
  }

  function draw() {
    frame = 0;
    const [w, h] = [canvas.width, canvas.height], context = canvas.getContext("2d");
    const image = context.createImageData(w, h), pixels = new Uint32Array(image.data.buffer);
    const { x, y } = points.columns, scale = view.scale * dpr;
    const size = Math.round(dpr * Math.min(6, Math.max(points.n > 20000 ? 1.5 : 3, 1.5 * Math.sqrt(view.scale / whole().scale))));
    const faint = number(theme() === "dark" ? "#ffffff" : "#000000", 26), plain = number(theme() === "dark" ? "#8b93a3" : "#8c8779");
    const colour = new Uint32Array(65536).fill(plain);
    colourOf().forEach((hex, entry) => { colour[entry] = number(hex); });
    let n = 0;
    for (const isFront of [false, true]) {
      for (let row = 0; row < points.n; row++) {
        const inFront = isShown(row) && (!selected || has(selected, row));
        if (inFront) n += isFront ? 1 : 0;
        if (Boolean(inFront) !== isFront) continue;
        const left = Math.round((x[row] - view.x) * scale + w / 2 - size / 2);
        const top = Math.round(h / 2 - (y[row] - view.y) * scale - size / 2);
        if (left < 0 || top < 0 || left + size > w || top + size > h) continue;
        const value = isFront ? colour[category[row]] : faint;
        for (let line = top; line < top + size; line++) pixels.fill(value, line * w + left, line * w + left + size);
      }
    }
    context.putImageData(image, 0, 0);
    find("#map-count").textContent = n === points.n ? `${n.toLocaleString("en")} points` : `${n.toLocaleString("en")} of ${points.n.toLocaleString("en")} points`;
    if (lasso) outline(context);
  }

  function outline(context) {
    context.beginPath();
    lasso.forEach(([left, top], at) => context[at ? "lineTo" : "moveTo"](left * dpr, top * dpr));
    context.closePath();
    context.lineWidth = 2 * dpr;
    context.setLineDash([6 * dpr, 4 * dpr]);
    context.strokeStyle = getComputedStyle(box).color;
    context.stroke();
  }

  /* ---- selecting ---- */
  function submit(isIn) {
    const packed = new Uint8Array(Math.ceil(points.n / 8));
    for (let row = 0; row < points.n; row++) if (isShown(row) && isIn(row)) packed[row >> 3] |= 1 << (row & 7);
    let text = "";
    for (let start = 0; start < packed.length; start += 8192) text += String.fromCharCode(...packed.subarray(start, start + 8192));
    const form = find("#map-form");
    form.elements.rows.value = btoa(text);
    form.action = form.action.split("#")[0] + address.hash;
    form.requestSubmit();
  }

  function isInside(polygon, px, py) {  // how often a line to the right crosses its edge: odd is inside
    let inside = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
      const [ax, ay] = polygon[a], [bx, by] = polygon[b];
      if ((ay > py) !== (by > py) && px < (bx - ax) * (py - ay) / (by - ay) + ax) inside = !inside;
    }
    return inside;
  }

  /* ---- pointer ---- */
  const pointers = new Map();
  const at = (event) => { const edge = canvas.getBoundingClientRect(); return [event.clientX - edge.left, event.clientY - edge.top]; };
  const lassoMode = () => find("#map-lasso").getAttribute("aria-pressed") === "true";

  canvas.addEventListener("pointerdown", (event) => {
    if (!points || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    if (pointers.size === 1 && (lassoMode() || event.shiftKey)) lasso = [at(event)];
    if (pointers.size === 2) lasso = null;  // two fingers zoom
    hideTip();
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!points) return;
    const [x, y] = at(event), before = pointers.get(event.pointerId);
    if (!before) return hover(x, y);
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    pointers.set(event.pointerId, [x, y]);
    if (lasso) { lasso.push([x, y]); return later(); }
    if (!others.length) return pan(x - before[0], y - before[1]);
    const [ox, oy] = others[0];
    zoom(Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy)), ox, oy);
  });

  const release = (event) => {
    if (!pointers.delete(event.pointerId) || !points) return;
    const drawn = lasso;
    lasso = null;
    later();
    remember();
    if (!drawn || event.type === "pointercancel") return hover(...at(event));
    if (drawn.length < 3) return;
    const xs = drawn.map(([x]) => x), ys = drawn.map(([, y]) => y);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    submit((row) => {
      const px = toX(points.columns.x[row]), py = toY(points.columns.y[row]);
      return px >= left && px <= right && py >= top && py <= bottom && isInside(drawn, px, py);
    });
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("wheel", (event) => {
    if (!points) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...at(event));
  }, { passive: false });

  /* ---- what a point is ---- */
  const told = new Map();
  let waiting = 0, pointed = -1;

  function hideTip() {
    clearTimeout(waiting);
    pointed = -1;
    tip.hidden = true;
  }

  function nearest(px, py) {
    let best = NEAR * NEAR, found = -1;
    for (let row = 0; row < points.n; row++) {
      const dx = toX(points.columns.x[row]) - px, dy = toY(points.columns.y[row]) - py, distance = dx * dx + dy * dy;
      if (distance < best && isShown(row) && (!selected || has(selected, row))) [best, found] = [distance, row];
    }
    return found;
  }

  function hover(px, py) {
    const row = nearest(px, py);
    if (row === pointed) return;
    hideTip();
    pointed = row;
    if (row >= 0) waiting = setTimeout(() => tell(row), told.has(row) ? 0 : 90);
  }

  async function tell(row) {
    if (!told.has(row)) {
      const answer = await fetch(`${facts.point}?row=${row}`, { credentials: "same-origin" });
      if (!answer.ok || answer.redirected) return;
      told.set(row, new DOMParser().parseFromString(await answer.text(), "text/html").body);
    }
    if (row !== pointed) return;
    tip.replaceChildren(...told.get(row).cloneNode(true).childNodes);
    tip.hidden = false;
    const px = toX(points.columns.x[row]), py = toY(points.columns.y[row]);
    tip.style.left = `${Math.max(4, Math.min(px + 12, width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${py + 14 + tip.offsetHeight < height ? py + 14 : Math.max(4, py - tip.offsetHeight - 14)}px`;
  }
  canvas.addEventListener("pointerleave", hideTip);

  /* ---- buttons and keys ---- */
  find("#map-lasso").addEventListener("click", (event) => {
    event.currentTarget.setAttribute("aria-pressed", String(!lassoMode()));
    box.classList.toggle("is-lasso", lassoMode());
  });
  find("#map-in").addEventListener("click", () => zoom(1.6));
  find("#map-out").addEventListener("click", () => zoom(1 / 1.6));
  find("#map-whole").addEventListener("click", () => { view = whole(); later(); remember(); });
  find("#map-all").addEventListener("click", () => points && submit((row) => !selected || has(selected, row)));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (!step) return;
    event.preventDefault();
    pan(...step);
    remember();
  });
  find("#map-colour").addEventListener("change", (event) => {
    address.searchParams.delete("only");
    colourBy(event.target.value);
    remember();
  });

  async function start() {
    const answer = await fetch(facts.points, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    points = unpack(await answer.arrayBuffer());
    if (facts.selected) selected = bits(facts.selected);
    const choice = find("#map-colour"), known = Object.keys(COLOURS).filter((name) => name in points.columns);
    choice.replaceChildren(...known.map((name) => new Option(COLOURS[name].words, name)));
    const asked = address.searchParams.get("colour");
    choice.value = known.includes(asked) ? asked : known[0];
    measure();
    const place = location.hash.slice(1).split(",").map(Number);
    if (place.length === 3 && place.every(Number.isFinite)) view = { x: place[0], y: place[1], scale: whole().scale * place[2] };
    colourBy(choice.value);
    new ResizeObserver(measure).observe(box);
    new MutationObserver(() => legend()).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  }

  start().catch((error) => {
    find("#map-count").textContent = "The points could not be loaded. Reload the page.";
    throw error;
  });
})();
