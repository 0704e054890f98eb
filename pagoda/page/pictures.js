// Pictures out of sheets, drawn on canvases pixel by pixel, and what is said of them.

const KEPT = 200; // sheets, at most: of a thousand classes not all fit into memory
const sheets = new Map();
const workbench = document.createElement("canvas");

/** The image of a sheet, decoded when first asked for. */
function sheetOf(number) {
  if (!sheets.has(number)) {
    const image = new Image();
    image.src = DATA.sheets[number];
    const lost = () => {
      const said = `${DATA.sheets[number].slice(0, 40)} is not to be read: the folder “sheets” belongs beside this page.`;
      Object.assign(byId("notice"), { hidden: false, textContent: said });
      return image;
    };
    sheets.set(number, image.decode().then(() => image, lost));
    if (sheets.size > KEPT) sheets.delete(sheets.keys().next().value);
  }
  return sheets.get(number);
}

/** Which of an ascent's frames is that of a step (0: its source). */
const frameAt = (ascent, step) => ascent.frame_steps.indexOf(nearest(ascent.frame_steps, Math.min(step, ascent.steps)));

/** Where the picture of an ascent stands at a step. */
function tileOf(ascent, source, step) {
  const number = frameAt(ascent, step);
  return number === 0
    ? sourceTile(ascent, source)
    : { sheet: ascent.sheet, frames: ascent.frame_steps.length - 1, source, frame: number - 1 };
}

/** Where the gradient at that picture stands. */
const gradientTile = (ascent, source, step) => ({ sheet: ascent.gradients, frames: ascent.frame_steps.length, source, frame: frameAt(ascent, step) });

const sourceTile = (ascent, source) => ({ sheet: ascent.source_sheet, frames: 1, source, frame: 0 });

/** Where the end of an ascent stands, as large as the grid needs it. */
const endTile = (ascent, source) => DATA.shrink
  ? { sheet: ascent.ends, frames: 1, source, frame: 0, shrink: DATA.shrink }
  : tileOf(ascent, source, Infinity);

const sizeOf = ({ shrink = 1 }) => [DATA.picture.width, DATA.picture.height].map((side) => Math.floor(side / shrink));

/** Cut a tile out of its sheet: in small pictures' sheets the rows of all frames of a source are interleaved. */
function cut(image, tile) {
  const { frames, source, frame } = tile;
  const [width, height] = sizeOf(tile);
  [workbench.width, workbench.height] = [width, height];
  const context = workbench.getContext("2d");
  const top = source * frames * height;
  if (DATA.shrink) context.drawImage(image, 0, top + frame * height, width, height, 0, 0, width, height);
  else for (let y = 0; y < height; y++) context.drawImage(image, 0, top + y * frames + frame, width, 1, 0, y, width, 1);
  return workbench;
}

function inverted(canvas) {
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "difference";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
  return canvas;
}

/**
 * Draw a tile on a canvas: all of it, or the window {zoom, x, y}. The last call wins, whichever sheet comes first.
 * Given a tile `from`, draw the change from it: a half of it around mid-grey. No pixel is read: of sheets in files none may be.
 */
