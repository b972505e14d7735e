// The reading page, behind what pages of scans share (images.js). It shows pairs of knees and keeps what the reader
// says of them in this browser; it holds no answers. All text from tables is set as text.

const PLACES = ["A", "B"];
const CONFIDENCE = [1, 2, 3, 4, 5];
const COLUMNS = ["reader", "pair", "choice", "confidence", "seconds", "notes", "study", "draw"];
const MISSING = "n/a";
const COLUMN = 95; // CSS pixels that a clinical variable takes in a row
const LISTED = 6; // variables below each other, where a row does not hold them all
const IDLE = 5 * 60_000; // ms without a key, a movement or a touch, after which nobody is reading
const KEYS = [
  ["A, B", "choose A, or B"], ["1 to 5", "confidence, from a guess to certain"],
  ["Enter, Backspace", "next pair, the pair before"], ["Up, Down, wheel, one finger", "slice by slice"],
  ["Page up, Page down, Home, End", "five slices, first, last"], ["S", "next sequence"],
  ["L", "scroll both knees together, or one"], ["X", "the other knee, when they are not linked"],
  [", .", "darker, brighter (level)"], ["[ ]", "more, less contrast (window)"], ["drag", "window across, level up and down"],
  ["+, −, Ctrl and wheel, two fingers", "zoom"], ["Shift and arrows, Shift and drag", "move the image"],
  ["0, double click", "reset the images"], ["N, then Esc", "write a note, and leave it"], ["P", "pause"],
  ["O", "the first pair without an answer"], ["E", "answers, to save them"], ["?", "this list"],
];

// A sequence in a reader's words: cor-iw-tse is coronal IW TSE.
const PLANE_WORDS = { cor: "coronal", sag: "sagittal", ax: "axial" };
function told(name) {
  const [plane, ...rest] = name.split("-");
  return plane in PLANE_WORDS ? [PLANE_WORDS[plane], ...rest.map((word) => word.toUpperCase())].join(" ") : name;
}

// ---- How it is shown: two panels, with slices, zoom and window ----

const show = { sequence: 0, linked: true, active: "A", level: 50, window: 100 };
const panels = {};

class Panel extends ImageView {
  constructor(place) {
    super();
    this.place = place;
    this.element = make("section", undefined, { class: "panel", "data-place": place, "aria-label": `Knee ${place}` });
    const view = make("div", undefined, { class: "view" });
    this.canvas = make("canvas", undefined, { role: "img" });
    this.marks = {};
    for (const name of ["name", "slice", "left", "right", "bar", "message"]) {
      this.marks[name] = make("span", "", { class: name });
    }
    this.marks.name.textContent = place;
    view.append(this.canvas, ...Object.values(this.marks));
    this.slider = make("input", undefined, { type: "range", min: 1, step: 1, "aria-label": `Slice of knee ${place}` });
    this.slider.addEventListener("input", () => scroll(this.slider.value - 1 - this.slice, place));
    this.element.append(view, this.slider);
    this.image = document.createElement("canvas");
    this.slices = [];
    this.volume = null;
    this.resetView();
    listen(this);
    new ResizeObserver(() => this.draw()).observe(view);
  }

  get sequence() { return study.sequences[show.sequence]; }
  get slice() { return this.slices[show.sequence]; }
  set slice(value) { this.slices[show.sequence] = clamp(value, 0, this.sequence.slices - 1); }

  begin() {
    this.slices = study.sequences.map((sequence) => Math.floor(sequence.slices / 2));
    this.resetView();
  }

  draw() {
    this.clear();
    if (!study) return;
    const { columns, rows, slices, ends, along } = this.sequence;
    this.element.classList.toggle("active", !show.linked && show.active === this.place);
    this.slider.max = slices;
    this.slider.value = this.slice + 1;
    this.marks.slice.textContent = `${this.slice + 1} of ${slices}, ${along[0]} to ${along[1]}`;
    [this.marks.left.textContent, this.marks.right.textContent] = ends;
    this.canvas.setAttribute("aria-label", `Knee ${this.place}, ${told(this.sequence.name)}, slice ${this.slice + 1}`);
    if (!this.volume) return;
    this.image.width = columns;
    this.image.height = rows;
    this.image.getContext("2d").putImageData(this.pixels(columns, rows), 0, 0);
    const bar = this.paint(this.image);
    this.marks.bar.style.width = `${10 * bar}px`;
    this.marks.bar.textContent = "10 mm";
  }

