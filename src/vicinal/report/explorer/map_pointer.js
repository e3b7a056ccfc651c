
/* ---- What pointing, clicking, dragging, pinching and the lasso do on the map. ---- */
const NEAR_ENOUGH = 14; // pixels from a point at which it is meant

/* The row drawn nearest to a place of the plot, in pixels; none where none is near. */
function rowAt([px, py]) {
  let best = NONE, least = NEAR_ENOUGH ** 2;
  const x = column[`${state.map}_x`], y = column[`${state.map}_y`], [[x0, x1], [y0, y1]] = ranges;
  const perX = plot.clientWidth / (x1 - x0), perY = plot.clientHeight / (y1 - y0);
  for (const row of drawn.rows) {
    const far = ((x[row] - x0) * perX - px) ** 2 + ((y1 - y[row]) * perY - py) ** 2;
    if (far <= least) { least = far; best = row; }
  }
  return best;
}

/* Rows within a line drawn around them, in pixels of the plot: even and odd crossings. */
function rowsWithin(line) {
  return Array.from(drawn.rows).filter((row) => {
    const [px, py] = place(row);
    let within = false;
    line.forEach(([ax, ay], i) => {
      const [bx, by] = line[(i + 1) % line.length];
      if ((ay > py) !== (by > py) && px < (bx - ax) * (py - ay) / (by - ay) + ax) within = !within;
    });
    return within;
  }).sort((a, b) => a - b);
}

/* Pointers on the map: one moves it, draws the lasso or presses a point; two zoom. */
let lasso = null; // the line drawn so far
function listenToMap() {
  const held = new Map();
  const at = (event) => { const box = plot.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  let began = null, before = null, moved = false;
  plot.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    held.set(event.pointerId, at(event));
    if (event.isTrusted) plot.setPointerCapture(event.pointerId);
    if (held.size > 1) { lasso = null; return; }
    began = at(event);
    before = ranges;
    moved = false;
    if (state.tool === "lasso") lasso = [began];
  });
  plot.addEventListener("pointermove", (event) => {
    const now = at(event);
    if (!held.has(event.pointerId)) { const row = rowAt(now); if (row === NONE) hideCard(); else showCard(row); return; }
    if (held.size === 2) {
      const other = [...held].find(([id]) => id !== event.pointerId)[1], was = held.get(event.pointerId);
      zoom(Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.max(1, Math.hypot(was[0] - other[0], was[1] - other[1])), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2], false);
      moved = true;
    }
    held.set(event.pointerId, now);
    if (held.size > 1) return;
    const [dx, dy] = [now[0] - began[0], now[1] - began[1]];
    moved ||= Math.hypot(dx, dy) > 4;
    if (!moved) return;
    hideCard();
    if (lasso) { lasso.push(now); drawOverlay(); return; }
    const [[x0, x1], [y0, y1]] = before, x = dx / plot.clientWidth * (x1 - x0), y = dy / plot.clientHeight * (y1 - y0);
    moveTo([[x0 - x, x1 - x], [y0 + y, y1 + y]], false);
  });
  const end = (event) => {
    if (!held.delete(event.pointerId)) return;
    if (held.size) { [began] = held.values(); before = ranges; return; } // one of two fingers goes on
    const line = lasso;
    lasso = null;
    if (!moved && event.type === "pointerup") { const row = rowAt(at(event)); if (row !== NONE) select(row); }
    else if (line) {
      const rows = rowsWithin(line);
      if (rows.length) pick(event.shiftKey && state.picked ? [...new Set([...state.picked, ...rows])].sort((a, b) => a - b) : rows);
      else drawOverlay();
    } else if (moved) writeFragment();
  };
  plot.addEventListener("pointerup", end);
  plot.addEventListener("pointercancel", end);
  plot.addEventListener("pointerleave", hideCard);
  plot.addEventListener("dblclick", wholeAgain);
  let rest = 0;
  plot.addEventListener("wheel", (event) => {
    event.preventDefault();
    hideCard();
    zoom(2 ** (-event.deltaY * (event.deltaMode ? 15 : 1) / 300), at(event), false);
    clearTimeout(rest);
    rest = setTimeout(writeFragment, 200);
  }, { passive: false });
}
const pick = (rows) => change({ picked: Int32Array.from(rows), tab: "selection", find: "" });
