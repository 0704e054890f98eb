// The blind test: ends without the names of their views, and what the answers say.

const LEAST = 10; // decided answers below which nothing is decided
const ANSWERS = { l: "left", r: "right", n: "can't tell" };
const timing = { shown: 0, seconds: [] }; // of this visit: a link keeps answers, not how long they took
let rater = "";

function answer(letter) {
  if (state.mode !== "blind" || !state.started || hindrance()) return;
  const trials = trialsOf();
  if (state.answers.length >= trials.length || !legal(state.kind, letter)) return;
  timing.seconds[state.answers.length] = timing.shown ? (performance.now() - timing.shown) / 1000 : null;
  timing.shown = 0;
  show({ answers: state.answers + letter }, { keep: true });
}

function renderBlind() {
  const box = byId("blind");
  box.hidden = state.mode !== "blind";
  const trials = box.hidden || hindrance() ? [] : trialsOf();
  const done = Math.min(state.answers.length, trials.length);
  const running = state.started && done < trials.length;
  document.body.dataset.blind = box.hidden ? "" : running ? "running" : "resting";
  if (box.hidden) return box.replaceChildren();
  if (!state.started || !trials.length) return renderSetup(box);
  if (running) renderTrial(box, trials, done);
  else renderResult(box, trials);
}

const fill = (box, ...children) => box.replaceChildren(...children.filter(Boolean));

/** What is compared, by whom, and how; nothing of it shows once the test has begun. */
function renderSetup(box) {
  const why = hindrance();
  const focused = box.contains(document.activeElement) ? document.activeElement.id : "";
  const kinds = Object.entries(KINDS).map(([kind, { name }]) => el("label", {},
    el("input", { type: "radio", name: "kind", id: `kind-${kind}`, value: kind, checked: kind === state.kind, onchange: () => show({ kind, ...anew() }, { keep: true }) }), el("span", {}, name)));
  const begin = () => {
    timing.seconds = [];
    show({ ...anew(), started: true }, { keep: true });
    writeAddress(); // at once: it named the views
    byId("blind").querySelector(".question").focus();
  };
  const said = {
    two: "Ends of A and of B from one source, side by side. You say which looks more like the class.",
    all: "Ends of any two views from one source. Of many readers, it makes an order of all views (see below).",
    which: "One end at a time, of A or of B. You say which class it shows, as the judges do.",
  }[state.kind];
  const id = el("input", { id: "rater", type: "text", maxlength: 40, value: rater, autocomplete: "off", onchange: (event) => (rater = event.target.value.replace(/[^\w-]/g, "")) });
  fill(box,
    el("h2", { class: "question", tabindex: -1 }, "Blind test"),
    el("fieldset", { class: "field segments centre-block" }, el("legend", {}, "Question"), kinds),
    el("p", { class: "prose" }, `${said} Which view is which, and how you did, comes at the end. ${CHECKS} trials show real pictures, as a check.`),
    state.kind === "all" ? null : chooser(),
    el("p", {}, el("label", { for: "rater" }, "Your mark in the results (letters, digits, - and _; may be empty) "), id),
    why ? el("p", { class: "notice" }, `No blind test of these two: ${why}`) : null,
    el("p", {}, el("button", { type: "button", id: "begin", class: "main", disabled: Boolean(why), onclick: begin }, "Begin")),
    el("p", { class: "muted prose" }, `Several readers: gather their files (CSV) in raters/${DATA.experiment}/, and `, el("code", {}, `snakemake results/${DATA.experiment}/raters.md`), " puts them together, beside the judges."));
  if (focused) byId(focused)?.focus();
}

/** A and B: which two views are compared. Another choice starts anew. */
function chooser() {
  const select = (slot) => el("label", {}, slot === "a" ? "Compare" : "with", el("select", {
    "data-slot": slot, onchange: (event) => show({ [slot]: +event.target.value, ...anew() }, { keep: true }),
  }, RATED.map((view) => el("option", { value: view.number, selected: view.number === state[slot] }, view.name))));
  return el("div", { class: "pair" }, select("a"), select("b"));
}