  pixels(columns, rows) {
    const { grey } = this.volume;
    const shades = shadesOf(this.volume, show.level, show.window)
      .map((shade) => 0xff000000 | (shade << 16) | (shade << 8) | shade);
    const start = this.slice * columns * rows;
    const out = new Uint32Array(columns * rows);
    for (let at = 0; at < out.length; at++) out[at] = shades[grey[start + at]];
    return new ImageData(new Uint8ClampedArray(out.buffer), columns, rows);
  }
}

const both = () => PLACES.map((place) => panels[place]);
const draw = () => both().forEach((panel) => panel.draw());

// What an action applies to: both knees if they are linked, else one.
function subjects(place) {
  if (place) show.active = place;
  return show.linked ? both() : [panels[show.active]];
}

function scroll(steps, place) {
  for (const panel of subjects(place)) panel.slice += steps;
  draw();
}

function setWindow(level, width) {
  show.level = clamp(Number(level), 0, 100);
  show.window = clamp(Number(width), 5, 200);
  $("level").value = show.level;
  $("window").value = show.window;
  draw();
}

function magnify(factor, place, x, y) {
  for (const panel of subjects(place)) panel.magnify(factor, x, y);
  draw();
}

function move(x, y, place) {
  for (const panel of subjects(place)) panel.move(x, y);
  draw();
}

function resetImages() {
  for (const panel of both()) panel.resetView();
  setWindow(50, 100);
}

function setLinked(linked) {
  show.linked = linked;
  $("link").setAttribute("aria-pressed", linked);
  draw();
}

function setSequence(index) {
  show.sequence = (index + study.sequences.length) % study.sequences.length;
  [...$("sequences").children].forEach((button, at) => button.setAttribute("aria-pressed", at === show.sequence));
  return showVolumes();
}

// ---- What the reader says: kept in this browser, an entry a pair, so that two windows do not overwrite each other ----

const store = {
  works: true,
  own: new Map(), // all that this window has said, should the browser lose it
  unsaved: new Set(), // what the browser would not take
  prefix() { return `oatools-reading/${study.id}/`; },
  get(key) {
    const name = this.prefix() + key;
    try { return JSON.parse(this.text(name)); } catch { return null; } // a damaged entry is none
  },
  text(name) {
    if (this.unsaved.has(name)) return this.own.get(name);
    let found = null;
    try { found = localStorage.getItem(name); } catch { this.works = false; }
    return found;
  },
  set(key, value) {
    const name = this.prefix() + key;
    this.own.set(name, JSON.stringify(value));
    this.unsaved.add(name);
    this.save();
  },
  // Also what the browser refused before, or has lost since.
  save() {
    this.works = true;
    for (const [name, text] of this.own) {
      try {
        if (this.unsaved.has(name) || localStorage.getItem(name) === null) localStorage.setItem(name, text);
        this.unsaved.delete(name);
      } catch {
        this.unsaved.add(name);
        this.works = false;
      }
    }
    warn();
  },
  readers() {
    const names = [...this.own.keys()];
    try {
      for (let at = 0; at < localStorage.length; at++) names.push(localStorage.key(at));
    } catch { this.works = false; }
    const found = new Set();
    for (const name of names.filter((each) => each.startsWith(this.prefix()))) {
      const [, code] = /^([^/]+)\/at$/.exec(name.slice(this.prefix().length)) ?? [];
      try { if (code) found.add(decodeURIComponent(code)); } catch { /* not written by this page */ }
    }
    return [...found].sort();
  },
};

function warn() {
  $("warning").hidden = store.works;
  $("warning").textContent = "This browser does not keep your answers: save them as a file before you close the page.";
}

