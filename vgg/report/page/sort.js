// Sorts a table by the heading that is pressed: the largest first, then the smallest first, then as it was.
const units = { k: 1e3, M: 1e6, G: 1e9 };
function key(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "exact") return 0;
  if (text === "FAILED" || text === "inf") return Infinity;
  const [, number, unit, limit] = /^([+\u2212-]?[\d.,]+(?:e[+-]?\d+)?)(?:%| ([kMG]))?(?: \/ (\S+))?/.exec(text) ?? [];
  if (number === undefined || /^\d+\u00d7/.test(text)) return text;
  return (Number(number.replace("\u2212", "-").replaceAll(",", "")) * (units[unit] ?? 1)) / Number(limit ?? 1);
}
function ordered(one, other, sign) {
  const missing = [one, other].map((value) => (["", "-", "\u2013"].includes(value) ? 1 : 0));
  return missing[0] - missing[1] || sign * larger(one, other);
}
function larger(one, other) {
  const numbers = [one, other].map((value) => (typeof value === "number" ? 1 : 0));
  if (numbers[0] !== numbers[1]) return numbers[0] - numbers[1];
  return numbers[0] ? (one > other) - (one < other) : one.localeCompare(other, "en", { numeric: true });
}
for (const table of document.querySelectorAll("table.sortable")) {
  const [body] = table.tBodies, rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { descending: "ascending", ascending: null }, now = head.getAttribute("aria-sort");
      const order = now in next ? next[now] : "descending", sign = order === "descending" ? -1 : 1;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const compare = (one, other) => ordered(key(one.cells[column]), key(other.cells[column]), sign);
      body.append(...(order ? [...rows].sort(compare) : rows));
    });
  });
}
