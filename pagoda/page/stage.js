// The stage: source, A and B, their controls, the change shown, zoom, loupe and play.

const slots = ["a", "b"];
let playing = null;
let flickering = null;
let held = false; // the flicker stands still
let swapped = false; // while flickering: B is in the place of A
let glass = null; // where the loupe is, as fractions of a frame; none while it is put away
const POWER = 3; // of the loupe

function buildStage() {
  const choose = byId("class");
  choose.append(...DATA.classes.map((name, number) => el("option", { value: number }, bare(name))));
  choose.addEventListener("change", () => show({ class: DATA.classes[choose.value] }));
  byId("class-before").addEventListener("click", () => turnClass(-1));
  byId("class-after").addEventListener("click", () => turnClass(1));
  byId("epsilon").append(...RADII.map((epsilon) => el("label", {},
    el("input", { type: "radio", name: "epsilon", value: epsilon, onchange: () => show({ eps: epsilon }) }),
    el("span", {}, String(epsilon)))));
  byId("mode").addEventListener("change", (event) => setMode(event.target.value));
  byId("shown").addEventListener("change", (event) => show({ shown: event.target.value }, { keep: true }));
  for (const slot of slots) {
    const select = byId(slot);
    select.append(...VIEWS.map((view) => el("option", { value: view.number }, view.name)));
    select.addEventListener("change", () => show({ [slot]: +select.value }));
    listenToPicture(byId(`canvas-${slot}`).parentElement);
  }
  byId("swap").addEventListener("click", swap);
  byId("still").addEventListener("click", () => holdFlicker(!held));
  byId("step").addEventListener("input", (event) => show({ step: stepsShown()[event.target.value] }, { keep: true }));
  byId("play").addEventListener("click", togglePlay);
  byId("zoom-in").addEventListener("click", () => zoomBy(2));
  byId("zoom-out").addEventListener("click", () => zoomBy(0.5));
  byId("zoom-reset").addEventListener("click", () => show({ zoom: 1 }, { keep: true }));
  byId("loupe").addEventListener("click", turnLoupe);
  for (const frame of document.querySelectorAll("#stage .frame")) {
    frame.addEventListener("pointermove", ({ clientX, clientY }) => {
      const box = frame.getBoundingClientRect();
      if (glass) moveLoupe((clientX - box.left) / box.width, (clientY - box.top) / box.height);
    });
  }
  addEventListener("resize", () => renderStage());
  document.documentElement.style.setProperty("--ratio", DATA.picture.width / DATA.picture.height);
}

const around = (values, value, by) => values[turned(values.indexOf(value) + by, values.length)];
const turnClass = (by) => show({ class: around(DATA.classes, state.class, by) });
const turnSource = (by) => show({ source: turned(state.source + by, sourceCount()) });

function turnStep(by) {
  const steps = stepsShown();
  show({ step: steps[clamp(steps.indexOf(state.step) + by, 0, steps.length - 1)] }, { keep: true });
}

function setMode(mode) {
  stopPlaying();
  if (mode === "flicker" && state.mode !== mode) holdFlicker(matchMedia("(prefers-reduced-motion: reduce)").matches);
  show({ mode, ...(mode === "blind" && state.mode !== "blind" && { kind: "two", ...anew() }) });
}

function togglePlay() {
  if (playing) return stopPlaying();
  if (state.step === stepsShown().at(-1)) show({ step: 0 }, { keep: true });
  byId("play").setAttribute("aria-pressed", "true");
  byId("play").replaceChildren("❚❚ ", el("span", {}, "Pause"));
  playing = setInterval(() => {
    if (state.step === stepsShown().at(-1)) stopPlaying();
    else turnStep(1);
  }, 350);
}

function stopPlaying() {
  clearInterval(playing);
  playing = null;
  byId("play").setAttribute("aria-pressed", "false");
  byId("play").replaceChildren("▶ ", el("span", {}, "Play"));
}

function turnLoupe() {
  glass = glass ? null : { x: 0.5, y: 0.5 };
  byId("loupe").setAttribute("aria-pressed", String(glass !== null));
  byId("stage").classList.toggle("loupe", glass !== null);
  magnify();
}

function moveLoupe(x, y) {
  glass = { x: clamp(x, 0, 1), y: clamp(y, 0, 1) };
  magnify();
}

