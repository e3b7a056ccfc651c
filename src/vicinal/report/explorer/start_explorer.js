
/* ---- The beginning: the columns are read, the page is drawn, and listens. ---- */
function tellCounts() {
  document.getElementById("counts").textContent = plural(COUNT, "picture");
  const badge = document.getElementById("health-badge"), kind = page.health?.verdict;
  badge.hidden = !VERDICTS[kind];
  badge.classList.add(kind ?? "look");
  badge.textContent = `Health: ${(VERDICTS[kind] ?? "").toLowerCase()}`;
  badge.onclick = () => change({ tab: "overview" });
}

async function start() {
  await readColumns();
  Object.assign(state, readFragment());
  regroup();
  beginKept();
  document.body.dataset.map = MAPS().length ? "" : "none";
  plot.setAttribute("aria-label", `Map of ${plural(COUNT, "picture")}`);
  tellCounts();
  buildBar();
  buildTools();
  drawLegend();
  drawTabs();
  listenToTabs();
  listenToSearch();
  drawView(["tab"]);
  drawNow();
  performance.mark("first-view");
  listenToMap();
  listenToKeys();
  watch(["map", "colour", "level", "hidden", "marked", "picked", "find", "tool", "ranges"], drawMap);
  watch(["colour", "level", "hidden"], drawLegend);
  watch(["row", "map"], drawOverlay);
  watch(["tab", "picked", "find"], drawTabs);
  watch(["tab", "row", "map", "level", "picked", "find", "pinned", "kept"], drawView);
  addEventListener("popstate", () => { change({ ...readFragment(), hidden: new Set() }, { remember: false }); });
  dark.addEventListener("change", () => { drawMap(); drawLegend(); });
  let size = `${plot.clientWidth} ${plot.clientHeight}`;
  new ResizeObserver(() => {
    const now = `${plot.clientWidth} ${plot.clientHeight}`;
    if (now !== size) { size = now; drawMap(); }
  }).observe(plot);
  document.body.dataset.ready = "yes";
}
start().catch((error) => {
  const empty = document.getElementById("empty");
  empty.hidden = false;
  empty.textContent = `The page could not be drawn: ${error.message}`;
  throw error;
});
