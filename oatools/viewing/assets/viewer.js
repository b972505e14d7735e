// The page on which knees are looked at, behind what pages of scans share (images.js). All text is set as text.

const MISSING = "n/a";
const RAMP = 7 / 3; // heat from 3/7 of the largest on is as opaque as the slider says; below, less so
const GREYS = [40, 128, 215]; // tissue that the bar of colours is shown over: dark, grey, bright
const KEYS = [
  ["Up, Down, wheel, one finger", "slice by slice"], ["Page up, Page down, Home, End", "five slices, first, last"],
  ["Left, Right", "the knee before, the next knee"], ["S", "next sequence of the knee"],
  ["G", "hottest slice"], ["H", "heat map on and off"], ["J, K", "heat map fainter, stronger"],
  ["drag", "window across, level up and down"], [", .", "darker, brighter (level)"],
  ["[ ]", "more, less contrast (window)"], ["+, −, Ctrl and wheel, two fingers", "zoom"],
  ["Shift and arrows, Shift and drag", "move the image"], ["0, double click", "reset the image"],
  ["/, then Esc", "filter the knees, and leave the filter"], ["?", "this list"],
];

const show = { level: 50, window: 100, heat: true, opacity: 60, cut: 10 };
let colours = null; // 256 of red, green, blue
let knees = []; // in the order of the table on screen
let sorted = { column: null, down: true };
let knee = null; // on screen
let view = null;
let ready = false; // the scan of the knee is on screen

// ---- The table of knees ----

function columnsOf() {
  const all = study.knees;
  const columns = [{ name: "knee", value: (each) => each.knee }];
  if (all.some((each) => each.probability !== null)) {
    columns.push({ name: "probability", value: ({ probability }) => (probability === null ? MISSING : probability.toFixed(3)) });
  }
  columns.push({ name: "side", value: (each) => each.side });
  if (all.some((each) => each.series.length > 1 || each.series[0].sequence !== all[0].series[0].sequence)) {
    columns.push({ name: "sequences", value: (each) => each.series.map(({ sequence }) => sequence).join(", ") });
  }
  study.variables.forEach(([name, title], k) => columns.push({ name, title, value: (each) => each.values[k] }));
  for (const column of columns) {
    const known = all.map(column.value).filter((value) => value !== MISSING);
    column.isNumber = known.length > 0 && known.every((value) => value.trim() !== "" && Number.isFinite(Number(value)));
  }
  return columns;
}

// Numbers by size, texts by their letters; what is missing comes last, whichever way.
function compared({ value, isNumber }, down) {
  return (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === MISSING || b === MISSING) return (a === MISSING) - (b === MISSING);
    const order = isNumber ? a - b : a.localeCompare(b, "en", { numeric: true });
    return down ? -order : order;
  };
}

function sortBy(column) {
  sorted = { column, down: sorted.column === column ? !sorted.down : column.isNumber };
  showList();
}

function showList() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (each) => columns.map(({ value }) => value(each)).join(" ").toLowerCase();
  knees = study.knees.filter((each) => words.every((word) => text(each).includes(word)));
  if (sorted.column) knees.sort(compared(sorted.column, sorted.down));
  const head = make("tr");
  for (const column of columns) {
    const cell = make("th", undefined, { scope: "col", class: column.isNumber ? "n" : "", title: column.title ?? column.name });
    const mark = sorted.column === column ? (sorted.down ? " ▾" : " ▴") : "";
    if (mark) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    const button = make("button", `${column.name}${mark}`, { type: "button", "data-column": column.name });
    button.addEventListener("click", () => sortBy(column));
    cell.append(button);
    head.append(cell);
  }
  const lines = knees.map((each) => {
    const line = make("tr", undefined, { "aria-selected": each === knee });
    line.append(...columns.map((column) => make("td", column.value(each), { class: column.isNumber ? "n" : "" })));
    line.addEventListener("click", () => choose(each));
    return line;
  });
  $("knees").tHead.replaceChildren(head);
  $("knees").tBodies[0].replaceChildren(...lines);
  const all = study.knees.length;
  $("count").textContent = knees.length === all ? `${all} ${all === 1 ? "knee" : "knees"}` : `${knees.length} of ${all} knees`;
}

function step(by) {
  const at = knees.indexOf(knee);
  const next = knees[clamp(at + by, 0, knees.length - 1)];
  if (next && next !== knee) choose(next);
}

// ---- The scan ----

class Scan extends ImageView {
  constructor() {
    super();
    this.canvas = $("canvas");
    this.image = document.createElement("canvas");
    this.place = "scan";
    this.resetView();
    listen(this);
    new ResizeObserver(() => draw()).observe($("view"));
  }

