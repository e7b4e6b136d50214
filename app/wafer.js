// A wafer map on a canvas, die by die, with a text for the die under the pointer. With data.paint, dies can be painted.
//
// data: rows, cols; dies: a digit per die, row by row (0 no die, 1 passes, 2 fails); heat: base64 of a byte per die, or
// null; patterns: of a wafer that has several, a name and such a heat each; opacity: 0..1 of the heat; name: of the wafer; label: for those who do not see the canvas; paint: true or false.
// State sent back: dies, after every stroke.

const NO_DIE = "0", PASS = "1", FAIL = "2";
// Without heat and with all of it: a passing die stays lighter than a failing one at every heat, for any colour vision.
const COLOURS = { 1: [[215, 227, 236], [255, 176, 0]], 2: [[178, 24, 43], [90, 15, 0]] };
// Without heat, and of each pattern of a wafer that has several with all of it: a passing and a failing die.
const COLD = ["#E9EEF3", "#5F6B76"].map(rgb);
const PATTERNS = [
  ["#8CB8FF", "#0A3A8C"],
  ["#FFB000", "#8F3D00"],
  ["#B2AA9B", "#2D120F"],
  ["#5BFD90", "#0A7A2A"],
].map((pair) => pair.map(rgb));
const SMALLEST_PARTED = 5; // pixels of a die between which a gap is drawn
const EDGE = "#8495A3", INK = "#1B2733";
const UNDO_STEPS = 50;

const views = new WeakMap();

function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

