// The blind test: ends of A and B without their names, in an order that the seed decides.

const ANSWERS = { l: "left", r: "right", n: "can't tell" };

/** No answers, and another order. */
const anew = () => ({ answers: "", seed: crypto.getRandomValues(new Uint32Array(1))[0] % 1e6 });

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

/** Why A and B cannot be compared blind; empty where they can. */
function hindrance() {
  const [a, b] = slots.map((slot) => VIEWS[state[slot]]);
  if (a === b) return "A and B are the same view.";
  if (a.start !== b.start) return `A starts from ${a.start}, B from ${b.start}: their pictures have no source in common.`;
  const lacking = [a, b].filter((view) => !radiiOf(view.number).includes(state.eps));
  return lacking.map((view) => `There is no ascent of ${view.name} at ε = ${state.eps}.`).join(" ");
}

/** Up to TRIALS pairs of class and source, none twice, each with the view that stands left. */
function trialsOf() {
  const random = randomness(state.seed);
  const pairs = DATA.classes.flatMap((name) => {
    const counts = slots.map((slot) => ascentOf(state[slot], name).index.length);
    return Array.from({ length: Math.min(...counts) }, (_, source) => ({ class: name, source }));
  });
  for (let k = pairs.length - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [pairs[k], pairs[other]] = [pairs[other], pairs[k]];
  }
  return pairs.slice(0, TRIALS).map((pair) => {
    const order = random() < 0.5 ? [state.a, state.b] : [state.b, state.a];
    return { ...pair, left: order[0], right: order[1] };
  });
}

