
/* ---- The map: Plotly's WebGL points, a trace for each group, misleading points hollow. ---- */
const plot = document.getElementById("plot");
const WEBGL = (() => { try { return !!document.createElement("canvas").getContext("webgl"); } catch { return false; } })();
const DIMMED = 0.1;
let drawn = []; // the rows of each trace, in its points' order

const rangesNow = () => (plot._fullLayout?.xaxis ? [plot._fullLayout.xaxis.range.map(Number), plot._fullLayout.yaxis.range.map(Number)] : null);

/* Rows that stand out: those found, else those picked; null when none do. */
function bright() {
  const rows = state.find ? foundRows() : state.picked;
  if (!rows) return null;
  const mask = new Uint8Array(COUNT);
  for (const row of rows) mask[row] = 1;
  return mask;
}

/* The map's groups of rows: [{ rows, colour or score, symbol }, …]. */
function groups() {
  if (state.colour === "score") {
    const rows = Array.from({ length: COUNT }, (_, row) => row).sort((a, b) => column.score[a] - column.score[b]);
    return [{ rows, symbol: "circle" }]; // the oddest are drawn last, on top
  }
  const by = column[state.colour], byGroup = new Map();
  for (let row = 0; row < COUNT; row++) {
    if (!byGroup.has(by[row])) byGroup.set(by[row], []);
    byGroup.get(by[row]).push(row);
  }
  return [...byGroup].sort(([a], [b]) => a - b).filter(([group]) => !state.hidden.has(group))
    .map(([group, rows]) => ({ rows, colour: groupColour(group), symbol: groupSymbol(group) }));
}
/* Fewer pictures and more room make larger points. */
function pointSize() {
  const room = Math.sqrt(plot.clientWidth * plot.clientHeight) / 850;
  const size = COUNT > 20000 ? 3.5 : COUNT > 5000 ? 4.5 : COUNT > 1000 ? 6 : COUNT > 200 ? 7.5 : 10;
  return Math.max(2.5, size * Math.min(1, Math.max(0.6, room)));
}

function traces() {
  const x = column[`${state.map}_x`], y = column[`${state.map}_y`];
  if (!x) return [];
  const mask = bright(), [low, high] = scoreBounds(), trust = state.marked ? column[`${state.map}_trust`] : undefined;
  drawn = [];
  const made = [];
  for (const { rows, colour, symbol } of groups()) {
    for (const hollow of [true, false]) {
      const chosen = rows.filter((row) => (trust !== undefined && trust[row] < 0.5) === hollow);
      if (!chosen.length) continue;
      drawn.push(chosen);
      const selected = mask && chosen.flatMap((row, point) => (mask[row] ? [point] : []));
      made.push({
        type: WEBGL ? "scattergl" : "scatter", mode: "markers", hoverinfo: "none",
        x: Float32Array.from(chosen, (row) => x[row]), y: Float32Array.from(chosen, (row) => y[row]),
        marker: {
          symbol: hollow ? `${symbol}-open` : symbol, size: pointSize() + (hollow ? 0.5 : 0), opacity: COUNT > 3000 ? 0.8 : 0.9, line: { width: hollow ? 1.25 : 0 },
          ...(colour ? { color: colour } : { color: Array.from(chosen, (row) => column.score[row]), cmin: low, cmax: high, colorscale: oddnessScale() }),
        },
        ...(selected ? { selectedpoints: selected, selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: DIMMED } } } : {}),
      });
    }
  }
  return made;
}

/* The whole map's ranges, with room around. */
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  if (low > high) return [-1, 1];
  const room = 0.06 * (high - low) || 1;
  return [low - room, high + room];
}
const wholeMap = () => (column[`${state.map}_x`] ? [extent(column[`${state.map}_x`]), extent(column[`${state.map}_y`])] : [[-1, 1], [-1, 1]]);

/* Ranges of equal scale on both axes that hold the given ones. */
function fitted([[x0, x1], [y0, y1]]) {
  const { clientWidth: width, clientHeight: height } = plot;
  const unit = Math.max((x1 - x0) / width, (y1 - y0) / height);
  const around = (low, high, pixels) => [(low + high - unit * pixels) / 2, (low + high + unit * pixels) / 2];
  return [around(x0, x1, width), around(y0, y1, height)];
}