  begin(series) {
    this.sequence = series;
    [this.volume, this.heat] = [null, null];
    const hottest = series.heat ? series.heat.hottest : null;
    this.at = hottest ?? Math.floor(series.slices / 2);
  }

  // Red, green and blue of every pixel of the slice.
  pixels() {
    const { columns, rows } = this.sequence;
    const shades = shadesOf(this.volume, show.level, show.window);
    const count = columns * rows;
    const start = this.at * count;
    const heat = this.heat && show.heat ? this.heat.grey : null;
    const out = new Uint8ClampedArray(4 * count);
    for (let pixel = 0; pixel < count; pixel++) {
      const shade = shades[this.volume.grey[start + pixel]];
      const hot = heat ? heat[start + pixel] : 0;
      mix(out, 4 * pixel, shade, hot);
    }
    return new ImageData(out, columns, rows);
  }

  draw() {
    this.clear();
    if (!this.volume) return;
    const { columns, rows } = this.sequence;
    this.image.width = columns;
    this.image.height = rows;
    this.image.getContext("2d").putImageData(this.pixels(), 0, 0);
    const perMillimetre = this.paint(this.image);
    const length = [50, 20, 10, 5, 2, 1].find((each) => each * perMillimetre < 160) ?? 1;
    $("scale").style.width = `${length * perMillimetre}px`;
    $("scale").textContent = `${length} mm`;
  }
}

// How much of a colour of heat is seen, from 0 to 1: the one rule of the image and of its bar.
function opacityOf(hot) {
  return hot === 0 || hot < (show.cut / 100) * LEVELS ? 0 : (show.opacity / 100) * Math.min(1, (hot / LEVELS) * RAMP);
}

function mix(out, at, shade, hot) {
  const part = opacityOf(hot);
  for (let channel = 0; channel < 3; channel++) {
    out[at + channel] = shade + (colours[3 * hot + channel] - shade) * part;
  }
  out[at + 3] = 255;
}

function drawColours() {
  const canvas = $("colours");
  [canvas.width, canvas.height] = [LEVELS + 1, GREYS.length];
  const out = new Uint8ClampedArray(4 * canvas.width * canvas.height);
  GREYS.forEach((grey, row) => {
    for (let hot = 0; hot <= LEVELS; hot++) mix(out, 4 * (row * canvas.width + hot), grey, hot);
  });
  canvas.getContext("2d").putImageData(new ImageData(out, canvas.width, canvas.height), 0, 0);
}

function draw() {
  if (!view || !view.sequence) return;
  const { slices, along, attention, sequence } = view.sequence;
  view.draw();
  $("slice").max = slices;
  $("slice").value = view.at + 1;
  const share = attention.length ? `, attention ${(100 * attention[view.at]).toFixed(1)} %` : "";
  $("where").textContent = `${view.at + 1} of ${slices}${share}`;
  $("canvas").setAttribute("aria-label", `${knee.knee}, ${sequence}, slice ${view.at + 1}, ${along[0]} to ${along[1]}`);
  [...$("bars").children].forEach((bar, at) => bar.classList.toggle("now", at === view.at));
}

// What images.js calls: there is one image here.
const subjects = () => [view];

function scroll(steps) {
  view.at = clamp(view.at + steps, 0, view.sequence.slices - 1);
  draw();
}

function setWindow(level, width) {
  show.level = clamp(Number(level), 0, 100);
  show.window = clamp(Number(width), 5, 200);
  $("level").value = show.level;
  $("window").value = show.window;
  draw();
}

function magnify(factor, _place, x, y) {
  view.magnify(factor, x, y);
  draw();
}

function move(x, y) {
  view.move(x, y);
  draw();
}

function resetImages() {
  view.resetView();
  setWindow(50, 100);
}

function setHeat(change) {
  Object.assign(show, change);
  show.opacity = clamp(Number(show.opacity), 0, 100);
  show.cut = clamp(Number(show.cut), 0, 95);
  $("heat-on").checked = show.heat;
  $("opacity").value = show.opacity;
  $("cut").value = show.cut;
  $("opacity-text").textContent = `${show.opacity} %`;
  $("cut-text").textContent = `${show.cut} %`;
  drawColours();
  draw();
}

function toHottest() {
  if (view.sequence.heat && view.sequence.heat.hottest !== null) scroll(view.sequence.heat.hottest - view.at);
}

// ---- One knee after another ----