async function draw(canvas, tile, { zoom = 1, x = 0.5, y = 0.5, from = null } = {}) {
  const named = ({ sheet, source, frame }) => `${sheet}/${source}/${frame}`;
  const wanted = tile ? [named(tile), from && named(from), zoom, x, y].join() : "";
  canvas.wanted = wanted; // no attribute: markup must not tell in the blind test whose picture it is
  if (!tile) {
    canvas.drawn = "";
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
  const [width, height] = sizeOf(tile);
  const across = (canvas.clientWidth || canvas.width) * (window.devicePixelRatio || 1);
  const scale = clamp(Math.ceil(across / width), 1, Math.max(1, Math.floor(1600 / width)));
  if (canvas.drawn === wanted && canvas.width === width * scale) return;
  const [image, before] = await Promise.all([sheetOf(tile.sheet), from && sheetOf(from.sheet)]);
  if (canvas.wanted !== wanted || !image.naturalWidth) return;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const [w, h] = [width / zoom, height / zoom];
  const [left, top] = [clamp(x * width - w / 2, 0, width - w), clamp(y * height - h / 2, 0, height - h)];
  context.drawImage(cut(image, tile), left, top, w, h, 0, 0, canvas.width, canvas.height);
  if (from) {
    context.globalAlpha = 0.5;
    context.drawImage(inverted(cut(before, from)), left, top, w, h, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
  }
  canvas.drawn = wanted;
}

/** p_t of an ascent after `step` steps. */
const pAt = (ascent, source, step) => ascent.path[source][Math.min(step, ascent.steps)];

function sourceName(ascent, source) {
  const kind = { images: "test image", seeds: "seed", noise: "noise" }[RATED[ascent.view].start];
  const label = ascent.label[source];
  return `${kind} ${ascent.index[source]}${label === null ? "" : ` of class ${quoted(label)}`}`;
}

/** All that decides a picture, as text. */
function provenance(ascent, source, step) {
  const view = VIEWS[ascent.view];
  const smoothed = view.sigma
    ? `σ = ${view.sigma}, N = ${ascent.draws} noise draws a step, p̄ₜ from ${ascent.check_draws} others`
    : "σ = 0 (unsmoothed)";
  return [
    `Model ${view.model} ${view.hash}, ${smoothed}.`,
    `Ascent towards class ${quoted(ascent.target)} from ${sourceName(ascent, source)}:`,
    `ε = ${ascent.epsilon} (L2, pixel values; RMS ${ascent.rms}), step ${Math.min(step, ascent.steps)} of ${ascent.steps},`,
    `each of ${ascent.step}; seed ${ascent.seed}; p̄ₜ ${chance(pAt(ascent, source, step))},`,
    `from ${chance(pAt(ascent, source, 0))} to ${chance(pAt(ascent, source, ascent.steps))}. Config ${DATA.config}.`,
  ].join(" ");
}

const heading = ({ name, better }) => name + ({ 1: " ↑", "-1": " ↓" }[better] ?? "");

/** [name, value] of all measures of the end of an ascent. */
function measuresOf(ascent, source) {
  const measured = ascent.measures[source];
  const known = { ...measured, norm: ascent.norm[source], split_half: ascent.split_half[source] };
  const rows = DATA.measures.filter(({ column }) => column in known)
    .map((measure) => [heading(measure), signed(known[measure.column], measure.digits)]);
  if (!measured) return [...rows, ["measures", "not taken"]];
  const judged = DATA.judges.filter(({ name }) => name in measured.judges).map(({ name, label }) => {
    const [before, after] = measured.judges[name];
    return [`judge: ${label}`, `${before ? `${quoted(before)} → ` : ""}${quoted(after)}`];
  });
  return [...rows, ...judged];
}

/** p_t along the steps as a small curve, with the step shown, and in numbers. */
function pathOf(ascent, source, step) {
  const path = ascent.path[source];
  const [width, height] = [200, 34];
  const at = (s) => [2 + (s / ascent.steps) * (width - 4), 3 + (1 - path[s]) * (height - 6)];
  const points = path.map((_, s) => at(s).map((v) => v.toFixed(1)).join(",")).join(" ");
  const [x] = at(Math.min(step, ascent.steps));
  const curve = el("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    el("line", { x1: 0, x2: width, y1: height - 3, y2: height - 3, class: "base" }),
    el("line", { x1: x, x2: x, y1: 0, y2: height, class: "now" }),
    el("polyline", { points, class: "curve" }));
  return [curve, el("p", {}, `p̄ₜ ${chance(path[0])} → `, el("b", {}, chance(pAt(ascent, source, step))))];
}
