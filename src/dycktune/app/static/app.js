// Text of models, files and runs only ever becomes text nodes: nothing here parses HTML.

const $ = (id) => document.getElementById(id);
const PILE = 14; // tiles of a stack that are drawn
const CHECK_DELAY = 250; // milliseconds after the last key

const state = { models: [], runs: [], folder: "" };
const panes = [];

function element(name, { text, className, ...rest } = {}, ...children) {
  const made = Object.assign(document.createElement(name), rest);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the program does not answer; is dycktune app still running?");
  }
  if (response.ok) return response;
  const text = await response.text();
  let problem = text;
  try { problem = JSON.parse(text).problem; } catch { /* a plain line */ }
  throw new Error(problem);
}

const post = (path, content, options = {}) => request(path, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content), ...options,
});

// The question

const question = $("question");
let waiting = 0;

function say(problem) {
  $("message").textContent = problem;
  question.setAttribute("aria-invalid", String(Boolean(problem)));
}

function edited() {
  say("");
  clearTimeout(waiting);
  if (question.value.trim()) waiting = setTimeout(check, CHECK_DELAY);
}

async function check() {
  const asked = question.value;
  try {
    await post("api/check", { model: panes[0].model.key, question: asked });
    if (asked === question.value) say("");
  } catch (error) {
    if (asked === question.value) say(error.message);
  }
}

function type(symbol) {
  const [from, to] = [question.selectionStart, question.selectionEnd];
  question.setRangeText(symbol, from, to, "end");
  question.focus({ preventScroll: true });
  edited();
}

function erase() {
  const end = question.selectionEnd;
  const start = question.selectionStart === end ? Math.max(end - 1, 0) : question.selectionStart;
  question.setRangeText("", start, end, "end");
  edited();
}

async function example() {
  try {
    const response = await post("api/example", { model: panes[0].model.key });
    question.value = (await response.json()).question;
    say("");
  } catch (error) {
    say(error.message);
  }
}

async function ask(event) {
  event.preventDefault();
  clearTimeout(waiting);
  if (!question.value.trim()) return say("Type a question, or press Example.");
  try {
    const response = await post("api/check", { model: panes[0].model.key, question: question.value });
    say("");
    const read = (await response.json()).question;
    await Promise.all(panes.map((pane) => pane.ask(read)));
  } catch (error) {
    say(error.message);
  }
}

function showKeys() {
  const { symbols, draws, task } = panes[0].model;
  $("symbols").replaceChildren(...[...symbols].map((symbol) => element("button", {
    type: "button", text: symbol, onclick: () => type(symbol),
  })));
  $("erase").hidden = !symbols;
  $("example").hidden = !draws;
  question.classList.toggle("words", !symbols);
  $("question-label").textContent = symbols ? "Brackets to complete" : `Question (${task})`;
}

// A model and its answer

class Pane {
  constructor(preferred) {
    this.root = $("pane").content.cloneNode(true).firstElementChild;
    this.part = (name) => this.root.querySelector(name);
    this.select = this.part("select");
    this.fill(preferred);
    this.select.onchange = () => { this.clear(); if (panes[0] === this) { showKeys(); edited(); } };
    this.part(".stop").onclick = () => this.stop();
    this.part(".lines").onpointerover = (event) => this.point(event.target.closest("li"));
    this.part(".lines").onpointerleave = () => this.point(null);
    this.clear();
  }

  get model() { return state.models.find((model) => model.key === this.select.value) ?? state.models[0]; }

  fill(preferred) {
    this.select.replaceChildren(...state.models.map((model) => new Option(model.label, model.key)));
    if (state.models.some((model) => model.key === preferred)) this.select.value = preferred;
  }

  clear() {
    this.stop();
    this.stacks = [];
    this.question = "";
    this.part(".message").textContent = "";
    this.part(".tape").replaceChildren();
    this.part(".lines").replaceChildren();
    this.part(".stack").hidden = true;
    this.verdict("", []);
  }

  stop() {
    this.running?.abort();
    this.running = null;
    this.write(false);
  }

  write(writing) {
    this.part(".stop").hidden = !writing;
    this.part(".lines").classList.toggle("writing", writing);
  }

