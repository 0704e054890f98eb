// The trials of a blind test: which pictures stand where, decided by a seed, each thing as often as its counterpart.

const KINDS = {
  two: { name: "A or B", trials: 20, question: "Which looks more like" },
  all: { name: "All views, in pairs", trials: 40, question: "Which looks more like" },
  which: { name: "Which class?", trials: 24, question: "Which class is this?" },
};
const CHECKS = 2; // trials with real pictures, whose answer is known
const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"; // answers to "which class?"

/** Views of the blind test: those of the page, and A's without its grain. */
const RATED = DATA.foil ? [...VIEWS, DATA.foil.view] : VIEWS;

/** No answers, and another order. */
const anew = () => ({ started: false, answers: "", seed: crypto.getRandomValues(new Uint32Array(1))[0] % 1e6 });

/** Numbers in [0, 1) from a seed (Mulberry32, public domain). */
function randomness(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(values, random) {
  const found = [...values];
  for (let k = found.length - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [found[k], found[other]] = [found[other], found[k]];
  }
  return found;
}

/** The views that a test of this kind compares. */
function contenders() {
  if (state.kind !== "all") return [...new Set([state.a, state.b])];
  return RATED.filter((view) => view.start === "images" && radiiOf(view.number).includes(state.eps)).map((view) => view.number);
}

/** Why there is no such test; empty where there is. */
function hindrance() {
  const views = contenders().map((number) => RATED[number]);
  if (views.length < 2) return RATED.length < 2 ? "This page has one view: there is nothing to compare it with." : "A and B are the same view.";
  const [a, b] = views;
  if (a.start !== b.start) return `A starts from ${a.start}, B from ${b.start}: their pictures have no source in common.`;
  if (state.kind === "which" && DATA.classes.length > LETTERS.length) return `There are more than ${LETTERS.length} classes to choose from.`;
  const lacking = views.filter((view) => !radiiOf(view.number).includes(state.eps));
  return lacking.map((view) => `There is no ascent of ${view.name} at ε = ${state.eps}.`).join(" ");
}

/** What tells sources apart: the picture's number; a seed is another one for each class. */
const sourceKey = (name, ascent, source) => (RATED[ascent.view].start === "images" ? String(ascent.index[source]) : `${name}/${ascent.index[source]}`);

/** Up to `count` places {class, source}, none twice: classes as often as each other, and sources, as far as there are. */
function places(count, views, random) {
  const classes = shuffled(DATA.classes, random);
  const [used, taken, found] = [new Map(), new Set(), []];
  for (let k = 0, idle = 0; found.length < count && idle < classes.length; k++) {
    const name = classes[k % classes.length];
    const ascent = ascentOf(views[0], name);
    const room = Math.min(...views.map((view) => ascentOf(view, name).index.length));
    const free = shuffled(Array.from({ length: room }, (_, source) => source), random).filter((source) => !taken.has(`${source} ${name}`));
    const times = (source) => used.get(sourceKey(name, ascent, source)) ?? 0;
    const source = free.toSorted((p, q) => times(p) - times(q))[0];
    idle = free.length ? 0 : idle + 1;
    if (!free.length) continue;
    taken.add(`${source} ${name}`);
    used.set(sourceKey(name, ascent, source), times(source) + 1);
    found.push({ class: name, source, round: Math.floor(k / classes.length), key: sourceKey(name, ascent, source), index: ascent.index[source] });
  }
  return found;
}

/** All trials in their order: {class, tiles, left, right, view, check, wanted, ...}, of which `kind` says what there is. */
function trialsOf() {
  const random = randomness(state.seed);
  const views = contenders();
  const chosen = places(KINDS[state.kind].trials, views, random);
  const even = state.kind === "which" ? chosen : chosen.slice(0, chosen.length - (chosen.length % 2));
  const pairs = shuffled(views.flatMap((one, k) => views.slice(k + 1).map((other) => [one, other])), random);
  const [order, flip] = [shuffled(views, random), random() < 0.5 ? 1 : 0];
  const rounds = DATA.classes.length % 2 ? 0 : 1; // an even number of classes would give a class one side always
  const trials = even.map((place, k) => {
    if (state.kind === "which") {
      const view = order[(k + place.round) % order.length];
      return { ...place, view, tiles: [endOf(view, place)], wanted: LETTERS[DATA.classes.indexOf(place.class)] };
    }
    const [one, other] = pairs[Math.floor(k / 2) % pairs.length];
    const swap = (k + rounds * place.round + flip) % 2;
    const [left, right] = swap ? [other, one] : [one, other];
    return { ...place, left, right, tiles: [left, right].map((view) => endOf(view, place)) };
  });
  return shuffled([...trials, ...checks(random)], random);
}

const endOf = (view, { class: name, source }) => tileOf(ascentOf(view, name), source, Infinity);

/** Trials with real pictures: two of different classes, or one whose class is asked. */
function checks(random) {
  const real = new Map();
  for (const ascent of DATA.ascents) {
    if (VIEWS[ascent.view].start !== "images") continue;
    ascent.label.forEach((label, source) => DATA.classes.includes(label) && real.set(ascent.index[source], { label, tile: sourceTile(ascent, source), index: ascent.index[source] }));
  }
  const pictures = shuffled(real.values(), random);
  const found = [];
  for (let k = 0; k < pictures.length && found.length < CHECKS; k++) {
    const other = pictures.find(({ label }) => label !== pictures[k].label);
    const common = { check: true, class: pictures[k].label, index: pictures[k].index, key: String(pictures[k].index) };
    if (state.kind === "which") found.push({ ...common, tiles: [pictures[k].tile], wanted: LETTERS[DATA.classes.indexOf(common.class)] });
    else if (other) {
      const tiles = found.length % 2 ? [pictures[k].tile, other.tile] : [other.tile, pictures[k].tile];
      found.push({ ...common, tiles, wanted: found.length % 2 ? "l" : "r" });
    }
  }
  return found;
}

/** What an answer stands for: the view preferred, or the class seen; null where the reader cannot tell. */
function meaning(trial, letter) {
  if (letter === "n" && state.kind !== "which") return null;
  if (state.kind !== "which") return letter === "l" ? trial.left : trial.right;
  return DATA.classes[LETTERS.indexOf(letter)] ?? null;
}

const legal = (kind, answers) => (kind === "which" ? [...answers].every((letter) => letter === "-" || LETTERS.slice(0, DATA.classes.length).includes(letter)) : /^[lrn]*$/.test(answers));

/** The kind and the two views in the address of a test that has begun: a number that tells nobody which views they are. */
function tokenOf({ kind, a, b, seed }) {
  const size = Object.keys(KINDS).length * RATED.length ** 2;
  const code = (Object.keys(KINDS).indexOf(kind) * RATED.length + a) * RATED.length + b;
  return ((code + Math.floor(randomness(seed ^ 0x5bd1e995)() * size)) % size).toString(36);
}

function readToken(token, seed) {
  const kinds = Object.keys(KINDS);
  for (const kind of kinds) {
    for (const a of RATED.keys()) for (const b of RATED.keys()) if (tokenOf({ kind, a, b, seed }) === token) return { kind, a, b };
  }
  return undefined;
}
