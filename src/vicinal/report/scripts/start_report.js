
/* ---- Light and dark, print, the contents; and the beginning. ---- */
function shadeHeat(light) {
  for (const el of document.querySelectorAll(".chart[data-drawn]")) {
    if (page.charts[el.id].kind === "heat") Plotly.restyle(el, { colorscale: [heatScale(light)] });
  }
}
dark.addEventListener("change", () => shadeHeat(!dark.matches));
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((el) => { el.open = true; });
  drawAll();
  shadeHeat(true);
});
addEventListener("afterprint", () => { opened.forEach((el) => { el.open = false; }); shadeHeat(!dark.matches); });
document.querySelectorAll("details").forEach((el) => el.addEventListener("toggle", drawNext));
const links = new Map([...document.querySelectorAll("nav li a")].map((a) => [a.hash.slice(1), a]));
const spy = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) links.get(target.id)?.classList.toggle("here", isIntersecting);
}, { rootMargin: "-25% 0px -70% 0px" });
document.querySelectorAll("section[id]").forEach((el) => spy.observe(el));

document.querySelectorAll(".legend[data-charts]").forEach(buildLegend);
drawNext();
