
/* ---- Rings over the map: the picture shown, its nearest ones, and the one pointed at in a list. ---- */
const overlay = document.getElementById("overlay");
let ringed = NONE; // the row pointed at in a list

function ring(row) { ringed = row; drawOverlay(); }

/* Where a row is on the map, in pixels of the plot. */
function place(row) {
  const { width, height } = overlay.getBoundingClientRect();
  const [[x0, x1], [y0, y1]] = rangesNow();
  return [(column[`${state.map}_x`][row] - x0) / (x1 - x0) * width, (y1 - column[`${state.map}_y`][row]) / (y1 - y0) * height];
}

function drawOverlay() {
  const scale = devicePixelRatio || 1, { width, height } = overlay.getBoundingClientRect();
  if (overlay.width !== Math.round(width * scale)) overlay.width = Math.round(width * scale);
  if (overlay.height !== Math.round(height * scale)) overlay.height = Math.round(height * scale);
  const context = overlay.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!column[`${state.map}_x`] || !rangesNow()) return;
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink"), paper = style.getPropertyValue("--paper");
  const circle = ([x, y], radius, line) => {
    for (const [colour, extra] of [[paper, 2.5], [ink, 0]]) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.lineWidth = line + extra;
      context.strokeStyle = colour;
      context.stroke();
    }
  };
  if (state.row !== NONE) {
    const here = place(state.row);
    const near = nearestOf(state.row).map(([row]) => place(row));
    context.globalAlpha = 0.55;
    context.lineWidth = 1;
    context.strokeStyle = ink;
    context.beginPath();
    for (const there of near) { context.moveTo(...here); context.lineTo(...there); }
    context.stroke();
    context.globalAlpha = 1;
    for (const there of near) circle(there, 5.5, 1.25);
    circle(here, 9, 2.5);
  }
  if (ringed !== NONE) circle(place(ringed), 11, 2.5);
  if (!lasso) return;
  context.beginPath();
  for (const at of lasso) context.lineTo(...at);
  context.closePath();
  context.setLineDash([4, 3]);
  context.lineWidth = 1.5;
  context.strokeStyle = ink;
  context.stroke();
}
