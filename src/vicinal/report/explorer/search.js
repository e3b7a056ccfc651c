
/* ---- Search by path, id or label. ---- */
let haystack = null; // every row's text in lower case
let found = { find: "", rows: [] };

function foundRows() {
  if (found.find !== state.find) {
    haystack ??= Array.from({ length: COUNT }, (_, row) => `${idOf(row)}\n${pathOf(row)}\n${labelOf(row)}`.toLowerCase());
    const wanted = state.find.toLowerCase();
    const rows = [];
    for (let row = 0; row < COUNT; row++) if (haystack[row].includes(wanted)) rows.push(row);
    found = { find: state.find, rows };
  }
  return found.rows;
}

function foundView() {
  if (!state.find) return [title("Found"), note("Type a part of a path, an id or a label into the search field.")];
  const rows = foundRows();
  return [
    title(rows.length ? plural(rows.length, "hit") : "No hits", ...(rows.length ? [exportButton(rows, "found")] : [])),
    note(rows.length ? `for “${state.find}” in path, id or label` : `No path, id or label has “${state.find}” in it.`),
    ...paged(rows, (row) => entry(row, pathOf(row) || idOf(row)), "entries", "Hits"),
  ];
}

function listenToSearch() {
  const field = document.getElementById("find");
  let due = 0;
  const search = () => {
    clearTimeout(due);
    const find = field.value.trim();
    if (find !== state.find) change({ find, tab: find ? "found" : state.tab === "found" ? "overview" : state.tab });
  };
  field.oninput = () => { clearTimeout(due); due = setTimeout(search, 150); };
  field.onkeydown = (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); search(); view.querySelector(".entry")?.focus(); }
  };
  document.getElementById("search").onsubmit = (event) => {
    event.preventDefault();
    search();
    if (state.find && foundRows().length) { openRow(foundRows()[0]); field.focus(); }
  };
  const tell = () => {
    if (field.value.trim() !== state.find) field.value = state.find;
    document.getElementById("hits").textContent = state.find ? plural(foundRows().length, "hit") : "";
  };
  watch(["find"], tell);
  tell();
}
