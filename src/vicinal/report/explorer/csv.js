
/* ---- CSV files, written and read. ---- */
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
function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/* A CSV file's lines of cells, without the apostrophes that `cell` put there. */
function readCsv(text) {
  const lines = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const one = text[i], line = lines.at(-1);
    if (quoted && one === '"' && text[i + 1] === '"') { line[line.length - 1] += '"'; i++; }
    else if (one === '"') quoted = !quoted;
    else if (one === "," && !quoted) line.push("");
    else if (one === "\n" && !quoted) lines.push([""]);
    else if (one !== "\r" || quoted) line[line.length - 1] += one;
  }
  const plain = (value) => (value[0] === "'" && FORMULA.includes(value[1]) ? value.slice(1) : value);
  return lines.map((line) => line.map(plain)).filter((line) => line.length > 1 || line[0]);
}