function choose(next) {
  knee = next;
  for (const line of $("knees").tBodies[0].rows) line.setAttribute("aria-selected", knees[line.sectionRowIndex] === knee);
  const chosen = $("knees").tBodies[0].rows[knees.indexOf(knee)];
  if (chosen) chosen.scrollIntoView({ block: "nearest" });
  $("name").textContent = knee.knee;
  const names = knee.series.map(({ sequence }) => sequence);
  $("sequences").replaceChildren(...knee.series.map((series, at) => {
    const before = names.slice(0, at).filter((name) => name === names[at]).length;
    const button = make("button", before ? `${names[at]} (${before + 1})` : names[at], { type: "button" });
    button.addEventListener("click", () => showSeries(series));
    return button;
  }));
  $("sequences").hidden = knee.series.length < 2;
  showFacts();
  view.resetView();
  const before = view.sequence ? view.sequence.sequence : null;
  return showSeries(knee.series.find(({ sequence }) => sequence === before) ?? knee.series[0]);
}

async function showSeries(series) {
  ready = false;
  view.begin(series);
  [...$("sequences").children].forEach((button, at) => button.setAttribute("aria-pressed", knee.series[at] === series));
  showScanFacts(series);
  $("message").textContent = "Loading";
  draw();
  letGo();
  const shape = [series.columns, series.rows, series.slices];
  const isCurrent = () => view.sequence === series;
  try {
    const found = await Promise.all([series, series.heat].map((each) => each && load(each, shape)));
    if (!isCurrent()) return;
    [view.volume, view.heat] = found;
    $("message").textContent = "";
    draw();
    ready = true;
  } catch (error) {
    if (isCurrent()) $("message").textContent = error.message;
  }
}

// Scans of other knees than the one on screen are let go of, so that the page stays small.
function letGo() {
  const wanted = new Set(knee.series.flatMap((each) => [each.file, each.heat && each.heat.file]));
  for (const file of volumes.keys()) if (!wanted.has(file) && !arriving.has(file)) volumes.delete(file);
}

function showFacts() {
  const { probability, threshold, values, said } = knee;
  $("probability").hidden = probability === null;
  if (probability !== null) {
    $("probability-text").textContent = probability.toFixed(3);
    $("fill").style.width = `${100 * probability}%`;
    $("threshold").hidden = threshold === null;
    $("threshold").style.left = `${100 * (threshold ?? 0)}%`;
    const verdict = probability >= threshold ? "Positive: at or above" : "Negative: below";
    $("verdict").textContent = threshold === null
      ? "The model's threshold is not recorded with this table."
      : `${verdict} the model's threshold of ${threshold.toFixed(3)}`;
  }
  $("said").replaceChildren(...said.map((line) => make("li", line)));
  const shown = study.variables.map(([, title], k) => [title, values[k]]).filter(([, value]) => value !== MISSING);
  if (!shown.length) shown.push(["None is known of this knee.", ""]);
  $("clinical").hidden = !study.variables.length;
  $("values").replaceChildren(...shown.map(([title, value]) => line(title, value)));
}

function showScanFacts(series) {
  const { plane, side, sequence, voxels: [shape, size], ends, up, along, heat, attention, steps } = series;
  $("what").textContent = [sequence === MISSING ? "" : sequence, plane].filter(Boolean).join(", ");
  $("turned").textContent = side === "right" ? "Right knee, mirrored to lie as a left one" : "";
  [$("left").textContent, $("right").textContent] = ends;
  [$("up").textContent, $("down").textContent] = up;
  [$("first").textContent, $("last").textContent] = along;
  const isMirrored = { left: "left, as scanned", right: "right, mirrored" }[side] ?? "not known: not mirrored";
  $("scan").replaceChildren(...[
    ["Sequence", sequence], ["Plane", plane], ["Side", isMirrored], ["Voxels", shape.join(" × ")],
    ["Voxel size, mm", size.map((each) => Number(each.toFixed(3))).join(" × ")],
  ].map(([name, value]) => line(name, value)));
  $("heat").hidden = !heat;
  if (heat) {
    $("top").textContent = heat.top.toPrecision(3);
    $("unit").textContent = heat.unit;
    $("hottest").disabled = heat.hottest === null;
  }
  const most = Math.max(...attention);
  $("bars").hidden = !attention.length && !heat;
  $("bars-title").textContent = attention.length ? `bars: attention, up to ${(100 * most).toFixed(1)} %` : "";
  $("bars").replaceChildren(...Array.from({ length: series.slices }, (_, at) => {
    const bar = make("i", undefined, { title: attention.length ? `slice ${at + 1}, attention ${(100 * attention[at]).toFixed(1)} %` : `slice ${at + 1}` });
    const gap = Math.max(1, series.slices - 1);
    bar.style.left = `calc(8px + (100% - 16px) * ${at / gap})`;
    bar.style.width = `calc((100% - 16px) * ${0.82 / gap})`;
    bar.style.setProperty("--part", `${attention.length && most > 0 ? (100 * attention[at]) / most : 0}%`);
    bar.classList.toggle("hot", Boolean(heat) && heat.hottest === at);
    return bar;
  }));
  $("made").hidden = !steps.length;
  $("steps").replaceChildren(...steps.map((step) => make("li", step)));
}

