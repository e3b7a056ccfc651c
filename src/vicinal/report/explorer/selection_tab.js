
/* ---- The tab Selection: the pictures that the lasso or a list selected, and those kept. ---- */
function selectionView() {
  if (!state.picked) {
    const lasso = make("button", { type: "button", className: "action" }, "Draw a lasso");
    lasso.onclick = () => { change({ tool: "lasso" }); plot.scrollIntoView({ block: "nearest" }); };
    return [title("Selection"), note("Nothing is selected. Draw around pictures on the map, or select a group, the flagged pictures or spare duplicates in their lists."), lasso, ...keptList()];
  }
  const clear = make("button", { type: "button", className: "action" }, "Clear");
  clear.onclick = () => change({ picked: null });
  return [
    title(plural(state.picked.length, "picture"), exportButton(state.picked, "selection"), clear),
    note([mostly(state.picked), "press a picture to see it; with Shift, a lasso adds to these"].filter(Boolean).join("; ")),
    keepForm(),
    ...tiles(state.picked, "Selected pictures"),
    ...keptList(),
  ];
}
