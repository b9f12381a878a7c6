"""The script of an eval run's page: three plots, and the responses by verdict, subject and words.

It reads the data of its page, puts text in as text only and formulas in element by element, and loads nothing.
"""

SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const SPACES = {svg: "http://www.w3.org/2000/svg", math: "http://www.w3.org/1998/Math/MathML",
                html: "http://www.w3.org/1999/xhtml"};
const DRAWN = ["svg", "path", "circle", "line", "rect", "title", "text"];

function make(tag, attributes, ...children) {
  const element = document.createElementNS(DRAWN.includes(tag) ? SPACES.svg : SPACES.html, tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function formula([tag, attributes, ...children]) {
  const element = document.createElementNS(SPACES.math, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map(child => typeof child === "string" ? child : formula(child)));
  return element;
}
const shown = pieces => pieces.map(piece => typeof piece === "string" ? piece : formula(data.formulas[piece]));
const flat = tree => tree.slice(2).map(child => typeof child === "string" ? child : flat(child)).join("");
const words = pieces => pieces.map(piece => typeof piece === "string" ? piece : flat(data.formulas[piece])).join(" ");
const percent = value => (100 * value).toFixed(1) + "%";

/* Plots: an axis of shares or counts upwards, numbers to the right. */
const LEFT = 44, RIGHT = 12, TOP = 12, BOTTOM = 34, WIDTH = 420, HEIGHT = 260;

function frame(name, note, xlabel, ticks, x, top, format) {
  const y = value => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const box = make("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name + ". " + note});
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    box.append(make("line", {x1: LEFT, x2: WIDTH - RIGHT, y1: y(part * top), y2: y(part * top)}));
    box.append(make("text", {x: LEFT - 6, y: y(part * top) + 4, "text-anchor": "end"}, format(part * top)));
  }
  for (const [value, label] of ticks)
    box.append(make("text", {x: x(value), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle"}, label));
  box.append(make("text", {x: WIDTH - RIGHT, y: HEIGHT - 3, "text-anchor": "end"}, xlabel));
  const figure = make("figure", {}, make("h3", {}, name), box, make("figcaption", {}, note));
  at("plots").append(figure);
  return [box, y, figure.lastChild];
}

function curves() {
  const reach = data.n;
  const x = k => LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * (reach > 1 ? Math.log2(k) / Math.log2(reach) : 0);
  const ticks = [];
  for (let k = 1; k < reach; k *= 2) if (reach / k >= 1.4 || k === 1) ticks.push([k, String(k)]);
  ticks.push([reach, String(reach)]);
  const [box, y, caption] = frame("One of k is right, a vote of k is right", "", "k samples", ticks, x, 1,
    value => 100 * value + "%");
  caption.append("Shaded: 95% intervals. ");
  Object.entries(data.curve).forEach(([name, points], i) => {
    const colour = `var(--series-${i + 1})`;
    const up = points.map(([k, , , high]) => x(k).toFixed(1) + " " + y(high).toFixed(1));
    const down = points.map(([k, , low]) => x(k).toFixed(1) + " " + y(low).toFixed(1)).reverse();
    const line = points.map(([k, value]) => x(k).toFixed(1) + " " + y(value).toFixed(1));
    const band = make("path", {class: "band", d: "M" + [...up, ...down].join("L") + "Z"});
    band.style.fill = colour;
    const path = make("path", {d: "M" + line.join("L")});
    path.style.stroke = colour;
    box.append(band, path);
    for (const [k, value, low, high] of points) {
      const says = name.replace("k", k) + " " + percent(value) + " [" + percent(low) + ", " + percent(high) + "]";
      const dot = make("circle", {cx: x(k), cy: y(value), r: 3.2}, make("title", {}, says));
      dot.style.fill = colour;
      box.append(dot);
    }
    const mark = make("b", {}, "● " + name + " ");
    mark.style.color = colour;
    caption.append(mark);
  });
}

function bars(name, note, xlabel, groups, ticks, x, wide) {
  const tallest = Math.max(1, ...groups.map(group => group.counts.reduce((a, b) => a + b, 0)));
  const top = [1, 2, 4, 8, 10, 20, 40, 80].map(c => [c, c * 100, c * 10000]).flat().sort((a, b) => a - b)
    .find(value => value >= tallest) || tallest;
  const [box, y, caption] = frame(name, note, xlabel, ticks, x, top, value => Number.isInteger(value) ? value : "");
  for (const group of groups) {
    let base = 0;
    group.counts.forEach((count, i) => {
      if (!count) return;
      const bar = make("rect", {x: x(group.at) - wide / 2, y: y(base + count), width: wide,
        height: Math.max(0, y(base) - y(base + count))}, make("title", {}, group.says(count, i)));
      bar.style.fill = i ? "var(--loud)" : "var(--accent)";
      bar.style.opacity = i ? .55 : .85;
      box.append(bar);
      base += count;
    });
  }
  return caption;
}

function consistency() {
  const counts = Array(data.n + 1).fill(0);
  for (const problem of data.problems) counts[problem.r.filter(one => one.s === "correct").length] += 1;
  const step = (WIDTH - LEFT - RIGHT) / (data.n + 1);
  const x = right => LEFT + step * (right + .5);
  const every = Math.ceil((data.n + 1) / 12);
  const ticks = counts.map((_, right) => [right, String(right)]).filter(([right]) => right % every === 0);
  const note = counts[data.n] + " problems always, " + counts[0] + " never, of " + data.problems.length + ".";
  bars("How many samples of a problem are right", note, "samples that are right",
    counts.map((count, right) => ({at: right, counts: [count],
      says: () => count + " problems: " + right + " of " + data.n + " right"})), ticks, x, Math.max(1, step - 4));
}

function lengths() {
  const all = data.problems.flatMap(problem => problem.r);
  const longest = Math.max(1, ...all.map(one => one.t)), bins = 24;
  const size = Math.max(1, Math.ceil((longest + 1) / bins));
  const groups = Array.from({length: Math.ceil((longest + 1) / size)}, (_, i) => ({at: i, counts: [0, 0],
    says: (count, kind) => (i * size) + " to " + ((i + 1) * size - 1) + " tokens: " + count +
      (kind ? " not right" : " right")}));
  for (const one of all) groups[Math.floor(one.t / size)].counts[one.s === "correct" ? 0 : 1] += 1;
  const step = (WIDTH - LEFT - RIGHT) / groups.length, x = i => LEFT + step * (i + .5);
  const every = Math.ceil(groups.length / 6);
  const ticks = groups.map((_, i) => [i, String(i * size)]).filter(([i]) => i % every === 0);
  const caption = bars("How long responses are", "", "tokens", groups, ticks, x, Math.max(1, step - 2));
  const right = make("b", {}, "■ right "), wrong = make("b", {}, "■ not right");
  right.style.color = "var(--accent)";
  wrong.style.color = "var(--loud)";
  caption.append(right, wrong);
}

/* Responses */
const PAGE = 30;
let found = [], drawn = 0;

function fits(problem, one) {
  const verdict = at("verdict").value;
  return !verdict || verdict === "mixed" || one.s === verdict || (verdict === "cut" && one.c);
}
function wanted(problem) {
  const right = problem.r.filter(one => one.s === "correct").length;
  if (at("verdict").value === "mixed" && (right === 0 || right === problem.r.length)) return [];
  if (at("subject").value && problem.subject !== at("subject").value) return [];
  const text = at("words").value.trim().toLowerCase();
  const own = problem.r.filter(one => fits(problem, one));
  if (!text || (words(problem.q) + " " + problem.id).toLowerCase().includes(text)) return own;
  return own.filter(one => (words(one.b) + " " + words(one.x) + " " + one.a).toLowerCase().includes(text));
}

function card(problem, one) {
  const label = (data.n > 1 ? "sample " + (problem.r.indexOf(one) + 1) + ": " : "") + one.s;
  const told = [one.w, one.t + " tokens" + (one.h ? ", " + one.h + " of them thinking" : "")];
  if (one.c) told.push("cut off");
  const fold = make("details", {class: "response " + one.s},
    make("summary", {}, make("b", {}, label), " ", make("small", {}, told.filter(Boolean).join("; "))));
  fold.addEventListener("toggle", () => {  /* drawn when it is opened for the first time */
    if (fold.childElementCount > 1) return;
    if (one.b.length) fold.append(make("div", {class: "running thought"}, ...shown(one.b)));
    fold.append(make("div", {class: "running"}, ...(one.x.length ? shown(one.x) : ["(empty)"])));
  });
  fold.open = data.n === 1;
  return fold;
}

function more() {
  for (const [problem, own] of found.slice(drawn, drawn + PAGE)) {
    const right = problem.r.filter(one => one.s === "correct").length;
    const place = [problem.subject, problem.level && "level " + problem.level, problem.id].filter(Boolean).join(", ");
    at("responses").append(make("div", {class: "problem"}, make("h3", {}, ...shown(problem.q)),
      make("p", {class: "note"}, "Reference: ", ...shown(problem.ref),
        (data.n > 1 ? "; " + right + " of " + data.n + " right" : "") + "; " + place),
      ...own.map(one => card(problem, one))));
  }
  drawn = Math.min(found.length, drawn + PAGE);
  at("more").hidden = drawn === found.length;
}

function filter(only) {
  found = data.problems.filter(problem => only === undefined || problem.row === only)
    .map(problem => [problem, only === undefined ? wanted(problem) : problem.r]).filter(([, own]) => own.length);
  drawn = 0;
  at("responses").replaceChildren();
  const many = found.reduce((sum, [, own]) => sum + own.length, 0);
  at("count").textContent = many + (many === 1 ? " response to " : " responses to ") + found.length +
    (found.length === 1 ? " problem" : " problems");
  more();
}

if (data.n > 1) { curves(); consistency(); }
lengths();
const subjects = [...new Set(data.problems.map(problem => problem.subject))].sort();
for (const subject of subjects) at("subject").append(make("option", {value: subject}, subject));
at("subject-label").hidden = subjects.length < 2;
for (const id of ["verdict", "subject"]) at(id).addEventListener("change", () => filter());
at("words").addEventListener("input", () => filter());
at("more").addEventListener("click", more);
for (const button of document.querySelectorAll("button[data-row]")) button.addEventListener("click", () => {
  filter(Number(button.dataset.row));
  at("count").textContent += ", chosen above; a filter shows others";
  at("responses").parentElement.scrollIntoView();
});
filter();
"""
