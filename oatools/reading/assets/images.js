"use strict";
// What pages of scans share: volumes that are loaded from the folder or found in the page, and images that are moved
// and magnified by mouse, pen and touch. Nothing else is loaded, and nothing is sent.

const $ = (id) => document.getElementById(id);
const LEVELS = 255;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// ---- What is shown: the study, and its volumes, each a script that is loaded when its pair is near ----

let study = null;
const volumes = new Map(); // file -> promise of {grey, low, high}
const arriving = new Map(); // file -> what to do when its script has run

const reading = {
  study(content) { study = content; },
  volume(file, text) { const take = arriving.get(file); if (take) take(text); },
};
window.reading = reading;

function load({ file, check }, shape) {
  if (!volumes.has(file)) volumes.set(file, fetchVolume(file, check, shape));
  return volumes.get(file);
}

async function fetchVolume(file, check, shape) {
  const inside = $(`volume-${file}`); // of a page that is one file
  if (inside) return withWindow(predicted(await inflated(bytesOf(inside.textContent)), shape));
  // The query keeps a browser from taking the file of an earlier study from its cache.
  const script = make("script", undefined, { src: `volumes/${file}.js?${study.id}` });
  try {
    const text = await new Promise((resolve, reject) => {
      arriving.set(file, resolve);
      script.onerror = () => reject(new Error(`volumes/${file}.js is missing; copy the folder whole`));
      script.onload = () => reject(new Error(`volumes/${file}.js is damaged; copy the folder again`)); // if unresolved
      document.head.append(script);
    });
    const packed = bytesOf(text);
    // A knee of another study, under the same name, must never pass for this one's.
    if (checkOf(packed) !== check) throw new Error(`volumes/${file}.js is of another study; copy the folder again`);
    return withWindow(predicted(await inflated(packed), shape));
  } catch (error) {
    volumes.delete(file); // so that it is tried again
    throw error;
  } finally {
    arriving.delete(file);
    script.remove();
  }
}

function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let index = 0; index < letters.length; index++) bytes[index] = letters.charCodeAt(index);
  return bytes;
}

// The checksum of what is packed, with which zlib data ends.
const checkOf = (packed) => [...packed.slice(-4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function inflated(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Grey values were stored less the mean of their left and upper neighbours, which packs better.
function predicted(grey, [columns, rows, slices]) {
  if (grey.length !== columns * rows * slices) throw new Error("an image has the wrong size; copy the folder again");
  for (let slice = 0, at = 0; slice < slices; slice++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, at++) {
        const left = column ? grey[at - 1] : 0;
        const above = row ? grey[at - columns] : 0;
        grey[at] = (grey[at] + ((left + above) >> 1)) & LEVELS;
      }
    }
  }
  return grey;
}

// Where black and white lie at first: the 1st and 99.5th percentile of what is not background, as intensities.
function withWindow(grey) {
  const counts = new Float64Array(LEVELS + 1);
  for (let index = 0; index < grey.length; index++) counts[grey[index]]++;
  counts[0] = 0;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const quantile = (share) => {
    let value = 0;
    for (let sum = counts[0]; sum < share * total && value < LEVELS; sum += counts[value]) value++;
    return intensity(value);
  };
  const low = quantile(0.01);
  return { grey, low, high: Math.max(quantile(0.995), low + 0.01) };
}

// Grey values are the square root of the intensity, for finer steps in the dark.
const intensity = (value) => (value / LEVELS) ** 2;

// The shade on screen, 0 to 255, of every grey value, between the `low` and `high` of a volume, at a level and a window
// in per cent of that.
function shadesOf({ low, high }, level, window) {
  const width = window / 100;
  const least = level / 100 - width / 2;
  return Uint32Array.from({ length: LEVELS + 1 }, (_, value) => {
    const relative = (intensity(value) - low) / (high - low);
    return Math.round(255 * clamp((relative - least) / width, 0, 1));
  });
}

// ---- How it is shown: an image that is moved and magnified ----

// One image on a canvas. Who extends this gives it a `canvas` and its `sequence` ({columns, rows}).
class ImageView {
  resetView() { this.zoom = 1; this.x = 0; this.y = 0; }

  // Shift by canvas pixels, keeping some of the image in view.
  move(x, y) {
    const most = 0.5 * (this.zoom - 1) + 0.25;
    this.x = clamp(this.x + x, -most, most);
    this.y = clamp(this.y + y, -most, most);
  }

  // Zoom about a point of the view, given as a fraction of the fitted image from its centre.
  magnify(factor, x = 0, y = 0) {
    const before = this.zoom;
    this.zoom = clamp(this.zoom * factor, 1, 12);
    const ratio = this.zoom / before;
    this.x = x - (x - this.x) * ratio;
    this.y = y - (y - this.y) * ratio;
    this.move(0, 0);
  }

  // Canvas pixels for one image pixel, when the whole image fits.
  get fit() { return Math.min(this.canvas.width / this.sequence.columns, this.canvas.height / this.sequence.rows); }

  // Make the canvas as fine as the screen, and empty.
  clear() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
  }

  // Draw an image of the sequence's size where it has been moved to; return screen pixels a millimetre.
  paint(image) {
    const { columns, rows, pixel } = this.sequence;
    const context = this.canvas.getContext("2d");
    const scale = this.fit * this.zoom;
    const left = this.canvas.width / 2 + (this.x * this.fit - (this.zoom * this.fit) / 2) * columns;
    const top = this.canvas.height / 2 + (this.y * this.fit - (this.zoom * this.fit) / 2) * rows;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, left, top, columns * scale, rows * scale);
    return scale / (window.devicePixelRatio || 1) / pixel;
  }
}

