// The tables of the page with the chosen views marked, and certified accuracy as curves. These are drawn by hand: a charting
// library would be many times this file, and still want the width, the theme and the marks of A and B from here.

const marks = (match) => slots.filter((slot) => match(VIEWS[state[slot]] ?? {})).map((slot) => el("b", { class: `badge ${slot}` }, slot.toUpperCase()));

/** Show the table of the radius chosen; mark A and B in it. */
function renderSummary() {
  for (const box of document.querySelectorAll("#summary [data-eps]")) box.hidden = +box.dataset.eps !== state.eps;
  byId("not-measured").hidden = DATA.summary.some(({ epsilon }) => epsilon === state.eps);
  for (const row of document.querySelectorAll("#summary tr[data-key]")) {
    const chosen = marks((view) => view.key === row.dataset.key);
    row.classList.toggle("chosen", chosen.length > 0);
    row.querySelector(".marks").replaceChildren(...chosen);
  }
}

const interval = (low, high, digits) => `[${signed(low, digits)}, ${signed(high, digits)}]`;

/** Curves by model and σ, in the order of the table. */
function curvesOf(rows) {
  return [...Map.groupBy(rows, ({ name }) => name)].map(([name, points]) => {
    const { model, sigma, colour, marker } = points[0];
    points.sort((p, q) => p.radius - q.radius);
    return { name, model, colour, marker, sigma: model === "envelope" ? null : sigma, points };
  });
}

/** Markers of figures, by Matplotlib's names, as paths around 0. */
const MARKER = {
  o: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z", s: "M-3.6,-3.6H3.6V3.6H-3.6Z", "^": "M0,-4.6L4.4,3.4H-4.4Z", v: "M0,4.6L4.4,-3.4H-4.4Z",
  D: "M0,-5L5,0L0,5L-5,0Z", d: "M0,-5L3.2,0L0,5L-3.2,0Z", "*": "M0,-5.4L1.4,-1.7L5.2,-1.7L2.2,0.7L3.2,4.4L0,2.2L-3.2,4.4L-2.2,0.7L-5.2,-1.7L-1.4,-1.7Z",
  P: "M-1.6,-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6V-1.6H-1.6Z", X: "M-4.6,-2.6L-2.6,-4.6L0,-2L2.6,-4.6L4.6,-2.6L2,0L4.6,2.6L2.6,4.6L0,2L-2.6,4.6L-4.6,2.6L-2,0Z",
  h: "M0,-4.8L4.2,-2.4V2.4L0,4.8L-4.2,2.4V-2.4Z", p: "M0,-4.8L4.6,-1.5L2.8,3.9H-2.8L-4.6,-1.5Z",
};

let drawnCurves = "";
function renderCurves() {
  const box = byId("curves");
  const width = Math.max(280, box.clientWidth);
  const key = [width, state.a, state.b].join();
  const curves = curvesOf(DATA.certified);
  if (key === drawnCurves || !curves.length) return;
  drawnCurves = key;
  const height = Math.min(400, Math.max(260, width * 0.42));
  const edge = { left: 44, right: 12, top: 28, bottom: 42 };
  const furthest = Math.max(0.25, ...DATA.certified.filter((row) => row.accuracy > 0).map((row) => row.radius));
  const x = (radius) => edge.left + (Math.min(radius, furthest) / furthest) * (width - edge.left - edge.right);
  const y = (share) => height - edge.bottom - share * (height - edge.top - edge.bottom);
  const at = (radius, share) => `${x(radius).toFixed(1)},${y(share).toFixed(1)}`;
  const sigmas = slots.map((slot) => VIEWS[state[slot]]?.sigma).filter((sigma) => sigma > 0);
  const parts = axes(width, height, edge, furthest, x, y);
  const order = (curve) => (sigmas.includes(curve.sigma) ? 1 : 0);
  const look = (curve) => ["coloured", order(curve) && "marked", curve.sigma === null && "envelope"].filter(Boolean).join(" ");
  for (const curve of [...curves].sort((p, q) => order(p) - order(q))) {
    const points = curve.points.filter((row) => row.radius <= furthest);
    const band = [...points.map((row) => at(row.radius, row.high)), ...points.map((row) => at(row.radius, row.low)).reverse()];
    parts.push(coloured(el("g", { class: `series ${look(curve)}`, "data-curve": curve.name },
      curve.sigma === null ? null : el("path", { class: "band", d: `M${band.join("L")}Z` }),
      el("polyline", { points: points.map((row) => at(row.radius, row.accuracy)).join(" ") }),
      points.map((row) => el("path", { class: "dot", d: MARKER[curve.marker], transform: `translate(${at(row.radius, row.accuracy)})` },
        el("title", {}, `${curve.name}, radius ${row.radius}: ${signed(row.accuracy)} ${interval(row.low, row.high)}, n = ${row.n}`)))), curve.colour));
  }
  const sample = (curve) => el("svg", { viewBox: "-14 -6 28 12", width: 28, height: 12, "aria-hidden": "true", class: "series" },
    el("polyline", { points: "-14,0 14,0" }), el("path", { class: "dot", d: MARKER[curve.marker] }));
  const legend = curves.map((curve) => coloured(el("li", { class: look(curve) }, sample(curve), curve.name, " ",
    marks((view) => view.model === curve.model && view.sigma === curve.sigma)), curve.colour));
  const label = `Certified accuracy against L2 radius: ${curves.map((curve) => `${curve.name} starts at ${signed(curve.points[0].accuracy)}`).join("; ")}`;
  box.replaceChildren(
    el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, parts),
    el("ul", { class: "legend" }, legend), el("p", { class: "muted", id: "curves-note" }, curvesNote(curves)));
}

function coloured(element, colour) {
  element.style.setProperty("--view", colour);
  return element;
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
    const view = VIEWS[state[slot]] ?? {};
    if (!view.sigma) return `${slot.toUpperCase()} is unsmoothed: it has no certificate.`;
    const own = curves.find((curve) => curve.model === view.model && curve.sigma === view.sigma);
    return own ? `${slot.toUpperCase()}: ${own.name}.` : `${slot.toUpperCase()}: ${view.name} was not certified.`;
  }).join(" ");
}
