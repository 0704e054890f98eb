// What is left: source and grid, keys, theme, history; then everything is put together.

/** The source of A (or of B where A has none), and the others to choose from. */
function renderSource() {
  const ascents = slots.map((slot) => ascentOf(state[slot]));
  const ascent = ascents.find(Boolean);
  const canvas = byId("canvas-source");
  draw(canvas, ascent && sourceTile(ascent, sourceIn(ascent)), state).then(magnify);
  const differ = ascents.every(Boolean) && ascents[0].source_sheet !== ascents[1].source_sheet;
  const name = ascent ? sourceName(ascent, sourceIn(ascent)) : "none";
  canvas.setAttribute("aria-label", `Source: ${name}`);
  const whose = differ ? "A starts from this one; B from a source of its own, shown at step 0. " : "";
  byId("source-name").replaceChildren(el("span", {}, "Source"), el("span", { class: "muted" }, name));
  byId("caption-source").replaceChildren(
    el("p", { class: "provenance" }, `${whose}Step 0 of the ascents, as the models get it. Config ${DATA.config}.`));
  const count = ascent ? ascent.index.length : 0;
  const box = byId("sources");
  while (box.children.length > count) box.lastChild.remove();
  for (let k = box.children.length; k < count; k++) {
    box.append(el("button", { type: "button", onclick: () => show({ source: k }) }, el("canvas", { role: "img" })));
  }
  [...box.children].forEach((button, k) => {
    button.setAttribute("aria-pressed", String(k === state.source));
    button.title = sourceName(ascent, k);
    button.firstChild.setAttribute("aria-label", sourceName(ascent, k));
    draw(button.firstChild, sourceTile(ascent, k));
  });
}

const COLUMNS = 20; // classes in the grid, at most
let gridded = "";

/** The ends of A and B from the first sources towards classes: those found by name, or those around the chosen one. */
function renderGrid() {
  const grid = byId("grid");
  const rows = Math.min(DATA.rows, sourceCount());
  const wanted = byId("find").value.trim().toLowerCase();
  const found = DATA.classes.filter((name) => name.toLowerCase().includes(wanted));
  const first = wanted ? 0 : COLUMNS * Math.floor(DATA.classes.indexOf(state.class) / COLUMNS);
  const classes = found.slice(first, first + COLUMNS);
  if (gridded !== JSON.stringify([rows, classes])) {
    gridded = JSON.stringify([rows, classes]);
    grid.style.setProperty("--n", Math.max(1, classes.length));
    const cell = (name, source) => el("a", { "data-class": name, "data-source": source }, slots.map((slot) => el("canvas", { role: "img", class: slot })));
    grid.replaceChildren(el("span", {}), ...classes.map((name) => el("span", { title: bare(name) }, bare(name))),
      ...Array.from({ length: rows }, (_, source) => [el("span", { class: "row" }, el("span", { class: "hidden" }, "source "), String(source + 1)), ...classes.map((name) => cell(name, source))]).flat());
  }
  for (const link of grid.querySelectorAll("a")) {
    const [name, source] = [link.dataset.class, +link.dataset.source];
    const ascents = slots.map((slot) => ascentOf(state[slot], name));
    const current = name === state.class && source === state.source;
    link.href = addressOf({ ...state, class: name, source });
    link.ariaCurrent = current ? "true" : null;
    link.setAttribute("aria-label", `${quoted(name)} from source ${source + 1}`);
    slots.forEach((slot, k) => {
      const ascent = ascents[k];
      link.children[k].setAttribute("aria-label", `${slot.toUpperCase()}${ascent ? "" : ": no picture"}`);
      draw(link.children[k], ascent && endTile(ascent, Math.min(source, ascent.index.length - 1)));
    });
  }
  const some = classes.length < DATA.classes.length ? `${classes.length} of ${DATA.classes.length} classes` : "every class";
  byId("grid-note").textContent = `Ends of the ascents towards ${some} (columns), from the first ${rows} sources (rows): A above, B below; ε = ${state.eps}. Choose one to see it large.`;
}

