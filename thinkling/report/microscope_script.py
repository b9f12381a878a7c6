"""The script of the microscope's page: curves with axes, the rollouts of a step, tokens in colour.

It reads the data of its page, puts text in as text only, and loads nothing.
"""

SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const steps = Object.keys(data.shown).map(Number).sort((a, b) => a - b);
const at = id => document.getElementById(id);
const svg = "http://www.w3.org/2000/svg";
let now = steps[steps.length - 1];

function make(tag, attributes, ...children) {
  const space = ["svg", "path", "circle", "line", "title", "text"].includes(tag) ? svg : "http://www.w3.org/1999/xhtml";
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const percent = value => (100 * value).toFixed(1) + "%";
const plain = value => Math.abs(value) >= 10 ? value.toFixed(0) : value.toFixed(3);

function smooth(rows, keys) {
  const points = rows.filter(row => keys.every(key => row[key] !== null && row[key] !== undefined));
  const width = Math.floor(points.length / 40);
  return points.map((row, i) => {
    const near = points.slice(Math.max(0, i - width), i + width + 1);
    const means = keys.map(key => [key, near.reduce((sum, other) => sum + other[key], 0) / near.length]);
    return {step: row.step, at: row.at, ...Object.fromEntries(means)};
  });
}

const LEFT = 40, RIGHT = 8, TOP = 10, BOTTOM = 22, WIDTH = 320, HEIGHT = 140;

function nice(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return size * [1, 2, 2.5, 5, 10].find(head => head * size >= value * 0.999);
}

function written(x, y, words, anchor) {
  return make("text", {x: x, y: y, "text-anchor": anchor}, words);
}

/* One picture of one or two lines. lines: [key, name of the line, class]; rows have `at`, the step on the axis. */
function curve(name, rows, format, lines) {
  const points = smooth(rows, lines.map(line => line[0]));
  if (!points.length) return;
  const last = Math.max(1, ...data.metrics.map(row => row.step + 1), ...rows.map(row => row.at));
  const highest = Math.max(1e-9, ...points.flatMap(row => lines.map(([key]) => row[key])));
  const top = format === percent ? 1 : nice(highest);
  const x = row => LEFT + (WIDTH - LEFT - RIGHT) * row.at / last;
  const y = value => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(value, top) / top);
  const box = make("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name});
  for (const share of [0, 0.5, 1]) {
    box.append(make("line", {x1: LEFT, x2: WIDTH - RIGHT, y1: y(share * top), y2: y(share * top)}));
    const words = format === percent ? 100 * share + "%" : String(Number((share * top).toPrecision(3)));
    box.append(written(LEFT - 6, y(share * top) + 4, words, "end"));
  }
  box.append(written(LEFT, HEIGHT - 4, "0", "middle"), written(WIDTH - RIGHT, HEIGHT - 4, "step " + last, "end"));
  for (const [key, , kind] of lines) {
    const path = points.map((row, i) => (i ? "L" : "M") + x(row).toFixed(1) + " " + y(row[key]).toFixed(1)).join("");
    box.append(make("path", {d: path, class: kind}));
  }
  const [first, second] = [points[0], points[points.length - 1]];
  for (const row of points) if (data.shown[row.step]) {
    const key = lines[0][0];
    const dot = make("circle", {cx: x(row), cy: y(row[key]), r: 3.5, "data-step": row.step},
                     make("title", {}, "step " + (row.step + 1) + ": " + format(row[key])));
    dot.addEventListener("click", () => open(row.step));
    box.append(dot);
  }
  const told = lines.map(([key, label, kind]) => {
    const sign = lines.length > 1 ? [make("i", {class: "line " + kind}), label + " "] : [];
    return make("span", {}, ...sign, format(first[key]) + " → " + format(second[key]));
  });
  at("curves").append(make("figure", {}, make("h3", {}, name), make("p", {class: "note"}, ...told), box));
}

function examples() {
  const rows = data.measured.filter(row => row.examples && row.examples.length);
  if (rows.length < 2) { at("same").remove(); return; }
  rows[0].examples.forEach((first, i) => {
    const fold = make("details", {}, make("summary", {}, first.question));
    for (const row of rows) {
      const own = row.examples[i];
      if (!own) continue;
      const card = make("div", {class: "card " + (own.status === "correct" ? "right" : "wrong")},
        make("p", {}, make("b", {}, "after " + row.step + " steps"), ": " + own.status),
        make("pre", {class: "running"}, own.response));
      fold.append(card);
    }
    at("examples").append(fold);
  });
}

function look(rollout, i, mode) {
  if ((rollout.g || []).includes(i)) return ["given", 0];
  if (mode === "advantage") {
    const value = (rollout.advantage || 0) + (rollout.k ? rollout.k[i] || 0 : 0);
    return [value >= 0 ? "up" : "down", Math.min(60, 60 * Math.abs(value))];
  }
  if (mode === "entropy") return ["down", rollout.h ? Math.min(70, 70 * rollout.h[i] / 1.4) : 0];
  if (mode === "ratio") {
    const value = rollout.r ? Math.log(rollout.r[i]) : 0;
    return [value >= 0 ? "up" : "down", Math.min(70, 350 * Math.abs(value))];
  }
  return ["down", (rollout.c || []).includes(i) ? 50 : 0];
}

const LEGENDS = {
  advantage: [["up", 45, "made likelier"], ["down", 45, "made less likely"]],
  entropy: [["down", 55, "the more open the place, the stronger: full at 1.4 nats"]],
  ratio: [["up", 45, "likelier than when it was drawn"], ["down", 45, "less likely"]],
  clip: [["down", 50, "its gradient was cut off at the last update"]],
};

function card(rollout, mode, times) {
  const right = rollout.status === "correct";
  const text = make("div", {class: "running"});
  rollout.t.forEach((number, i) => {
    const [kind, heat] = look(rollout, i, mode);
    const name = data.tokens[number], told = [name, "log-probability " + (rollout.l ? rollout.l[i] : "?")];
    if (rollout.h) told.push("entropy " + rollout.h[i]);
    if (rollout.r) told.push("ratio " + rollout.r[i]);
    if (kind === "given") told.splice(1, told.length, "given, not sampled");
    const span = make("span", {class: kind, title: told.join(", ")}, name.replace(/·/g, " "));
    span.style.setProperty("--heat", heat);
    if (mode === "clip" && heat) span.classList.add("cut");
    text.append(span);
    if (name.includes("⏎")) text.append("\\n".repeat(name.split("⏎").length - 1));
  });
  const given = (rollout.g || []).length;
  const parts = rollout.parts && rollout.parts.length > 1 ? " (" + rollout.parts.map(plain).join(" + ") + ")" : "";
  return make("div", {class: "card " + (right ? "right" : "wrong")},
    make("p", {}, make("b", {}, (times > 1 ? times + " times " : "") + rollout.status), " " + rollout.reason),
    make("p", {}, "reward " + plain(rollout.reward) + parts + ", advantage " + plain(rollout.advantage) + ", " +
      (rollout.t.length - given) + " tokens, " + (given ? given + " given, " : "") + rollout.finish_reason), text);
}

function cards(rollouts, mode) {
  const same = new Map();
  for (const rollout of rollouts) {
    const key = rollout.t.join();
    same.set(key, [rollout, same.has(key) ? same.get(key)[1] + 1 : 1]);
  }
  return make("div", {class: "cards"}, ...[...same.values()].map(([rollout, times]) => card(rollout, mode, times)));
}

function wanted(group, filter) {
  const right = group.rollouts.filter(r => r.status === "correct").length;
  return filter === "all" || (filter === "signal" && group.signal) ||
    (filter === "right" && right === group.rollouts.length) || (filter === "wrong" && right === 0);
}

function open(step) {
  now = step;
  const mode = at("mode").value, groups = data.shown[now].filter(group => wanted(group, at("filter").value));
  at("step").value = now;
  at("heading").textContent = "Step " + (now + 1) + ": " + groups.length + (groups.length === 1 ? " group" : " groups");
  document.querySelectorAll("circle").forEach(dot => dot.classList.toggle("now", dot.dataset.step === String(now)));
  at("legend").replaceChildren(...LEGENDS[mode].map(([kind, heat, words]) => {
    const swatch = make("span", {class: "swatch " + kind}, words);
    swatch.style.setProperty("--heat", heat);
    return swatch;
  }));
  at("groups").replaceChildren(...groups.map(group => {
    const right = group.rollouts.filter(r => r.status === "correct").length;
    const told = right + " of " + group.rollouts.length + " right; the answer is " + group.reference;
    const head = make("p", {class: "note"}, told + (group.signal ? ". " : ". No signal. "));
    for (const other of steps) if (other !== now && data.shown[other].some(g => g.id === group.id)) {
      const button = make("button", {}, "the same at step " + (other + 1));
      button.addEventListener("click", () => open(other));
      head.append(button);
    }
    return make("div", {class: "group"}, make("h3", {}, group.question), head, cards(group.rollouts, mode));
  }));
}

const run = data.run;
at("line").textContent = data.folder + ": " + run.preset + " on " + run.model + ", " + data.num_steps + " steps of " +
  run.prompts_per_step + " problems x " + run.rollouts_per_prompt + " rollouts" +
  (steps.length < data.num_steps ? "; " + steps.length + " of the steps are in this page" : "");
for (const step of steps) at("step").append(make("option", {value: step}, String(step + 1)));
const trained = data.metrics.map(row => ({...row, at: row.step + 1}));
const measured = data.measured.map(row => ({...row, step: row.step - 1, at: row.step}));
curve("Right answers", trained, percent, [["right", "", "first"]]);
curve("Held-out problems", measured, percent, [["pass_1", "pass@1", "first"], ["pass_k", "pass@k", "second"]]);
curve("Groups with a signal", trained, percent, [["signal", "", "first"]]);
curve("Entropy, nats", trained, plain, [["entropy", "", "first"]]);
curve("Length, tokens", trained, plain, [["length", "", "first"]]);
curve("Cut off", trained, percent, [["truncated", "", "first"]]);
curve("Gradient norm", trained, plain, [["grad_norm", "", "first"]]);
examples();
for (const id of ["step", "mode", "filter"]) at(id).addEventListener("change", () => open(Number(at("step").value)));
document.addEventListener("keydown", event => {
  if (event.target.tagName === "SELECT") return;
  const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (move) open(steps[Math.max(0, Math.min(steps.length - 1, steps.indexOf(now) + move))]);
});
open(now);
"""
