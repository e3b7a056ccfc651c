
/* ---- One picture: itself, why it is odd, its nearest and farthest. ---- */
function largePicture(row) {
  const canvas = thumbnail(row, 200);
  canvas.className = "large";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", nameOf(row));
  const shown = hasOddPlace(row) ? withRing(canvas, row) : canvas;
  if (!page.served || !pathOf(row)) return shown;
  const image = make("img", { className: "large", alt: nameOf(row), data: { row } });
  const holder = make("div", { className: "holder" }, shown);
  image.onload = () => holder.replaceChildren(image); // until then, and where the file is gone, the thumbnail
  image.src = `originals/${row}`;
  return holder;
}

function pictureFacts(row) {
  const cluster = column.cluster[row], path = pathOf(row) || idOf(row);
  const known = [
    ["Label", labelOf(row)], ["Suggested label", suggestedOf(row)], ["Tags", tagsOf(row)], ["Group", cluster >= 0 ? groupName("cluster", cluster) : ""],
    ["Oddness", `${short(column.score[row])}, rank ${counted(column.rank[row])} of ${counted(COUNT)}`],
    ["Oddest place", column.place_rank ? `${whereOf(row)}, rank ${counted(column.place_rank[row])}` : ""],
    ["p-value", column.p_value && Number.isFinite(column.p_value[row]) ? short(column.p_value[row]) : ""], ["Part", splitOf(row)],
    ["Size (width / height)", sizeOf(row)], ["Row", String(row)],
  ].filter(([, value]) => value);
  return make("div", { className: "about" },
    make("dl", {}, ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    make("p", { className: "path", title: path }, path));
}

function pictureView() {
  const row = state.row;
  if (row === NONE) return [title("Picture"), note("Press a point on the map, or a picture in a list, to see it here with its nearest and farthest.")];
  const copies = column.group[row] >= 0 ? rowsBy("group")[column.group[row]].filter((other) => other !== row) : [];
  const near = nearestOf(row), far = farthestOf(row);
  const section = (heading, items, words) => (items.length ? [make("h3", {}, heading, make("small", {}, words)), ...tiles(items, heading)] : []);
  return [
    make("div", { className: "title" }, make("h2", { tabIndex: -1, className: "name" }, nameOf(row)), action("Hold to compare", () => change({ pinned: row }))),
    ...pairSection(),
    make("div", { className: "shown-picture" }, largePicture(row), pictureFacts(row)),
    make("p", { className: `reason ${column.flagged[row] ? "odd" : ""}` }, column.flagged[row] ? make("b", {}, "Flagged. ") : "", reasonOf(row)),
    misleads(row, state.map) ? make("p", { className: "reason odd" }, make("b", {}, "Its place misleads. "), `The pictures around it on the ${MAP_NAMES[state.map]} map are not like it; go by the list below.`) : "",
    ...section("Nearly the same", copies, ""),
    ...section("Nearest", near, "distance in the representation"),
    ...section("Farthest", far, ""),
    ...(near.length ? [] : [note("There is no other picture to compare it with.")]),
  ];
}
