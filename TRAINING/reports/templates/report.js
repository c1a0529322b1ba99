// Sorting by a click on a head and filtering by name; without scripts the tables are merely fixed.
"use strict";
const valueOf = (row, column) => {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replace(/[,%×]/g, "").replace("−", "-").replace("∞", "Infinity"));
  return text === "–" || text === "" ? null : Number.isNaN(number) ? text : number;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const sort = () => {
      const falling = head.getAttribute("aria-sort") !== "descending";
      const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return falling ? -order : order;
      });
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      body.append(...rows.map(([, row]) => row));
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter") sort();
    });
  });
}
for (const field of document.querySelectorAll("input.filter")) {
  field.hidden = false;
  const body = field.parentElement.querySelector("tbody");
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
}