let reader = null;
let at = 0; // the pair on screen
let answers = []; // by pair: {choice, confidence, seconds, notes}
const blank = () => ({ choice: null, confidence: null, seconds: 0, notes: "" });
const key = (name) => `${encodeURIComponent(reader)}/${name}`;
const answerKey = (index) => key(`answer/${encodeURIComponent(study.pairs[index].pair)}`);

function usable(value) {
  const found = value && typeof value === "object" ? value : {};
  return {
    choice: PLACES.includes(found.choice) ? found.choice : null,
    confidence: CONFIDENCE.includes(found.confidence) ? found.confidence : null,
    seconds: Number.isFinite(found.seconds) && found.seconds >= 0 ? found.seconds : 0,
    notes: typeof found.notes === "string" ? found.notes : "",
  };
}

// The clock of a pair runs while its images are on screen and a reader is there: not while paused, loading, hidden or
// asleep. What has passed since the last key or movement counts once there is another, and not if that takes too long.
const clock = { since: null, spent: 0, input: 0 };
const running = () => reader !== null && ready && !document.hidden && !document.querySelector("dialog[open]");

function tick() {
  const now = performance.now();
  const until = now - clock.input > IDLE ? clock.input : now;
  if (clock.since !== null) clock.spent += Math.max(0, until - clock.since) / 1000;
  clock.since = running() ? now : null;
}

function stirred() {
  tick();
  clock.input = performance.now();
}

// Another window of the same reader may have said more since; what it said stays, and its time counts too.
function latest(index) {
  return usable(store.get(answerKey(index)) ?? answers[index]);
}

function keep(change = {}) {
  if (reader === null) return;
  tick();
  save(change);
}

function save(change = {}) {
  const known = latest(at);
  answers[at] = { ...known, ...change, seconds: known.seconds + clock.spent };
  clock.spent = 0;
  store.set(answerKey(at), answers[at]);
}

function refresh() {
  answers = answers.map((_, index) => latest(index));
}

function choose(place) {
  if (!ready || reader === null) return;
  keep({ choice: place });
  showAnswer();
}

function setConfidence(value) {
  if (!ready || reader === null) return;
  keep({ confidence: latest(at).confidence === value ? null : value });
  showAnswer();
}

// ---- One pair after another ----

let ready = false; // both images are on screen
let broken = false; // one cannot be shown

async function go(index) {
  if (reader === null) return;
  $("notes").blur(); // what is typed from here on is not of this pair
  keep();
  refresh();
  at = clamp(index, 0, study.pairs.length - 1);
  store.set(key("at"), at);
  for (const panel of both()) panel.begin();
  showClinical();
  await setSequence(0);
}

async function showVolumes() {
  const [pair, sequence] = [at, show.sequence];
  tick();
  [ready, broken, clock.since] = [false, false, null];
  for (const panel of both()) {
    panel.volume = null;
    panel.marks.message.textContent = "Loading";
  }
  draw();
  showAnswer();
  const current = () => pair === at && sequence === show.sequence;
  await Promise.all(both().map(async (panel) => {
    try {
      const volume = await load(study.pairs[pair].files[panel.place][sequence], shapeOf(sequence));
      if (current()) {
        panel.volume = volume;
        panel.marks.message.textContent = "";
      }
    } catch (error) {
      if (current()) panel.marks.message.textContent = error.message;
    }
  }));
  if (!current()) return;
  draw();
  ready = both().every((panel) => panel.volume);
  broken = !ready;
  tick();
  showAnswer();
  prefetch(pair, sequence);
}

const shapeOf = (sequence) => {
  const { columns, rows, slices } = study.sequences[sequence];
  return [columns, rows, slices];
};

