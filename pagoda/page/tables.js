// The summary of the measures at the radius shown, and certified accuracy with the chosen σ marked.

const SERIES = 7; // colours; further curves take them again, dashed

const sameView = (row, view) => row.model === view.model && row.sigma === view.sigma && (row.start ?? "images") === view.start;
const marks = (match) => slots.filter((slot) => match(VIEWS[state[slot]])).map((slot) => el("b", { class: `badge ${slot}` }, slot.toUpperCase()));

const nameOf = (row) => VIEWS.find((view) => sameView(row, view))?.name ?? row.view ?? row.model;

let summaryOf = "";
function renderSummary() {
  const key = [state.eps, state.a, state.b].join();
  if (key === summaryOf) return;
  summaryOf = key;
  const rows = DATA.summary.filter((row) => row.epsilon === state.eps);
  const box = byId("summary");
  if (!rows.length) return box.replaceChildren(el("p", { class: "muted" }, `No view was measured at ε = ${state.eps}.`));
  const columns = DATA.measures.filter(({ column }) => rows.some((row) => column in row));
  const flagged = rows.filter((row) => row.flags);
  const body = rows.map((row) => {
    const chosen = marks((view) => sameView(row, view));
    return el("tr", { class: chosen.length ? "chosen" : null },
      el("th", { scope: "row" }, nameOf(row).replaceAll(" = ", "\u00a0=\u00a0"), row.flags ? el("sup", {}, String(flagged.indexOf(row) + 1)) : "", " ", ...chosen),
      el("td", {}, row.n === null ? "–" : String(row.n)),
      columns.map(({ column }) => cell(row[column], row[`${column}_low`], row[`${column}_high`])));
  });
  const caption = `At ε = ${state.eps}. n: source images; brackets: 95 % intervals (Student’s t) over them, none where all are the same; –: undefined. Better is ↑ more, ↓ less.`;
  box.replaceChildren(el("p", { class: "muted", id: "summary-note" }, caption),
    tableOf("Measured alignment, a wide table", ["View", "n", ...columns.map((measure) => capital(heading(measure)))], body, { "aria-describedby": "summary-note" }),
    el("ol", { class: "flags", hidden: !flagged.length }, flagged.map((row) => el("li", {}, el("b", {}, nameOf(row)), `: ${row.flags}`))),
    el("dl", { class: "meanings" }, columns.map(({ name, meaning }) => el("div", {}, el("dt", {}, capital(name)), el("dd", {}, meaning)))));
}

const interval = (low, high, digits) => `[${signed(low, digits)}, ${signed(high, digits)}]`;

const cell = (value, low, high) => el("td", {}, signed(value),
  missing(low) ? null : el("span", { class: "interval" }, interval(low, high)));

/** Curves by model and σ, in the order of the table. */
function curvesOf(rows) {
  const named = Map.groupBy(rows, ({ model, sigma }) => (model === "envelope" ? model : `${model}, σ = ${sigma}`));
  return [...named].map(([name, points], number) => {
    const { model, sigma } = points[0];
    points.sort((p, q) => p.radius - q.radius);
    return { name, number, model, sigma: model === "envelope" ? null : sigma, points };
  });
}

