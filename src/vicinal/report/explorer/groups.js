
/* ---- Groups at every level, from two to a hundred: in a split the larger part keeps its number. ---- */
const parents = () => (column.finest && Array.isArray(page.clusters?.parents) ? page.clusters.parents : []);
const finestLevel = () => parents().length;
const firstLevel = () => page.clusters?.k ?? 0;

/* Puts every picture into its group at the level. */
function regroup() {
  if (!finestLevel()) return;
  const numbers = [];
  parents().forEach((parent, group) => numbers.push(group < state.level ? group : numbers[parent]));
  column.finest.forEach((group, row) => { column.cluster[row] = numbers[group] ?? NONE; });
  delete shared.cluster;
}
watch(["level"], regroup); // before all that draws groups

/* The pictures in the middle of a group at this level. */
function typicalOf(group) {
  const known = finestLevel()
    ? (page.clusters.typical?.[group] ?? []).filter(([level]) => level <= state.level).at(-1)?.[1]
    : page.clusters?.representatives?.[group];
  return (known ?? []).filter((row) => column.cluster[row] === group);
}

/* A slider from coarse to fine; all of them show the same level. */
function levelSlider(id) {
  const input = make("input", { type: "range", id, min: 2, max: finestLevel(), step: 1, aria: { label: "Number of groups, from coarse to fine" } });
  input.value = state.level; // after its bounds
  input.oninput = () => change({ level: Number(input.value), hidden: new Set() }, { remember: false });
  input.onchange = () => writeFragment(); // once, when it is let go
  const slider = make("div", { className: "level" }, make("span", { className: "dim" }, "Coarse"), input, make("span", { className: "dim" }, "fine"), make("output", { htmlFor: id }));
  tellLevel(slider);
  return slider;
}
function tellLevel(slider) {
  const input = slider.querySelector("input"), words = plural(state.level, "group");
  input.value = state.level;
  input.setAttribute("aria-valuetext", words);
  slider.querySelector("output").textContent = words;
}
watch(["level"], () => document.querySelectorAll(".level").forEach(tellLevel));

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