// What comes next is loaded meanwhile, one by one, so that a page stays quick and small; what is far is let go.
async function prefetch(pair, sequence) {
  const next = study.sequences.flatMap((_, of) => [pair, pair + 1].map((index) => [index, of]))
    .filter(([index]) => index < study.pairs.length)
    .sort(([one, a], [other, b]) => one - other || (a !== sequence) - (b !== sequence))
    .flatMap(([index, of]) => PLACES.map((place) => [study.pairs[index].files[place][of], of]));
  const wanted = new Set(next.map(([{ file }]) => file));
  const letGo = () => {
    for (const file of volumes.keys()) if (!wanted.has(file) && !arriving.has(file)) volumes.delete(file);
  };
  letGo();
  for (const [volume, of] of next) {
    await load(volume, shapeOf(of)).catch(() => {});
    if (pair !== at || sequence !== show.sequence) return;
  }
  letGo(); // what was on its way before
}

function showAnswer() {
  const answer = answers[at];
  const done = answers.filter((each) => each.choice).length;
  $("where").textContent = `Pair ${at + 1} of ${study.pairs.length}, ${done} answered`;
  $("progress").max = study.pairs.length;
  $("progress").value = done;
  for (const place of PLACES) {
    $(`choose-${place}`).setAttribute("aria-pressed", answer.choice === place);
    $(`choose-${place}`).setAttribute("aria-disabled", !ready); // and not disabled, which would lose the focus
  }
  [...$("confidence").children].forEach((button, index) => {
    button.setAttribute("aria-pressed", answer.confidence === CONFIDENCE[index]);
  });
  if (document.activeElement !== $("notes")) $("notes").value = answer.notes;
  $("previous").setAttribute("aria-disabled", at === 0);
  $("next").textContent = at === study.pairs.length - 1 ? "Finish" : "Next pair";
}

// A row each for A and B; where the screen is too narrow, a row a variable, in tables that stand side by side.
function showClinical() {
  const { variables, pairs } = study;
  const [a, b] = PLACES.map((place) => pairs[at].values[place].map((value) => (value === MISSING ? "–" : value)));
  const tables = [];
  if (variables.length * COLUMN <= window.innerWidth) {
    if (variables.length) tables.push(clinicalTable(variables, PLACES, [a, b]));
  } else {
    for (let from = 0; from < variables.length; from += LISTED) {
      const to = from + LISTED;
      const lines = a.slice(from, to).map((value, k) => [value, b[from + k]]);
      tables.push(clinicalTable(PLACES, variables.slice(from, to), lines));
    }
  }
  $("clinical").replaceChildren(...tables);
}

function clinicalTable(columns, lines, values) {
  const table = make("table");
  table.append(make("thead"), make("tbody"));
  const head = make("tr");
  head.append(make("td"), ...columns.map((name) => make("th", name, { scope: "col" })));
  table.tHead.append(head);
  lines.forEach((name, k) => {
    const line = make("tr");
    line.append(make("th", name, { scope: "row" }), ...values[k].map((value) => make("td", value)));
    table.tBodies[0].append(line);
  });
  return table;
}

function next() {
  if (!ready && !broken) return undefined; // nobody has seen the pair
  return at < study.pairs.length - 1 ? go(at + 1) : openAnswers();
}

function previous() {
  if (at > 0) go(at - 1);
}

function firstOpen() {
  keep();
  refresh();
  const open = answers.findIndex((answer) => !answer.choice);
  if (open >= 0 && open !== at) go(open);
}

// ---- Answers as the toolkit's table ----

