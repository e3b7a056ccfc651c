
/* ---- The lists beside the map. ---- */
const PAGE = 60; // items drawn at once
const view = document.getElementById("view");

/* Items a page at a time, with a button for more. */
function paged(items, draw, className, label) {
  const list = make("div", { className, aria: { role: "group", label } });
  const more = make("button", { type: "button", className: "action more" });
  let shown = 0;
  const next = () => {
    const first = shown;
    list.append(...Array.from(items.slice(shown, shown + PAGE), draw));
    shown = Math.min(items.length, shown + PAGE);
    more.hidden = shown >= items.length;
    more.textContent = `Show ${counted(Math.min(PAGE, items.length - shown))} more of ${counted(items.length - shown)}`;
    if (first) list.children[first]?.querySelector("button, .tile")?.focus();
    rove(list);
  };
  more.onclick = next;
  next();
  return [list, more];
}
const title = (text, ...actions) => make("div", { className: "title" }, make("h2", {}, text), ...actions);
const note = (text) => make("p", { className: "note" }, text);
const tiles = (items, label, side = 68) => paged(items, (item) => (Array.isArray(item) ? tile(item[0], side, short(item[1])) : tile(item, side)), "tiles", label);

/* A picture with its name and a line of text; all of it is one button. */
function entry(row, words, number = "") {
  const button = make("button", { type: "button", className: "entry", data: { row } },
    number === "" ? "" : make("span", { className: "place" }, number), thumbnail(row, 60),
    make("span", { className: "words" }, make("b", {}, nameOf(row)), labelOf(row) ? make("em", {}, labelOf(row)) : "", make("span", {}, words)));
  button.onclick = () => openRow(row);
  button.onmouseenter = () => ring(row);
  button.onmouseleave = () => ring(NONE);
  return button;
}
const pickButton = (rows, words) => {
  const button = make("button", { type: "button", className: "action" }, words);
  button.onclick = () => pick(rows);
  return button;
};

function oddView() {
  const rows = Array.from({ length: COUNT }, (_, row) => row).sort((a, b) => column.rank[a] - column.rank[b]);
  const flagged = page.anomalies?.flagged ?? 0;
  return [
    title("Odd pictures", flagged ? pickButton(rows.slice(0, flagged), `Select the ${counted(flagged)} flagged`) : ""),
    note(flagged
      ? `${plural(flagged, "picture is", "pictures are")} flagged; of usual pictures ${percent(page.anomalies.false_alarms)} would be. Oddest first.`
      : "No picture is odd enough to be flagged. Oddest first."),
    ...paged(rows, (row) => entry(row, reasonOf(row), counted(column.rank[row])), "entries", "Odd pictures, oddest first"),
  ];
}

function doubtfulView() {
  const rows = doubtful(), told = page.labels;
  return [
    title("Labels that look wrong", rows.length ? pickButton(rows, `Select the ${counted(rows.length)}`) : ""),
    note(`${plural(rows.length, "label is", "labels are")} contradicted by the pictures nearest and by a classifier fitted without them, which agrees with ${percent(told.agreement)} of all labels. Most doubtful first.`),
    ...paged(rows, (row) => entry(row, `Suggested: ${suggestedOf(row)} (${percent(column.confidence[row])}); ${counted(column.agree[row])} of its ${counted(told.neighbours)} nearest are labelled so.`), "entries", "Labels that look wrong"),
  ];
}

function duplicatesView() {
  const groups = rowsBy("group");
  if (!groups.length) return [title("Duplicates"), note("No two of these pictures are nearly the same.")];
  const span = (group) => {
    const [least, most] = column.group_spans.subarray(2 * group, 2 * group + 2);
    return Number.isFinite(least) ? `distance ${least === most ? short(least) : `${short(least)} to ${short(most)}`}` : "";
  };
  const numbers = [...groups.keys()].filter((group) => groups[group]);
  const typical = page.duplicates?.typical;
  const extra = numbers.flatMap((group) => groups[group].slice(1));
  return [
    title("Duplicates", pickButton(extra, "Select all but one of each")),
    note(`${plural(numbers.length, "group")} of pictures that are nearly the same${page.duplicates?.warning ? `; ${page.duplicates.warning}` : ""}${Number.isFinite(typical) ? ` (two nearest pictures are usually ${short(typical)} apart)` : ""}.`),
    ...paged(numbers, (group) => make("section", { className: "group", data: { group } },
      make("h3", {}, plural(groups[group].length, "picture"), make("small", {}, span(group))), ...tiles(groups[group], `Duplicate group ${group + 1}`, 56)), "groups", "Duplicate groups"),
  ];
}

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
