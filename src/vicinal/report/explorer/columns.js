
/* ---- The columns: one typed array each, indexed by row, a picture's permanent number. ---- */
const page = JSON.parse(document.getElementById("page-data").textContent);
const COUNT = page.count;
const NONE = -1;
const column = {};

function bytesOf(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

async function readColumns() {
  const buffer = page.served
    ? await fetch("columns").then((answer) => { if (!answer.ok) throw new Error(`columns: ${answer.status}`); return answer.arrayBuffer(); })
    : bytesOf(document.getElementById("columns").textContent);
  document.getElementById("columns").textContent = "";
  const kinds = { u1: Uint8Array, u4: Uint32Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };
  for (const [name, [kind, start, length]] of Object.entries(page.layout)) column[name] = new kinds[kind](buffer, start, length);
}

const decoder = new TextDecoder();
function textAt(name, number) {
  const ends = column[`${name}.ends`];
  return number < 0 ? "" : decoder.decode(column[`${name}.bytes`].subarray(number ? ends[number - 1] : 0, ends[number]));
}
const idOf = (row) => textAt("ids", row);
const pathOf = (row) => textAt("paths", row);
const labelName = (number) => (number < 0 ? "no label" : textAt("labels", number));
const labelOf = (row) => textAt("labels", column.label[row]);
const suggestedOf = (row) => (column.suggested ? textAt("suggesteds", column.suggested[row]) : "");
const splitOf = (row) => textAt("splits", column.split[row]);
const reasonOf = (row) => textAt("reasons", column.reason[row]);
const nameOf = (row) => (idOf(row) || pathOf(row) || `picture ${row}`).split(/[/\\]/).pop();
/* The original's size: 4,000 × 3,000 (1.33). */
const hasSize = (row) => column.width !== undefined && column.width[row] > 0;
const sizeOf = (row) => (hasSize(row) ? `${counted(column.width[row])} × ${counted(column.height[row])} (${short(column.width[row] / column.height[row])})` : "");
const misleads = (row, map) => column[`${map}_trust`] !== undefined && column[`${map}_trust`][row] < 0.5;

/* A picture's rows in one of its lists: [[row, distance], …]. */
function listed(row, rows, distances, width) {
  const found = [];
  for (let i = row * width; i < (row + 1) * width; i++) if (column[rows][i] >= 0) found.push([column[rows][i], column[distances][i]]);
  return found;
}
const nearestOf = (row) => listed(row, "neighbors", "distances", page.near);
const farthestOf = (row) => listed(row, "farthest", "far_distances", page.far);

/* Rows by a number that they share, such as a cluster: [[row, …], …]. */
const shared = {};
function rowsBy(name) {
  if (!shared[name]) {
    shared[name] = [];
    column[name].forEach((number, row) => { if (number >= 0) (shared[name][number] ??= []).push(row); });
  }
  return shared[name];
}
const MAPS = () => ["tsne", "pca"].filter((map) => column[`${map}_x`]);
const MAP_NAMES = { tsne: "t-SNE", pca: "PCA" };
const hasClusters = () => rowsBy("cluster").length > 0;
const hasLabels = () => rowsBy("label").length > 0;
const hasSplits = () => rowsBy("split").length > 1;
/* Rows whose label looks wrong, the most doubtful first. */
const doubtful = () => rowsBy("doubt").flatMap((rows) => rows ?? []);
