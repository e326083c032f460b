"use strict";
// Reading values and zooming. The page shows everything without this program too.
const SVG = "http://www.w3.org/2000/svg";
const SIZE = 1000;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function figure(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  return size < 1e-3 || size >= 9999.5 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
}

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i <= high / step; i++) found.push(Number((i * step).toPrecision(10)));
  return found;
}

function logTicks(low, high, most) {
  const first = Math.ceil(Math.log10(low));
  const last = Math.floor(Math.log10(high));
  if (last - first < 1) return ticks(low, high, most);
  const apart = Math.max(1, Math.ceil((last - first + 1) / most));
  const found = [];
  for (let power = first; power <= last; power += apart) found.push(10 ** power);
  return found;
}

function scaled(panel, value) {
  return panel.logarithmic ? Math.log10(value) : value;
}

function nearest(line, step) {
  let low = 0;
  let high = line.steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (line.steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - line.steps[low - 1] < line.steps[low] - step ? low - 1 : low;
}

class Chart {
  constructor(root) {
    this.root = root;
    const data = JSON.parse(root.dataset.chart);
    this.axis = data.axis;
    this.panels = data.panels;
    this.plots = [...root.querySelectorAll(".plot")];
    this.full = this.panels[0].steps;
    this.view = this.full;
    this.steps = [...new Set(this.panels.flatMap((p) => p.lines.flatMap((l) => l.steps)))].sort((a, b) => a - b);
    this.reading = root.querySelector(".reading");
    this.hint = [...this.reading.childNodes];
    this.at = null;
    this.start = null;
    for (const plot of this.plots) this.listen(plot);
    for (const button of root.querySelectorAll("button")) button.addEventListener("click", () => this.zoom(button.dataset.zoom));
  }

  listen(plot) {
    plot.addEventListener("pointerdown", (event) => {
      if (event.target.closest("a")) return;
      this.start = this.share(plot, event);
      plot.setPointerCapture(event.pointerId);
    });
    plot.addEventListener("pointermove", (event) => this.moved(this.share(plot, event)));
    plot.addEventListener("pointerup", (event) => this.released(this.share(plot, event)));
    plot.addEventListener("pointercancel", () => this.unpick());
    plot.addEventListener("pointerleave", () => this.start === null && this.leave());
    plot.addEventListener("dblclick", () => this.show(this.full));
    plot.addEventListener("keydown", (event) => this.pressed(event));
    plot.addEventListener("blur", () => this.leave());
  }

  share(plot, event) {
    const box = plot.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  }

  stepAt(share) {
    return this.view[0] + share * (this.view[1] - this.view[0]);
  }

  shareOf(step) {
    return (step - this.view[0]) / (this.view[1] - this.view[0]);
  }

  moved(share) {
    this.read(this.stepAt(share));
    if (this.start === null) return;
    for (const plot of this.plots) {
      plot.querySelector(".picked")?.remove();
      const [x, width] = [Math.min(share, this.start), Math.abs(share - this.start)];
      plot.append(element("rect", { class: "picked", x: `${100 * x}%`, width: `${100 * width}%`, y: 0, height: "100%" }));
    }
  }

  released(share) {
    const start = this.start;
    this.unpick();
    if (start === null || Math.abs(share - start) < 0.02) return;
    this.show([this.stepAt(Math.min(start, share)), this.stepAt(Math.max(start, share))]);
  }

  unpick() {
    this.start = null;
    for (const rect of this.root.querySelectorAll(".picked")) rect.remove();
  }

  pressed(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const how = { "+": "in", "=": "in", "-": "out", 0: "all" }[event.key];
    if (move) {
      const inside = this.steps.filter((step) => step >= this.view[0] && step <= this.view[1]);
      const now = this.at === null ? (move > 0 ? -1 : inside.length) : inside.indexOf(this.at);
      const next = inside[Math.min(inside.length - 1, Math.max(0, now + move))];
      if (next !== undefined) this.read(next);
    } else if (how) this.zoom(how);
    else return;
    event.preventDefault();
  }

  read(step) {
    const line = { steps: this.steps };
    this.at = this.steps[nearest(line, step)];
    const x = `${100 * this.shareOf(this.at)}%`;
    for (const cross of this.root.querySelectorAll(".cross")) {
      cross.setAttribute("x1", x);
      cross.setAttribute("x2", x);
      cross.classList.add("on");
    }
    const where = document.createElement("b");
    where.textContent = `${this.axis} ${Number(this.at.toPrecision(6))}`;
    const parts = this.panels.flatMap((panel) => panel.lines.map((one) => this.value(one)));
    this.reading.replaceChildren(where, ...parts.filter(Boolean).map((text) => ` · ${text}`));
  }

  value(line) {
    if (!line.steps.length) return "";
    const i = nearest(line, this.at);
    const apart = line.steps.length > 1 ? (line.steps.at(-1) - line.steps[0]) / (line.steps.length - 1) : 0;
    return Math.abs(line.steps[i] - this.at) <= Math.max(apart, 1) ? `${line.name} ${figure(line.values[i])}` : "";
  }

  leave() {
    this.at = null;
    for (const cross of this.root.querySelectorAll(".cross")) cross.classList.remove("on");
    this.reading.replaceChildren(...this.hint);
  }

  zoom(how) {
    if (how === "all") return this.show(this.full);
    const [low, high] = this.view;
    const middle = this.at === null ? (low + high) / 2 : this.at;
    const half = ((high - low) / 2) * (how === "in" ? 0.5 : 2);
    const width = Math.min(2 * half, this.full[1] - this.full[0]);
    const first = Math.min(Math.max(this.full[0], middle - width / 2), this.full[1] - width);
    this.show([first, first + width]);
  }

  show(view) {
    const least = (this.full[1] - this.full[0]) / 5000;
    if (view[1] - view[0] < least) return;
    this.view = view;
    this.panels.forEach((panel, i) => this.draw(panel, this.plots[i]));
    this.drawSteps();
  }

  valuesIn(panel) {
    if (panel.fixed || this.view === this.full) return panel.values;
    const seen = panel.lines.flatMap((line) =>
      line.values.filter((_, i) => line.steps[i] >= this.view[0] && line.steps[i] <= this.view[1])
    );
    if (!seen.length) return panel.values;
    const [low, high] = [Math.min(...seen), Math.max(...seen)].map((value) => scaled(panel, value));
    const room = 0.08 * (high - low) || 0.05 * (scaled(panel, panel.values[1]) - scaled(panel, panel.values[0]));
    const ends = [low - room, high + room];
    return panel.logarithmic ? ends.map((end) => 10 ** end) : ends;
  }

  draw(panel, plot) {
    const values = this.valuesIn(panel);
    const [low, high] = values.map((value) => scaled(panel, value));
    const [fullLow, fullHigh] = panel.values.map((value) => scaled(panel, value));
    const across = (step) => (SIZE * (step - panel.steps[0])) / (panel.steps[1] - panel.steps[0]);
    const down = (value) => SIZE * (1 - (value - fullLow) / (fullHigh - fullLow));
    const place = (value) => panel.height * (1 - (scaled(panel, value) - low) / (high - low));
    const [left, right, top, bottom] = [across(this.view[0]), across(this.view[1]), down(high), down(low)];
    plot.querySelector(".inner").setAttribute("viewBox", `${left} ${top} ${right - left} ${bottom - top}`);
    const most = panel.height > 150 ? 5 : 3;
    const lines = (panel.logarithmic ? logTicks : ticks)(values[0], values[1], most);
    plot.querySelector(".grid").replaceChildren(
      ...lines.flatMap((value) => [
        element("line", { x1: 0, x2: "100%", y1: place(value), y2: place(value) }),
        element("text", { x: 0, y: place(value) - 4 }, String(Number(value.toPrecision(6)))),
      ])
    );
    for (const mark of plot.querySelectorAll(".mark")) this.move(mark, place);
  }

  move(mark, place) {
    const share = this.shareOf(Number(mark.dataset.step));
    mark.setAttribute("x", `${100 * share}%`);
    if (mark.dataset.value) mark.setAttribute("y", place(Number(mark.dataset.value)));
    mark.setAttribute("visibility", share < 0 || share > 1 ? "hidden" : "visible");
  }

  drawSteps() {
    const found = ticks(this.view[0], this.view[1], 6);
    this.root.querySelector(".steps").replaceChildren(
      ...found.map((step) =>
        element("text", { x: `${100 * this.shareOf(step)}%`, y: 14, "text-anchor": "middle" }, String(step))
      )
    );
  }
}

for (const root of document.querySelectorAll("figure.chart")) new Chart(root);
addEventListener("beforeprint", () => {
  for (const closed of document.querySelectorAll("details.trace, details.run")) closed.open = true;
});
