
/* ---- The tabs, and the view of the one that is open. ---- */
const TABS = {
  overview: ["Overview", overviewView, ["map", "level"]],
  picture: ["Picture", pictureView, ["row", "map", "level", "pinned", "kept"]],
  odd: ["Odd", oddView, []],
  places: ["Places", placesView, []],
  duplicates: ["Duplicates", duplicatesView, []],
  labels: ["Labels", doubtfulView, []],
  clusters: ["Groups", clustersView, []],
  selection: ["Selection", selectionView, ["picked", "kept"]],
  found: ["Found", foundView, ["find"]],
};
const tabShown = (tab) => (tab === "labels" ? page.labels !== null : tab === "places" ? column.place_rank !== undefined : tab === "clusters" ? hasClusters() : tab === "found" ? state.find !== "" : true);

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