/** Show one place of the source, of A and of B, larger. */
function magnify() {
  for (const frame of document.querySelectorAll("#stage .frame")) {
    const [canvas, lens] = frame.querySelectorAll("canvas");
    lens.hidden = !glass || !canvas.drawn;
    if (lens.hidden) continue;
    lens.width = lens.height = lens.clientWidth * (window.devicePixelRatio || 1);
    Object.assign(lens.style, { left: `${100 * glass.x}%`, top: `${100 * glass.y}%`, filter: canvas.style.filter });
    const side = (canvas.width * lens.clientWidth) / (frame.clientWidth * POWER);
    const context = lens.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, glass.x * canvas.width - side / 2, glass.y * canvas.height - side / 2, side, side, 0, 0, lens.width, lens.height);
  }
}

/** By keys: move the loupe, or what is seen of the pictures. */
function nudge(x, y) {
  if (glass) moveLoupe(glass.x + 0.05 * x, glass.y + 0.05 * y);
  else show({ x: state.x + (0.2 * x) / state.zoom, y: state.y + (0.2 * y) / state.zoom }, { keep: true });
}

const zoomBy = (factor) => show({ zoom: state.zoom * factor }, { keep: true });

/** Drag, pinch and Ctrl + wheel on one picture move both; a click swaps A and B while they flicker. */
function listenToPicture(frame) {
  const fingers = new Map();
  let moved = false;
  const spread = () => {
    const [p, q] = [...fingers.values()];
    return Math.hypot(p.clientX - q.clientX, p.clientY - q.clientY);
  };
  frame.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    moved = false;
    if (state.zoom > 1) frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, event);
    if (before) return zoomBy(spread() / before);
    const across = frame.clientWidth * state.zoom;
    const [dx, dy] = [event.clientX - last.clientX, event.clientY - last.clientY];
    moved ||= Math.abs(dx) + Math.abs(dy) > 2;
    const down = (across * DATA.picture.height) / DATA.picture.width;
    if (state.zoom > 1) show({ x: state.x - dx / across, y: state.y - dy / down }, { keep: true });
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    frame.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  frame.addEventListener("click", () => state.mode === "flicker" && !moved && swap());
  frame.addEventListener("keydown", (event) => event.key === "Enter" && state.mode === "flicker" && swap());
  frame.addEventListener("dblclick", () => state.mode !== "flicker" && zoomBy(state.zoom < MAX_ZOOM ? 2 : 1 / MAX_ZOOM));
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8);
  }, { passive: false });
}

function swap() {
  swapped = !swapped;
  renderPictures();
}

function holdFlicker(hold) {
  held = hold;
  byId("still").setAttribute("aria-pressed", String(held));
  byId("still").textContent = held ? "Go on" : "Pause";
  flickerOrNot();
}

function flickerOrNot() {
  if (state.mode !== "flicker" || held) {
    clearInterval(flickering);
    flickering = null;
    if (state.mode !== "flicker") swapped = false;
  } else flickering ??= setInterval(swap, 600);
}

function renderStage() {
  for (const slot of slots) document.documentElement.style.setProperty(`--view-${slot}`, RATED[state[slot]].colour ?? "#777777");
  for (const id of ["overview", "stage", "shown"]) byId(id).hidden = state.mode === "blind";
  byId("look").dataset.mode = state.mode;
  byId("class").value = DATA.classes.indexOf(state.class);
  for (const slot of slots) byId(slot).value = state[slot];
  for (const name of ["mode", "shown"]) for (const input of document.querySelectorAll(`[name=${name}]`)) input.checked = input.value === state[name];
  for (const input of document.querySelectorAll("[name=epsilon]")) {
    const has = slots.filter((slot) => radiiOf(state[slot]).includes(+input.value));
    input.checked = +input.value === state.eps;
    const note = has.length === 2 ? "" : has.length ? ` (${has[0].toUpperCase()} alone)` : " (neither)";
    input.nextElementSibling.textContent = input.value + note;
  }
  flickerOrNot();
  if (state.mode === "blind") return;
  const steps = stepsShown();
  Object.assign(byId("step"), { max: steps.length - 1, value: steps.indexOf(state.step) });
  byId("step").setAttribute("aria-valuetext", `step ${state.step} of ${steps.at(-1)}`);
  byId("step-out").textContent = `step ${state.step} / ${steps.at(-1)}`;
  byId("zoom-value").textContent = `${+state.zoom.toFixed(1)}×`;
  renderPictures();
  renderScale();
  renderSource();
  renderGrid();
}

