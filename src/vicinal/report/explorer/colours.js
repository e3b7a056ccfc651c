
/* ---- Colours: groups by ten colours and five shapes, oddness by one sequence. ---- */
const dark = matchMedia("(prefers-color-scheme: dark)");
const DARK_PAPER = [0x14, 0x17, 0x1a];
const GREY = "#8a929c";
const groupColour = (group) => (group < 0 ? GREY : COLOURS[group % COLOURS.length]);
const groupSymbol = (group) => (group < 0 ? "circle" : SYMBOLS[Math.floor(group / COLOURS.length) % SYMBOLS.length]);
const groupName = (by, group) => (by === "label" ? labelName(group) : by === "split" ? textAt("splits", group) || "no part" : group < 0 ? "no group" : `Group ${group}`);

/* Lightness falls (rises in the dark) all along, so that the order stays under any colour blindness. */
const ODDNESS = {
  light: ["#c3ccd6", "#e3a857", "#c2461f", "#5c0a2e"],
  dark: ["#4a535e", "#9c4a3c", "#ec8a34", "#ffeaa0"],
};
const oddness = () => ODDNESS[dark.matches ? "dark" : "light"];

/* Scores between which the colours run: the middle of the set and its oddest hundredth. */
let bounds = null;
function scoreBounds() {
  if (!bounds) {
    const sorted = Float32Array.from(column.score.filter(Number.isFinite)).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    bounds = sorted.length ? [at(0.3), Math.max(at(0.99), at(0.3) + 1e-9)] : [0, 1];
  }
  return bounds;
}