  verdict(className, parts) {
    const shown = this.part(".verdict");
    shown.className = `verdict ${className}`;
    shown.replaceChildren(...parts);
  }

  async ask(asked) {
    this.clear();
    this.question = this.model.symbols ? asked : "";
    const running = this.running = new AbortController();
    this.write(true);
    this.draw(null);
    try {
      const response = await post("api/ask", { model: this.model.key, question: asked }, { signal: running.signal });
      for await (const event of events(response.body)) this.take(event);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.part(".message").textContent = error.message;
    }
    if (this.running === running) this.stop();
  }

  take(event) {
    if (event.kind === "status") return this.verdict("", [element("b", { text: event.text })]);
    if (event.kind === "problem") {
      this.verdict("", []);
      this.part(".message").textContent = event.text;
      return;
    }
    if (event.kind === "text") this.verdict("", [element("b", { text: "Writing…" })]);
    this.text(event);
    if (event.stacks) this.stacks.splice(event.stacks_from, Infinity, ...event.stacks);
    if (event.marks !== undefined) this.mark(event);
    if (event.kind === "done") this.done(event);
  }

  text({ from, lines }) {
    const list = this.part(".lines");
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    while (list.children.length > from + lines.length) list.lastChild.remove();
    lines.forEach((line, i) => {
      const row = list.children[from + i] ?? list.appendChild(element("li", {}, element("span", { className: "text" })));
      row.firstChild.textContent = line;
    });
    if (follows) list.scrollTop = list.scrollHeight;
  }

  mark({ marks, wrong }) {
    const names = { "+": "right", "-": "wrong", " ": "" };
    const first = marks.indexOf("-");
    [...this.part(".lines").children].forEach((row, i) => {
      row.className = names[marks[i] ?? " "] || (first >= 0 && i > first ? "after" : "");
      row.querySelector(".why")?.remove();
      if (wrong && wrong.line === i) row.append(element("span", { className: "why", text: wrong.reason }));
    });
    this.draw(this.stacks.findLast(Boolean) ?? null);
  }

  done({ verdict, tokens, seconds, ended }) {
    const headline = verdict.passed === null ? (verdict.answer ? "Answer not verified" : "No answer")
      : verdict.passed ? "✓ Right" : verdict.correct ? "✗ Right answer, wrong step" : "✗ Wrong";
    const rows = verdict.rows.flatMap(([name, text]) => [element("span", { text: name }), element("span", { text })]);
    const speed = `${tokens} tokens in ${seconds.toFixed(1)} s${ended ? "" : ", stopped at the limit"}`;
    const className = verdict.passed === null ? "" : verdict.passed ? "right" : "wrong";
    this.verdict(className, [element("b", { text: headline }), ...rows, element("small", { text: speed })]);
  }

  // The question and the stack after one line of the reply.
  draw(view) {
    const tiles = [...this.question].map((symbol, i) => element("span", {
      text: symbol,
      className: `tile${view && i < view.read ? " read" : ""}${view && !view.added && i === view.read - 1 ? " now" : ""}`,
    }));
    const added = [...(view?.added ?? "")].map((symbol) => element("span", { text: symbol, className: "tile added" }));
    this.part(".tape").replaceChildren(...tiles, ...added);
    this.part(".stack").hidden = !view;
    if (view) this.part(".pile").replaceChildren(...pile([...view.stack]));
  }

  point(row) {
    const index = row ? [...row.parentNode.children].indexOf(row) : -1;
    this.part(".shown")?.classList.remove("shown");
    const view = index >= 0 ? this.stacks.slice(0, index + 1).findLast(Boolean) : this.stacks.findLast(Boolean);
    if (view && index >= 0) row.classList.add("shown");
    if (view) this.draw(view);
  }
}