function line(name, value) {
  const row = make("tr");
  row.append(make("th", name, { scope: "row" }), make("td", value));
  return row;
}

// ---- Keys ----

const ACTIONS = {
  ArrowUp: () => scroll(-1), ArrowDown: () => scroll(1), PageUp: () => scroll(-5), PageDown: () => scroll(5),
  Home: () => scroll(-1e6), End: () => scroll(1e6), ArrowLeft: () => step(-1), ArrowRight: () => step(1),
  s: () => showSeries(knee.series[(knee.series.indexOf(view.sequence) + 1) % knee.series.length]),
  g: toHottest, h: () => setHeat({ heat: !show.heat }),
  j: () => setHeat({ opacity: show.opacity - 10 }), k: () => setHeat({ opacity: show.opacity + 10 }),
  ",": () => setWindow(show.level + 4, show.window), ".": () => setWindow(show.level - 4, show.window),
  "[": () => setWindow(show.level, show.window - 5), "]": () => setWindow(show.level, show.window + 5),
  "+": () => magnify(1.25), "=": () => magnify(1.25), "-": () => magnify(0.8), 0: resetImages,
  "/": () => $("filter").focus(), "?": () => $("keys").showModal(),
};
const MOVES = { ArrowUp: [0, -0.05], ArrowDown: [0, 0.05], ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0] };

function onKey(event) {
  if ((event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState("AltGraph")) return;
  if (document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (target === $("filter")) {
    if (event.key === "Escape" || event.key === "Enter") target.blur();
    return;
  }
  if (["BUTTON", "SUMMARY"].includes(target.tagName) && ["Enter", " "].includes(event.key)) return;
  if (target.type === "range" && /^(Arrow|Page|Home|End)/.test(event.key)) return;
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = event.shiftKey && MOVES[pressed] ? () => move(...MOVES[pressed]) : ACTIONS[pressed];
  if (!action) return;
  event.preventDefault();
  action();
}

let columns = [];

function begins() {
  if (!study) {
    document.body.textContent = "study.js is missing or damaged; copy the folder whole.";
    return;
  }
  if (typeof DecompressionStream === "undefined" || typeof HTMLDialogElement === "undefined") {
    document.body.textContent = "This browser is too old: Chrome and Edge 87, Firefox 113 or Safari 16.4, "
      + "or any later one, will do.";
    return;
  }
  document.title = study.title;
  $("title").textContent = study.title;
  $("program").textContent = study.made;
  colours = bytesOf(study.colours);
  document.body.classList.toggle("alone", study.knees.length === 1);
  const notes = [];
  if (!study.label) notes.push("The label is hidden.");
  if (study.missing) notes.push(`${study.missing} of the table's rows could not be shown.`);
  $("hidden").textContent = notes.join(" ");
  for (const [keys, meaning] of KEYS) {
    const row = make("tr");
    const first = make("td");
    first.append(make("kbd", keys));
    row.append(first, make("td", meaning));
    $("keys-table").append(row);
  }
  view = new Scan();
  columns = columnsOf();
  const byProbability = columns.find(({ name }) => name === "probability");
  if (byProbability) sorted = { column: byProbability, down: true };
  showList();
  setHeat({});
  $("filter").addEventListener("input", showList);
  $("slice").addEventListener("input", () => scroll($("slice").value - 1 - view.at));
  $("bars").addEventListener("click", (event) => {
    const box = $("bars").getBoundingClientRect();
    const share = (event.clientX - box.left - 8) / (box.width - 16);
    scroll(Math.round(share * (view.sequence.slices - 1)) - view.at);
  });
  for (const id of ["level", "window"]) {
    $(id).addEventListener("input", () => setWindow($("level").value, $("window").value));
  }
  $("opacity").addEventListener("input", () => setHeat({ opacity: $("opacity").value }));
  $("cut").addEventListener("input", () => setHeat({ cut: $("cut").value }));
  $("heat-on").addEventListener("change", () => setHeat({ heat: $("heat-on").checked }));
  const clicks = {
    out: () => magnify(0.8), in: () => magnify(1.25), reset: resetImages, hottest: toHottest,
    help: () => $("keys").showModal(),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
  document.addEventListener("keydown", onKey);
  // After a click or a tap, keys are the page's again; with the keyboard, the focus stays where it is.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && event.detail > 0) button.blur();
    if (event.target.type === "checkbox") event.target.blur();
  });
  document.addEventListener("pointerup", (event) => { if (event.target.type === "range") event.target.blur(); });
  choose(knees[0]);
}

window.addEventListener("load", begins);
