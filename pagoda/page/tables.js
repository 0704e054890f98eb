// The tables and curves of the page with the chosen views marked in them.

const marks = (key) => slots.filter((slot) => VIEWS[state[slot]]?.key === key).map((slot) => el("b", { class: `badge ${slot}` }, slot.toUpperCase()));
const interval = (low, high, digits) => `[${signed(low, digits)}, ${signed(high, digits)}]`;

/** Show the table of the radius chosen; mark A and B in it and among the curves, and say where one is not there. */
function renderMarks() {
  for (const box of document.querySelectorAll("#summary [data-eps]")) box.hidden = +box.dataset.eps !== state.eps;
  byId("not-measured").hidden = DATA.summary.some(({ epsilon }) => epsilon === state.eps);
  for (const row of document.querySelectorAll("#summary tr[data-key], #curves [data-key]")) {
    const chosen = marks(row.dataset.key);
    row.classList.toggle("chosen", chosen.length > 0);
    row.querySelector(".marks")?.replaceChildren(...chosen);
  }
  const certified = new Set(Array.from(document.querySelectorAll("#curves li"), (curve) => curve.dataset.key));
  byId("curves-note").textContent = slots.map((slot) => [slot.toUpperCase(), VIEWS[state[slot]]])
    .filter(([, view]) => view && !certified.has(view.key))
    .map(([name, view]) => `${name} ${view.sigma ? "was not certified" : "is unsmoothed: it has no certificate"}.`).join(" ");
}
