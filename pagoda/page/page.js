// What is left: source and strip, keys, theme, history; then everything is put together.

/** The source of A (or of B where A has none), and the others to choose from. */
function renderSource() {
  const ascents = slots.map((slot) => ascentOf(state[slot]));
  const ascent = ascents.find(Boolean);
  const canvas = byId("canvas-source");
  draw(canvas, ascent && sourceTile(ascent, sourceIn(ascent)), state);
  const differ = ascents.every(Boolean) && ascents[0].source_sheet !== ascents[1].source_sheet;
  const name = ascent ? sourceName(ascent, sourceIn(ascent)) : "none";
  canvas.setAttribute("aria-label", `Source: ${name}`);
  const whose = differ ? "A starts from this one; B from a source of its own, shown at step 0. " : "";
  byId("source-name").replaceChildren(el("span", {}, "Source"), el("span", { class: "muted" }, name));
  byId("caption-source").replaceChildren(
    el("p", {}, `Source: ${name}. ${whose}`),
    el("p", { class: "provenance" }, `Step 0 of the ascents, as the models get it. Config ${DATA.config}.`));
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

/** The end of A and B towards every class: an overview, and a way to choose. */
function renderStrip() {
  const strip = byId("strip");
  if (!strip.children.length) {
    strip.style.setProperty("--n", DATA.classes.length);
    for (const name of DATA.classes) {
      const attributes = { type: "button", title: bare(name), "aria-label": `class ${bare(name)}` };
      strip.append(el("button", { ...attributes, onclick: () => show({ class: name }) },
        slots.map((slot) => el("canvas", { role: "img", class: slot })), el("span", {}, bare(name))));
    }
  }
  DATA.classes.forEach((name, number) => {
    const button = strip.children[number];
    button.setAttribute("aria-pressed", String(name === state.class));
    slots.forEach((slot, k) => {
      const ascent = ascentOf(state[slot], name);
      const said = `${slot.toUpperCase()}, towards ${quoted(name)}${ascent ? "" : ": no picture"}`;
      button.children[k].setAttribute("aria-label", said);
      draw(button.children[k], ascent && tileOf(ascent, sourceIn(ascent), Infinity));
    });
  });
  byId("strip-note").textContent = `Ends of the ascents from source ${state.source + 1} of ${sourceCount()} towards every class: A above, B below; ε = ${state.eps}.`;
}

const keys = {
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
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const at = event.target;
  const arrows = event.key.startsWith("Arrow");
  if (at.matches("select, textarea, input:not([type=range], [type=radio])")) return;
  if (arrows && at.matches("input")) return; // a slider and radio buttons have arrows of their own
  if (event.key === " " && at.matches("button, a, summary, input")) return;
  const look = byId("look").getBoundingClientRect();
  if (arrows && (look.bottom < 80 || look.top > innerHeight - 80)) return; // out of sight: arrows scroll
  const act = everywhere[event.key] ?? (state.mode === "blind" ? blindKeys : keys)[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  document.documentElement.style.colorScheme = theme === "system" ? "" : theme;
  byId("theme").textContent = `Theme: ${theme}`;
  byId("theme").dataset.theme = theme;
  try {
    localStorage.setItem("pagoda-theme", theme);
  } catch {} // some browsers keep nothing for files
}

function storedTheme() {
  try {
    const theme = localStorage.getItem("pagoda-theme");
    return THEMES.includes(theme) ? theme : "system";
  } catch {
    return "system";
  }
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
listeners.push(renderStage, renderSummary, renderCurves, renderBlind, tell);
new ResizeObserver(renderCurves).observe(byId("curves"));
setTheme(storedTheme());
byId("theme").addEventListener("click", () => setTheme(around(THEMES, byId("theme").dataset.theme, 1)));
byId("help").addEventListener("click", everywhere["?"]);
addEventListener("keydown", onKey);
addEventListener("hashchange", restore);
addEventListener("pagehide", writeAddress);
restore();
