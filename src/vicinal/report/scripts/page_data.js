
/* ---- What the page holds: its charts, its maps' points, its pictures, in typed arrays. ---- */
const page = JSON.parse(document.getElementById("page-data").textContent);
const MISSING = 65535;
const GL_FROM = 3000; // below so many points a map is drawn as SVG, sharper in print
const STACK_BELOW = 600; // pixels of width
const dark = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)").matches;
const webgl = (() => { try { return !!document.createElement("canvas").getContext("webgl"); } catch { return false; } })();
const font = getComputedStyle(document.body).fontFamily;
const hidden = {}; // chart id -> set of legend keys switched off
const columns = new Map();

function decode(text, Type) {
  return new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}
function points(name) {
  if (!columns.has(name)) {
    const packed = page.maps[name];
    columns.set(name, {
      row: decode(packed.row, Uint32Array), x: decode(packed.x, Float32Array), y: decode(packed.y, Float32Array),
      label: packed.label && decode(packed.label, Uint16Array), cluster: packed.cluster && decode(packed.cluster, Uint16Array),
    });
  }
  return columns.get(name);
}
const places = Object.fromEntries(Object.entries(page.pictures).map(([name, text]) => [name, decode(text, Uint16Array)]));
const sheets = document.querySelectorAll("#sheets img");
const colour = (group) => (group === MISSING ? "#8a929c" : COLOURS[group % COLOURS.length]);
const symbol = (group) => (group === MISSING ? "circle-open" : SYMBOLS[Math.floor(group / COLOURS.length) % SYMBOLS.length]);
const className = (group) => (group === MISSING ? "no class" : page.classes[group] ?? String(group));
const groupName = (by, group) => (by === "cluster" ? (group === MISSING ? "no cluster" : `cluster ${group}`) : className(group));
