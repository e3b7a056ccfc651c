
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