function layout() {
  const [x, y] = fitted(state.ranges ?? wholeMap());
  const axis = { visible: false, showgrid: false, zeroline: false, autorange: false };
  return {
    width: plot.clientWidth, height: plot.clientHeight, margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false, hovermode: "closest", hoverdistance: 14,
    dragmode: state.tool, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", selections: [], clickmode: "event",
    newselection: { line: { color: dark.matches ? "#e9ebee" : "#16191d", width: 1.5, dash: "dot" } },
    xaxis: { ...axis, range: x }, yaxis: { ...axis, range: y, scaleanchor: "x" },
  };
}

let due = 0;
function drawMap() {
  cancelAnimationFrame(due);
  hideCard();
  due = requestAnimationFrame(() => {
    Plotly.react(plot, traces(), layout(), { displayModeBar: false, scrollZoom: true, doubleClick: false, responsive: false, showTips: false }).then(() => {
      live = null;
      tellDrawn();
      drawOverlay();
    });
  });
}

/* What the map shows now, for who waits for it. */
function tellDrawn() {
  plot.dataset.map = state.map;
  plot.dataset.points = drawn.reduce((sum, rows) => sum + rows.length, 0);
}

const rowAt = (point) => drawn[point.curveNumber]?.[point.pointNumber] ?? NONE;
function moveTo(ranges, remember = true) {
  const [x, y] = ranges;
  state.ranges = ranges;
  Plotly.relayout(plot, { "xaxis.range": x, "yaxis.range": y });
  if (remember) writeFragment();
}
function wholeAgain() { state.ranges = null; moveTo(fitted(wholeMap()), false); state.ranges = null; writeFragment(); }

/* Zooms about a point of the plot, in pixels; its middle if none is given. */
function zoom(factor, at = [plot.clientWidth / 2, plot.clientHeight / 2]) {
  const now = rangesNow();
  if (!now) return;
  const shares = [at[0] / plot.clientWidth, 1 - at[1] / plot.clientHeight];
  moveTo(now.map(([low, high], axis) => {
    const fixed = low + shares[axis] * (high - low);
    return [fixed - (fixed - low) / factor, fixed + (high - fixed) / factor];
  }));
}

/* Moves the map so that a row can be seen. */
function reveal(row) {
  const now = rangesNow();
  if (!now || !column[`${state.map}_x`]) return;
  const at = [column[`${state.map}_x`][row], column[`${state.map}_y`][row]];
  if (at.every((value, axis) => value >= now[axis][0] && value <= now[axis][1]) || !at.every(Number.isFinite)) return;
  moveTo(now.map(([low, high], axis) => [at[axis] - (high - low) / 2, at[axis] + (high - low) / 2]));
}

/* Listens to the map, once it is drawn for the first time. */
function listenToMap() {
  plot.on("plotly_relayouting", (event) => {
    if (event["xaxis.range[0]"] === undefined) return;
    live = [["xaxis.range[0]", "xaxis.range[1]"], ["yaxis.range[0]", "yaxis.range[1]"]].map((keys) => keys.map((key) => Number(event[key])));
    hideCard();
    drawOverlay();
  });
  plot.on("plotly_relayout", (event) => {
    live = null;
    if (event["xaxis.range[0]"] !== undefined) { state.ranges = rangesNow(); writeFragment(); }
    drawOverlay();
  });
  plot.on("plotly_hover", ({ points: [point] }) => showCard(rowAt(point)));
  plot.on("plotly_unhover", hideCard);
  plot.on("plotly_click", ({ points: [point] }) => { if (rowAt(point) !== NONE) select(rowAt(point)); });
  plot.on("plotly_doubleclick", wholeAgain);
  plot.on("plotly_selected", (event) => {
    const rows = event ? event.points.map(rowAt).filter((row) => row !== NONE).sort((a, b) => a - b) : [];
    if (rows.length) change({ picked: Int32Array.from(rows), tab: "selection", find: "" });
    else drawMap();
  });
  // Two fingers zoom, which Plotly leaves out.
  let apart = 0;
  const between = ({ touches: [a, b] }) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  plot.addEventListener("touchstart", (event) => {
    apart = event.touches.length === 2 ? between(event) : 0;
    if (apart) event.stopPropagation();
  }, { capture: true });
  plot.addEventListener("touchmove", (event) => {
    if (!apart || event.touches.length !== 2) return;
    event.preventDefault();
    event.stopPropagation();
    const box = plot.getBoundingClientRect(), now = between(event), [a, b] = event.touches;
    if (Math.abs(now / apart - 1) < 0.02) return;
    zoom(now / apart, [(a.clientX + b.clientX) / 2 - box.left, (a.clientY + b.clientY) / 2 - box.top]);
    apart = now;
  }, { capture: true, passive: false });
}