function pile(stack) {
  if (!stack.length) return [element("span", { className: "floor", text: "empty" })];
  const hidden = Math.max(stack.length - PILE, 0);
  const below = hidden ? [element("span", { className: "more", text: `${hidden} more` })] : [];
  return [...below, ...stack.slice(hidden).map((symbol) => element("span", { className: "tile", text: symbol }))];
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

function compare() {
  if ($("compare").checked && panes.length === 1) {
    const run = panes[0].model.key.replace(/ (merged|adapter)$/, " base");
    addPane(run === panes[0].model.key ? state.models.at(-1).key : run);
  } else if (!$("compare").checked && panes.length === 2) {
    const pane = panes.pop();
    pane.stop();
    pane.root.remove();
  }
}

function addPane(preferred) {
  const pane = new Pane(preferred);
  panes.push(pane);
  $("panes").append(pane.root);
}

// The doctor

async function examine(file) {
  location.hash = "doctor";
  $("diagnosis").hidden = true;
  $("log-message").textContent = "";
  if (!file) return;
  $("log-message").textContent = "Reading…";
  try {
    const response = await request(`api/doctor?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
    const { page } = await response.json();
    $("log-name").textContent = file.name;
    $("log-frame").src = $("log-page").href = page;
    $("log-message").textContent = "";
    $("diagnosis").hidden = false;
  } catch (error) {
    $("log-message").textContent = error.message;
  }
}

function dropping() {
  const over = (on) => document.body.classList.toggle("over", on);
  addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  addEventListener("dragleave", () => over(false));
  addEventListener("drop", (event) => { event.preventDefault(); over(false); examine(event.dataTransfer.files[0]); });
  $("file").onchange = (event) => { examine(event.target.files[0]); event.target.value = ""; };
}

// The runs

function runRow(run) {
  const cell = (name, text, className = "") => {
    const made = element("td", { text: text ?? "–", className });
    made.dataset.name = name;
    return made;
  };
  const first = element("td", { className: "first", text: run.run });
  const label = cell("Label", run.label, run.label === "healthy" ? "good" : run.label ? "bad" : "");
  const actions = element("td", { className: "actions" });
  if (run.model) actions.append(element("button", { type: "button", text: "Ask", onclick: () => askRun(run) }));
  if (run.report) {
    actions.append(element("a", {
      text: "Report", href: `reports/${encodeURIComponent(run.run)}`, target: "_blank", rel: "noopener",
    }));
  }
  const row = element("tr", {}, first, cell("Started", run.when), cell("Base", run.base), cell("Task", run.task), label,
    cell("Exact match", run.score), cell("Deployed", run.deployed), actions);
  const note = runNote(run);
  return note ? [row, element("tr", { className: "note" }, element("td", { colSpan: row.children.length }, note))] : [row];
}

// What a run lacks.
function runNote(run) {
  if (run.problem) return element("span", { className: "problem", text: run.problem });
  if (run.report || !run.label) return null;
  return element("span", { className: "quiet", text: "For its report: " }, element("code", { text: run.command }));
}

function askRun(run) {
  panes[0].select.value = run.model;
  panes[0].select.onchange();
  location.hash = "ask";
}

// The page

function show() {
  const current = ["ask", "doctor", "runs"].find((name) => `#${name}` === location.hash) ?? "ask";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== current;
  for (const link of document.querySelectorAll("nav a")) {
    link.hash === `#${current}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  scrollTo(0, 0);
  if (current === "runs") load().then(() => panes.forEach((pane) => pane.fill(pane.select.value))).catch(() => {});
}

async function load() {
  Object.assign(state, await (await request("api/state")).json());
  $("run-rows").replaceChildren(...state.runs.flatMap(runRow));
  $("no-runs").hidden = state.runs.length > 0;
  $("no-runs").textContent = `No runs under ${state.folder} yet; make one with: dycktune quickstart`;
}

async function begin() {
  try {
    await load();
  } catch (error) {
    return say(error.message);
  }
  addPane(state.models[0].key);
  showKeys();
  question.oninput = edited;
  $("question-form").onsubmit = ask;
  $("erase").onclick = erase;
  $("clear").onclick = () => { question.value = ""; say(""); question.focus(); };
  $("example").onclick = example;
  $("compare").onchange = compare;
  dropping();
  addEventListener("hashchange", show);
  show();
  if (matchMedia("(pointer: fine)").matches) question.focus({ preventScroll: true });
}

begin();
