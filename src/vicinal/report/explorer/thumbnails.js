
/* ---- Thumbnails: cut out of the sheets by row, drawn when their sheet is decoded. ---- */
const sheetTexts = document.querySelectorAll("script.sheet");
const sheets = new Map();
function sheet(number) {
  if (!sheets.has(number)) {
    const image = new Image();
    image.src = page.served ? `sheets/${number}` : sheetTexts[number].textContent;
    sheets.set(number, image.decode().then(() => image));
  }
  return sheets.get(number);
}

/* The width and height of a row's picture, as shares of the longer one, at least a quarter. Its
   thumbnail is a square that all of it was squeezed into. */
function shapeOf(row) {
  const wide = page.data.whole && column.width ? column.width[row] / column.height[row] : 1;
  return wide > 0 ? [Math.min(1, Math.max(wide, 0.25)), Math.min(1, Math.max(1 / wide, 0.25))] : [1, 1];
}

/* Draws a row's picture into a canvas, unless the canvas has got another row since. */
function drawThumbnail(canvas, row) {
  canvas.dataset.row = row;
  const number = column.tile_sheet[row], size = column.tile_size[row];
  canvas.classList.toggle("none", number < 0);
  if (number < 0) return;
  sheet(number).then((image) => {
    if (canvas.dataset.row !== String(row)) return;
    const context = canvas.getContext("2d"), side = Math.max(canvas.width, canvas.height);
    [canvas.width, canvas.height] = shapeOf(row).map((share) => Math.max(1, Math.round(side * share)));
    context.imageSmoothingEnabled = size > 32;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, column.tile_x[row], column.tile_y[row], size, size, 0, 0, canvas.width, canvas.height);
    canvas.dataset.drawn = row;
  }).catch(() => canvas.classList.add("none"));
}
function thumbnail(row, side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.round(side * Math.min(2, devicePixelRatio || 1));
  canvas.style.width = canvas.style.height = `${side}px`;
  drawThumbnail(canvas, row);
  return canvas;
}

/* A thumbnail that shows its picture when it is pressed, with a note below. */
function tile(row, side, note = "") {
  const label = [nameOf(row), labelOf(row), note && `at ${note}`].filter(Boolean).join(", ");
  const button = make("button", { type: "button", className: "tile", title: label, data: { row }, aria: { label } }, thumbnail(row, side));
  if (note) button.append(make("small", {}, note));
  button.onclick = () => openRow(row);
  button.onmouseenter = () => ring(row);
  button.onmouseleave = () => ring(NONE);
  return button;
}
function openRow(row) { select(row); reveal(row); }
