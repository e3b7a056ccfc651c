
/* ---- Rows as a CSV file. ---- */
const FORMULA = ["=", "+", "-", "@", "\t", "\r"]; // what makes a spreadsheet run a cell

/* A cell as vicinal.files.write_csv writes it: text that a spreadsheet would run gets an apostrophe. */
function cell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.includes(value[0]) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
const figure = (value) => (Number.isFinite(value) ? Number(value.toPrecision(7)) : null);
/* Rows as CSV; `first` gives columns in front, a line each, the header's first. */
function csvOf(rows, first = null) {
  const header = ["row", "id", "path", "label", "split", "cluster", "score", "p_value", "rank", "flagged", "duplicate_group", "width", "height", "aspect_ratio"];
  const known = (number) => (number < 0 ? null : number);
  const lines = Array.from(rows, (row) => [
    row, idOf(row), pathOf(row), labelOf(row), splitOf(row), known(column.cluster[row]), figure(column.score[row]), figure(column.p_value?.[row] ?? NaN),
    column.rank[row], column.flagged[row] ? "true" : "false", known(column.group[row]),
    ...(hasSize(row) ? [column.width[row], column.height[row], figure(column.width[row] / column.height[row])] : [null, null, null]),
  ]);
  return [header, ...lines].map((line, at) => (first ? [...first[at], ...line] : line)).map((line) => `${line.map(cell).join(",")}\n`).join("");
}
function exportButton(rows, name) {
  const button = make("button", { type: "button", className: "action", data: { export: name } }, "Export CSV");
  button.onclick = () => download(csvOf(rows), `${name}.csv`);
  return button;
}
