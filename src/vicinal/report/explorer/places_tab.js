
/* ---- The tab Places: all pictures, that with the place least like any of the others first. ---- */
const thirds = (share, names) => names[Math.min(2, Math.floor(3 * share))];
function whereOf(row) {
  const down = thirds(column.place_y[row], ["upper", "", "lower"]), across = thirds(column.place_x[row], ["left", "", "right"]);
  return [down, across].filter(Boolean).join(" ") || "middle";
}
/* Whether the place is worth a ring: places tell much here, and it is among the oddest twentieth. */
const hasOddPlace = (row) => Boolean(page.places?.tells) && column.place_rank[row] <= COUNT / 20;

/* A picture with a ring around its oddest place. */
function withRing(canvas, row) {
  const ring = make("i", { className: "ringed-place" }), [width, height] = shapeOf(row);
  ring.style.left = `${50 + 100 * width * (column.place_x[row] - 0.5)}%`;
  ring.style.top = `${50 + 100 * height * (column.place_y[row] - 0.5)}%`;
  return make("span", { className: "ringed" }, canvas, ring);
}

function placesView() {
  const rows = Array.from({ length: COUNT }, (_, row) => row).sort((a, b) => column.place_rank[a] - column.place_rank[b]);
  const tried = page.places;
  const view = [
    title("Odd places"),
    note("Each picture by the place in it that is least like any place of the others: a scratch, a stain, a stamp. The oddest first."),
    tried ? note(`Tried here with a small mark drawn into ${counted(tried.marked)} of these pictures: one with a mark stands before one without ${percent(tried.auroc)} of the time, and ${percent(tried.auroc_whole)} in the list of odd pictures (50 % is chance).${tried.tells ? "" : " So on these pictures this list tells little."}`) : "",
    ...paged(rows, (row) => entry(row, `${whereOf(row)}, ${short(column.place_score[row])} from any other place`, counted(column.place_rank[row]), withRing(thumbnail(row, 60), row)), "entries", "Odd places, oddest first"),
  ];
  return view;
}
