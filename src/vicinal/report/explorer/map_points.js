
/* ---- The points, drawn by ourselves pixel by pixel: 20,000 in a few milliseconds without a GPU. ---- */
const canvas = document.getElementById("points");
const DIMMED = 0.1;
let drawn = { rows: new Int32Array(0), colours: [], symbols: [], bright: null, frames: 0 }; // as last prepared

/* Outlines within a circle of radius 1; "hollow" ones are stroked. */
const OUTLINES = {
  circle: (path) => path.arc(0, 0, 1, 0, 2 * Math.PI),
  diamond: (path) => [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]].forEach(([x, y]) => path.lineTo(x, y)),
  square: (path) => path.rect(-0.9, -0.9, 1.8, 1.8),
  "triangle-up": (path) => [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]].forEach(([x, y]) => path.lineTo(x, y)),
  cross: (path) => [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]].forEach(([x, y]) => path.lineTo(x, y)),
};

/* How much of each pixel a symbol covers: { side, offsets of rows and columns, shares of 256 }. */
const masks = new Map();
function maskOf(symbol, hollow, radius, opacity) {
  const key = `${symbol} ${hollow} ${radius} ${opacity}`;
  if (masks.has(key)) return masks.get(key);
  const half = Math.ceil(radius * 1.4) + 2, side = 2 * half + 1, small = document.createElement("canvas");
  small.width = small.height = side;
  const context = small.getContext("2d", { willReadFrequently: true });
  context.translate(half + 0.5, half + 0.5);
  context.scale(radius, radius);
  context.beginPath();
  OUTLINES[symbol](context);
  context.closePath();
  context.lineWidth = 1.25 * (devicePixelRatio || 1) / radius;
  if (hollow) context.stroke(); else context.fill();
  const alpha = context.getImageData(0, 0, side, side).data, across = [], down = [], shares = [];
  for (let i = 0; i < side * side; i++) {
    const share = Math.round(alpha[4 * i + 3] / 255 * opacity * 256);
    if (share) { across.push(i % side - half); down.push(Math.floor(i / side) - half); shares.push(share); }
  }
  const mask = { half, across: Int16Array.from(across), down: Int16Array.from(down), shares: Uint16Array.from(shares) };
  masks.set(key, mask);
  return mask;
}

/* A colour as the bytes of a pixel, and colours between those of the scale of oddness. */
const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const partsOf = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
function scoreColours() {
  const stops = oddness().map(partsOf);
  return Array.from({ length: 64 }, (_, step) => {
    const at = step / 63 * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
    return stops[low].map((value, i) => Math.round(value + (stops[low + 1][i] - value) * (at - low)));
  });
}

/* Rows that stand out: those found, else those picked; null when none do. */
function bright() {
  const rows = state.find ? foundRows() : state.picked;
  if (!rows) return null;
  const mask = new Uint8Array(COUNT);
  for (const row of rows) mask[row] = 1;
  return mask;
}

/* Fewer pictures and more room make larger points. */
function pointSize() {
  const room = Math.sqrt(plot.clientWidth * plot.clientHeight) / 850;
  const size = COUNT > 20000 ? 3.5 : COUNT > 5000 ? 4.5 : COUNT > 1000 ? 6 : COUNT > 200 ? 7.5 : 10;
  return Math.max(2.5, size * Math.min(1, Math.max(0.6, room)));
}

/* Settles in which order the rows are drawn, in which colour and by which mask. */
function preparePoints() {
  const x = column[`${state.map}_x`], lit = bright(), trust = state.marked ? column[`${state.map}_trust`] : undefined;
  const byScore = state.colour === "score", by = byScore ? null : column[state.colour];
  const rows = [];
  for (let row = 0; x && row < COUNT; row++) if (Number.isFinite(x[row]) && (byScore || !state.hidden.has(by[row]))) rows.push(row);
  const misled = (row) => trust !== undefined && trust[row] < 0.5;
  // The oddest, and in groups what stands out, are drawn last, on top.
  if (byScore) rows.sort((a, b) => column.score[a] - column.score[b]);
  else rows.sort((a, b) => (lit ? lit[a] - lit[b] : 0) || by[a] - by[b] || a - b);
  const scale = devicePixelRatio || 1, opacity = COUNT > 3000 ? 0.8 : 0.9, [low, high] = scoreBounds(), between = byScore && scoreColours();
  drawn = { rows: Int32Array.from(rows), colours: [], symbols: [], pixels: new Uint32Array(rows.length), masks: [], bright: lit, frames: drawn.frames };
  rows.forEach((row, place) => {
    const hollow = misled(row), symbol = byScore ? "circle" : groupSymbol(by[row]);
    const step = byScore ? Math.round(63 * Math.min(1, Math.max(0, (column.score[row] - low) / (high - low)))) : 0;
    const colour = byScore ? between[step] : partsOf(groupColour(by[row]));
    drawn.colours.push(byScore ? column.score[row] : groupColour(by[row]));
    drawn.symbols.push(hollow ? `${symbol}-open` : symbol);
    drawn.pixels[place] = packed(colour);
    drawn.masks.push(maskOf(symbol, hollow, pointSize() / 2 * scale, !lit ? opacity : lit[row] ? 1 : DIMMED));
  });
}

/* Draws all points into the canvas; the cost of a frame of panning. */
let frame = null; // the pixels, kept from frame to frame
function paintPoints() {
  const scale = devicePixelRatio || 1, width = Math.round(plot.clientWidth * scale), height = Math.round(plot.clientHeight * scale);
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height || !frame) {
    canvas.width = width;
    canvas.height = height;
    frame = new ImageData(width, height);
  }
  const buffer = new Uint32Array(frame.data.buffer), paper = packed(dark.matches ? DARK_PAPER : [255, 255, 255]);
  buffer.fill(paper);
  const [[x0, x1], [y0, y1]] = ranges, x = column[`${state.map}_x`], y = column[`${state.map}_y`];
  const perX = width / (x1 - x0), perY = height / (y1 - y0);
  for (let place = 0; place < drawn.rows.length; place++) {
    const row = drawn.rows[place], mask = drawn.masks[place], { half, across, down, shares } = mask;
    const left = Math.round((x[row] - x0) * perX - 0.5), top = Math.round((y1 - y[row]) * perY - 0.5);
    if (left < half || top < half || left >= width - half || top >= height - half) continue;
    const colour = drawn.pixels[place], redBlue = colour & 0xff00ff, green = colour & 0x00ff00, first = top * width + left;
    for (let i = 0; i < shares.length; i++) {
      const at = first + down[i] * width + across[i], share = shares[i], under = buffer[at], rest = 256 - share;
      buffer[at] = 0xff000000 | (((under & 0xff00ff) * rest + redBlue * share) >>> 8) & 0xff00ff | (((under & 0x00ff00) * rest + green * share) >>> 8) & 0x00ff00;
    }
  }
  canvas.getContext("2d").putImageData(frame, 0, 0);
  drawn.frames += 1;
}
