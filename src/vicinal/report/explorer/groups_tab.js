
/* ---- The tab Groups: the groups of the level shown, the largest first. ---- */
/* The label that most of these rows have: "mostly cat (82 %)". */
function mostly(rows) {
  const counts = new Map();
  for (const row of rows) if (column.label[row] >= 0) counts.set(column.label[row], (counts.get(column.label[row]) ?? 0) + 1);
  const [label, count] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  return count ? `mostly ${labelName(label)} (${Math.round((100 * count) / [...counts.values()].reduce((a, b) => a + b))} %)` : "";
}

function groupSection(group, rows) {
  const heading = make("h3", {}, groupName("cluster", group), make("small", {}, [plural(rows.length, "picture"), mostly(rows)].filter(Boolean).join(", ")), pickButton(rows, "Select"));
  const dot = make("i", { className: "dot" });
  dot.innerHTML = mark({ colour: groupColour(group), symbol: groupSymbol(group) });
  heading.prepend(dot);
  const known = typicalOf(group);
  return make("section", { className: "group", data: { group } }, heading, ...tiles((known.length ? known : rows).slice(0, 6), groupName("cluster", group), 56));
}

/* The list below the slider, which alone is drawn anew when the slider moves. */
function groupList() {
  const by = rowsBy("cluster");
  const numbers = [...by.keys()].filter((group) => by[group]).sort((a, b) => by[b].length - by[a].length || a - b);
  const first = state.level === firstLevel() && Number.isFinite(page.clusters?.silhouette)
    ? `silhouette ${short(page.clusters.silhouette)} (1 is well apart, 0 is not apart)` : "";
  return [
    note(`${[plural(numbers.length, "group"), first].filter(Boolean).join(", ")}. The largest first; these pictures are in the middle of each.`),
    ...paged(numbers, (group) => groupSection(group, by[group]), "groups", "Groups"),
  ];
}
watch(["level"], () => document.getElementById("group-list")?.replaceChildren(...groupList()));
function clustersView() {
  if (!hasClusters()) return [title("Groups"), note("Nothing to group here.")];
  return [title("Groups"), finestLevel() > 2 ? levelSlider("level-in-list") : "", make("div", { id: "group-list" }, ...groupList())];
}