let drawnCurves = "";
function renderCurves() {
  const box = byId("curves");
  const width = Math.max(280, box.clientWidth);
  const key = [width, state.a, state.b].join();
  if (key === drawnCurves) return;
  drawnCurves = key;
  const curves = curvesOf(DATA.certified);
  if (!curves.length) return box.replaceChildren(el("p", { class: "muted" }, "Nothing is certified in this experiment."));
  const height = Math.min(400, Math.max(260, width * 0.42));
  const edge = { left: 44, right: 12, top: 28, bottom: 42 };
  const furthest = Math.max(0.25, ...DATA.certified.filter((row) => row.accuracy > 0).map((row) => row.radius));
  const x = (radius) => edge.left + (Math.min(radius, furthest) / furthest) * (width - edge.left - edge.right);
  const y = (share) => height - edge.bottom - share * (height - edge.top - edge.bottom);
  const at = (radius, share) => `${x(radius).toFixed(1)},${y(share).toFixed(1)}`;
  const sigmas = slots.map((slot) => VIEWS[state[slot]].sigma).filter((sigma) => sigma > 0);
  const parts = axes(width, height, edge, furthest, x, y);
  const order = (curve) => (sigmas.includes(curve.sigma) ? 1 : 0);
  const look = (curve) => {
    const own = slots.findLast((slot) => VIEWS[state[slot]].model === curve.model && VIEWS[state[slot]].sigma === curve.sigma);
    return [own ?? `s${curve.number % SERIES}`, curve.number >= SERIES && "again", order(curve) && "marked", curve.sigma === null && "envelope"]
      .filter(Boolean).join(" ");
  };
  for (const curve of [...curves].sort((p, q) => order(p) - order(q))) {
    const points = curve.points.filter((row) => row.radius <= furthest);
    const kind = `series ${look(curve)}`;
    const band = [...points.map((row) => at(row.radius, row.high)), ...points.map((row) => at(row.radius, row.low)).reverse()];
    parts.push(el("g", { class: kind, "data-curve": curve.name },
      curve.sigma === null ? null : el("path", { class: "band", d: `M${band.join("L")}Z` }),
      el("polyline", { points: points.map((row) => at(row.radius, row.accuracy)).join(" ") }),
      points.map((row) => el("circle", { cx: x(row.radius).toFixed(1), cy: y(row.accuracy).toFixed(1), r: 3 },
        el("title", {}, `${curve.name}, radius ${row.radius}: ${signed(row.accuracy)} ${interval(row.low, row.high)}, n = ${row.n}`)))));
  }
  const legend = curves.map((curve) => el("li", { class: look(curve) }, el("i", {}), curve.name, " ",
    marks((view) => view.model === curve.model && view.sigma === curve.sigma)));
  const label = `Certified accuracy against L2 radius: ${curves.map((curve) => `${curve.name} starts at ${signed(curve.points[0].accuracy)}`).join("; ")}`;
  box.replaceChildren(
    el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, parts),
    el("ul", { class: "legend" }, legend), el("p", { class: "muted", id: "curves-note" }, curvesNote(curves)), numbersOf(curves));
}

function axes(width, height, edge, furthest, x, y) {
  const every = furthest > 4 ? 1 : furthest > 1.5 ? 0.5 : 0.25;
  const parts = [];
  for (let share = 0; share <= 1.001; share += 0.25) {
    parts.push(el("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(share), y2: y(share) }),
      el("text", { x: edge.left - 8, y: y(share) + 4, "text-anchor": "end" }, share.toFixed(2)));
  }
  for (let radius = 0; radius <= furthest + 1e-9; radius += every) {
    parts.push(el("text", { x: x(radius), y: height - edge.bottom + 18, "text-anchor": "middle" }, String(radius)));
  }
  return [...parts, el("text", { x: 2, y: 12 }, "certified accuracy"),
    el("text", { x: (width + edge.left) / 2, y: height - 6, "text-anchor": "middle" }, "L2 radius (pixel values)")];
}

function curvesNote(curves) {
  return slots.map((slot) => {
    const view = VIEWS[state[slot]];
    if (!view.sigma) return `${slot.toUpperCase()} is unsmoothed: it has no certificate.`;
    const own = curves.find((curve) => curve.model === view.model && curve.sigma === view.sigma);
    return own ? `${slot.toUpperCase()}: ${own.name}.` : `${slot.toUpperCase()}: ${view.model} was not certified at σ = ${view.sigma}.`;
  }).join(" ");
}

/** The same as numbers, for those who do not see the curves. */
function numbersOf(curves) {
  const radii = [...new Set(DATA.certified.map((row) => row.radius))].sort((p, q) => p - q);
  const rows = curves.map((curve) => el("tr", {}, el("th", { scope: "row" }, curve.name), radii.map((radius) => {
    const row = curve.points.find((point) => point.radius === radius) ?? {};
    return cell(row.accuracy, row.low, row.high);
  })));
  return el("details", {}, el("summary", {}, "The same in numbers"), tableOf("Certified accuracy in numbers", ["Radius", ...radii.map(String)], rows));
}