function renderTrial(box, trials, done) {
  const trial = trials[done];
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.answer : null;
  const which = state.kind === "which";
  const button = (letter, text, key) => el("button", { type: "button", "data-answer": letter, onclick: () => answer(letter) }, text, key ? el("kbd", {}, key) : null);
  const pictures = trial.tiles.map((_, k) => el("canvas", { role: "img", id: which ? "blind-one" : `blind-${["left", "right"][k]}`, "aria-label": `${which ? "the" : ["left", "right"][k]} picture, unlabelled` }));
  fill(box,
    el("p", { class: "muted", "aria-live": "polite" }, `Trial ${done + 1} of ${trials.length}`),
    el("h1", { class: "question", tabindex: -1 }, KINDS[state.kind].question, ...(which ? [] : [" ", el("b", {}, quoted(trial.class)), "?"])),
    el("div", { class: "pair-of-pictures" }, pictures.map((picture, k) => el("figure", {}, picture, which ? null : button("lr"[k], `${["Left", "Right"][k]} `, String(k + 1))))),
    which ? el("div", { class: "answers" }, DATA.classes.map((name, k) => button(LETTERS[k], bare(name)))) : null,
    el("p", { class: "centre" }, which ? button("-", "Can’t tell") : button("n", "Can’t tell ", "3")),
    el("progress", { max: trials.length, value: done, "aria-label": "trials answered" }),
    el("p", { class: "centre" }, el("button", { type: "button", id: "stop", onclick: () => show(anew(), { keep: true }) }, "Stop")));
  if (focused) box.querySelector(`[data-answer="${focused}"]`)?.focus();
  box.style.setProperty("--side", `${clamp(8 * DATA.picture.width, 200, 368)}px`); // few large squares are hard to read
  Promise.all(trial.tiles.map((tile, k) => draw(pictures[k], tile))).then(() => (timing.shown = performance.now()));
}

/** Shares of a kind of answer by source: what intervals and the test are over. */
function bySource(rated, hit) {
  const groups = Map.groupBy(rated, ({ trial }) => trial.key);
  return [...groups.values()].map((some) => ({ hits: some.filter(hit).length, n: some.length }));
}

function renderResult(box, trials) {
  const rated = trials.map((trial, k) => ({ trial, letter: state.answers[k], said: trial.check ? null : meaning(trial, state.answers[k]) }));
  const real = rated.filter(({ trial }) => !trial.check);
  const [heading, table, text] = state.kind === "which" ? namedResult(real) : pairedResult(real);
  const seen = rated.filter(({ trial }) => trial.check);
  const right = seen.filter(({ trial, letter }) => letter === trial.wanted).length;
  const focused = box.contains(document.activeElement);
  box.replaceChildren(
    el("h2", { class: "question", tabindex: -1 }, heading), table,
    el("p", { class: "muted prose" }, `${text} Real pictures, as a check: ${right} of ${seen.length} right. ε = ${state.eps}, seed ${state.seed}. Of one reader, on pictures that may have been seen before.`),
    el("p", {}, el("button", { type: "button", id: "download", onclick: () => download(trials) }, "Download answers (CSV)"), " ",
      el("button", { type: "button", id: "again", onclick: () => show(anew(), { keep: true }) }, "Another test")),
    review(rated));
  if (focused) box.querySelector("h2").focus(); // the button is gone; the result is read out
}

/** The result of pairs: a row a view, sides, abstentions; and the verdict. */
function pairedResult(real) {
  const decided = real.filter(({ said }) => said !== null);
  const row = (name, id, cells) => el("tr", { "data-row": id }, el("th", { scope: "row" }, name), cells.map((text) => el("td", {}, text)));
  const rows = contenders().map((view) => {
    const own = decided.filter(({ trial }) => [trial.left, trial.right].includes(view));
    const clusters = bySource(own, ({ said }) => said === view);
    const n = own.filter(({ said }) => said === view).length;
    return { view, n, of: own.length, bounds: own.length ? clusteredInterval(clusters) : null };
  });
  const left = decided.filter(({ letter }) => letter === "l").length;
  const body = rows.map(({ view, n, of, bounds }) => row(RATED[view].name, RATED[view].key, [`${n} of ${of}`, of ? (n / of).toFixed(2) : "–", bounds ? interval(...bounds, 3) : "–"]));
  body.push(row("Left side", "left", [`${left} of ${decided.length}`, decided.length ? (left / decided.length).toFixed(2) : "–", decided.length ? `chance alone: p = ${probability(signFlip(decided.map(({ letter }) => (letter === "l" ? 1 : -1))))}` : ""]));
  body.push(row("Can’t tell", "n", [`${real.length - decided.length} of ${real.length}`, "", ""]));
  const sources = new Set(decided.map(({ trial }) => trial.key)).size;
  const text = `Shares are of the ${decided.length} decided answers; intervals (95 %, Clopper–Pearson) are of as many as answers on ${sources} sources are worth.`;
  const heading = state.kind === "all" ? `${decided.length} decided, ${real.length - decided.length} can’t tell: an order of all views takes several readers` : verdict(rows, decided, real.length);
  return [heading, tableOf("Result of the blind test", ["View", "Preferred", "Share", "95 % interval"], body, { id: "result" }), text];
}

/** Who is preferred, if anyone: by an exact test over sources, from LEAST decided answers on. */
function verdict([a, b], decided, count) {
  const abstained = count - decided.length ? `; ${count - decided.length} can’t tell` : "";
  const tally = (one, other) => `${one.n} to ${other.n}${abstained}`;
  if (!decided.length) return "Every time: can’t tell";
  const groups = Map.groupBy(decided, ({ trial }) => trial.key);
  const p = signFlip([...groups.values()].map((some) => sum(some.map(({ said }) => (said === a.view ? 1 : -1)))));
  const [more, less] = a.n >= b.n ? [a, b] : [b, a];
  if (decided.length < LEAST) return `Not decided: ${decided.length} of ${count} answers are too few, ${LEAST} at least (${tally(more, less)})`;
  const apart = more.bounds[0] > 0.5 && p < 0.05;
  return apart ? `${RATED[more.view].name}: preferred ${tally(more, less)} (p = ${probability(p)})` : `Not decided: ${tally(more, less)} (p = ${probability(p)}, over ${groups.size} sources)`;
}