// One line, no tabs; and no cell that a spreadsheet would take for a formula.
function cell(text) {
  const line = String(text).replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g, " ").trim();
  if (line === "") return MISSING;
  return /^[=+\-@'\uff1d\uff0b\uff0d\uff20]/.test(line) ? `'${line}` : line;
}

function table() {
  const lines = study.pairs.map(({ pair }, index) => {
    const { choice, confidence, seconds, notes } = answers[index];
    const spent = seconds > 0 ? seconds.toFixed(1) : MISSING;
    return [cell(reader), pair, choice ?? MISSING, confidence ?? MISSING, spent, cell(notes), study.id, study.draw].join("\t");
  });
  return [COLUMNS.join("\t"), ...lines, ""].join("\n");
}

function openAnswers() {
  if (reader === null) return;
  openDialog("saved"); // the clock stands still from here on: what is shown is what is saved
  keep();
  refresh();
  const open = answers.flatMap((answer, index) => (answer.choice ? [] : [study.pairs[index].pair]));
  const listed = open.slice(0, 12).join(", ") + (open.length > 12 ? ", …" : "");
  $("saved-text").textContent = open.length
    ? `${study.pairs.length - open.length} of ${study.pairs.length} pairs are answered. Still open: ${listed}.`
    : `All ${study.pairs.length} pairs are answered. Save the file and hand it in.`;
  $("open").hidden = !open.length;
  $("table").value = table();
}

function download() {
  const address = URL.createObjectURL(new Blob([table()], { type: "text/tab-separated-values" }));
  const name = reader.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "reader";
  const anchor = make("a", undefined, { href: address, download: `answers-${name}.tsv` });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  $("back").focus(); // so that Enter goes on, and does not save again
}

// Take answers from a file that this page wrote, perhaps elsewhere; those already given here stay.
function takeAnswers(text) {
  const [header, ...lines] = text.split(/\r?\n/).filter((line) => line !== "")
    .map((line) => line.split("\t"));
  if (!header || COLUMNS.some((name) => !header.includes(name))) {
    throw new Error(`This is no file of answers: its columns should be ${COLUMNS.join(", ")}.`);
  }
  const rows = lines.map((cells) => Object.fromEntries(header.map((name, index) => [name, cells[index] ?? MISSING])));
  if (!rows.length || rows.some((row) => row.study !== study.id)) {
    throw new Error("These are answers to other pairs, or to other images of them.");
  }
  if (rows.some((row) => row.reader !== rows[0].reader)) throw new Error("These are answers of several readers.");
  for (const row of rows) { // spreadsheets make 1 of 001
    const digits = (name) => (/^\d+$/.test(name) ? Number(name) : name);
    const alike = study.pairs.filter(({ pair }) => pair === row.pair || digits(pair) === digits(row.pair));
    if (alike.length !== 1) throw new Error(`Pair ${row.pair} of the file is not on this page.`);
    row.pair = alike[0].pair;
  }
  const given = rows.map((row) => answerIn(row));
  const names = rows.map((row) => row.pair);
  const doubled = names.find((name, index) => names.indexOf(name) !== index);
  if (doubled !== undefined) throw new Error(`Pair ${doubled} is in the file twice; keep one row of it.`);
  const name = plain(rows[0].reader);
  if (!usableCode(name)) throw new Error("The file does not say whose answers these are (column reader).");
  reader = name;
  answers = study.pairs.map(blank);
  const counts = { taken: 0, kept: 0 };
  study.pairs.forEach(({ pair }, index) => {
    const found = given[names.indexOf(pair)];
    if (!found) return;
    const here = usable(store.get(answerKey(index)));
    if (found.choice) counts[here.choice ? "kept" : "taken"]++;
    store.set(answerKey(index), { // what was said here stays
      choice: here.choice ?? found.choice, confidence: here.confidence ?? found.confidence,
      seconds: Math.max(here.seconds, found.seconds), notes: here.notes || found.notes,
    });
  });
  refresh();
  store.set(key("at"), Math.max(0, answers.findIndex((answer) => !answer.choice)));
  reader = null;
  return { name, ...counts };
}

const plain = (value) => (value === MISSING ? "" : value.replace(/^'(?=[=+\-@'\uff1d\uff0b\uff0d\uff20])/, ""));

// An answer as this page writes it, or a spreadsheet has written it again; an error that names the pair for any other.
function answerIn({ pair, choice, confidence, seconds, notes }) {
  const refuse = (column, value) => {
    throw new Error(`Pair ${pair}: '${value}' cannot be its ${column}; correct the file.`);
  };
  const given = (value) => value.trim() !== "" && value.trim() !== MISSING;
  const found = { ...blank(), notes: plain(notes) };
  if (given(choice)) {
    found.choice = choice.trim().toUpperCase();
    if (!PLACES.includes(found.choice)) refuse("choice", choice);
  }
  if (given(confidence)) {
    found.confidence = Number(confidence);
    if (!CONFIDENCE.includes(found.confidence)) refuse("confidence", confidence);
  }
  if (given(seconds)) {
    found.seconds = Number(seconds.trim().replace(",", "."));
    if (!Number.isFinite(found.seconds) || found.seconds < 0) refuse("seconds", seconds);
  }
  return found;
}

// ---- Dialogs and keys ----

function openDialog(id) {
  tick();
  document.body.classList.toggle("covered", id === "paused" || id === "start");
  if (!$(id).open) $(id).showModal();
  tick();
}

function closed() {
  // Browsers close a dialog at Escape, whatever the page says: nobody reads without a name.
  if (reader === null && !$("start").open) return openStart();
  document.body.classList.toggle("covered", $("start").open);
  return tick();
}

// A code that a table can hold, and that is no sign for none.
const usableCode = (name) => name !== "" && name !== MISSING;

function begin(name) {
  reader = name;
  answers = study.pairs.map(blank);
  refresh();
  stirred();
  at = clamp(Math.trunc(store.get(key("at"))) || 0, 0, study.pairs.length - 1);
  store.set(key("at"), at);
  $("start").close();
  return go(at);
}

function beginAs(name) {
  if (!usableCode(name)) return;
  const known = store.readers().indexOf(name);
  if (known < 0) return begin(name);
  $("imported").textContent = `${name} has answered here before: go on as ${name} above, or choose another code.`;
  $("readers").children[known].focus();
}

function openStart() {
  const known = store.readers();
  $("readers").replaceChildren(...known.map((name) => {
    const button = make("button", `Go on as ${name}`, { type: "button", class: "primary" });
    button.addEventListener("click", () => begin(name));
    return button;
  }));
  const count = study.pairs.length;
  $("start-task").textContent = `${count} ${count === 1 ? "pair" : "pairs"} of knees, A and B, of two people each. `
    + `${study.question} One of them did, and the other did not.`;
  $("start-about").textContent = study.about;
  $("start-about").hidden = !study.about;
  $("start-text").textContent = "Answers are kept in this browser alone, after every step; you may pause, close the "
    + "page and go on later.";
  openDialog("start");
  warn();
}

const ACTIONS = {
  a: () => choose("A"), b: () => choose("B"), Enter: next, Backspace: previous, o: firstOpen,
  ArrowUp: () => scroll(-1), ArrowDown: () => scroll(1), PageUp: () => scroll(-5), PageDown: () => scroll(5),
  Home: () => scroll(-1e6), End: () => scroll(1e6), s: () => setSequence(show.sequence + 1),
  l: () => setLinked(!show.linked), x: () => { show.active = show.active === "A" ? "B" : "A"; draw(); },
  ",": () => setWindow(show.level + 4, show.window), ".": () => setWindow(show.level - 4, show.window),
  "[": () => setWindow(show.level, show.window - 5), "]": () => setWindow(show.level, show.window + 5),
  "+": () => magnify(1.25), "=": () => magnify(1.25), "-": () => magnify(0.8), 0: resetImages,
  n: () => $("notes").focus(), p: () => openDialog("paused"), e: openAnswers, "?": () => openDialog("keys"),
};
for (const value of CONFIDENCE) ACTIONS[value] = () => setConfidence(value);
const MOVES = { ArrowUp: [0, -0.05], ArrowDown: [0, 0.05], ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0] };

// The key's letter or digit, on keyboards without Latin letters or with digits behind Shift the one in its place.
function named({ key: pressed, code }) {
  if (pressed.length !== 1) return pressed;
  const name = pressed.toLowerCase();
  if (name in ACTIONS || /[a-z]/.test(name)) return name;
  return /^(Key|Digit)/.test(code) ? code.slice(-1).toLowerCase() : name;
}

function onKey(event) {
  if (reader === null) return;
  if ((event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState("AltGraph")) return;
  if (document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (target === $("notes")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  // Buttons and sliders keep the keys that are theirs.
  if (target.tagName === "BUTTON" && ["Enter", " "].includes(event.key)) {
    if (event.repeat) event.preventDefault(); // a key that is held goes through no pairs
    return;
  }
  if (target.type === "range" && /^(Arrow|Page|Home|End)/.test(event.key)) return;
  if (event.shiftKey && MOVES[event.key]) {
    event.preventDefault();
    return move(...MOVES[event.key]);
  }
  const action = ACTIONS[named(event)];
  if (!action || (event.repeat && !/^(Arrow|Page|[,.[\]+=-])/.test(event.key))) return;
  event.preventDefault();
  action();
}

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
  $("made").textContent = study.made;
  $("title").textContent = study.title;
  $("question").textContent = study.question;
  $("phantoms").hidden = !study.phantoms;
  for (const place of PLACES) {
    panels[place] = new Panel(place);
    panels[place].begin();
    $("panels").append(panels[place].element);
    $(`choose-${place}`).textContent = `${place} ${study.answer}`;
    $(`choose-${place}`).addEventListener("click", () => choose(place));
  }
  study.sequences.forEach(({ name }, index) => {
    const button = make("button", told(name), { type: "button", "aria-pressed": index === 0 });
    button.addEventListener("click", () => setSequence(index));
    $("sequences").append(button);
  });
  for (const value of CONFIDENCE) {
    const button = make("button", value, { type: "button", "aria-pressed": false, "aria-label": `Confidence ${value} of 5` });
    button.addEventListener("click", () => setConfidence(value));
    $("confidence").append(button);
  }
  for (const [keys, meaning] of KEYS) {
    const line = make("tr");
    const first = make("td");
    first.append(make("kbd", keys));
    line.append(first, make("td", meaning));
    $("keys-table").append(line);
  }
  const clicks = {
    link: () => setLinked(!show.linked), out: () => magnify(0.8), in: () => magnify(1.25), reset: resetImages,
    previous, next, pause: () => openDialog("paused"), answers: openAnswers,
    help: () => openDialog("keys"), download, open: () => { $("saved").close(); firstOpen(); },
  };
  for (const [id, action] of Object.entries(clicks)) {
    $(id).addEventListener("click", (event) => {
      if (id === "next" && event.detail > 1) return; // the second half of a double click is not for the next pair
      if (event.detail > 0) event.currentTarget.blur(); // or a dialog would give the focus back to it
      action();
    });
  }
  for (const id of ["level", "window"]) {
    $(id).addEventListener("input", () => setWindow($("level").value, $("window").value));
  }
  $("notes").addEventListener("input", () => keep({ notes: $("notes").value }));
  $("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    beginAs($("reader").value.replace(/[\ud800-\udfff]/gu, "").trim()); // no half characters
  });
  $("import").addEventListener("change", async () => {
    const [file] = $("import").files;
    if (!file) return;
    try {
      const { name, taken, kept } = takeAnswers(await file.text());
      openStart();
      $("imported").textContent = `Answers taken of ${name}: ${taken}, already given here: ${kept}. Go on above.`;
    } catch (error) {
      $("imported").textContent = error.message;
    }
    $("import").value = "";
  });
  $("start").addEventListener("cancel", (event) => event.preventDefault()); // nobody reads without a name
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", closed);
  document.addEventListener("keydown", onKey);
  // After a click or a tap, keys are the page's again; with the keyboard, the focus stays where it is.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && event.detail > 0) button.blur();
  });
  document.addEventListener("pointerup", (event) => { if (event.target.type === "range") event.target.blur(); });
  document.addEventListener("visibilitychange", () => keep());
  window.addEventListener("pagehide", () => keep());
  window.addEventListener("beforeunload", (event) => { if (reader !== null && !store.works) event.preventDefault(); });
  for (const name of ["keydown", "pointerdown", "pointermove", "wheel", "input"]) {
    document.addEventListener(name, stirred, { capture: true, passive: true });
  }
  window.addEventListener("storage", () => {
    if (reader === null) return;
    refresh();
    showAnswer();
  });
  window.addEventListener("resize", () => { if (reader !== null) showClinical(); });
  setInterval(() => {
    if (!running()) return;
    if (performance.now() - clock.input > IDLE) openDialog("paused");
    if (clock.spent > 0) save(); // so that a crash loses little
  }, 5000);
  openStart();
}

window.addEventListener("load", begins);
