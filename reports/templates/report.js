"use strict";
(() => {
  const table = document.getElementById("cells"), body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const value = (row, column, numeric) => {
    const cell = row.cells[column];
    return numeric ? (cell.dataset.value === "" ? NaN : Number(cell.dataset.value)) : cell.textContent.trim();
  };
  const sort = (header) => {
    const numeric = header.dataset.kind === "number", column = header.cellIndex;
    const now = header.getAttribute("aria-sort");
    const first = numeric && !header.textContent.includes("↓") ? "descending" : "ascending";
    const order = !now ? first : now === "ascending" ? "descending" : "ascending";
    headers.forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    [...body.rows].map((row) => [value(row, column, numeric), row]).sort(([a], [b]) => {
      if (numeric) return Number.isNaN(a) - Number.isNaN(b) || (Number.isNaN(a) ? 0 : sign * (a - b));
      return sign * a.localeCompare(b, "en", { numeric: true });
    }).forEach(([, row]) => body.append(row));
  };
  headers.forEach((header) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(header));
    header.replaceChildren(button);
  });
  const filter = document.getElementById("filter"), count = document.getElementById("count");
  filter.closest("p").hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...body.rows];
    rows.forEach((row) => {
      const text = [...row.cells].filter((cell) => !("value" in cell.dataset)).map((cell) => cell.textContent).join(" ");
      row.hidden = !words.every((word) => text.toLowerCase().includes(word));
    });
    count.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} cells` : "";
  });
})();
