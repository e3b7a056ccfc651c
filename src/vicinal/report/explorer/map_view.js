
/* ---- The map: what part of it is shown, and drawing it. ---- */
const plot = document.getElementById("plot");
let ranges = null; // [[x0, x1], [y0, y1]], what is shown
const rangesNow = () => ranges;

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

/* Draws once at the next frame, however often it is asked; `prepare` where more than the place has changed. */
let due = 0, unprepared = true;
function drawMap(prepare = true) {
  unprepared ||= prepare !== false;
  if (unprepared) hideCard();
  due ||= requestAnimationFrame(drawNow);
}
function drawNow() {
  const began = performance.now();
  due = 0;
  if (unprepared) { ranges = fitted(state.ranges ?? wholeMap()); preparePoints(); unprepared = false; }
  paintPoints();
  drawOverlay();
  plot.shown = { ...drawn, x: column[`${state.map}_x`], y: column[`${state.map}_y`], ranges, map: state.map, cost: performance.now() - began }; // in ms
  plot.dataset.map = state.map;
  plot.dataset.points = drawn.rows.length;
}

function moveTo(to, remember = true) {
  state.ranges = ranges = to;
  drawMap(false);
  if (remember) writeFragment();
}
function wholeAgain() { moveTo(fitted(wholeMap()), false); state.ranges = null; writeFragment(); }

/* Zooms about a point of the plot, in pixels; its middle if none is given. */
function zoom(factor, at = [plot.clientWidth / 2, plot.clientHeight / 2], remember = true) {
  const shares = [at[0] / plot.clientWidth, 1 - at[1] / plot.clientHeight];
  moveTo(ranges.map(([low, high], axis) => {
    const fixed = low + shares[axis] * (high - low);
    return [fixed - (fixed - low) / factor, fixed + (high - fixed) / factor];
  }), remember);
}

/* Moves the map so that a row can be seen. */
function reveal(row) {
  if (!column[`${state.map}_x`]) return;
  const at = [column[`${state.map}_x`][row], column[`${state.map}_y`][row]];
  if (at.every((value, axis) => value >= ranges[axis][0] && value <= ranges[axis][1]) || !at.every(Number.isFinite)) return;
  moveTo(ranges.map(([low, high], axis) => [at[axis] - (high - low) / 2, at[axis] + (high - low) / 2]));
}

/* The same place on the other map: around the picture shown, else around what is in view here. */
function otherMap() {
  const other = MAPS().find((map) => map !== state.map);
  if (!other) return;
  const share = (ranges[0][1] - ranges[0][0]) / (fitted(wholeMap())[0][1] - fitted(wholeMap())[0][0]);
  const rows = state.row !== NONE ? [state.row] : inView();
  change({ map: other, ranges: null });
  if (rows.length === 0 || (state.row === NONE && rows.length === COUNT)) return;
  const whole = fitted(wholeMap());
  const to = ["x", "y"].map((axis, number) => {
    const values = rows.map((row) => column[`${other}_${axis}`][row]).filter(Number.isFinite).sort((a, b) => a - b);
    const [low, high] = [0.05, 0.95].map((part) => values[Math.round(part * (values.length - 1))]); // a few strays are left out
    const wide = state.row !== NONE ? share * (whole[number][1] - whole[number][0]) : 1.2 * (high - low) || 1;
    return [(low + high - wide) / 2, (low + high + wide) / 2];
  });
  state.ranges = to;
  drawMap();
  writeFragment();
  say(`${MAP_NAMES[other]}: the same ${state.row === NONE ? plural(rows.length, "picture") : "picture"}`);
}
function inView() {
  const x = column[`${state.map}_x`], y = column[`${state.map}_y`], [[x0, x1], [y0, y1]] = ranges;
  return Array.from(drawn.rows).filter((row) => x[row] >= x0 && x[row] <= x1 && y[row] >= y0 && y[row] <= y1);
}