/** The result of "which class?": a row a view, beside the judges on the same pictures. */
function namedResult(real) {
  const chance = 1 / DATA.classes.length;
  const body = contenders().map((view) => {
    const own = real.filter(({ trial }) => trial.view === view);
    const right = ({ trial, said }) => said === trial.class;
    const judged = DATA.judges.map(({ name }) => {
      const seen = own.map(({ trial }) => ({ wanted: trial.class, after: ascentOf(view, trial.class).measures?.[trial.source]?.judges[name]?.[1] }));
      const judging = seen.filter(({ after }) => after);
      return judging.length ? (judging.filter(({ wanted, after }) => after === wanted).length / judging.length).toFixed(2) : "–";
    });
    const n = own.filter(right).length;
    return el("tr", { "data-row": RATED[view].key }, el("th", { scope: "row" }, RATED[view].name),
      [`${n} of ${own.length}`, own.length ? (n / own.length).toFixed(2) : "–", own.length ? interval(...clusteredInterval(bySource(own, right)), 3) : "–", ...judged].map((text) => el("td", {}, text)));
  });
  const shares = contenders().map((view) => `${real.filter(({ trial, said }) => trial.view === view && said === trial.class).length} times of ${RATED[view].name}`);
  const head = ["View", "Class seen", "Share", "95 % interval", ...DATA.judges.map(({ label }) => `Judge: ${label}`)];
  const abstained = real.filter(({ said }) => said === null).length;
  return [`The class was seen ${shares.join(", ")}${abstained ? `; ${abstained} can’t tell` : ""}`, tableOf("Result of the blind test", head, body, { id: "result" }),
    `Chance is ${chance.toFixed(2)}; “can’t tell” counts as not seen. Intervals: 95 %, Clopper–Pearson, of as many answers as those on as many sources are worth. Judges: of the same pictures.`];
}

const probability = (p) => (p < 0.001 ? "< .001" : p.toFixed(3).replace(/^0/, ""));

/** Every trial, with links to its pictures and their captions. */
function review(rated) {
  const known = (view) => (view >= VIEWS.length ? DATA.foil.of : view);
  const items = rated.map(({ trial, letter, said }) => {
    if (trial.check) return el("li", {}, `${quoted(trial.class)}, real pictures: ${letter === trial.wanted ? "right" : "wrong"}.`);
    const [a, b] = state.kind === "which" ? [trial.view, trial.view] : [trial.left, trial.right];
    const ascent = ascentOf(a, trial.class);
    const address = addressOf({ ...state, a: known(a), b: known(b), class: trial.class, source: trial.source, step: ascent.steps, mode: "side" });
    const names = state.kind === "which" ? `: ${RATED[a].name}. Answer: ${said === null ? "can't tell" : quoted(said)}.` : `: left ${RATED[a].name}; right ${RATED[b].name}. Answer: ${ANSWERS[letter]}.`;
    return el("li", {}, el("a", { href: address }, `${quoted(trial.class)} from ${sourceName(ascent, trial.source)}`), names);
  });
  return el("details", {}, el("summary", {}, "All trials, with their pictures"), el("ol", {}, items));
}

function csvOf(trials) {
  const field = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const head = ["experiment", "config", "pictures", "rater", "question", "seed", "epsilon", "trial", "check", "class", "source", "left", "right", "answer", "seconds"];
  const rows = trials.map((trial, k) => {
    const letter = state.answers[k];
    const [left, right] = trial.check ? ["", ""] : state.kind === "which" ? [RATED[trial.view].key, ""] : [RATED[trial.left].key, RATED[trial.right].key];
    const said = state.kind === "which" ? DATA.classes[LETTERS.indexOf(letter)] ?? ANSWERS.n : ANSWERS[letter];
    const check = trial.check ? (letter === trial.wanted ? "right" : "wrong") : "";
    const seconds = timing.seconds[k] ? timing.seconds[k].toFixed(2) : "";
    return [DATA.experiment, DATA.config, DATA.pictures, rater || `reader-${state.seed}`, state.kind, state.seed, state.eps, k + 1, check, trial.class, trial.key, left, right, said, seconds];
  });
  return [head, ...rows].map((row) => `${row.map(field).join(",")}\n`).join("");
}

function download(trials) {
  const url = URL.createObjectURL(new Blob([csvOf(trials)], { type: "text/csv" }));
  el("a", { href: url, download: `blind-test-${DATA.experiment}-${rater || state.seed}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
