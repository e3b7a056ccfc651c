
/* ---- What the lists beside the map are made of: titles, notes, tiles, entries. ---- */
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
const action = (words, press) => make("button", { type: "button", className: "action", onclick: press }, words);
const note = (text) => make("p", { className: "note" }, text);
const tiles = (items, label, side = 68) => paged(items, (item) => (Array.isArray(item) ? tile(item[0], side, short(item[1])) : tile(item, side)), "tiles", label);

/* A picture with its name and a line of text; all of it is one button. */
function entry(row, words, number = "", shown = thumbnail(row, 60)) {
  const button = make("button", { type: "button", className: "entry", data: { row } },
    number === "" ? "" : make("span", { className: "place" }, number), shown,
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
