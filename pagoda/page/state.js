"use strict";
// What is shown, and the address that says so: everything after # can be sent to somebody else.

const DATA = JSON.parse(document.getElementById("data").textContent);
const VIEWS = DATA.views;
const MODES = ["side", "flicker", "blind"];
const SHOWN = ["picture", "change", "gradient"];
const MAX_ZOOM = 16;

const place = (view, epsilon, target) => JSON.stringify([view, epsilon, target]);

/** The ascent of a view, a radius and a target class; undefined where there is none. */
const ASCENTS = new Map([...DATA.ascents, ...(DATA.foil?.ascents ?? [])].map((ascent) => [place(ascent.view, ascent.epsilon, ascent.target), ascent]));
const RADII = [...new Set(DATA.ascents.map((ascent) => ascent.epsilon))].sort((x, y) => x - y);

const state = {
  class: DATA.classes[0],
  eps: DATA.first.epsilon,
  a: DATA.first.a,
  b: DATA.first.b,
  source: 0,
  step: Infinity, // of the ascent; clamped to the last
  mode: "side",
  shown: "picture", // or its change from the source, or the gradient there
  zoom: 1,
  x: 0.5, // centre of what is seen, as fractions of the picture
  y: 0.5,
  kind: "two", // of the blind test
  started: false,
  seed: 1, // of its order
  answers: "", // one letter a trial: l, r, n (can't tell); of "which class?" one of LETTERS, or -
};
const opening = { ...state };
const listeners = [];

const ascentOf = (view, target = state.class) => ASCENTS.get(place(view, state.eps, target));
const radiiOf = (view) => RADII.filter((epsilon) => ASCENTS.has(place(view, epsilon, DATA.classes[0])));

/** How many sources the chosen views have towards the chosen class. */
const sourceCount = () => Math.max(1, ...[state.a, state.b].map((view) => ascentOf(view)?.index.length ?? 0));

/** The chosen source, or the last that an ascent has. */
const sourceIn = (ascent) => Math.min(state.source, ascent.index.length - 1);

/** The steps at which A or B has a picture. */
function stepsShown() {
  const steps = [state.a, state.b].flatMap((view) => ascentOf(view)?.frame_steps ?? []);
  return steps.length ? [...new Set(steps)].sort((x, y) => x - y) : [0];
}

function nearest(values, wanted) {
  return values.reduce((best, value) => (Math.abs(value - wanted) <= Math.abs(best - wanted) ? value : best), values[0]);
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const turned = (value, count) => ((value % count) + count) % count;

/** Change what is shown. `keep`: the address changes without a new entry in the history. */
function show(changes, { keep = false } = {}) {
  Object.assign(state, changes);
  settle();
  for (const listener of listeners) listener();
  const address = addressOf(state);
  if (keep) {
    clearTimeout(waiting.timer);
    Object.assign(waiting, { address, timer: setTimeout(writeAddress, 200) });
  } else {
    writeAddress();
    if (address !== location.hash) history.pushState(null, "", address);
  }
}

/** What the address will be once the slider or the drag rests: browsers refuse hundreds of changes in a row. */
const waiting = { address: null, timer: null };

function writeAddress() {
  clearTimeout(waiting.timer);
  if (waiting.address && waiting.address !== location.hash) history.replaceState(null, "", waiting.address);
  waiting.address = null;
}

function settle() {
  if (state.mode !== "blind") for (const slot of ["a", "b"]) if (state[slot] >= VIEWS.length) state[slot] = DATA.foil.of;
  state.source = clamp(state.source, 0, sourceCount() - 1);
  const steps = stepsShown();
  state.step = nearest(steps, Math.min(state.step, steps.at(-1)));
  state.zoom = clamp(state.zoom, 1, MAX_ZOOM);
  const margin = 0.5 / state.zoom;
  state.x = clamp(state.x, margin, 1 - margin);
  state.y = clamp(state.y, margin, 1 - margin);
}

function addressOf(s) {
  const fields = { eps: s.eps };
  const views = { a: RATED[s.a].key, b: RATED[s.b].key };
  if (s.mode === "blind" && s.started) Object.assign(fields, { mode: s.mode, seed: s.seed, test: tokenOf(s) }, s.answers && { answers: s.answers });
  else if (s.mode === "blind") Object.assign(fields, { mode: s.mode, kind: s.kind }, views);
  else Object.assign(fields, { class: s.class, source: s.source, step: s.step, mode: s.mode }, s.shown !== "picture" && { shown: s.shown }, views);
  if (s.zoom > 1) Object.assign(fields, { zoom: +s.zoom.toFixed(2), x: +s.x.toFixed(3), y: +s.y.toFixed(3) });
  return `#${new URLSearchParams(fields)}`.replaceAll("%40", "@").replaceAll("%2C", ",");
}

/** Read an address. What it names and this page lacks is left as it opens, and returned as text. */
function readAddress(hash) {
  const read = { ...opening };
  const unknown = [];
  const number = (value, low, high) => (value.trim() !== "" && +value >= low && +value <= high ? +value : undefined);
  const whole = (value, low, high) => (Number.isInteger(number(value, low, high)) ? +value : undefined);
  const view = (key) => RATED.find((each) => each.key === key)?.number;
  const fields = new URLSearchParams(hash.slice(1));
  const readers = {
    class: (value) => DATA.classes.find((name) => name === value),
    eps: (value) => RADII.find((epsilon) => epsilon === number(value, 0, Infinity)),
    a: view,
    b: view,
    source: (value) => whole(value, 0, Math.max(...DATA.ascents.map((ascent) => ascent.index.length)) - 1),
    step: (value) => whole(value, 0, Infinity),
    mode: (value) => MODES.find((mode) => mode === value),
    shown: (value) => SHOWN.find((each) => each === value),
    zoom: (value) => number(value, 1, MAX_ZOOM),
    x: (value) => number(value, 0, 1),
    y: (value) => number(value, 0, 1),
    seed: (value) => whole(value, 0, 2 ** 32 - 1),
    kind: (value) => (Object.hasOwn(KINDS, value) ? value : undefined),
    test: (value) => readToken(value, whole(fields.get("seed") ?? "", 0, 2 ** 32 - 1)),
    answers: (value) => (fields.has("test") ? value : undefined),
  };
  for (const [name, value] of fields) {
    const known = Object.hasOwn(readers, name) ? readers[name](value) : undefined;
    if (known === undefined) unknown.push(`${name} “${bare(value)}”`);
    else if (name === "test") Object.assign(read, known, { started: true });
    else read[name] = known;
  }
  return { read, unknown };
}

/** Build an element. Children are elements or text: nothing is ever read as HTML. */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "line", "polyline"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && !missing(value)) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => !missing(child)));
  return made;
}

/** A table that scrolls sideways, from the names of its columns and its rows. */
function tableOf(label, head, rows, attributes = {}) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el("table", attributes, el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows)));
}

const byId = (id) => document.getElementById(id);

/** A probability for people: three decimals, and no false certainty. */
function chance(p) {
  if (missing(p)) return "unknown";
  if (p < 0.0005) return "< 0.001";
  return p >= 0.9995 ? "> 0.999" : p.toFixed(3);
}

/** A name without the characters that turn the direction of what follows. */
const bare = (name) => name.replace(/[\u202a-\u202e\u2066-\u2069]/g, "");

/** A name in quotation marks, whose letters turn nothing around it. */
const quoted = (name) => `“\u2068${bare(name)}\u2069”`;

const missing = (value) => value === null || value === undefined;
const signed = (value, digits = 2) => (missing(value) ? "–" : value.toFixed(digits).replace("-", "−"));
