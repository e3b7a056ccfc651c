
/* ---- Keys: one tab stop a list, arrows within it; the map by arrows too. ---- */
const items = (list) => [...list.querySelectorAll(":scope > .tile, :scope > .entry")];

/* Makes one item of a list the tab stop. */
function rove(list, current = null) {
  const all = items(list);
  const stop = current ?? all.find((item) => item.tabIndex === 0) ?? all[0];
  all.forEach((item) => { item.tabIndex = item === stop ? 0 : -1; });
}

/* The item that an arrow leads to; lines are found by where they are drawn. */
function neighbourItem(all, at, key) {
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  if (key === "ArrowRight") return all[at + 1];
  if (key === "ArrowLeft") return all[at - 1];
  const box = all[at].getBoundingClientRect(), down = key === "ArrowDown";
  const beyond = all.filter((item) => { const other = item.getBoundingClientRect(); return down ? other.top > box.top + 4 : other.top < box.top - 4; });
  const line = (down ? beyond[0] : beyond.at(-1))?.getBoundingClientRect().top;
  return beyond.filter((item) => Math.abs(item.getBoundingClientRect().top - line) < 4)
    .sort((a, b) => Math.abs(a.getBoundingClientRect().left - box.left) - Math.abs(b.getBoundingClientRect().left - box.left))[0];
}
function moveInList(event) {
  const item = event.target.closest?.(".tile, .entry"), list = item?.parentElement;
  if (!item || !["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const all = items(list), next = neighbourItem(all, all.indexOf(item), event.key);
  if (!next) return;
  rove(list, next);
  next.focus();
  ring(Number(next.dataset.row));
}

/* The nearest picture on the map in a direction: within 45 degrees of it. */
function stepOnMap(dx, dy) {
  const x = column[`${state.map}_x`], y = column[`${state.map}_y`];
  if (!x) return;
  const [[x0, x1], [y0, y1]] = rangesNow();
  const from = state.row === NONE ? [(x0 + x1) / 2, (y0 + y1) / 2] : [x[state.row], y[state.row]];
  const hidden = state.colour !== "score" && state.hidden.size ? column[state.colour] : null;
  let best = NONE, least = Infinity;
  for (let row = 0; row < COUNT; row++) {
    if (row === state.row || (hidden && state.hidden.has(hidden[row]))) continue;
    const along = (x[row] - from[0]) * dx + (y[row] - from[1]) * dy, across = Math.abs((x[row] - from[0]) * dy) + Math.abs((y[row] - from[1]) * dx);
    if (state.row !== NONE && (along <= 0 || across > along)) continue;
    const far = Math.hypot(along, 2 * across);
    if (far < least) { least = far; best = row; }
  }
  if (best !== NONE) { select(best); reveal(best); plot.focus(); }
}
function moveOnMap(event) {
  const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  const act = step ? () => stepOnMap(...step) : { "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: wholeAgain, m: otherMap }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

/* Escape goes back one thing: the search, the selection, the lasso, the picture. */
function goBack() {
  if (!card.hidden) hideCard();
  if (state.find) change({ find: "", tab: state.tab === "found" ? "overview" : state.tab });
  else if (state.picked) change({ picked: null });
  else if (state.tool !== "pan") change({ tool: "pan" });
  else if (state.pinned !== NONE) change({ pinned: NONE });
  else if (state.row !== NONE) change({ row: NONE, tab: state.tab === "picture" ? "overview" : state.tab });
}

function listenToKeys() {
  plot.addEventListener("keydown", moveOnMap);
  view.addEventListener("keydown", moveInList);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target.closest?.(".keep")) { event.target.blur(); return; }
    if (event.key === "Escape") { event.preventDefault(); goBack(); }
    if (event.key === "/" && !event.target.matches("input, textarea")) {
      event.preventDefault();
      document.getElementById("find").select();
      document.getElementById("find").focus();
    }
  });
}