// Mouse, pen and touch on one panel's image: they call what each page makes of `scroll`, `move`, `magnify` and so on.
function listen(panel) {
  const canvas = panel.canvas;
  const held = new Map(); // pointer -> where it was last
  let rest = 0; // of a way that was too short for a slice
  let began = 0; // where a finger came down
  let scrolls = false; // a finger that has gone some way, and is no first one of two
  let pinched = false; // two fingers were down; what the last one does on its way up means nothing
  const size = () => { // of the fitted image on screen
    const scale = panel.fit / (window.devicePixelRatio || 1);
    return [scale * panel.sequence.columns, scale * panel.sequence.rows];
  };
  const fraction = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    const [width, height] = size();
    return [(clientX - box.left - box.width / 2) / width, (clientY - box.top - box.height / 2) / height];
  };
  const gap = () => {
    const [one, other] = [...held.values()];
    return { length: Math.hypot(one.x - other.x, one.y - other.y), x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault(); // the page itself neither scrolls nor zooms
    if (event.ctrlKey) { // so do two fingers on a touchpad, in many small steps
      return magnify(Math.exp(-clamp(event.deltaY, -40, 40) / 200), panel.place, ...fraction(event));
    }
    const way = event.deltaMode === 0 ? event.deltaY / 50 : event.deltaY / 3;
    rest += Math.abs(way) >= 1 ? Math.sign(way) : way; // a notch of a wheel is a slice, however far it would go
    const steps = Math.trunc(rest);
    rest -= steps;
    if (steps) scroll(steps, panel.place);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    [rest, began, scrolls] = [0, event.clientY, false];
    pinched ||= held.size > 1;
    subjects(panel.place);
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = held.get(event.pointerId);
    if (!from) return;
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    if (held.size === 2) {
      const before = gap();
      held.set(event.pointerId, { x: event.clientX, y: event.clientY });
      const after = gap();
      magnify(after.length / Math.max(1, before.length), panel.place,
        ...fraction({ clientX: after.x, clientY: after.y }));
      return move((after.x - before.x) / size()[0], (after.y - before.y) / size()[1], panel.place);
    }
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pinched) return;
    if (event.pointerType === "touch") {
      rest += y / 12;
      scrolls ||= Math.abs(event.clientY - began) > 16;
      if (!scrolls) return;
      const steps = Math.trunc(rest);
      rest -= steps;
      if (steps) scroll(steps, panel.place);
    } else if (event.shiftKey || event.buttons !== 1) {
      move(x / size()[0], y / size()[1], panel.place);
    } else {
      setWindow(show.level - y / 4, show.window + x / 2);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      held.delete(event.pointerId);
      pinched &&= held.size > 0;
    });
  }
  canvas.addEventListener("dblclick", resetImages);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
}
