
/* ---- What the page shows: one plain object, kept in the address's fragment. ---- */
const state = { map: "tsne", colour: "cluster", level: 0, row: NONE, find: "", tab: "overview", picked: null, marked: true, hidden: new Set(), tool: "pan", ranges: null, pinned: NONE, kept: [] };
const watchers = [];
const watch = (keys, draw) => watchers.push([keys, draw]);

/* Changes the state and draws again what depends on it. */
function change(values, { remember = true } = {}) {
  const changed = Object.keys(values).filter((key) => state[key] !== values[key]);
  Object.assign(state, values);
  if (!changed.length) return;
  for (const [keys, draw] of watchers) if (keys.some((key) => changed.includes(key))) draw(changed);
  if (remember) writeFragment(changed.includes("row"));
}

function writeFragment(step = false) {
  const parts = new URLSearchParams();
  parts.set("map", state.map);
  parts.set("colour", state.colour);
  if (state.level !== firstLevel()) parts.set("groups", state.level);
  if (state.row !== NONE) parts.set("row", state.row);
  if (state.find) parts.set("find", state.find);
  if (state.tab !== "overview") parts.set("tab", state.tab);
  if (state.ranges) parts.set("view", state.ranges.flat().map((value) => Number(value.toPrecision(6))).join(","));
  const hash = `#${parts}`;
  try {
    if (hash !== location.hash) history[step ? "pushState" : "replaceState"](null, "", hash);
  } catch { /* in a notebook's frame, which has no address of its own */ }
}

/* The state that a fragment asks for; what it asks wrongly is left as it is at first. */
function readFragment() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const one = (key, allowed, otherwise) => (allowed.includes(parts.get(key)) ? parts.get(key) : otherwise);
  const row = /^\d{1,9}$/.test(parts.get("row") ?? "") ? Number(parts.get("row")) : NONE;
  const level = /^\d{1,5}$/.test(parts.get("groups") ?? "") ? Number(parts.get("groups")) : 0;
  const view = (parts.get("view") ?? "").split(",").map(Number);
  const whole = view.length === 4 && view.every(Number.isFinite) && view[0] < view[1] && view[2] < view[3];
  return {
    map: one("map", MAPS(), MAPS()[0] ?? "pca"),
    colour: one("colour", colourings(), page.data.colour ?? colourings()[0]),
    level: level >= 2 && level <= finestLevel() ? level : firstLevel(),
    row: row < COUNT ? row : NONE,
    find: (parts.get("find") ?? "").slice(0, 200),
    tab: one("tab", Object.keys(TABS), "overview"),
    ranges: whole ? [view.slice(0, 2), view.slice(2)] : null,
  };
}

/* Colourings that these pictures have. */
const colourings = () => [...(hasClusters() ? ["cluster"] : []), ...(hasLabels() ? ["label"] : []), ...(hasSplits() ? ["split"] : []), "score"];

/* Shows a picture; `stay` keeps the list that is open. */
function select(row, { stay = false } = {}) {
  change(stay || row === NONE ? { row } : { row, tab: "picture" });
  if (row !== NONE) say(`${nameOf(row)}${labelOf(row) ? `, ${labelOf(row)}` : ""}. ${reasonOf(row)}`);
}
function say(text) { document.getElementById("said").textContent = text; }