const HOLD = 400; // milliseconds: a key held longer puts the loupe away when it is let go
let pressed = 0;
const keys = {
  l: () => {
    pressed = performance.now();
    turnLoupe();
  },
  ArrowLeft: () => turnStep(-1),
  ArrowRight: () => turnStep(1),
  ArrowUp: () => turnSource(-1),
  ArrowDown: () => turnSource(1),
  "[": () => turnClass(-1),
  "]": () => turnClass(1),
  " ": () => (state.mode === "flicker" ? holdFlicker(!held) : togglePlay()),
  f: () => setMode(state.mode === "flicker" ? "side" : "flicker"),
  "+": () => zoomBy(2),
  "=": () => zoomBy(2),
  "-": () => zoomBy(0.5),
  0: () => show({ zoom: 1 }, { keep: true }),
};
const blindKeys = Object.fromEntries([..."lrn"].map((letter, k) => [k + 1, () => state.kind !== "which" && answer(letter)]));
const everywhere = { b: () => setMode(state.mode === "blind" ? "side" : "blind"), "?": () => byId("keys").showModal() };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open || (event.key === "l" && event.repeat)) return;
  const at = event.target;
  const arrows = event.key.startsWith("Arrow");
  if (at.matches("select, textarea, input:not([type=range], [type=radio])")) return;
  if (arrows && at.matches("input")) return; // a slider and radio buttons have arrows of their own
  if (event.key === " " && at.matches("button, a, summary, input")) return;
  const look = byId("look").getBoundingClientRect();
  if (arrows && (look.bottom < 80 || look.top > innerHeight - 80)) return; // out of sight: arrows scroll
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const act = (event.shiftKey && way && state.mode !== "blind" ? () => nudge(...way) : null) ?? everywhere[event.key] ?? (state.mode === "blind" ? blindKeys : keys)[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  document.documentElement.style.colorScheme = theme === "system" ? "" : theme;
  byId("theme").textContent = `Theme: ${theme}`;
  byId("theme").dataset.theme = theme;
}

/** Show what the address says. */
function restore() {
  waiting.address = null;
  const { read, unknown } = readAddress(location.hash);
  Object.assign(state, read);
  if (read.answers && (hindrance() || read.answers.length > trialsOf().length || !legal(read.kind, read.answers))) {
    unknown.push("answers that are none of this test");
    read.answers = "";
  }
  const lacking = `This link names what this page does not have: ${unknown.join(", ")}.`;
  const said = unknown.length ? `${lacking} Shown instead is what the page opens with.` : "";
  Object.assign(byId("notice"), { hidden: !said, textContent: said });
  stopPlaying();
  show(read, { keep: true });
}

/** Tell readers of the screen what changed, once it has settled. */
let telling = null;
function tell() {
  clearTimeout(telling);
  if (playing || state.mode === "blind") return;
  telling = setTimeout(() => {
    const chances = slots.map((slot) => {
      const ascent = ascentOf(state[slot]);
      return `${slot.toUpperCase()}: p_t ${ascent ? chance(pAt(ascent, sourceIn(ascent), state.step)) : "no picture"}`;
    });
    byId("spoken").textContent = `Class ${bare(state.class)}, ε = ${state.eps}, source ${state.source + 1}, step ${state.step}. ${chances.join(". ")}.`;
  }, 400);
}

byId("look").hidden = false; // it is hidden where no script runs
buildStage();
listeners.push(renderStage, renderMarks, renderBlind, tell);
byId("find-field").hidden = DATA.classes.length <= COLUMNS;
byId("find").addEventListener("input", renderGrid);
setTheme("system");
byId("theme").addEventListener("click", () => setTheme(around(THEMES, byId("theme").dataset.theme, 1)));
byId("help").addEventListener("click", everywhere["?"]);
addEventListener("keydown", onKey);
addEventListener("keyup", ({ key }) => key === "l" && glass && performance.now() - pressed > HOLD && turnLoupe());
addEventListener("hashchange", restore);
addEventListener("pagehide", writeAddress);
restore();
