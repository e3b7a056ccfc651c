
/* ---- What pointing at a map or pressing a point shows. ---- */
/* The hover card: the image itself beside its point. */
const card = document.getElementById("card");
function watchPoints(el) {
  const show = ({ points: [point] }) => {
    if (!Array.isArray(point.customdata)) return;
    const [row, label, cluster] = point.customdata;
    const canvas = card.querySelector("canvas");
    const sheet = sheets[places.sheet[row]];
    canvas.hidden = !sheet;
    if (sheet) {
      const context = canvas.getContext("2d"), size = places.size[row];
      context.imageSmoothingEnabled = size >= 64;
      context.drawImage(sheet, places.x[row], places.y[row], size, size, 0, 0, canvas.width, canvas.height);
    }
    const lines = [label !== MISSING ? className(label) : "", cluster !== MISSING ? `cluster ${cluster}` : "", page.ids[row]];
    card.querySelector("p").textContent = lines.filter(Boolean).join("\n");
    card.hidden = false;
    const box = el.getBoundingClientRect();
    const x = box.left + point.xaxis._offset + point.xaxis.l2p(point.x), y = box.top + point.yaxis._offset + point.yaxis.l2p(point.y);
    const fits = x + 14 + card.offsetWidth < innerWidth;
    card.style.left = `${Math.max(4, fits ? x + 14 : x - 14 - card.offsetWidth)}px`;
    card.style.top = `${Math.min(Math.max(4, y - card.offsetHeight / 2), innerHeight - card.offsetHeight - 4)}px`;
  };
  el.on("plotly_hover", show);
  el.on("plotly_click", show);
  el.on("plotly_unhover", () => { card.hidden = true; });
}
addEventListener("scroll", () => { card.hidden = true; }, { passive: true });
