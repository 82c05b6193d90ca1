"use strict";
// Tables: a click on a heading sorts, a field filters.
const FILTER_FROM = 8;  // rows
const NARROW = 600;  // pixels of a figure
const PAPER = 680;  // pixels of a figure in print: within the margins of A4 and US Letter
const number = (text) => {
  const found = text.replace(/,/g, "").match(/^-?\d+(\.\d+)?(e[+-]?\d+)?/);
  return found ? parseFloat(found[0]) : NaN;
};
const sort = (table, column, ascending) => {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const key = (row) => row.cells[column].textContent.trim();
  rows.sort((one, other) => {
    const [a, b] = [number(key(one)), number(key(other))];
    if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
    const order = Number.isNaN(a) ? key(one).localeCompare(key(other)) : a - b;
    return ascending ? order : -order;
  });
  body.append(...rows);
};
document.querySelectorAll("table").forEach((table) => {
  const body = table.tBodies[0];
  if (!body || body.rows.length < 2) return;
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(table, column, ascending);
    });
  });
  if (body.rows.length >= FILTER_FROM) {
    const label = document.createElement("label");
    label.className = "filter";
    const field = document.createElement("input");
    field.type = "search";
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      [...body.rows].forEach((row) => {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
      });
    });
    label.append("Filter rows: ", field);
    table.parentElement.before(label);
  }
});
// Figures, in the colours of the page; drawn when they come into view.
const charts = JSON.parse(document.getElementById("charts").textContent);
let printing = false;
const draw = (place) => {
  const style = getComputedStyle(document.documentElement);
  const [text, line] = ["--text", "--line"].map((name) => style.getPropertyValue(name).trim());
  const chart = charts[Number(place.id.split("-")[1])];
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text },
    margin: { t: 20, r: 10, b: 50, l: 60 }, legend: { orientation: "h", y: -0.25 },
    autosize: true, ...structuredClone(chart.layout),
  };
  place.style.minHeight = layout.height ? "0" : "";  // reserved until it is drawn
  if (printing) Object.assign(layout, { autosize: false, width: PAPER });
  const grid = layout.grid;
  if (grid && !printing && place.clientWidth < NARROW) {  // one panel below another
    [grid.rows, grid.columns] = [grid.rows * grid.columns, 1];
    layout.height = 260 * grid.rows;
    layout.legend = { orientation: "h", y: -0.1 };
  }
  Object.keys(layout).filter((key) => /^[xy]axis/.test(key)).forEach((key) => {
    Object.assign(layout[key], { gridcolor: line, zerolinecolor: line });
  });
  Plotly.react(place, structuredClone(chart.data), layout, { responsive: true, displayModeBar: false });
};
const places = [...document.querySelectorAll(".chart")];
if (typeof IntersectionObserver === "undefined") places.forEach(draw);
else {
  const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target); }
  }), { rootMargin: "300px" });
  places.forEach((place) => watcher.observe(place));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => places.forEach(draw));
addEventListener("beforeprint", () => {
  document.querySelectorAll("main details").forEach((each) => { each.open = true; });
  printing = true;
  places.forEach(draw);
});
addEventListener("afterprint", () => {
  printing = false;
  places.forEach(draw);
});
