
/* ---- The tabs, and the beginning. ---- */
const TABS = {
  overview: ["Overview", overviewView, ["map", "level"]],
  picture: ["Picture", pictureView, ["row", "map", "level", "pinned", "kept"]],
  odd: ["Odd", oddView, []],
  duplicates: ["Duplicates", duplicatesView, []],
  labels: ["Labels", doubtfulView, []],
  clusters: ["Groups", clustersView, []],
  selection: ["Selection", selectionView, ["picked", "kept"]],
  found: ["Found", foundView, ["find"]],
};
const tabShown = (tab) => (tab === "labels" ? page.labels !== null : tab === "clusters" ? hasClusters() : tab === "found" ? state.find !== "" : true);

function drawTabs() {
  const tabs = document.getElementById("tabs");
  const held = tabs.contains(document.activeElement);
  tabs.replaceChildren(...Object.keys(TABS).filter((tab) => tabShown(tab) || tab === state.tab).map((tab) => {
    const on = tab === state.tab;
    const button = make("button", { type: "button", id: `tab-${tab}`, tabIndex: on ? 0 : -1, aria: { role: "tab", selected: String(on), controls: "view" } }, TABS[tab][0]);
    const number = { selection: state.picked?.length, found: state.find ? foundRows().length : undefined, odd: page.anomalies?.flagged, duplicates: rowsBy("group").length, labels: column.doubt && doubtful().length }[tab];
    if (number) button.append(make("small", {}, counted(number)));
    button.onclick = () => change({ tab });
    return button;
  }));
  const now = document.getElementById(`tab-${state.tab}`);
  if (held) now.focus();
  now.scrollIntoView({ block: "nearest", inline: "nearest" });
}
function drawView(changed = []) {
  if (!changed.includes("tab") && !TABS[state.tab][2].some((key) => changed.includes(key))) return;
  const active = document.activeElement, held = view.contains(active) && active !== view;
  const list = active?.closest?.("[role=group]")?.getAttribute("aria-label");
  const at = list ? items(active.parentElement).indexOf(active) : -1;
  ring(NONE);
  view.replaceChildren(...TABS[state.tab][1]().filter((part) => part !== ""));
  view.setAttribute("aria-labelledby", `tab-${state.tab}`);
  view.dataset.tab = state.tab;
  view.scrollTop = 0;
  if (!held) return;
  // Who walks from neighbour to neighbour stays at the same place of the list.
  const same = list && [...view.querySelectorAll("[role=group]")].find((other) => other.getAttribute("aria-label") === list);
  const next = (same && items(same)[at]) ?? view.querySelector("h2");
  if (same && items(same)[at]) rove(same, next);
  else next?.setAttribute("tabindex", "-1");
  next?.focus({ preventScroll: true });
}
function listenToTabs() {
  document.getElementById("tabs").onkeydown = (event) => {
    const all = [...event.currentTarget.children], at = all.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    const next = { ArrowRight: all[(at + 1) % all.length], ArrowLeft: all.at(at - 1), Home: all[0], End: all.at(-1) }[event.key];
    if (!next) return;
    event.preventDefault();
    next.click();
  };
}

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