/** Wilson's interval for a proportion, 95 % (Wilson 1927, J. Am. Stat. Assoc. 22). */
function wilson(successes, n) {
  const z = 1.959963984540054;
  const share = successes / n;
  const centre = (share + z ** 2 / (2 * n)) / (1 + z ** 2 / n);
  const half = (z / (1 + z ** 2 / n)) * Math.sqrt((share * (1 - share)) / n + z ** 2 / (4 * n ** 2));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

function answer(letter) {
  if (state.mode !== "blind" || hindrance() || state.answers.length >= trialsOf().length) return;
  show({ answers: state.answers + letter });
}

function renderBlind() {
  const box = byId("blind");
  box.hidden = state.mode !== "blind";
  if (box.hidden) return box.replaceChildren();
  const why = hindrance();
  if (why) return box.replaceChildren(el("p", { class: "notice" }, `No blind test of these two: ${why}`), chooser());
  const trials = trialsOf();
  const done = Math.min(state.answers.length, trials.length);
  if (done < trials.length) renderTrial(box, trials[done], done, trials.length);
  else renderResult(box, trials);
}

/** A and B: which two views are compared. Another choice starts anew. */
function chooser() {
  const select = (slot) => el("label", {}, slot === "a" ? "Compare" : "with", el("select", {
    "data-slot": slot, onchange: (event) => show({ [slot]: +event.target.value, answers: "" }),
  }, VIEWS.map((view) => el("option", { value: view.number, selected: view.number === state[slot] }, view.name))));
  return el("div", { class: "pair" }, select("a"), select("b"));
}

function renderTrial(box, trial, done, count) {
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.answer : null;
  const canvas = (side) => el("canvas", { role: "img", id: `blind-${side}`, "aria-label": `${side} picture, unlabelled` });
  const button = (letter, key, text) => el("button", { type: "button", "data-answer": letter, onclick: () => answer(letter) }, text, " ", el("kbd", {}, key));
  const pictures = ["left", "right"].map(canvas);
  box.replaceChildren(
    el("p", { class: "muted", "aria-live": "polite" }, `Trial ${done + 1} of ${count} · ε = ${state.eps} · order by seed `, el("code", { id: "seed" }, String(state.seed))),
    el("h2", { class: "question" }, "Which looks more like ", el("b", {}, quoted(trial.class)), "?"),
    el("div", { class: "pair-of-pictures" }, pictures.map((picture, k) => el("figure", {}, picture, button("lr"[k], k + 1, ["Left", "Right"][k])))),
    el("p", { class: "centre" }, button("n", 3, "Can’t tell")),
    el("progress", { max: count, value: done, "aria-label": "trials answered" }),
    el("p", { class: "muted prose" }, `Both started from the same source. One is of A, the other of B; which is which comes at the end. Config ${DATA.config}.`),
    done ? null : chooser());
  if (focused) box.querySelector(`[data-answer=${focused}]`)?.focus();
  box.style.setProperty("--side", `${clamp(8 * DATA.picture.width, 200, 368)}px`); // few large squares are hard to read
  [trial.left, trial.right].forEach((view, k) => draw(pictures[k], tileOf(ascentOf(view, trial.class), trial.source, Infinity)));
}

function renderResult(box, trials) {
  const chosen = trials.map((trial, k) => ({ l: trial.left, r: trial.right })[state.answers[k]] ?? null);
  const count = (view) => chosen.filter((each) => each === view).length;
  const counts = slots.map((slot) => ({ slot, view: VIEWS[state[slot]], n: count(state[slot]) }));
  const decided = counts[0].n + counts[1].n;
  const rows = counts.map(({ slot, view, n }) => el("tr", { "data-slot": slot },
    el("th", { scope: "row" }, el("b", { class: `badge ${slot}` }, slot.toUpperCase()), ` ${view.name}`),
    [n, decided ? (n / decided).toFixed(2) : "–", decided ? interval(...wilson(n, decided), 3) : "–"].map((text) => el("td", {}, text))));
  rows.push(el("tr", { "data-slot": "n" }, el("th", { scope: "row" }, "Can’t tell"), [trials.length - decided, "", ""].map((text) => el("td", {}, text))));
  const focused = box.contains(document.activeElement);
  box.replaceChildren(
    el("h2", { class: "question", tabindex: -1 }, verdict(counts, decided)),
    tableOf("Result of the blind test", ["View", "Preferred", "Share", "95 % interval"], rows, { id: "result" }),
    el("p", { class: "muted prose" }, `${trials.length} trials at ε = ${state.eps}, seed ${state.seed}. Shares and Wilson’s binomial intervals are of the ${decided} decided answers: of one reader, on pictures that may have been seen before.`),
    el("p", {}, el("button", { type: "button", id: "download", onclick: () => download(trials) }, "Download answers (CSV)"), " ",
      el("button", { type: "button", id: "again", onclick: () => show(anew()) }, "Another test")),
    review(trials), chooser());
  if (focused) box.querySelector("h2").focus(); // the button is gone; the result is read out
}

/** Every trial, with links to its pictures and their captions. */
function review(trials) {
  const items = trials.map((trial, k) => {
    const pair = addressOf({ ...state, class: trial.class, source: trial.source, step: ascentOf(trial.left, trial.class).steps, mode: "side" });
    return el("li", {}, el("a", { href: pair }, `${quoted(trial.class)} from ${sourceName(ascentOf(trial.left, trial.class), trial.source)}`),
      `: left ${VIEWS[trial.left].name}; right ${VIEWS[trial.right].name}. Answer: ${ANSWERS[state.answers[k]]}.`);
  });
  return el("details", {}, el("summary", {}, "All trials, with their pictures"), el("ol", {}, items));
}

function verdict(counts, decided) {
  if (!decided) return "Every time: can’t tell";
  const [more, less] = counts.toSorted((p, q) => q.n - p.n);
  return wilson(more.n, decided)[0] > 0.5
    ? `${more.view.name}: preferred ${more.n} to ${less.n}`
    : `${more.n} to ${less.n}: no clear preference, one half lies in the interval`;
}

function csvOf(trials) {
  const field = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const head = ["trial", "class", "source", "left view", "right view", "answer", "preferred view", "epsilon", "seed", "config hash"];
  const rows = trials.map((trial, k) => {
    const [left, right] = [VIEWS[trial.left].name, VIEWS[trial.right].name];
    const preferred = { l: left, r: right }[state.answers[k]] ?? "";
    const index = ascentOf(trial.left, trial.class).index[trial.source];
    return [k + 1, trial.class, index, left, right, ANSWERS[state.answers[k]], preferred, state.eps, state.seed, DATA.config];
  });
  return [head, ...rows].map((row) => `${row.map(field).join(",")}\n`).join("");
}

function download(trials) {
  const url = URL.createObjectURL(new Blob([csvOf(trials)], { type: "text/csv" }));
  el("a", { href: url, download: `blind-test-${DATA.experiment}-${state.seed}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