function levels(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

export default function ({ parentElement, data, setStateValue }) {
  if (!views.has(parentElement)) views.set(parentElement, new View(parentElement));
  const view = views.get(parentElement);
  view.update(data, setStateValue);
  return () => view.close();
}

class View {
  constructor(root) {
    this.canvas = root.querySelector("canvas");
    this.tip = root.querySelector(".tip");
    this.tools = root.querySelector(".tools");
    this.size = root.querySelector(".size");
    this.scale = root.querySelector(".scale");
    this.several = root.querySelector(".several");
    this.states = [".pass", ".fail"].map((state) => root.querySelector(`.legend ${state}`));
    this.dies = null;
    this.undone = [];
    this.tool = FAIL;
    this.at = null; // die under the pointer or keyboard cursor
    this.last = null; // die of the stroke's last step
    this.pixels = document.createElement("canvas");
    this.resized = new ResizeObserver(() => this.draw());

    const canvas = this.canvas;
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointerup", () => this.release());
    canvas.addEventListener("pointercancel", () => this.release());
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const button of this.tools.querySelectorAll("[data-tool]"))
      button.addEventListener("click", () => this.choose(button.dataset.tool));
    root.querySelector(".undo").addEventListener("click", () => this.undo());
    root.querySelector(".clear").addEventListener("click", () => this.clear());
    this.choose(FAIL);
  }

  update(data, send) {
    this.send = send;
    if (!data.paint || this.dies === null) this.dies = [...data.dies]; // a pad's own dies are newer than the page's
    this.data = data;
    this.heat = data.heat && levels(data.heat);
    this.patterns = data.patterns.map(({ name, heat }) => ({ name, heat: levels(heat) }));
    this.tools.hidden = !data.paint;
    this.canvas.tabIndex = data.paint ? 0 : -1;
    this.canvas.setAttribute("role", data.paint ? "application" : "img");
    this.canvas.classList.toggle("paint", data.paint);
    this.canvas.setAttribute("aria-label", data.label);
    this.canvas.dataset.wafer = data.name;
    const heated = (data.heat || data.patterns.length) && data.opacity > 0;
    this.canvas.dataset.heat = heated ? "shown" : "none";
    this.canvas.dataset.patterns = data.patterns.map(({ name }) => name).join("+");
    this.scale.hidden = !heated || !data.heat;
    this.explain(heated ? data.patterns : []);
    this.resized.observe(this.canvas);
    this.colourAll();
  }

  close() {
    this.resized.disconnect();
  }

  /** Says which colour is which pattern's; dies without heat are grey beside them. */
  explain(patterns) {
    this.states.forEach((square, k) => {
      square.style.background = patterns.length ? `rgb(${COLD[k].join()})` : "";
    });
    this.several.replaceChildren(
      ...patterns.map(({ name }, k) => {
        const entry = document.createElement("span"), [pass, fail] = PATTERNS[k % PATTERNS.length];
        for (const colour of [pass, fail]) {
          const square = document.createElement("i");
          square.style.background = `rgb(${colour.join()})`;
          entry.append(square);
        }
        entry.append(`speaks for ${name}`);
        return entry;
      }),
    );
  }

  // === Drawing ===

  /** Colours all dies, a pixel each, on a canvas that is only enlarged while the pointer moves. */
  colourAll() {
    const { rows, cols } = this.data;
    this.pixels.width = cols; // also wipes it
    this.pixels.height = rows;
    const context = this.pixels.getContext("2d"), image = context.createImageData(cols, rows);
    for (let i = 0; i < this.dies.length; i++)
      if (this.dies[i] !== NO_DIE) image.data.set([...this.colour(i), 255], 4 * i);
    context.putImageData(image, 0, 0);
    this.draw();
  }

  /** The colour of a die: of several patterns, that of the one it speaks for most. */
  colour(i) {
    if (this.patterns.length && this.data.opacity > 0) {
      let most = 0;
      for (let k = 1; k < this.patterns.length; k++)
        if (this.patterns[k].heat[i] > this.patterns[most].heat[i]) most = k;
      const state = this.dies[i] === FAIL ? 1 : 0, hot = PATTERNS[most % PATTERNS.length][state];
      const share = (this.data.opacity * this.patterns[most].heat[i]) / 255;
      return COLD[state].map((value, k) => Math.round(value + (hot[k] - value) * share));
    }
    const [cold, hot] = COLOURS[this.dies[i]], share = this.heat ? (this.data.opacity * this.heat[i]) / 255 : 0;
    return cold.map((value, k) => Math.round(value + (hot[k] - value) * share));
  }

  draw() {
    const side = Math.round(this.canvas.clientWidth * devicePixelRatio), { rows, cols } = this.data;
    if (!side) return;
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const context = this.canvas.getContext("2d"), x = side / cols, y = side / rows;
    context.clearRect(0, 0, side, side);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.pixels, 0, 0, side, side);
    if (Math.min(x, y) >= SMALLEST_PARTED * devicePixelRatio) {
      for (let col = 1; col < cols; col++) context.clearRect(Math.round(col * x), 0, devicePixelRatio, side);
      for (let row = 1; row < rows; row++) context.clearRect(0, Math.round(row * y), side, devicePixelRatio);
    }
    context.strokeStyle = EDGE;
    context.lineWidth = devicePixelRatio;
    context.beginPath();
    context.arc(side / 2, side / 2, side / 2 - 1, 0, 2 * Math.PI);
    context.stroke();
    if (!this.at) return;
    const [row, col] = this.at, reach = this.data.paint ? this.reach() : 0;
    const left = Math.max(col - reach, 0) * x, top = Math.max(row - reach, 0) * y;
    const right = Math.min(col + reach + 1, cols) * x, bottom = Math.min(row + reach + 1, rows) * y;
    context.strokeStyle = INK;
    context.lineWidth = 2 * devicePixelRatio;
    context.strokeRect(left, top, right - left, bottom - top);
  }

  // === Pointing ===

  dieAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.data.rows);
    const col = Math.floor(((event.clientX - box.left) / box.width) * this.data.cols);
    return row >= 0 && col >= 0 && row < this.data.rows && col < this.data.cols ? [row, col] : null;
  }

  move(event) {
    const at = this.dieAt(event);
    if (this.last && at) this.stroke(at);
    this.point(at);
  }

  point(at) {
    this.at = at && (this.data.paint || this.dies[at[0] * this.data.cols + at[1]] !== "0") ? at : null;
    this.tell();
    this.draw();
  }

  tell() {
    this.tip.hidden = !this.at;
    if (!this.at) return;
    const [row, col] = this.at, i = row * this.data.cols + col, state = this.dies[i];
    const words = { 0: "no die", 1: "passes", 2: "fails" }[state];
    const one = this.heat && ` · heat ${(this.heat[i] / 255).toFixed(2)}`;
    const each = this.patterns.map(({ name, heat }) => `\nheat for ${name} ${(heat[i] / 255).toFixed(2)}`).join("");
    const heat = state === NO_DIE ? "" : one || each;
    this.tip.textContent = `row ${row}, column ${col} · ${words}${heat}`;
    const right = col > this.data.cols / 2, share = (k, n) => `${(100 * k) / n}%`;
    this.tip.style.left = right ? "auto" : share(col + 1, this.data.cols);
    this.tip.style.right = right ? share(this.data.cols - col, this.data.cols) : "auto";
    this.tip.style.top = share(row, this.data.rows);
  }

  leave() {
    if (!this.last) this.point(null);
  }

  // === Painting ===

  choose(tool) {
    this.tool = tool;
    for (const button of this.tools.querySelectorAll("[data-tool]"))
      button.setAttribute("aria-pressed", button.dataset.tool === tool);
  }

  reach() {
    return Number(this.size.value) - 1;
  }

  press(event) {
    if (!this.data.paint || event.button !== 0) return;
    const at = this.dieAt(event);
    if (!at) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.last = at;
    this.stroke(at);
    this.draw();
  }

  release() {
    if (!this.last) return;
    this.last = null;
    this.publish();
  }

  stroke(to) {
    const [row, col] = this.last, [toRow, toCol] = to;
    const steps = Math.max(Math.abs(toRow - row), Math.abs(toCol - col), 1);
    for (let step = 0; step <= steps; step++)
      this.dab(Math.round(row + ((toRow - row) * step) / steps), Math.round(col + ((toCol - col) * step) / steps));
    this.last = to;
  }

  dab(row, col) {
    const { rows, cols } = this.data, reach = this.reach();
    for (let r = Math.max(row - reach, 0); r <= Math.min(row + reach, rows - 1); r++)
      for (let c = Math.max(col - reach, 0); c <= Math.min(col + reach, cols - 1); c++)
        if ((r - row) ** 2 + (c - col) ** 2 <= (reach + 0.5) ** 2) this.set(r * cols + c);
  }

  set(i) {
    if (this.dies[i] === NO_DIE) return;
    this.dies[i] = this.tool;
    const context = this.pixels.getContext("2d"), { cols } = this.data;
    context.fillStyle = `rgb(${this.colour(i).join()})`;
    context.fillRect(i % cols, Math.floor(i / cols), 1, 1);
  }

  key(event) {
    if (!this.data.paint) return;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const { rows, cols } = this.data;
    if (step) {
      const [row, col] = this.at ?? [Math.floor(rows / 2), Math.floor(cols / 2)];
      this.point([Math.min(Math.max(row + step[0], 0), rows - 1), Math.min(Math.max(col + step[1], 0), cols - 1)]);
    } else if (event.key === " " && this.at) {
      this.remember();
      this.dab(...this.at);
      this.publish();
    } else return;
    event.preventDefault();
  }

  remember() {
    this.undone.push([...this.dies]);
    if (this.undone.length > UNDO_STEPS) this.undone.shift();
  }

  undo() {
    if (!this.undone.length) return;
    this.dies = this.undone.pop();
    this.publish();
  }

  clear() {
    this.remember();
    this.dies = this.dies.map((state) => (state === NO_DIE ? NO_DIE : PASS));
    this.publish();
  }

  publish() {
    this.heat = null; // it was of the dies before
    this.patterns = [];
    this.tell();
    this.colourAll();
    this.send("dies", this.dies.join(""));
  }
}
