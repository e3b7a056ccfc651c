
/* ---- Two pictures side by side, how far apart they are and what rank that is. ---- */
/* The distance of two rows: exact where one is in the other's lists, else from their sketches. */
function distanceOf(a, b) {
  const told = [...nearestOf(a), ...farthestOf(a)].find(([row]) => row === b) ?? [...nearestOf(b), ...farthestOf(b)].find(([row]) => row === a);
  return told ? { distance: told[1], exact: true } : { distance: sketched(a, b), exact: false };
}

/* A sketch is a row's first directions; what is beyond counts by its length, as if at right angles. */
function sketched(a, b) {
  if (!column.sketch) return NaN;
  const width = column.sketch.length / COUNT, { sketch, rest } = column;
  let sum = 0;
  for (let i = 0; i < width; i++) sum += (sketch[a * width + i] - sketch[b * width + i]) ** 2;
  return Math.sqrt(sum * page.sketch_scale ** 2 + rest[a] ** 2 + rest[b] ** 2);
}

/* Of all others, which one b is by nearness to a: { rank, exact }. */
function rankFrom(a, b) {
  const near = nearestOf(a).findIndex(([row]) => row === b), far = farthestOf(a).findIndex(([row]) => row === b);
  if (near >= 0) return { rank: near + 1, exact: true };
  if (far >= 0) return { rank: COUNT - 1 - far, exact: true };
  if (!column.sketch) return null;
  const least = nearestOf(a).length + 1, here = sketched(a, b);
  let rank = 1;
  for (let row = 0; row < COUNT; row++) if (row !== a && row !== b && sketched(a, row) < here) rank++;
  return { rank: Math.min(Math.max(rank, least), COUNT - 1 - farthestOf(a).length), exact: false };
}
function rankWords(a, b) {
  const found = rankFrom(a, b);
  return found ? `${found.exact ? "" : "about "}number ${counted(found.rank)} of ${counted(COUNT - 1)} by nearness` : "not among the nearest or the farthest";
}

function pairSection() {
  const { row, pinned } = state;
  if (pinned === NONE || row === NONE) return [];
  const stop = action("Done", () => change({ pinned: NONE }));
  if (pinned === row) return [make("p", { className: "reason" }, "This picture is held: press another one, on the map or in a list, to see both side by side. ", stop)];
  const { distance, exact } = distanceOf(pinned, row);
  const side = (one, other) => make("figure", { data: { row: one } }, largePicture(one), make("figcaption", {},
    make("b", {}, nameOf(one)), make("span", {}, [labelOf(one), groupName("cluster", column.cluster[one])].filter(Boolean).join(" · ")), make("span", {}, `The other is ${rankWords(one, other)}.`)));
  return [make("section", { className: "pair", aria: { label: "Side by side" } },
    make("h3", {}, Number.isFinite(distance) ? `${exact ? "Distance" : "Distance about"} ${short(distance)}` : "Side by side", stop),
    make("div", { className: "sides" }, side(pinned, row), side(row, pinned)))];
}