/** A and B with all that is said of them. While they flicker, either may stand in the place of A. */
function renderPictures() {
  for (const slot of slots) {
    const shown = swapped && slot === "a" ? "b" : slot;
    renderFrame(byId(`canvas-${slot}`), shown);
    const [ascent, standing] = [ascentOf(state[slot]), ascentOf(state[shown])];
    byId(`path-${slot}`).replaceChildren(...(standing ? pathOf(standing, sourceIn(standing), state.step) : []));
    byId(`caption-${slot}`).replaceChildren(...(ascent ? caption(slot, ascent, sourceIn(ascent)) : []));
  }
}

function renderFrame(canvas, slot) {
  const [view, frame] = [VIEWS[state[slot]], canvas.parentElement];
  const ascent = ascentOf(view.number);
  const badge = { hidden: state.mode !== "flicker", textContent: slot.toUpperCase(), className: `badge now ${slot}` };
  Object.assign(frame.querySelector(".badge"), badge);
  frame.className = `frame ${slot}${state.zoom > 1 ? " movable" : ""}`;
  renderNothing(frame.querySelector(".nothing"), view, ascent);
  const tile = state.shown === "gradient" ? gradientTile : tileOf;
  const from = ascent && state.shown === "change" ? sourceTile(ascent, sourceIn(ascent)) : null;
  draw(canvas, ascent && tile(ascent, sourceIn(ascent), state.step), { ...state, from }).then(magnify);
  canvas.style.filter = ascent && state.shown !== "picture" ? `url(#mean) contrast(${contrastOf(ascent)}) url(#signed)` : "";
  canvas.setAttribute("aria-label", ascent
    ? `${view.name}: towards class ${quoted(state.class)} from ${sourceName(ascent, sourceIn(ascent))}, step ${state.step}`
    : `no picture: ${view.name} at ε = ${state.eps}`);
}

function renderNothing(nothing, view, ascent) {
  nothing.hidden = Boolean(ascent);
  if (ascent) return;
  const radii = radiiOf(view.number);
  nothing.replaceChildren(
    el("span", {}, `No ascent of ${view.name} at ε = ${state.eps}. There is one at`),
    el("span", {}, radii.map((epsilon) => el("button", { type: "button", onclick: () => show({ eps: epsilon }) }, `ε = ${epsilon}`))));
}

const DEVIATIONS = 3; // root mean squares that the signed scale reaches to

/** The change that has the last colour: DEVIATIONS times the root mean square of a change of the length ε, at most 1. */
const reachOf = (ascent) => Math.min(1, DEVIATIONS * ascent.rms);

/** How much further than in their sheets signed values are from mid-grey: one for all steps, and for views of one ε. */
const contrastOf = (ascent) => (state.shown === "change" ? 1 / reachOf(ascent) : 128 / (DEVIATIONS * DATA.rms));

/** What is shown instead of the picture, and what its colours mean. */
function renderScale() {
  const ascent = slots.map((slot) => ascentOf(state[slot])).find(Boolean);
  byId("scale").hidden = state.shown === "picture" || !ascent;
  if (byId("scale").hidden) return;
  const reach = state.shown === "change" ? reachOf(ascent).toFixed(2) : DEVIATIONS;
  const texts = state.shown === "change"
    ? [`Change from the source to step ${state.step}, mean over colours, one scale for A and B:`, `−${reach}`, `+${reach}`, ""]
    : [`Gradient of log p̄ₜ at step ${state.step}, mean over colours, in root mean squares of its values:`, `−${reach}`, `+${reach}`,
      "Every step is of one length, however long its gradient."];
  byId("scale").querySelectorAll("span").forEach((span, k) => (span.textContent = texts[k]));
}

/** Measures of the end, then all that decides the picture. */
function caption(slot, ascent, source) {
  return [
    el("p", {}, el("b", { class: `badge ${slot}` }, slot.toUpperCase()), ` ${VIEWS[ascent.view].name}. At the end:`),
    el("dl", {}, measuresOf(ascent, source).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    el("p", { class: "provenance" }, provenance(ascent, source, state.step)),
  ];
}
